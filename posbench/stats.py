"""Resampling: cluster bootstrap intervals for anything that is a function of per-query values."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from posbench.types import Float64, Int64, Qrels

REPLICATES = 2000
LEVEL = 0.95
_CELLS = 1 << 23  # counts held at a time
_CACHED = 1 << 18  # counts that a processor's cache holds
_KEPT = 1 << 27  # counts that a Bootstrap keeps: 512 MB


def clusters_of(qrels: Qrels) -> tuple[Int64, str]:
    """Groups queries that share a relevant document, because they succeed and fail together.

    Returns:
        int64[Q], the cluster of each query, and what a cluster is: "document", or "query" where most queries hang
        together through shared documents, so that no resampling of clusters is possible.
    """
    n = len(qrels.indptr) - 1
    keep = qrels.grades > 0
    query, doc = qrels.queries[keep].astype(np.int64), qrels.docs[keep].astype(np.int64)
    if not len(query):
        return np.arange(n), "query"
    _, doc = np.unique(doc, return_inverse=True)
    component = _components(query, n + doc, n + int(doc.max()) + 1)
    _, cluster = np.unique(component[:n], return_inverse=True)
    if np.bincount(cluster).max() > 0.1 * n:
        return np.arange(n), "query"
    return cluster.astype(np.int64), "document"


def _components(query: Int64, doc: Int64, size: int) -> Int64:
    """What hangs together in a graph of queries and documents, numbered from 0 to size - 1: int64[size]."""
    component = np.arange(size)
    component[query] = doc
    if len(np.unique(query)) == len(query):  # one document a query: nothing to search, and scipy is slow to import
        return component
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(query), np.int8), (query, doc)), (size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def resamples(
    clusters: Int64, strata: Int64 | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Iterator[NDArray[np.float32]]:
    """How much each cluster counts: blocks float32[r, C] whose rows add up to ``replicates``.

    Within each stratum of n clusters n - 1 are drawn with replacement and count n / (n - 1) each (Rao and Wu 1988), so
    that small strata do not make intervals too narrow; a cluster that is alone in its stratum always counts 1.

    Args:
        clusters: int64[Q], the cluster of each query, 0..C-1.
        strata: int64[Q], the stratum of each query; a cluster belongs to the stratum of its first query.
        replicates: how many resamples.
        seed: of the random generator.
    """
    rng = np.random.default_rng(seed)
    n = int(clusters.max(initial=-1)) + 1
    stratum = np.zeros(n, np.int64)
    if strata is not None:
        stratum[clusters[::-1]] = strata[::-1]
    order = np.argsort(stratum, kind="stable")
    sizes = np.bincount(stratum)
    sizes = sizes[sizes > 0]
    draws = np.maximum(sizes - 1, 1)
    low, width = np.repeat(np.cumsum(sizes) - sizes, draws), np.repeat(sizes, draws)
    worth = np.repeat(sizes / draws, sizes).astype(np.float32)
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    worth = worth[place]
    step, small = max(1, _CELLS // max(1, n)), max(1, _CACHED // max(1, n))
    for first in range(0, replicates, step):
        rows = min(step, replicates - first)
        by_cluster = np.empty((rows, n), np.float32)
        for at in range(0, rows, small):
            part = by_cluster[at : at + small]
            drawn = low + (rng.random((len(part), len(low))) * width).astype(np.int64)
            drawn += np.arange(len(part))[:, None] * n
            counts = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
            np.multiply(counts[:, place], worth, out=part)
        yield by_cluster


def mean_intervals(
    values: Float64,
    clusters: Int64,
    strata: Int64 | None = None,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[Float64, Float64]:
    """Percentile intervals of the means of columns under the cluster bootstrap.

    Args:
        values: float64[Q, M]; NaN means "not in this column's population", so a column may be the members of one bin.
        clusters: int64[Q].
        strata: int64[Q] or None.
        replicates: how many resamples.
        level: the interval's coverage.
        seed: of the random generator.

    Returns:
        (low, high), each float64[M]; NaN where a column is empty in every resample.
    """
    return Bootstrap(clusters, strata, replicates, seed).intervals(values, level)


def percentile_interval(replicates: Float64, level: float = LEVEL) -> tuple[Float64, Float64]:
    """The central interval of each column of float64[B, M], NaN left out."""
    tail = (1 - level) / 2
    low, high = np.full(replicates.shape[1], np.nan), np.full(replicates.shape[1], np.nan)
    missing = np.isnan(replicates)
    for quantile, some in ((np.quantile, ~missing.any(0)), (np.nanquantile, missing.any(0) & ~missing.all(0))):
        if some.any():  # nanquantile is slow
            low[some], high[some] = quantile(replicates[:, some], [tail, 1 - tail], axis=0)
    return low, high


def replicate_means(
    values: Float64, clusters: Int64, strata: Int64 | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Float64:
    """The mean of each column in each resample: float64[B, M]; NaN where a column is empty."""
    return Bootstrap(clusters, strata, replicates, seed).means(values)


def replicate_sums(
    values: Float64, clusters: Int64, strata: Int64 | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Float64:
    """The sum of each column in each resample: float64[B, M]."""
    return Bootstrap(clusters, strata, replicates, seed).sums(values)


@dataclass(frozen=True)
class Bootstrap:
    """One set of resamples, for several figures of the same queries; see ``resamples`` for the fields.

    The draws are kept where they are not too many, so that a second figure costs only its sums.
    """

    clusters: Int64
    strata: Int64 | None = None
    replicates: int = REPLICATES
    seed: int = 0

    def sums(self, values: Float64) -> Float64:
        """The sum of each column of float64[Q, M] in each resample: float64[B, M]."""
        n = int(self.clusters.max(initial=-1)) + 1
        sums = np.stack([np.bincount(self.clusters, column, n) for column in values.T], axis=1)
        blocks = [block.astype(np.float64) @ sums for block in self._blocks()]
        return np.concatenate(blocks) if blocks else np.empty((0, values.shape[1]))

    def means(self, values: Float64) -> Float64:
        """The mean of each column, NaN left out, in each resample: float64[B, M]; NaN where a column is empty."""
        member = ~np.isnan(values)
        both = self.sums(np.concatenate([np.where(member, values, 0.0), member], axis=1))
        total, size = np.hsplit(both, 2)
        return np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0)

    def intervals(self, values: Float64, level: float = LEVEL) -> tuple[Float64, Float64]:
        """Percentile intervals of the means of columns, as ``mean_intervals`` has them."""
        return percentile_interval(self.means(values), level)

    def _blocks(self) -> Iterable[NDArray[np.float32]]:
        if self.replicates * (int(self.clusters.max(initial=-1)) + 1) <= _KEPT:
            return self._kept
        return resamples(self.clusters, self.strata, replicates=self.replicates, seed=self.seed)

    @cached_property
    def _kept(self) -> list[NDArray[np.float32]]:
        return list(resamples(self.clusters, self.strata, replicates=self.replicates, seed=self.seed))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values (1979), in the order given: each at least as large as those before it in rank."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = worst
    return corrected
