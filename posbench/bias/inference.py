"""Tells bias from noise: PSI against its null, a signed index, the shape of the curve, and bias against length.

Notation: s is a query's score, x the relative place of its evidence; u is (x - 1/2)^2 less what a line in x explains of
it; m the mean score. Slopes are those of least squares on x, u and a level for each domain and length bucket. All tests
shuffle places (``shuffle``).

Signed index = slope / (2 m), with the slope of s on x. For a straight line it is (s(1) - s(0)) / (s(1) + s(0)): -1 if
scores fall to 0 at the end (primacy), +1 if they rise from 0 (recency). Steps and spikes reach +-3, all at one end.
Edge index = c / (8 m), with the coefficient c of s on u: half the difference between ends and middle of the fitted
parabola, relative to the mean; positive if evidence at the edges is found better, negative if in the middle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posbench import stats
from posbench.bias import posir
from posbench.bias.levels import Levels
from posbench.bias.offsets import Steps
from posbench.bias.placed import LENGTHS, MIN_QUERIES, Placed
from posbench.bias.shuffle import SHUFFLES, Shuffler, one_sided, two_sided, without
from posbench.types import Float64, Int64

BINS = posir.POSITION_BINS
FLAT = 0.05
"""An index between -FLAT and FLAT is too small to matter: a line that changes by less than a tenth of the mean."""
_GROUPS = ("all", *LENGTHS)
_STEP = 2.0**-12  # to which PSI's interval is searched


@dataclass(frozen=True)
class _Design:
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
    def of(cls, queries: Placed) -> "_Design":
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
        shuffler, design = Shuffler.of(queries), _Design.of(queries)
        drop = steps.largest_drop if steps is not None else lambda source: 0.0
        shuffled = shuffler.map(lambda source: np.append(design.statistics(source), drop(source)), shuffles, seed)
        # Slopes are free of levels; fitting these took from the rest what the null gets back. Cells hold the levels.
        wider = np.concatenate([np.ones(5 * BINS), np.full(11, _freed(queries))])
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


def _freed(queries: Placed) -> float:
    n = len(queries.score)
    return float(np.sqrt(n / max(1, n - Levels.of(queries).count - 1)))


def _by_length(rows: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Splits rows of statistics; all lengths (unknown ones too) become the first group."""
    cells = rows[:, : 5 * BINS].reshape(-1, 5, BINS)
    lines, bends = rows[:, 5 * BINS : 5 * BINS + 5], rows[:, 5 * BINS + 5 : 5 * BINS + 10]
    whole = [np.concatenate([part.sum(1, keepdims=True), part[:, 1:]], axis=1) for part in (cells, lines, bends)]
    return whole[0], whole[1], whole[2], rows[:, -1]


def analyse(
    queries: Placed,
    found: Shuffled | None = None,
    draws: stats.Bootstrap | None = None,
    *,
    seed: int = 0,
    shuffles: int = SHUFFLES,
) -> dict[str, Any]:
    """All tests of one ranker's scores.

    Args:
        queries: the ranker's scores and places.
        found: the shuffled statistics of the same queries, where the caller has them already; then the queries stand
            in the order of ``Shuffler.ordered``.
        draws: resamples of the same queries in the same order, likewise.
        seed: of the random generators.
        shuffles: how many shuffles, and how many resamples.

    Returns:
        A JSON-serialisable dict: ``psi`` and ``signed`` by length group (all, Q1..Q4; None where too few queries),
        ``edges`` of all lengths, ``shape`` (flat, primacy, recency, middle, edges or undecided), ``length`` (does the
        bias change with length), ``shuffles`` and ``movable`` (the share of queries that a shuffle can move). p-values
        are two-sided but PSI's; ``p_holm`` is corrected for its family: the length groups of one figure.
    """
    if found is None:
        queries = Shuffler.ordered(queries)
        found = Shuffled.of(queries, shuffles=shuffles, seed=seed)
    indices = _index_intervals(queries, draws or stats.Bootstrap(queries.cluster, queries.stratum, shuffles, seed))
    psi = {name: _psi(found, group) for group, name in enumerate(_GROUPS)}
    signed = {name: _signed(found, indices, group) for group, name in enumerate(_GROUPS)}
    edges = None
    if signed["all"] is not None:
        edges = indices["edges"] | {"p": two_sided(found.bend[0], found.null_bend[:, 0])}
    _correct(list(psi.values()))
    _correct(list(signed.values()))
    return {
        "psi": psi,
        "signed": signed,
        "edges": edges,
        "shape": shape(signed["all"], edges),
        "length": _length(queries, found),
        "shuffles": len(found.null_length),
        "movable": found.movable,
    }


