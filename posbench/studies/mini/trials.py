"""Many choices of each size, and how far the means on each are from those on all queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from posbench import stats
from posbench.dsir import noise
from posbench.dsir.noise import Keys
from posbench.studies.mini import agreement
from posbench.studies.mini.draws import Draw
from posbench.types import Float64, Int64, Strings

MEASURES = ("tau", "shift", "kept", "error")
"""Of a choice: Kendall's tau-b with all queries, the most ranks that a ranker moves, whether the pairs that differ for
certain keep their order (1 or 0), and the mean absolute error of the rankers' means."""
_COPY = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Queries:
    """What the choices are made from.

    ``values`` float64[Q, R]; ``ids`` each once; ``clusters`` int64[Q], as ``stats`` has them; ``ahead`` float64[P],
    which of each pair of rankers is ahead for certain (``agreement.order_kept``).
    """

    values: Float64
    ids: Strings
    clusters: Int64
    ahead: Float64


def on_collection(queries: Queries, draw: Draw, sizes: Sequence[int], keys: Sequence[Keys]) -> Float64:
    """A choice of each size a seed, judged by the means on all queries: float64[seeds, sizes, 4], see ``MEASURES``.

    ``keys`` are ``noise.keys`` of the queries' ids and each seed.
    """
    rows = np.arange(len(queries.values))
    means = np.stack([_means(queries.values, rows, draw, mine, sizes) for mine in keys])
    return _judged(means, queries.values.mean(axis=0), queries.ahead)


def on_resamples(queries: Queries, draw: Draw, sizes: Sequence[int], resamples: int, seed: int) -> Float64:
    """One choice of each size a resample of the queries, judged by the means on that resample: as ``on_collection``.

    Clusters of queries are drawn with replacement, which stands for a collection of other queries of the same kind;
    then the choice is made among the drawn queries, copies included, with noise of its own. The weights of selectors
    stay those that were fitted on all queries. So the spread is that of the luck of both draws together.
    """
    whole = len(queries.values)
    base = noise.keys(queries.ids, seed)
    found = []
    for number, rows in enumerate(resampled(queries.clusters, resamples, seed)):
        copy = np.arange(len(rows)) - np.searchsorted(rows, rows)
        keys = noise.stream(base[rows] + copy.astype(np.uint64) * _COPY, f"resample {number}")
        parts = [max(1, round(size / whole * len(rows))) for size in sizes]
        means = _means(queries.values, rows, draw, keys, parts)
        found.append(_judged(means, queries.values[rows].mean(axis=0), queries.ahead))
    return np.stack(found) if found else np.empty((0, len(sizes), len(MEASURES)))


def resampled(clusters: Int64, resamples: int, seed: int) -> Iterator[Int64]:
    """The queries of each resample in ascending order, int64[n], those of a cluster drawn twice twice.

    As ``stats.resamples`` draws: of C clusters C - 1, with replacement.
    """
    n = int(clusters.max(initial=-1)) + 1
    for block in stats.resamples(clusters, replicates=resamples, seed=seed):
        copies = np.rint(block * ((n - 1) / n if n > 1 else 1.0)).astype(np.int64)
        for row in copies:
            yield np.repeat(np.arange(len(clusters)), row[clusters])


def _means(values: Float64, rows: Int64, draw: Draw, keys: Keys, sizes: Sequence[int]) -> Float64:
    """The rankers' means on a choice of each size: float64[sizes, R]."""
    picks = draw.picks(rows, keys, sizes)
    return np.stack([values[rows[places]].mean(axis=0) for places in picks])


def _judged(means: Float64, full: Float64, ahead: Float64) -> Float64:
    """The measures of means float64[..., R]: float64[..., 4]."""
    columns = (
        agreement.tau_b(means, full),
        agreement.largest_shift(means, full),
        agreement.order_kept(means, ahead),
        agreement.error(means, full),
    )
    return np.stack(columns, axis=-1)
