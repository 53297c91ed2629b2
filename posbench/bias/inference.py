"""Tells bias from noise: PSI against its null, a signed index, the shape of the curve, and bias against length.

Notation: s is a query's score, x the relative place of its evidence; u is (x - 1/2)^2 less what a line in x explains of
it; m the mean score. Slopes are those of least squares on x, u and a level for each domain and length bucket. All tests
shuffle places (``shuffle``).

Signed index = slope / (2 m), with the slope of s on x. For a straight line it is
(s(1) - s(0)) / (s(1) + s(0)): -1 if only evidence at the start is found (primacy), +1 if only at the end (recency).
Edge index = c / (8 m), with the coefficient c of s on u: half the difference between ends and middle of the fitted
parabola, relative to the mean; positive if evidence at the edges is found better, negative if in the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench import stats
from posbench.bias import posir
from posbench.bias.placed import LENGTHS, MIN_QUERIES, Placed
from posbench.bias.shuffle import SHUFFLES, Levels, Shuffler
from posbench.types import Float64, Int64

BINS = posir.POSITION_BINS
FLAT = 0.05
"""An index between -FLAT and FLAT is too small to matter: a line that changes by less than a tenth of the mean."""
_GROUPS = ("all", *LENGTHS)


@dataclass(frozen=True)
class _Design:
    """What the statistics need of each query, computed once; shuffles only index it."""

    level: Float64  # of the score, which stays where it is
    score: Float64  # less its level
    place: Float64  # less its level
    line: Float64  # the place without what a bend explains of it
    bend: Float64  # u less its level
    bins: Int64
    row: Int64  # 0 where the length is unknown, else 1 + bucket
    longer: Float64  # log2 tokens, centred with the weights of place^2; 0 where unknown
    left: Float64  # score less the fitted line, for the test of length

    @classmethod
    def of(cls, queries: Placed) -> "_Design":
        score, place = Levels.of(queries, queries.score), Levels.of(queries, queries.relative).rest
        square = Levels.of(queries, (queries.relative - 0.5) ** 2).rest
        line, bend = without(place, square), without(square, place)
        longer = np.where(queries.tokens > 0, np.log2(np.maximum(queries.tokens, 1)), np.nan)
        weight = np.where(np.isnan(longer), 0.0, place**2)
        centre = float(np.nansum(weight * longer) / weight.sum()) if weight.sum() else 0.0
        longer = np.nan_to_num(longer - centre)
        bins = queries.bins(BINS)
        left = without(score.rest, place)
        return cls(score.fitted, score.rest, place, line, bend, bins, queries.length + 1, longer, left)

    @property
    def levels(self) -> Float64:
        """What levels alone add to each cell: float64[100]."""
        return np.asarray(np.bincount(self.row * BINS + self.bins, self.level, 5 * BINS), np.float64)

    def statistics(self, source: NDArray[np.int64]) -> Float64:
        """One row: 5 x 20 cell sums by length without levels, 5 line sums, 5 bend sums, then the length statistic."""
        place, bend = self.place[source], self.bend[source]
        cells = np.bincount(self.row * BINS + self.bins[source], self.score, 5 * BINS)
        lines = np.bincount(self.row, self.line[source] * self.score, 5)
        bends = np.bincount(self.row, bend * self.score, 5)
        product = without(place * self.longer, place)
        scale = float(product @ product)
        length = float(product @ self.left) / np.sqrt(scale) if scale > 0 else 0.0
        return np.concatenate([cells, lines, bends, [length]])


def without(values: Float64, other: Float64) -> Float64:
    """Values float64[Q] less their least-squares multiple of the other."""
    power = float(other @ other)
    return values - other * (float(values @ other) / power) if power > 0 else values


@dataclass(frozen=True)
class Shuffled:
    """The statistics as seen and under shuffles, by length: index 0 is all lengths together, then Q1..Q4.

    ``cells`` float64[5, 20] sums of scores and ``null_cells`` float64[B, 5, 20]; ``counts`` int64[5, 20]; ``line``,
    ``bend`` float64[5] with their nulls float64[B, 5]; ``length`` the statistic of bias against length.
    """

    counts: Int64
    cells: Float64
    null_cells: Float64
    line: Float64
    null_line: Float64
    bend: Float64
    null_bend: Float64
    length: float
    null_length: Float64

    @classmethod
    def of(cls, queries: Placed, shuffler: Shuffler, shuffles: int, seed: int) -> "Shuffled":
        """Computes all of them in one pass over the shuffles."""
        design = _Design.of(queries)
        # Slopes are free of levels; fitting these took from the rest what the null gets back. Cells hold the levels.
        wider = np.concatenate([np.ones(5 * BINS), np.full(11, _freed(queries))])
        levels = np.concatenate([design.levels, np.zeros(11)])
        seen = _by_length(levels + design.statistics(np.arange(len(queries.score)))[None])
        null = _by_length(levels + wider * shuffler.map(design.statistics, shuffles, seed))
        counts = posir.cell_counts(queries)
        return cls(counts, seen[0][0], null[0], seen[1][0], null[1], seen[2][0], null[2], float(seen[3][0]), null[3])

    def psi(self, group: int) -> tuple[float, Float64]:
        """PSI of a length group as seen, and under the shuffles: float64[B]."""
        n = self.counts[group]
        seen, null = (
            np.where(n > 0, cells / np.maximum(n, 1), np.nan)
            for cells in (self.cells[group], self.null_cells[:, group])
        )
        return float(posir.psi(seen)), posir.psi(null)


def _freed(queries: Placed) -> float:
    n = len(queries.score)
    return float(np.sqrt(n / max(1, n - Levels.count(queries) - 1)))


def _by_length(rows: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """Splits rows of statistics; all lengths (unknown ones too) become the first group."""
    cells = rows[:, : 5 * BINS].reshape(-1, 5, BINS)
    lines, bends = rows[:, 5 * BINS : 5 * BINS + 5], rows[:, 5 * BINS + 5 : 5 * BINS + 10]
    whole = [np.concatenate([part.sum(1, keepdims=True), part[:, 1:]], axis=1) for part in (cells, lines, bends)]
    return whole[0], whole[1], whole[2], rows[:, -1]


def analyse(queries: Placed, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any]:
    """All tests of one ranker's scores.

    Returns:
        A JSON-serialisable dict: ``psi`` and ``signed`` by length group (all, Q1..Q4; None where too few queries),
        ``edges`` of all lengths, ``shape`` (flat, primacy, recency, middle, edges or undecided), ``length`` (does the
        bias change with length), ``shuffles`` and ``movable`` (the share of queries that a shuffle can move). p-values
        are two-sided but PSI's; ``p_holm`` is corrected for its family: the length groups of one figure.
    """
    shuffler = Shuffler.of(queries)
    found = Shuffled.of(queries, shuffler, shuffles, seed)
    indices = _index_intervals(queries, seed)
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
        "shuffles": shuffles,
        "movable": shuffler.movable,
    }


def two_sided(seen: float, null: Float64) -> float:
    """The share of |null| at or above |seen|, both counted among themselves: (b + 1) / (B + 1)."""
    return float((np.count_nonzero(np.abs(null) >= abs(seen) * (1 - 1e-12)) + 1) / (len(null) + 1))


def one_sided(seen: float, null: Float64) -> float:
    """The share of null at or above seen: (b + 1) / (B + 1)."""
    return float((np.count_nonzero(null >= seen * (1 - 1e-12)) + 1) / (len(null) + 1))


def _correct(figures: Sequence[dict[str, Any] | None]) -> None:
    """Adds Holm's p-values over the figures that are not withheld."""
    some = [figure for figure in figures if figure is not None]
    for figure, p in zip(some, stats.holm([figure["p"] for figure in some]), strict=True):
        figure["p_holm"] = p