def _correct(figures: Sequence[dict[str, Any] | None]) -> None:
    """Adds Holm's p-values over the figures that are not withheld."""
    some = [figure for figure in figures if figure is not None]
    for figure, p in zip(some, stats.holm([figure["p"] for figure in some]), strict=True):
        figure["p_holm"] = p


def _psi(found: Shuffled, group: int) -> dict[str, Any] | None:
    """PSI against its null, or None where a bin has too few queries, few documents, or the largest mean is 0."""
    counts = found.counts[group]
    if found.documents[group] < MIN_QUERIES:
        return None
    used = counts[counts > 0]
    seen, null = found.psi(group)
    if len(used) < 2 or used.min() < MIN_QUERIES or np.isnan(seen) or np.isnan(null).any():
        return None
    noise = _noise(null)
    return {
        "value": seen,
        "null_mean": float(null.mean()),
        "null_95": float(np.quantile(null, 0.95)),
        "p": one_sided(seen, null),
        "noise": noise,
        "debiased": float(debiased(seen, noise)),
        "interval": _psi_interval(found, group, seen),
        "queries": int(counts.sum()),
        "documents": int(found.documents[group]),
        "smallest_bin": int(used.min()),
        "bins": len(used),
    }


def debiased(value: ArrayLike, noise: ArrayLike) -> Float64:
    """PSI without what noise adds to it: sign(d) sqrt |d| with d = PSI^2 - c^2, where c is the noise.

    Noise and bias add up about as squares do. Taking the null's mean away instead would halve a PSI of .15 at 150
    queries a bin.
    """
    d = np.square(value) - np.square(noise)
    return np.asarray(np.sign(d) * np.sqrt(np.abs(d)), np.float64)


def _noise(null: Float64) -> float:
    """The c with which the debiased PSI has mean 0 over the null: then it is neither cut at zero nor biased there.

    Simulations (benchmarks/bias.py) show how close it comes elsewhere.
    """
    low, high = float(null.min()), float(null.max())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if debiased(null, middle).mean() > 0 else (low, middle)
    return (low + high) / 2


def _psi_interval(found: Shuffled, group: int, seen: float) -> list[float]:
    """95% interval of the PSI of the true means: the values that what was seen does not contradict.

    For a PSI of t, means of the fitted parabola's shape with that PSI are taken, the noise of the shuffles is added,
    and t is kept if the PSI seen lies in the middle 95% of what results (0 is kept up to the null's 95th percentile).
    """
    n = found.counts[group]
    used = n > 0
    mean = float(found.cells[group].sum() / n.sum())
    noise = found.null_cells[:, group][:, used] / n[used] - mean
    curve = _fitted(np.flatnonzero(used), found.cells[group][used] / n[used], n[used])

    def share_below(t: float) -> float:
        """How much of the PSI that a true PSI of t gives lies below what was seen."""
        shape = 1 - t * curve
        given = posir.psi(mean * shape / np.average(shape, weights=n[used]) + noise)
        return float((np.count_nonzero(given < seen) + 0.5 * np.count_nonzero(given == seen)) / len(given))

    least = 0.0 if share_below(0.0) <= 0.95 else _STEP
    return [max(least, _first(share_below, 0.975)), _first(share_below, 0.025)]


def _first(share_below: Callable[[float], float], level: float) -> float:
    """The smallest t in [0, 1) at which the share, which falls with t, is at or below the level."""
    low, high = 0.0, 1.0
    if share_below(0.0) <= level:
        return 0.0
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if share_below(middle) > level else (low, middle)
    return high


def _fitted(bins: Int64, means: Float64, counts: Int64) -> Float64:
    """A parabola through bin means, turned so that its largest value is 0 and its smallest 1."""
    x = (bins + 0.5) / BINS
    curve = np.polyval(np.polyfit(x, means, min(2, len(x) - 1), w=np.sqrt(counts)), x)
    spread = float(curve.max() - curve.min())
    return np.asarray((curve.max() - curve) / spread if spread > 0 else np.linspace(0, 1, len(x)))


