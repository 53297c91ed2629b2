"""Means compared: what each ranker scores, how far each pair differs, and which ranks can be told apart."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench import paired, stats
from posbench.compare.align import Aligned
from posbench.types import Float64

LEVEL = 0.05


def compare_means(aligned: Aligned, *, seed: int = 0, flips: int = 0) -> list[dict[str, Any]]:
    """One dict a measure.

    Intervals come from one set of resamples for all rankers (documents within domains), tests from one set of sign
    flips of documents; p-values are corrected for all pairs of the measure.

    Returns:
        ``measure``, ``rankers`` (name, mean, interval, rank) and ``pairs`` (first, second, difference, interval, p,
        p_holm, wins, ties, losses, detectable: the difference found with 80% power at this number of queries).
    """
    queries, rankers, measures = aligned.values.shape
    pairs = list(combinations(range(rankers), 2))
    flat = aligned.values.reshape(queries, rankers * measures)
    means = stats.replicate_means(flat, aligned.clusters, aligned.strata, seed=seed)
    sums = paired.cluster_sums(flat, aligned.clusters)
    null = paired.flip_sums(sums, flips or paired.flips_for(len(pairs)), seed)
    shape = (-1, rankers, measures)
    means, null, seen = means.reshape(shape), null.reshape(shape), sums.sum(axis=0).reshape(rankers, measures)
    tables = []
    for m, measure in enumerate(aligned.measures):
        rows = [_pair(aligned, m, pair, means[:, :, m]) for pair in pairs]
        # One pair at a time: of all together the flips can be larger than memory.
        apart = ((seen[a, m] - seen[b, m], null[:, a, m] - null[:, b, m]) for a, b in pairs)
        add_p(rows, [float(paired.two_sided(one, drawn[:, None])[0]) for one, drawn in apart])
        tables.append({"measure": measure, "rankers": _rankers(aligned, m, means[:, :, m], rows), "pairs": rows})
    return tables


def _pair(aligned: Aligned, m: int, pair: tuple[int, int], means: Float64) -> dict[str, Any]:
    a, b = pair
    differences = aligned.values[:, a, m] - aligned.values[:, b, m]
    resampled = means[:, a] - means[:, b]
    low, high = stats.percentile_interval(resampled[:, None])
    return {
        "first": aligned.names[a],
        "second": aligned.names[b],
        "difference": float(differences.mean()),
        "interval": [float(low[0]), float(high[0])],
        "wins": int((differences > 0).sum()),
        "ties": int((differences == 0).sum()),
        "losses": int((differences < 0).sum()),
        "detectable": paired.POWER_FACTOR * float(resampled.std(ddof=1)),
    }


def add_p(rows: list[dict[str, Any]], p_values: list[float]) -> None:
    """Adds p-values and Holm's correction over all of them to rows of one family."""
    for row, p, corrected in zip(rows, p_values, stats.holm(p_values), strict=True):
        row |= {"p": p, "p_holm": corrected}


def _rankers(aligned: Aligned, m: int, means: Float64, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    low, high = stats.percentile_interval(means)
    mean = aligned.values[:, :, m].mean(axis=0)
    ranks = paired.upper_bound_ranks(mean, significant(aligned.names, pairs))
    return [
        {"name": name, "mean": float(mean[r]), "interval": [float(low[r]), float(high[r])], "rank": int(ranks[r])}
        for r, name in enumerate(aligned.names)
    ]


def significant(names: tuple[str, ...], pairs: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Which rankers differ after correction: bool[R, R], symmetric."""
    found = np.zeros((len(names), len(names)), bool)
    for row in pairs:
        a, b = names.index(row["first"]), names.index(row["second"])
        found[a, b] = found[b, a] = row["p_holm"] < LEVEL
    return found