def _psi(found: Shuffled, group: int) -> dict[str, Any] | None:
    """PSI against its null, or None where a bin has too few queries or the largest mean is 0."""
    counts = found.counts[group]
    used = counts[counts > 0]
    seen, null = found.psi(group)
    if len(used) < 2 or used.min() < MIN_QUERIES or np.isnan(seen) or np.isnan(null).any():
        return None
    return {
        "value": seen,
        "null_mean": float(null.mean()),
        "null_95": float(np.quantile(null, 0.95)),
        "p": one_sided(seen, null),
        "debiased": _debiased(seen, null),
        "interval": _psi_interval(found, group, seen),
        "queries": int(counts.sum()),
        "smallest_bin": int(used.min()),
        "bins": len(used),
    }


def _debiased(seen: float, null: Float64) -> float:
    """PSI without what noise adds to it: sign(d) sqrt |d| with d = PSI^2 - c^2.

    Noise and bias add up about as squares do. c is set so that the mean of this figure over the null is 0, so it is
    neither cut at zero nor biased there; simulations (benchmarks/bias.py) show how close it comes elsewhere. Taking the
    null's mean away instead would halve a PSI of .15 at 150 queries a bin.
    """

    def without(values: Float64, c: float) -> Float64:
        d = values**2 - c**2
        return np.asarray(np.sign(d) * np.sqrt(np.abs(d)))

    low, high = float(null.min()), float(null.max())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if without(null, middle).mean() > 0 else (low, middle)
    return float(without(np.array([seen]), (low + high) / 2)[0])


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
    grid = np.linspace(0.0, 0.995, 200)
    low, high = np.empty(len(grid)), np.empty(len(grid))
    for i, t in enumerate(grid):
        shape = 1 - t * curve
        null = posir.psi(mean * shape / np.average(shape, weights=n[used]) + noise)
        low[i], high[i] = np.quantile(null, [0.025, 0.975 if t else 0.95])
    kept = np.flatnonzero((low <= seen) & (seen <= high))
    if not len(kept):
        nearest = float(grid[np.argmin(np.abs((low + high) / 2 - seen))])
        return [nearest, nearest]
    return [float(grid[kept[0]]), float(grid[kept[-1]])]


def _fitted(bins: Int64, means: Float64, counts: Int64) -> Float64:
    """A parabola through bin means, turned so that its largest value is 0 and its smallest 1."""
    x = (bins + 0.5) / BINS
    curve = np.polyval(np.polyfit(x, means, min(2, len(x) - 1), w=np.sqrt(counts)), x)
    spread = float(curve.max() - curve.min())
    return np.asarray((curve.max() - curve) / spread if spread > 0 else np.linspace(0, 1, len(x)))


def _index_intervals(queries: Placed, seed: int) -> dict[str, Any]:
    """The indices and their intervals: documents resampled within domains."""
    design = _Design.of(queries)
    one = np.ones(len(design.score))
    parts = [design.line * design.score, design.line**2, queries.score, one, design.bend * design.score, design.bend**2]
    groups = [one > 0] + [design.row == k for k in range(1, 5)]
    columns = np.stack([np.where(group, part, 0.0) for group in groups for part in parts], axis=1)
    seen = columns.sum(0)[None]
    resampled = stats.replicate_sums(columns, queries.cluster, queries.stratum, seed=seed)
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
    """The signed index of a length group, or None with too few queries or all at one place."""
    figure, n = indices["signed"][group], indices["counts"][group]
    if n < 2 * MIN_QUERIES or np.isnan(figure["value"]) or np.count_nonzero(found.counts[group]) < 2:
        return None
    return {**figure, "p": two_sided(found.line[group], found.null_line[:, group]), "queries": n}


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
