"""Shuffles of the places of evidence that keep what would hold without bias: the null of every test here.

Queries of one document share its difficulty and lie at different places of it, so queries cannot be shuffled one by
one. What is exchanged instead is a document's whole pattern of places, among documents of the same length bucket with
as many queries, and each pattern is turned round by a random number of queries. What domains and lengths add to a
score is fitted first and stays where it is; only the rest meets new places (Freedman and Lane 1983). If that rest
does not depend on place, every such shuffle is as likely as what was seen, however scores of one document hang
together. (Exchange within length bucket x domain x number of queries would need no fit, but leaves most documents of a
collection without a partner, so that the null keeps part of the bias.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from posbench.bias.placed import Placed
from posbench.types import Float64, Int64

SHUFFLES = 2000
_CACHED = 1 << 17  # indices that a processor's cache holds


@dataclass(frozen=True)
class _Block:
    """Documents with the same number of queries that stand one behind the other."""

    first: int  # of their rows
    docs: int
    size: int  # queries a document
    exchange: bool  # whether they may take each other's patterns

    def draw(self, rng: np.random.Generator, sources: NDArray[np.int64]) -> None:
        """Writes the block's part of some shuffles: int64[shuffles, Q]."""
        shape, size = (len(sources), self.docs), self.size
        start = np.tile(np.arange(self.first, self.first + self.docs * size, size), (len(sources), 1))
        if self.exchange:
            rng.permuted(start, axis=1, out=start)
        part = sources[:, self.first : self.first + self.docs * size]
        if size == 1:
            part[:] = start
            return
        number = np.arange(size)
        turned = (number + number[:, None]) % size
        turn = (rng.random(shape, np.float32) * np.float32(size)).astype(np.int64)
        np.minimum(turn, size - 1, out=turn)  # float32 can round up to size
        part[:] = (start[:, :, None] + turned.take(turn, 0)).reshape(len(sources), -1)


@dataclass(frozen=True)
class Shuffler:
    """Draws shuffles of some queries, which it orders by length, size of document and document.

    ``rows`` int64[Q] is that order; a statistic arranges its arrays so (``values[shuffler.rows]``) and a shuffle is an
    index into them: the i-th query meets the place of the ``source[i]``-th.
    """

    rows: Int64
    blocks: tuple[_Block, ...]

    @staticmethod
    def ordered(queries: Placed) -> Placed:
        """The queries in the order in which ``Shuffler.of`` of them leaves every query where it is."""
        return queries.take(Shuffler.of(queries).rows)

    @classmethod
    def of(cls, queries: Placed) -> "Shuffler":
        """Exchanges patterns among documents of one length bucket."""
        return cls._build(queries.cluster, queries.length + 1, exchange=True)

    @classmethod
    def within_documents(cls, queries: Placed) -> "Shuffler":
        """Turns each document's places round among its own queries; needs no fit of levels."""
        return cls._build(queries.cluster, np.zeros(len(queries.score), np.int64), exchange=False)

    @classmethod
    def _build(cls, cluster: Int64, strata: Int64, exchange: bool) -> "Shuffler":
        # A document that answers queries of two strata (in a collection of several parts) is two documents here.
        unit = np.unique(cluster * (int(strata.max(initial=0)) + 1) + strata, return_inverse=True)[1]
        size = np.bincount(unit)[unit]
        rows = np.lexsort((unit, size, strata)).astype(np.int64)
        change = np.diff(np.stack([strata[rows], size[rows]]), axis=1, prepend=-1).any(0)
        edges = [*np.flatnonzero(change).tolist(), len(rows)]
        blocks = []
        for first, end in pairwise(edges):
            k = int(size[rows[first]])
            blocks.append(_Block(first, (end - first) // k, k, exchange))
        return cls(rows, tuple(blocks))

    @property
    def movable(self) -> float:
        """The share of queries that a shuffle can move at all."""
        moved = sum(b.docs * b.size for b in self.blocks if b.size > 1 or (b.exchange and b.docs > 1))
        return moved / max(1, len(self.rows))

    def map(self, function: Callable[[NDArray[np.int64]], Float64], shuffles: int = SHUFFLES, seed: int = 0) -> Float64:
        """``function`` of each shuffle's ``source`` int64[Q]: float64[shuffles, ...].

        Args:
            function: takes int64[Q], in the order of ``rows``, and returns an array.
            shuffles: how many.
            seed: of the random generator.
        """
        rng = np.random.default_rng(seed)
        found: list[Float64] = []
        step = max(1, _CACHED // max(1, len(self.rows)))
        for first in range(0, shuffles, step):
            sources = np.empty((min(step, shuffles - first), len(self.rows)), np.int64)
            for block in self.blocks:
                block.draw(rng, sources)
            found += [function(source) for source in sources]
        return np.array(found)


def without(values: Float64, other: Float64) -> Float64:
    """Values float64[Q] less their least-squares multiple of the other."""
    power = float(other @ other)
    return values - other * (float(values @ other) / power) if power > 0 else values


def two_sided(seen: float, null: Float64) -> float:
    """The share of |null| at or above |seen|, both counted among themselves: (b + 1) / (B + 1)."""
    return float((np.count_nonzero(np.abs(null) >= abs(seen) * (1 - 1e-12)) + 1) / (len(null) + 1))


def one_sided(seen: float, null: Float64) -> float:
    """The share of null at or above seen: (b + 1) / (B + 1)."""
    return float((np.count_nonzero(null >= seen * (1 - 1e-12)) + 1) / (len(null) + 1))
