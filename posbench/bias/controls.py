"""Difficulty taken out: what remains of position when the same document, or a control's score, answers for it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias.placed import MIN_QUERIES, Placed
from posbench.bias.posir import POSITION_BINS
from posbench.bias.shuffle import SHUFFLES, Shuffler, two_sided
from posbench.types import Float64


def within_documents(queries: Placed, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any] | None:
    """The slope of the score on the place among queries of one document, or None where too few documents have two.

    The documents' own difficulty is out of it; that of the questions is not. The test turns places round within
    documents.

    Returns:
        ``slope`` (score from start to end), ``interval``, ``index`` (signed, slope / (2 mean)), ``p``, ``documents``
        and ``queries`` that count.
    """
    several = np.bincount(queries.cluster)[queries.cluster] > 1
    if several.sum() < 2 * MIN_QUERIES:
        return None
    some = queries.take(several)
    some = Placed(
        some.score,
        some.relative,
        some.tokens,
        np.unique(some.cluster, return_inverse=True)[1].astype(np.int64),
        some.stratum,
    )
    size = np.bincount(some.cluster)
    score, place = (x - (np.bincount(some.cluster, x) / size)[some.cluster] for x in (some.score, some.relative))
    power = float(place @ place)
    if power <= 0 or len(size) < MIN_QUERIES:
        return None
    shuffler = Shuffler.within_documents(some)
    moving, staying = place[shuffler.rows], score[shuffler.rows]
    null = shuffler.map(lambda source: np.array(moving.take(source) @ staying), shuffles, seed)
    seen = float(place @ score)
    columns = np.stack([place * score, place**2], axis=1)
    sums = stats.replicate_sums(columns, some.cluster, some.stratum, replicates=shuffles, seed=seed)
    low, high = stats.percentile_interval(sums[:, :1] / np.maximum(sums[:, 1:], 1e-12))
    slope = seen / power
    return {
        "slope": slope,
        "interval": [float(low[0]), float(high[0])],
        "index": slope / (2 * float(some.score.mean())) if some.score.any() else None,
        "p": two_sided(seen, null),
        "documents": len(size),
        "queries": len(some.score),
    }


def adjusted(queries: Placed, controls: Mapping[str, Float64]) -> tuple[Placed, dict[str, float]]:
    """Scores less what the controls say of each query's difficulty.

    With one control its score is taken away as it is. With two, the second serves as an instrument for the first: the
    multiple w of the first is cov(score, second) / cov(first, second), among queries of one position bin, so that the
    noise in a control does not leave part of the difficulty behind (two-stage least squares).

    Args:
        queries: the ranker's scores.
        controls: scores of the same queries by other means (bare evidence, bm25), one or two.

    Returns:
        The adjusted queries, and the multiple of each control that was taken away.
    """
    names = list(controls)
    first = controls[names[0]]
    weight = 1.0
    if len(names) > 1:
        bins = queries.bins(POSITION_BINS)
        size = np.maximum(np.bincount(bins, minlength=POSITION_BINS), 1)
        score, one, two = (
            x - (np.bincount(bins, x, POSITION_BINS) / size)[bins] for x in (queries.score, first, controls[names[1]])
        )
        shared = float(one @ two)
        weight = float(np.clip(score @ two / shared, 0.0, 2.0)) if shared > 0 else 1.0
    left = queries.score - weight * (first - first.mean())
    taken = {name: weight if name == names[0] else 0.0 for name in names}
    return Placed(left, queries.relative, queries.tokens, queries.cluster, queries.stratum), taken
