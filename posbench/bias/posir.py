"""The ten columns of the PosIR paper (arXiv 2601.08363), as the authors' ndcg_PSI_analysis.py computes them."""

import numpy as np
from numpy.typing import ArrayLike

from posbench import stats
from posbench.bias.placed import LENGTHS, Placed
from posbench.types import Float64, Int64

POSITION_BINS = 20


def official(score: Float64, relative: Float64, tokens: ArrayLike, name: str = "nDCG@10") -> dict[str, float]:
    """The ten columns of the PosIR paper.

    ``nDCG@10`` is the plain mean over the queries, ``nDCG@10(Qk)`` the unweighted mean over the non-empty position bins
    of length bucket k, and PSI = 1 - min / max over the bin means (20 equal bins; NaN where the maximum is 0).

    Args:
        score: float64[Q], the measure of each query.
        relative: float64[Q], from ``relative_position``.
        tokens: integer[Q], the documents' lengths.
        name: how the measure's columns are called.
    """
    n = len(score)
    queries = Placed(score, relative, np.asarray(tokens, np.int64), np.arange(n), np.zeros(n, np.int64))
    return columns(queries, name)


def columns(queries: Placed, name: str) -> dict[str, float]:
    """The same of placed queries."""
    means = cell_means(queries)
    figures = psi(means)
    found = {name: float(np.mean(queries.score)) if len(queries.score) else float("nan")}
    for k, bucket in enumerate(LENGTHS, 1):
        some = means[k][~np.isnan(means[k])]
        found[f"{name}({bucket})"] = float(some.mean()) if len(some) else float("nan")
    found["PSI"] = float(figures[0])
    return found | {f"PSI({bucket})": float(figures[k]) for k, bucket in enumerate(LENGTHS, 1)}


def intervals(queries: Placed, name: str, draws: stats.Bootstrap) -> dict[str, list[float]]:
    """Percentile intervals of the columns that are means, under resamples of the queries' documents.

    PSI has none here: resampling adds noise to the noise that PSI already feeds on. See ``inference``.
    """
    bins, length = queries.bins(POSITION_BINS), queries.length
    cells = [np.where((length == k) & (bins == b), queries.score, np.nan) for k in range(4) for b in range(20)]
    values = np.stack([queries.score, *cells], axis=1)
    replicates = draws.means(values)
    means = replicates[:, 1:].reshape(-1, len(LENGTHS), POSITION_BINS)
    n = (~np.isnan(means)).sum(-1)
    macro = np.divide(np.nansum(means, -1), n, out=np.full(n.shape, np.nan), where=n > 0)
    low, high = stats.percentile_interval(np.column_stack([replicates[:, 0], macro]))
    names = [name, *(f"{name}({bucket})" for bucket in LENGTHS)]
    return {key: [float(a), float(b)] for key, a, b in zip(names, low, high, strict=True)}


def cell_counts(queries: Placed) -> Int64:
    """int64[5, 20]: queries in each position bin, over all lengths and then by length bucket."""
    bins, length = queries.bins(POSITION_BINS), queries.length
    rows = [np.bincount(bins, minlength=POSITION_BINS)]
    rows += [np.bincount(bins[length == k], minlength=POSITION_BINS) for k in range(len(LENGTHS))]
    return np.array(rows, np.int64)


def cell_means(queries: Placed) -> Float64:
    """float64[5, 20]: the mean of each position bin, over all lengths and then by length bucket; NaN where empty."""
    bins, length = queries.bins(POSITION_BINS), queries.length
    rows = [_bin_means(queries.score, bins)]
    for k in range(len(LENGTHS)):
        rows.append(_bin_means(queries.score[length == k], bins[length == k]))
    return np.array(rows)


def psi(means: Float64) -> Float64:
    """1 - min / max along the last axis, NaN left out; NaN where nothing is left or the maximum is 0."""
    low = np.where(np.isnan(means), np.inf, means).min(axis=-1)
    high = np.where(np.isnan(means), -np.inf, means).max(axis=-1)
    known = np.isfinite(high) & (high > 0)
    return np.asarray(1 - np.divide(low, high, out=np.full_like(high, np.nan), where=known))


def _bin_means(score: Float64, bins: Int64) -> Float64:
    total, n = np.bincount(bins, score, POSITION_BINS), np.bincount(bins, minlength=POSITION_BINS)
    return np.asarray(np.divide(total, n, out=np.full(POSITION_BINS, np.nan), where=n > 0))