def _index_intervals(queries: Placed, draws: stats.Bootstrap) -> dict[str, Any]:
    """The indices and their intervals: documents resampled within domains."""
    design, length = _Design.of(queries), queries.length
    one = np.ones(len(length))
    parts = [design.line * design.score, design.line**2, queries.score, one, design.bend * design.score, design.bend**2]
    groups = [one > 0] + [length == k for k in range(len(LENGTHS))]
    columns = np.stack([np.where(group, part, 0.0) for group in groups for part in parts], axis=1)
    seen = columns.sum(0)[None]
    resampled = draws.sums(columns)
    wider = _freed(queries)
    signed = _with_interval(_ratios(seen, 0, 1, 2.0), _ratios(resampled, 0, 1, 2.0), wider)
    edges = _with_interval(_ratios(seen, 4, 5, 8.0), _ratios(resampled, 4, 5, 8.0), wider)
    return {"signed": signed, "edges": edges[0], "counts": [int(group.sum()) for group in groups]}


def _ratios(rows: Float64, above: int, below: int, scale: float) -> Float64:
    """(sum of products / sum of squares) / (scale x mean score) by group: float64[B, 5]; NaN where undefined."""
    sums = rows.reshape(len(rows), 5, 6)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sums[:, :, above] / sums[:, :, below] / (scale * sums[:, :, 2] / sums[:, :, 3])
    return np.where(np.isfinite(value), value, np.nan)


def _with_interval(seen: Float64, resampled: Float64, wider: float) -> list[dict[str, Any]]:
    spread = seen + wider * (resampled - seen)
    low, high = stats.percentile_interval(spread)
    small_low, small_high = stats.percentile_interval(spread, 0.90)
    return [
        {"value": float(seen[0, k]), "interval": [float(low[k]), float(high[k])], "interval_90": [float(a), float(b)]}
        for k, (a, b) in enumerate(zip(small_low, small_high, strict=True))
    ]


def _signed(found: Shuffled, indices: dict[str, Any], group: int) -> dict[str, Any] | None:
    """The signed index of a length group, or None with too few queries or documents, or all at one place."""
    figure, n = indices["signed"][group], indices["counts"][group]
    if (
        n < 2 * MIN_QUERIES
        or found.documents[group] < MIN_QUERIES
        or np.isnan(figure["value"])
        or np.count_nonzero(found.counts[group]) < 2
    ):
        return None
    p = two_sided(found.line[group], found.null_line[:, group])
    return {**figure, "p": p, "queries": n, "documents": int(found.documents[group])}


def shape(line: dict[str, Any] | None, bend: dict[str, Any] | None, level: float = 0.05) -> str:
    """One word for the curve; line and bend are one family of two tests.

    Where the parabola's ends differ by more than ends and middle do, the line names the shape, else the bend. Without
    a significant test the curve is "flat" if the 90% intervals of both indices lie within +-FLAT (two one-sided tests
    at 5%), else "undecided".
    """
    if line is None or bend is None:
        return "undecided"
    p_line, p_bend = stats.holm([line["p"], bend["p"]])
    bent = p_bend < level and (p_line >= level or abs(bend["value"]) > abs(line["value"]))
    if bent:
        return "edges" if bend["value"] > 0 else "middle"
    if p_line < level:
        return "recency" if line["value"] > 0 else "primacy"
    small = all(-FLAT < value < FLAT for figure in (line, bend) for value in figure["interval_90"])
    return "flat" if small else "undecided"


def _length(queries: Placed, found: Shuffled) -> dict[str, Any] | None:
    """Does the slope change with the document's length: a p-value and a direction, or None where lengths are alike.

    The slope that all lengths share is taken out first (Freedman and Lane's permutation of residuals).
    """
    known = queries.tokens > 0
    if known.sum() < 2 * MIN_QUERIES or len(np.unique(queries.tokens[known])) < 2:
        return None
    toward = "recency" if found.length > 0 else "primacy"
    return {"toward_with_length": toward, "p": two_sided(found.length, found.null_length)}
