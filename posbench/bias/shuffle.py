"""Shuffles of the places of evidence that keep what would hold without bias: the null of every test here.

Queries of one document share its difficulty and lie at different places of it, so queries cannot be shuffled one by
one. What is exchanged instead is a document's whole pattern of places, among documents of the same length bucket with
as many queries, and each pattern is turned round by a random number of queries. What domains and lengths add to a
score is fitted first and stays where it is; only the rest meets new places (Freedman and Lane 1983). If that rest
does not depend on place, every such shuffle is as likely as what was seen, however scores of one document hang
together. (Exchange within length bucket x domain x number of queries would need no fit, but leaves most documents of a
collection without a partner, so that the null keeps part of the bias.)
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench.bias.placed import Placed
from posbench.types import Float64, Int64

SHUFFLES = 2000
_BLOCK = 50  # shuffles a task; each block has a seed of its own, so threads do not change the result


@dataclass(frozen=True)
class Levels:
    """What domains and length buckets, added up, explain of values: ``fitted`` float64[Q] and ``rest`` float64[Q]."""

    fitted: Float64
    rest: Float64

    @classmethod
    def of(cls, queries: Placed, values: Float64) -> "Levels":
        """Least squares on one level a domain and one a length bucket, by alternating projections."""
        rest = values.astype(np.float64)
        factors = [np.unique(codes, return_inverse=True)[1] for codes in (queries.length, queries.stratum)]
        sizes = [np.bincount(factor) for factor in factors]
        for _ in range(200):
            before = rest
            for factor, size in zip(factors, sizes, strict=True):
                rest = rest - (np.bincount(factor, rest) / size)[factor]
            if np.abs(rest - before).max(initial=0.0) < 1e-12:
                break
        return cls(values - rest, rest)

    @staticmethod
    def count(queries: Placed) -> int:
        """How many levels are fitted."""
        return len(np.unique(queries.length)) + len(np.unique(queries.stratum)) - 1


@dataclass(frozen=True)
class Shuffler:
    """Draws shuffles for some queries."""

    row_doc: Int64  # of each query, its document's number in the order of groups
    row_place: Int64  # and its number within the document
    first: Int64  # of each document, where its rows begin in ``rows``
    size: Int64  # and how many there are
    group: Int64  # ascending
    rows: Int64  # the queries in the order of groups and documents

    @classmethod
    def of(cls, queries: Placed) -> "Shuffler":
        """Exchanges patterns among documents of one length bucket."""
        return cls._build(queries, queries.length + 1)

    @classmethod
    def within_documents(cls, queries: Placed) -> "Shuffler":
        """Turns each document's places round among its own queries; needs no fit of levels."""
        return cls._build(queries, queries.cluster)

    @classmethod
    def _build(cls, queries: Placed, strata: Int64) -> "Shuffler":
        # A document that answers queries of two strata (in a collection of several parts) is two documents here.
        unit = np.unique(queries.cluster * (int(strata.max(initial=0)) + 1) + strata, return_inverse=True)[1]
        size = np.bincount(unit)
        group_of_row = strata * (int(size.max(initial=0)) + 1) + size[unit]
        rows = np.lexsort((unit, group_of_row)).astype(np.int64)
        starts = np.flatnonzero(np.diff(unit[rows], prepend=-1))
        sizes = np.diff(starts, append=len(rows))
        row_doc, row_place = np.empty_like(rows), np.empty_like(rows)
        row_doc[rows] = np.repeat(np.arange(len(starts)), sizes)
        row_place[rows] = np.arange(len(rows)) - np.repeat(starts, sizes)
        group = np.unique(group_of_row[rows[starts]], return_inverse=True)[1]
        return cls(row_doc, row_place, starts, sizes, group.astype(np.int64), rows)

    @property
    def movable(self) -> float:
        """The share of queries that a shuffle can move at all."""
        alone = (np.bincount(self.group)[self.group] == 1) & (self.size == 1)
        return 1.0 - float(alone[self.row_doc].mean()) if len(self.rows) else 0.0

    def map(self, function: Callable[[NDArray[np.int64]], Float64], shuffles: int = SHUFFLES, seed: int = 0) -> Float64:
        """``function`` of each shuffle: float64[shuffles, ...].

        Args:
            function: takes int64[Q], for each query the query whose place it gets, and returns an array.
            shuffles: how many.
            seed: of the random generator.
        """
        seeds = np.random.SeedSequence(seed).spawn(-(-shuffles // _BLOCK))
        sizes = [min(_BLOCK, shuffles - first) for first in range(0, shuffles, _BLOCK)]

        def block(task: tuple[np.random.SeedSequence, int]) -> list[Float64]:
            return [function(source) for source in self._draw(np.random.default_rng(task[0]), task[1])]

        with ThreadPoolExecutor(2 if len(self.rows) > 5000 else 1) as pool:
            return np.array([row for rows in pool.map(block, zip(seeds, sizes, strict=True)) for row in rows])

    def _draw(self, rng: np.random.Generator, count: int) -> Iterator[NDArray[np.int64]]:
        for _ in range(count):
            other = np.argsort(rng.random(len(self.group)) + self.group)
            turn = (rng.random(len(self.size)) * self.size).astype(np.int64)
            place = self.row_place + turn[self.row_doc]
            size = self.size[self.row_doc]
            np.subtract(place, size, out=place, where=place >= size)
            yield self.rows[self.first[other][self.row_doc] + place]
