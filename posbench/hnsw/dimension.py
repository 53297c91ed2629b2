"""Intrinsic dimension: of the surroundings of every document (LID), and of a whole set.

The LID of a document is the maximum-likelihood estimate -((1/m) sum_i ln(r_i / r_m))^-1 over the distances r_1..r_m of
its k nearest neighbours, itself left out (Levina and Bickel 2004; Amsaleg et al. 2015). The divisor is m, all distances
that are not zero: k, less the document's duplicates. Distances are Euclidean and not squared, whatever the metric of
the index. The estimate falls short in high dimensions, the more the fewer documents there are: read it as a rank.
"""

from dataclasses import dataclass

import numpy as np

from posbench import stats
from posbench.correlation import interval, spearman
from posbench.errors import UsageError
from posbench.hnsw.exact import neighbours
from posbench.types import Float32, Float64, Int64, Progress, no_progress

K = 100
SAMPLED_K = 20
"""Neighbours within a sample, at most: its k-th neighbour lies further out than that of all, and more would blur it."""
AUDIT = 500
_RESAMPLES = 200  # for a standard error
_NORMAL = 1.96  # standard errors to the end of an interval
_DISCARDED = 0.1  # the share of the largest ratios that two-NN leaves out of its fit, as Facco et al. do


@dataclass(frozen=True)
class Error:
    """How far sampled LIDs are from exact ones, on ``documents`` of them, drawn at random.

    ``spearman`` with its 95% ``interval``; ``relative``, the median of |sampled / exact - 1|. NaN where fewer than two
    have both.
    """

    documents: int
    spearman: float
    interval: tuple[float, float]
    relative: float


@dataclass(frozen=True)
class Dimension:
    """The LID of each document.

    ``lid`` float64[n], NaN where no two distances differ; ``duplicates`` int64[n], how many of the k neighbours lie at
    distance zero; ``ratio`` float64[n], r_2 / r_1 of the two nearest at distances other than zero, NaN where there are
    no two. ``k`` neighbours were asked for, of ``sample`` documents (0: of all); ``error`` says what that cost.
    """

    lid: Float64
    duplicates: Int64
    ratio: Float64
    k: int
    sample: int = 0
    error: Error | None = None


@dataclass(frozen=True)
class Estimate:
    """The dimension of a whole set with its interval, from so many ``documents``."""

    value: float
    low: float
    high: float
    documents: int


def lid(docs: Float32, k: int = K, progress: Progress = no_progress) -> Dimension:
    """The exact LID of every document.

    Args:
        docs: float32[n, d].
        k: neighbours of each, 2 or more.
        progress: advances by documents.

    Raises:
        UsageError: k is not from 2 to n - 1.
        DataError: a number that is not finite.
    """
    _check(k, len(docs) - 1)
    return _of(neighbours(docs, docs, k, leave_out_self=True, progress=progress).distances)


def lid_at(queries: Float32, docs: Float32, k: int = K, progress: Progress = no_progress) -> Dimension:
    """The LID at each query, which is no document, among the documents; ``duplicates`` are documents equal to it."""
    _check(k, len(docs))
    return _of(neighbours(queries, docs, k, progress=progress).distances)


def sampled(
    docs: Float32,
    sample: int,
    k: int = K,
    seed: int = 0,
    audit: int = AUDIT,
    progress: Progress = no_progress,
) -> Dimension:
    """The LID of every document among a random sample of them, and how far it is from the exact one.

    Args:
        docs: float32[n, d].
        sample: documents to look for neighbours in; the others are measured but are nobody's neighbours.
        k: of the exact LID; within the sample it is ``SAMPLED_K`` at most.
        seed: of the sample and of the audited documents.
        audit: documents whose LID is also computed exactly; all at most.
        progress: advances by documents.

    Raises:
        UsageError: the sample is larger than the documents, or a k does not fit.
        DataError: a number that is not finite.
    """
    _check(k, len(docs) - 1)
    if not 3 <= sample <= len(docs) or audit < 1:
        raise UsageError(f"sample of {sample}, {audit} audited; expected 3 to {len(docs)} documents, and 1 or more")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(docs), sample, replace=False))
    tested = np.sort(rng.choice(len(docs), min(audit, len(docs)), replace=False))
    place = np.full(len(docs), -1)
    place[chosen] = np.arange(sample)
    near = min(k, SAMPLED_K, sample - 1)
    rough = _of(neighbours(docs, docs[chosen], near, own=place, progress=progress).distances)
    exact = _of(neighbours(docs[tested], docs, k, own=tested, progress=progress).distances)
    error = _error(rough.lid[tested], exact.lid)
    return Dimension(rough.lid, rough.duplicates, rough.ratio, near, sample, error)


