"""Tells bias from noise: PSI against its null, a signed index, the shape of the curve, and bias against length.

Notation: s is a query's score, x the relative place of its evidence; u is (x - 1/2)^2 less what a line in x explains of
it; m the mean score. Slopes are those of least squares on x, u and a level for each domain and length bucket. All tests
shuffle places (``shuffle``).

Signed index = slope / (2 m), with the slope of s on x. For a straight line it is (s(1) - s(0)) / (s(1) + s(0)): -1 if
scores fall to 0 at the end (primacy), +1 if they rise from 0 (recency). Steps and spikes reach +-3, all at one end.
Edge index = c / (8 m), with the coefficient c of s on u: half the difference between ends and middle of the fitted
parabola, relative to the mean; positive if evidence at the edges is found better, negative if in the middle.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias.placed import LENGTHS, MIN_QUERIES, Placed
from posbench.bias.psi import figure as psi_figure
from posbench.bias.shuffle import SHUFFLES, Shuffler, two_sided
from posbench.bias.shuffled import Design, Shuffled, freed
from posbench.types import Float64

FLAT = 0.05
"""An index between -FLAT and FLAT is too small to matter: a line that changes by less than a tenth of the mean."""
_GROUPS = ("all", *LENGTHS)


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
    psi = {name: psi_figure(found, group) for group, name in enumerate(_GROUPS)}
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


def _index_intervals(queries: Placed, draws: stats.Bootstrap) -> dict[str, Any]:
    """The indices and their intervals: documents resampled within domains."""
    design, length = Design.of(queries), queries.length
    one = np.ones(len(length))
    parts = [design.line * design.score, design.line**2, queries.score, one, design.bend * design.score, design.bend**2]
    groups = [one > 0] + [length == k for k in range(len(LENGTHS))]
    columns = np.stack([np.where(group, part, 0.0) for group in groups for part in parts], axis=1)
    seen = columns.sum(0)[None]
    resampled = draws.sums(columns)
    wider = freed(queries)
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
