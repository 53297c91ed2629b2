"""Exact nearest neighbours in bounded memory, and the recall of what an index found against them.

A float32 matrix product proposes candidates, and their float64 distances decide. How far the product can err is
bounded; a query whose candidates might miss a neighbour by that is asked again for more of them.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench import topk
from posbench.errors import DataError, UsageError
from posbench.hnsw.graph import Metric
from posbench.hnsw.vectors import check_vectors
from posbench.types import Float32, Float64, Int32, Int64, Progress, no_progress

_BATCH = 8192  # queries that meet the documents together
_PAIRS = 1 << 21  # candidates of a batch, at most
_BLOCK = 1 << 24  # numbers of the documents that are worked on at a time
_ROWS = 256  # queries whose candidates one thread takes at a time
_CACHED = 1 << 17  # float64 numbers that a processor's cache holds


@dataclass(frozen=True)
class Neighbours:
    """The nearest documents of each query, by (distance, index).

    ``docs`` int32[Q, k]; ``distances`` float64[Q, k], Euclidean (not squared) or the negative inner product;
    ``beyond`` float64[Q], the distance of the one after the k-th, infinite where there is none.
    """

    docs: Int32
    distances: Float64
    beyond: Float64


def neighbours(
    queries: Float32,
    docs: Float32,
    k: int,
    metric: Metric = "l2",
    *,
    leave_out_self: bool = False,
    own: Int64 | None = None,
    progress: Progress = no_progress,
) -> Neighbours:
    """The k nearest documents of each query, exactly; equal distances by index.

    Args:
        queries: float32[Q, d].
        docs: float32[n, d]; a second, centred copy of it is held meanwhile.
        k: how many; as many as there are at most.
        metric: "l2", Euclidean distance, or "ip", largest inner product.
        leave_out_self: query i is document i and does not count among its neighbours; its duplicates do.
        own: int64[Q], where the queries are some of the documents: which, to leave each out of its own neighbours.
        progress: advances by queries.

    Raises:
        DataError: widths that differ, or a number that is not finite.
        UsageError: no neighbour is asked for, or ``leave_out_self`` without a query for each document.
    """
    check_vectors(queries, "queries")
    check_vectors(docs, "documents")
    if queries.shape[1] != docs.shape[1]:
        raise DataError(
            f"found queries of width {queries.shape[1]} and documents of {docs.shape[1]}; expected one width"
        )
    if leave_out_self:
        if len(queries) != len(docs):
            raise UsageError(f"{len(queries)} queries and {len(docs)} documents; expected the documents as queries")
        own = np.arange(len(docs))
    there = len(docs) - (own is not None)
    if k < 1 or there < 1:
        raise UsageError(f"{k} neighbours among {there}; expected 1 or more")
    k = min(k, there)
    space = _Space(docs, metric)
    near, distances = np.empty((len(queries), k), np.int32), np.empty((len(queries), k))
    beyond = np.empty(len(queries))
    advance = progress("finding exact neighbours", len(queries))
    for part in _batches(len(queries), k + topk.SLACK + 1):
        out = None if own is None else own[part]
        found, far = _some(space, np.ascontiguousarray(queries[part]), k, out)
        near[part], distances[part], beyond[part] = found, far[:, :k], far[:, k]
        advance(part.stop - part.start)
    return Neighbours(near, distances, beyond)


def _batches(count: int, wide: int) -> Iterator[slice]:
    step = max(1, min(_BATCH, _PAIRS // wide))
    return (slice(first, min(first + step, count)) for first in range(0, count, step))


def _some(space: "_Space", queries: Float32, k: int, own: Int64 | None) -> tuple[Int32, Float64]:
    """The neighbours of a batch, and k + 1 distances: asks for more candidates until they are beyond doubt."""
    near, distances = np.empty((len(queries), k), np.int32), np.empty((len(queries), k + 1))
    wide = min(k + 1 + (own is not None) + topk.SLACK, len(space.docs))
    left = np.arange(len(queries))
    while len(left):
        unsure = []
        for part in _batches(len(left), wide):
            rows = left[part]
            found, far, sure = space.nearest(queries[rows], k, None if own is None else own[rows], wide)
            near[rows[sure]], distances[rows[sure]] = found[sure], far[sure]
            unsure.append(rows[~sure])
        left = np.concatenate(unsure)
        wide = min(8 * wide, len(space.docs))
    return near, distances


class _Space:
    """The documents as vectors whose inner product with a query's ranks as the metric does.

    For Euclidean distance these are (y, hi, lo) with y = x - mean, and hi + lo = -|y|^2 / 2 as the sum of two float32:
    the product with (q - mean, 1, 1) is (|q - mean|^2 - |q - x|^2) / 2. Centring keeps the norms, and with them the
    errors, small.
    """

    def __init__(self, docs: Float32, metric: Metric) -> None:
        self.docs, self.metric = docs, metric
        n, width = docs.shape
        self.mean = np.zeros(width) if metric == "ip" else np.mean(docs, axis=0, dtype=np.float64)
        self.vectors = docs if metric == "ip" else np.empty((n, width + 2), np.float32)
        longest = 0.0
        for first in range(0, n, max(1, _BLOCK // width)):
            rows = slice(first, first + max(1, _BLOCK // width))
            moved, squares = self._moved(docs[rows])
            longest = max(longest, float(squares.max()))
            if metric == "l2":
                self.vectors[rows, :width] = moved
                self.vectors[rows, width] = high = (-squares / 2).astype(np.float32)
                self.vectors[rows, width + 1] = -squares / 2 - high
        self.longest = longest**0.5

    def _moved(self, vectors: Float32) -> tuple[Float32, Float64]:
        """The vectors less the mean, float32[n, d], and their squared lengths."""
        moved = (vectors - self.mean).astype(np.float32)
        squares = np.vecdot(moved.astype(np.float64), moved.astype(np.float64))
        if squares.max() > np.finfo(np.float32).max / 4:
            length = float(squares.max()) ** 0.5
            raise DataError(f"found a vector of length {length:.1e}; expected squares that fit float32: scale them")
        return moved, squares

    def nearest(
        self, queries: Float32, k: int, own: Int64 | None, wide: int
    ) -> tuple[Int32, Float64, NDArray[np.bool_]]:
        """The best k of ``wide`` candidates, their k + 1 distances, and whether no other document can be nearer."""
        moved, squares = self._moved(queries)
        asked = moved
        if self.metric == "l2":
            asked = np.concatenate([moved, np.ones((len(queries), 2), np.float32)], axis=1)
        near, scores = topk.propose(asked, self.vectors, wide)
        near.sort(axis=1)  # by index, so that a stable sort by distance leaves ties in order
        distances = pair_distances(queries, self.docs, near, self.metric)
        if own is not None:
            distances[near == own[:, None]] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, : k + 1]
        near, distances = np.take_along_axis(near, order, 1), np.take_along_axis(distances, order, 1)
        if distances.shape[1] == k:
            distances = np.pad(distances, ((0, 0), (0, 1)), constant_values=np.inf)
        sure = np.full(len(queries), wide == len(self.docs))
        if wide < len(self.docs):
            sure = scores[:, -1] < self._floor(squares, distances[:, k])
        return near[:, :k], distances, sure

    def _floor(self, squares: Float64, distance: Float64) -> Float64:
        """The least float32 score that a document as near as ``distance`` can have: float64[q].

        A float32 product of width d errs by at most d u sum |a_i b_i| with u = 2^-24 (Higham, Accuracy and Stability
        of Numerical Algorithms, section 3.1), which here is at most (|q| + |x|)^2 / 2; rounding the centred vectors
        moves the score by at most u (|q| + |x|)^2. A document that near has |x| <= |q| + distance.
        """
        unit, width, norms = 1.01 * 2.0**-24, self.docs.shape[1], np.sqrt(squares)
        tiny = float(np.finfo(np.float32).tiny)
        if self.metric == "ip":
            return np.asarray(-distance - width * unit * norms * self.longest - tiny)
        reach = norms + np.minimum(self.longest, norms + distance)
        return np.asarray((squares - distance**2) / 2 - (width / 2 + 4) * unit * reach**2 - tiny)


def pair_distances(queries: Float32, docs: Float32, near: Int32, metric: Metric) -> Float64:
    """The distance of each query to the documents named in its row: float64[Q, k]; infinite where that is -1.

    It depends on nothing but the two vectors, so that equal pairs have equal distances.
    """
    distances = np.empty(near.shape)
    k, width = near.shape[1], docs.shape[1]
    group = max(1, min(_ROWS, _CACHED // max(1, k * width)))

    def block(first: int) -> None:
        found = np.empty((group, k, width), docs.dtype)
        exact = np.empty(found.shape)
        for begin in range(first, min(first + _ROWS, len(near)), group):
            rows = slice(begin, min(begin + group, first + _ROWS, len(near)))
            some, double = found[: rows.stop - begin], exact[: rows.stop - begin]
            np.take(docs, near[rows], axis=0, out=some, mode="clip")  # "raise" would copy
            if metric == "l2":
                np.subtract(some, queries[rows, None], out=double, dtype=np.float64)
                distances[rows] = np.sqrt(np.vecdot(double, double))
            else:
                double[:] = some
                distances[rows] = -np.vecdot(double, queries[rows, None].astype(np.float64))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(block, range(0, len(near), _ROWS)))
    distances[near < 0] = np.inf
    return distances


def recall(
    found: Int32, exact: Neighbours, queries: Float32, docs: Float32, metric: Metric = "l2"
) -> tuple[Float64, int]:
    """The share of each query's k nearest that an index found, by distance.

    A document that is no further than the exact k-th neighbour is a hit, whichever of several equally far it is, as
    ann-benchmarks counts.

    Args:
        found: int32[Q, k], -1 is padding.
        exact: of the same queries, at least as deep.
        queries: float32[Q, d].
        docs: float32[n, d].
        metric: as ``exact`` was computed.

    Returns:
        float64[Q] in 0..1, and for how many queries the k-th and the next distance are equal.

    Raises:
        UsageError: ``exact`` is of other queries or not deep enough.
    """
    k = min(found.shape[1], len(docs))
    if exact.docs.shape[0] != len(found) or exact.docs.shape[1] < k:
        raise UsageError(f"found {found.shape} and exact neighbours {exact.docs.shape}; expected as many, as deep")
    last = exact.distances[:, k - 1]
    after = exact.distances[:, k] if exact.docs.shape[1] > k else exact.beyond
    hit = pair_distances(queries, docs, found, metric) <= last[:, None]
    ascending = np.sort(np.where(hit, found, -1), axis=1)  # each document counts once
    first = np.diff(ascending, axis=1, prepend=-1) > 0
    hits = np.minimum(np.count_nonzero(first, axis=1), k)
    return hits / k, int(np.count_nonzero(last == after))