def _check(k: int, most: int) -> None:
    if not 2 <= k <= most:
        raise UsageError(f"k {k}: found {most} possible neighbours of each; expected k from 2 to {most}")


def _of(distances: Float64) -> Dimension:
    """LID from float64[n, k], ascending in each row."""
    count, k = distances.shape
    zero = np.count_nonzero(distances == 0, axis=1)
    ratio, estimate = np.full(count, np.nan), np.full(count, np.nan)
    for duplicates in np.unique(zero[zero < k]).tolist():  # rows of one number of distances, so that none is masked
        rows = np.flatnonzero(zero == duplicates)
        kept = distances[rows, duplicates:]
        slope = -np.log(kept / kept[:, -1:]).mean(axis=1)
        estimate[rows] = np.divide(1.0, slope, out=np.full(len(rows), np.nan), where=slope > 0)
        if kept.shape[1] > 1:
            ratio[rows] = kept[:, 1] / kept[:, 0]
    return Dimension(estimate, zero.astype(np.int64), ratio, k)


def _error(rough: Float64, exact: Float64) -> Error:
    both = ~(np.isnan(rough) | np.isnan(exact))
    rough, exact = rough[both], exact[both]
    if len(rough) < 2:
        return Error(len(rough), np.nan, (np.nan, np.nan), np.nan)
    rho = float(spearman(rough, exact))
    return Error(len(rough), rho, interval(rho, len(rough)), float(np.median(np.abs(rough / exact - 1))))


def whole(found: Dimension, seed: int = 0) -> dict[str, Estimate]:
    """The dimension of the whole set, in two ways, with 95% intervals: 1.96 standard errors over documents.

    ``mle`` is the inverse of the mean inverse LID (MacKay and Ghahramani 2005, Comments on "Maximum likelihood
    estimation of intrinsic dimension"), of documents that have one. ``two-nn`` (Facco et al. 2017) is the slope through
    the origin of -ln(1 - F(mu)) on ln(mu), F the empirical distribution of mu = r_2 / r_1, without the largest tenth.
    Documents share neighbours, so the intervals are rather narrow. NaN where fewer than two documents have a value.
    """
    return {"mle": _mle(found.lid), "two-nn": _two_nn(found.ratio, seed)}


def _mle(values: Float64) -> Estimate:
    inverse = 1 / values[~np.isnan(values)]
    if len(inverse) < 2:
        return Estimate(np.nan, np.nan, np.nan, len(inverse))
    mean, half = float(inverse.mean()), _NORMAL * float(inverse.std(ddof=1)) / len(inverse) ** 0.5
    return Estimate(1 / mean, 1 / (mean + half), 1 / max(mean - half, np.finfo(float).tiny), len(inverse))


def _two_nn(ratio: Float64, seed: int) -> Estimate:
    log = np.log(np.sort(ratio[~np.isnan(ratio)]))
    if len(log) < 2 or not log.any():
        return Estimate(np.nan, np.nan, np.nan, len(log))
    resamples = stats.resamples(np.arange(len(log)), replicates=_RESAMPLES, seed=seed)
    drawn = np.concatenate([_slopes(log, weights) for weights in resamples])
    value, half = float(_slopes(log, np.ones((1, len(log)), np.float32))[0]), _NORMAL * float(np.nanstd(drawn, ddof=1))
    return Estimate(value, value - half, value + half, len(log))


def _slopes(log: Float64, weights: Float32) -> Float64:
    """The fit where each of the ascending logarithms counts as often as a row of the weights says: float64[B]."""
    slopes = np.empty(len(weights))
    for row, weight in enumerate(weights.astype(np.float64)):
        share = np.cumsum(weight) / weight.sum()
        last = np.searchsorted(share, 1 - _DISCARDED, side="right")
        x, w = log[:last], weight[:last]
        below = float(np.sum(w * x**2))
        slopes[row] = -float(np.sum(w * x * np.log1p(-share[:last]))) / below if below > 0 else np.nan
    return slopes
