"""The statistics that the tests of bias rest on, as seen and under shuffles of places, all in one pass.

Notation and formulas: see ``inference``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench.bias import posir
from posbench.bias.levels import Levels
from posbench.bias.offsets import Steps
from posbench.bias.placed import LENGTHS, Placed
from posbench.bias.shuffle import SHUFFLES, Shuffler, without
from posbench.types import Float64, Int64

BINS = posir.POSITION_BINS


@dataclass(frozen=True)
class Design:
    """What the statistics need of each query, computed once; queries stand in a shuffler's order.

    All statistics are sums of products of what stays (score, length) and what moves (place), so one small matrix
    product a length bucket gives them.
    """

    level: Float64  # of the score, which stays where it is
    score: Float64  # less its level
    line: Float64  # the place without what a bend explains of it
    bend: Float64  # u less its level, without what the place explains of it
    cell: Int64  # 20 x row + position bin, where row is 0 for an unknown length, else 1 + bucket
    stays: Float64  # [5, Q]: score, score less the fitted line, that x longer, longer, longer^2
    moves: Float64  # [Q, 4]: line, bend, place less its level, its square
    segments: tuple[tuple[int, slice], ...]  # the rows, which stand one behind the other

    @classmethod
    def of(cls, queries: Placed) -> "Design":
        """Takes the levels out and fits line and bend."""
        levels = Levels.of(queries)
        fitted, place = levels.fitted(queries.score), levels.without(queries.relative)
        score, square = queries.score - fitted, levels.without((queries.relative - 0.5) ** 2)
        line, bend = without(place, square), without(square, place)
        longer, left = _longer(queries, place), without(score, place)
        row = queries.length + 1
        found, starts = np.unique(row, return_index=True)
        ends = [*starts[1:].tolist(), len(row)]
        segments = tuple((int(k), slice(int(a), b)) for k, a, b in zip(found, starts, ends, strict=True))
        stays = np.stack([score, left, left * longer, longer, longer**2])
        moves = np.stack([line, bend, place, place**2], axis=1)
        cell = row * BINS + queries.bins(BINS)
        return cls(fitted, score, line, bend, cell, stays, moves, segments)

    @property
    def levels(self) -> Float64:
        """What levels alone add to each cell: float64[100]."""
        return np.asarray(np.bincount(self.cell, self.level, 5 * BINS), np.float64)

    def statistics(self, source: NDArray[np.int64]) -> Float64:
        """One row: 5 x 20 cell sums by length without levels, 5 line sums, 5 bend sums, then the length statistic."""
        cells = np.bincount(self.cell.take(source), self.score, 5 * BINS)
        moved = self.moves.take(source, 0)
        products = np.zeros((5, 5, 4))
        for row, segment in self.segments:
            products[row] = self.stays[:, segment] @ moved[segment]
        whole = products.sum(0)
        return np.concatenate([cells, products[:, 0, 0], products[:, 0, 1], [self._length(whole)]])

    def _length(self, products: Float64) -> float:
        """The score's dependence on place x longer, less what the place alone explains, in standard errors x sigma."""
        power = float(self.moves[:, 3].sum())
        shared, scale = products[3, 3], products[4, 3]
        spread = scale - shared**2 / power if power > 0 else 0.0
        return float((products[2, 2] - shared / power * products[1, 2]) / np.sqrt(spread)) if spread > 0 else 0.0


def _longer(queries: Placed, place: Float64) -> Float64:
    """log2 tokens, centred with the weights of place^2; 0 where unknown."""
    longer = np.where(queries.tokens > 0, np.log2(np.maximum(queries.tokens, 1)), np.nan)
    weight = np.where(np.isnan(longer), 0.0, place**2)
    centre = float(np.nansum(weight * longer) / weight.sum()) if weight.sum() else 0.0
    return np.nan_to_num(longer - centre)


@dataclass(frozen=True)
class Shuffled:
    """The statistics as seen and under shuffles, by length: index 0 is all lengths together, then Q1..Q4.

    ``counts`` int64[5, 20] of queries, ``documents`` int64[5]; ``cells`` float64[5, 20] sums of scores, ``null_cells``
    float64[B, 5, 20]; ``line``, ``bend`` float64[5] with their nulls float64[B, 5]; ``length`` the statistic of bias
    against length; ``movable`` the share of queries that a shuffle can move; ``null_drop`` float64[B], the largest step
    (``offsets.Steps``).
    """

    counts: Int64
    documents: Int64
    cells: Float64
    null_cells: Float64
    line: Float64
    null_line: Float64
    bend: Float64
    null_bend: Float64
    length: float
    null_length: Float64
    movable: float
    null_drop: Float64

    @classmethod
    def of(cls, queries: Placed, steps: Steps | None = None, *, shuffles: int = SHUFFLES, seed: int = 0) -> "Shuffled":
        """Computes all of them in one pass over the shuffles; queries stand in the order of ``Shuffler.ordered``."""
        shuffler, design = Shuffler.of(queries), Design.of(queries)
        drop = steps.largest_drop if steps is not None else lambda source: 0.0
        shuffled = shuffler.map(lambda source: np.append(design.statistics(source), drop(source)), shuffles, seed)
        # Slopes are free of levels; fitting these took from the rest what the null gets back. Cells hold the levels.
        wider = np.concatenate([np.ones(5 * BINS), np.full(11, freed(queries))])
        levels = np.concatenate([design.levels, np.zeros(11)])
        seen = _by_length(levels + design.statistics(np.arange(len(queries.score)))[None])
        null = _by_length(levels + wider * shuffled[:, :-1])
        tested = (seen[0][0], null[0], seen[1][0], null[1], seen[2][0], null[2], float(seen[3][0]), null[3])
        return cls(posir.cell_counts(queries), _documents(queries), *tested, shuffler.movable, shuffled[:, -1])

    def psi(self, group: int) -> tuple[float, Float64]:
        """PSI of a length group as seen, and under the shuffles: float64[B]."""
        n = self.counts[group]
        seen, null = (
            np.where(n > 0, cells / np.maximum(n, 1), np.nan)
            for cells in (self.cells[group], self.null_cells[:, group])
        )
        return float(posir.psi(seen)), posir.psi(null)


def _documents(queries: Placed) -> Int64:
    """Documents of all lengths and of each: int64[5]."""
    members = [np.ones(len(queries.score), bool), *(queries.length == k for k in range(len(LENGTHS)))]
    return np.array([len(np.unique(queries.cluster[member])) for member in members], np.int64)


def freed(queries: Placed) -> float:
    """What fitting levels and a slope takes from a spread, as a factor: sqrt(n / (n - levels - 1))."""
    n = len(queries.score)
    return float(np.sqrt(n / max(1, n - Levels.of(queries).count - 1)))


def _by_length(rows: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Splits rows of statistics; all lengths (unknown ones too) become the first group."""
    cells = rows[:, : 5 * BINS].reshape(-1, 5, BINS)
    lines, bends = rows[:, 5 * BINS : 5 * BINS + 5], rows[:, 5 * BINS + 5 : 5 * BINS + 10]
    whole = [np.concatenate([part.sum(1, keepdims=True), part[:, 1:]], axis=1) for part in (cells, lines, bends)]
    return whole[0], whole[1], whole[2], rows[:, -1]
