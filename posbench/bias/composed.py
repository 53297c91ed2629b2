"""Position bias in composed collections, paired within queries: difficulty cannot be taken for bias.

Each query's evidence stands at every position, so what is compared is a query with itself. Notation: s is a score, x
the share of the document's other text before the evidence (0 start, 1 end), u = (x - 1/2)^2 and m the mean score. Each
query has a slope and a bend, by least squares of s on 1, x and u over its positions; the signed index is the mean slope
/ (2 m) and the edge index the mean bend / (8 m), as ``inference`` defines them.

Queries whose evidence is from one document move together: tests permute the positions of a whole document's queries
alike, in all lengths at once, and divide a document's contributions by their root sum of squares, so that documents
that differ in slope (but not on average) are no bias either (studentised permutation, Chung and Romano 2013);
intervals resample source documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias import cuts, inference, mirrored
from posbench.bias.grid import Grid
from posbench.bias.placed import MIN_QUERIES
from posbench.bias.shuffle import SHUFFLES, one_sided, two_sided
from posbench.bias.words import SHAPES, p_value, signed_index
from posbench.types import Float64, Report

_CELLS = 1 << 21  # scores permuted at a time
_NOTHING = 1e-9  # what rounding leaves of scores that are the same everywhere
_WITHHELD: Mapping[str, Any] = {"signed": None, "edges": None, "range": None}
_STRAIGHT = {"value": 0.0, "p": 1.0, "interval_90": [0.0, 0.0]}  # two positions have no bend


def composed_report(report: Report, measure: str, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any] | None:
    """The paired analysis, or None for a report of queries that are not composed.

    Returns:
        For mirrored documents ``mirrored.analyse``, else ``analyse`` with ``cut``, the search for a truncation
        (``cuts.search``) and, where one is found, ``visible``: the tests of the
        lengths that it leaves whole, or of the positions before it. Both with ``verdict``, plain sentences.
    """
    grid = Grid.of(report, measure)
    if grid is None or len(grid.names) < 2:
        return None
    if grid.mirrored:
        found = mirrored.analyse(grid, seed=seed, shuffles=shuffles)
        return {"measure": measure, "method": "mirror", **found}
    method = report.queries["method"][0].as_py()
    return {"measure": measure, "method": method, **paired(grid, seed=seed, shuffles=shuffles)}


def paired(grid: Grid, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any]:
    """``analyse`` with the search for a truncation, what is left before it, and sentences; see ``composed_report``."""
    whole = analyse(grid, seed, shuffles)
    whole["cut"] = cuts.search(grid, seed=seed, shuffles=shuffles)
    whole["visible"] = None
    if whole["cut"] and whole["cut"]["called"] == "truncation":
        before = _before(grid, whole["cut"]["tokens"])
        whole["visible"] = analyse(before, seed, shuffles) if before is not None else None
    whole["verdict"] = _verdict(whole)
    return whole


def analyse(grid: Grid, seed: int = 0, shuffles: int = SHUFFLES, replicates: int = stats.REPLICATES) -> dict[str, Any]:
    """All figures of a grid.

    Returns:
        A JSON-serialisable dict: ``queries``, ``source_documents``, ``incomplete``, ``lengths``, ``positions``;
        ``curve`` (length, position, ``mean``, ``interval``, and ``difference`` from the same queries' mean over the
        positions with ``difference_interval``); ``tests`` by length ("all" first: the mean over lengths), each with
        ``signed``, ``edges``, ``range`` (largest less smallest mean, beside what noise gives) and ``shape``, None or
        "undecided" where too few queries; ``length`` (does the slope change with length). p-values are two-sided but
        the range's; ``p_holm`` is corrected over the length groups.
    """
    scores = _groups(grid)
    names = ["all", *grid.lengths][: scores.shape[1]]
    contrasts = slope_and_bend(grid.positions)
    resampled = _resampled(grid, scores, seed, replicates)
    permuted = _Permuted.of(grid, scores, contrasts, shuffles, seed)
    enough = len(grid.score) >= 2 * MIN_QUERIES and int(grid.cluster.max()) + 1 >= MIN_QUERIES
    tests = {}
    for n, name in enumerate(names):
        tests[name] = _tests(scores[:, n], resampled[:, n], permuted.group(n), contrasts) if enough else dict(_WITHHELD)
    figures = [test["signed"] for test in tests.values() if test["signed"] is not None]
    for figure, p in zip(figures, stats.holm([figure["p"] for figure in figures]), strict=True):
        figure["p_holm"] = p
    for test in tests.values():
        bend = test["edges"] or (_STRAIGHT if len(grid.names) == 2 else None)
        test["shape"] = inference.shape(test["signed"], bend)
    return {
        "queries": len(grid.score),
        "source_documents": int(grid.cluster.max()) + 1,
        "incomplete": grid.incomplete,
        "lengths": list(grid.lengths),
        "positions": grid.positions.tolist(),
        "curve": [cell for n, name in enumerate(names) for cell in _curve(name, grid, scores[:, n], resampled[:, n])],
        "tests": tests,
        "length": _length(grid, contrasts[0], shuffles, seed) if enough else None,
        "shuffles": shuffles,
    }


def _groups(grid: Grid) -> Float64:
    """float64[N, G, K]: the mean over lengths, then each length where there are several."""
    mean = grid.score.mean(axis=1, keepdims=True)
    return np.concatenate([mean, grid.score], axis=1) if len(grid.lengths) > 1 else mean


def slope_and_bend(positions: Float64) -> Float64:
    """What turns a query's scores into its slope and its bend: float64[2, K]; the bend is 0 with two positions."""
    columns = [np.ones(len(positions)), positions, (positions - 0.5) ** 2]
    found = np.linalg.pinv(np.stack(columns[: min(3, len(positions))], axis=1))[1:]
    return np.asarray(np.vstack([found, np.zeros((2 - len(found), len(positions)))]))


def _resampled(grid: Grid, scores: Float64, seed: int, replicates: int) -> Float64:
    """Mean curves under resampling of source documents within domains: float64[B, G, K]."""
    n, groups, places = scores.shape
    columns = np.column_stack([scores.reshape(n, -1), np.ones(n)])
    sums = stats.replicate_sums(columns, grid.cluster, grid.stratum, replicates=replicates, seed=seed)
    means = sums[:, :-1] / np.maximum(sums[:, -1:], 1e-12)
    return np.asarray(means.reshape(-1, groups, places))


@dataclass(frozen=True)
class _Permuted:
    """Statistics of slope, bend and range of the mean curve: as seen float64[3, G], permuted float64[3, B, G]."""

    seen: Float64
    null: Float64

    @classmethod
    def of(cls, grid: Grid, scores: Float64, contrasts: Float64, shuffles: int, seed: int) -> "_Permuted":
        """Permutes the positions of each source document's queries alike."""
        clusters = int(grid.cluster.max()) + 1
        sums = np.zeros((clusters, *scores.shape[1:]))
        np.add.at(sums, grid.cluster, scores)
        rng = np.random.default_rng(seed)
        step = max(1, _CELLS // sums.size)
        found = []
        for first in range(0, shuffles, step):
            rows = min(step, shuffles - first)
            order = np.argsort(rng.random((rows, clusters, 1, scores.shape[2])), axis=3)
            found.append(_statistics(np.take_along_axis(sums[None], order, axis=3), contrasts, len(scores)))
        return cls(_statistics(sums[None], contrasts, len(scores))[:, 0], np.concatenate(found, axis=1))

    def group(self, n: int) -> "_Permuted":
        """Those of one length group: float64[3] and float64[3, B]."""
        return _Permuted(self.seen[:, n], self.null[:, :, n])


def _statistics(sums: Float64, contrasts: Float64, queries: int) -> Float64:
    """Of sums of scores by document, float64[B, C, G, K]: float64[3, B, G]."""
    parts = sums @ contrasts.T
    total, power = parts.sum(axis=1), np.sqrt((parts**2).sum(axis=1))
    ratio = np.divide(total, power, out=np.zeros_like(total), where=power > _NOTHING)
    spread = np.ptp(sums.sum(axis=1), axis=2) / queries
    return np.stack([ratio[:, :, 0], ratio[:, :, 1], np.where(spread > _NOTHING, spread, 0.0)])


def _tests(scores: Float64, resampled: Float64, permuted: _Permuted, contrasts: Float64) -> dict[str, Any]:
    """The figures of one group: scores float64[N, K], mean curves float64[B, K]."""
    means = scores.mean(axis=0)
    found = dict(_WITHHELD)
    if means.mean() <= 0:
        return found
    for n, (name, scale) in enumerate((("signed", 2.0), ("edges", 8.0))):
        if contrasts[n].any():
            figure = _index(means, resampled, contrasts[n], scale)
            found[name] = figure | {"p": two_sided(permuted.seen[n], permuted.null[n])}
    spread, null = float(permuted.seen[2]), permuted.null[2]
    found["range"] = {"value": spread, "null_mean": float(null.mean()), "p": one_sided(spread, null)}
    return found


def _index(means: Float64, resampled: Float64, contrast: Float64, scale: float) -> dict[str, Any]:
    """A contrast of the mean curve over scale x its mean, with intervals; the contrast itself too."""
    many = resampled @ contrast
    level = scale * resampled.mean(axis=1)
    index = np.divide(many, level, out=np.full_like(many, np.nan), where=level > 0)
    low, high = stats.percentile_interval(np.stack([index, many], axis=1))
    small, large = stats.percentile_interval(index[:, None], 0.90)
    value = float(means @ contrast)
    return {
        "value": value / (scale * float(means.mean())),
        "interval": [float(low[0]), float(high[0])],
        "interval_90": [float(small[0]), float(large[0])],
        "slope": value,
        "slope_interval": [float(low[1]), float(high[1])],
    }


def _curve(name: str, grid: Grid, scores: Float64, resampled: Float64) -> list[dict[str, Any]]:
    """Mean by position of one group, and its paired difference from the same queries' mean over positions."""
    means = scores.mean(axis=0)
    low, high = stats.percentile_interval(resampled)
    differences = resampled - resampled.mean(axis=1, keepdims=True)
    below, above = stats.percentile_interval(differences)
    return [
        {
            "length": name,
            "position": float(position),
            "queries": len(scores),
            "mean": float(means[k]),
            "interval": [float(low[k]), float(high[k])],
            "difference": float(means[k] - means.mean()),
            "difference_interval": [float(below[k]), float(above[k])],
        }
        for k, position in enumerate(grid.positions)
    ]


def _length(grid: Grid, contrast: Float64, shuffles: int, seed: int) -> dict[str, Any] | None:
    """Does the slope change with length: a p-value and a direction, or None where there is one length.

    Each document contributes its slopes weighted by the centred log of the length; under no change these are as likely
    positive as negative, so their signs are flipped at random.
    """
    if len(grid.lengths) < 2:
        return None
    longer = np.log2(np.maximum(grid.tokens.mean(axis=(0, 2)), 1.0))
    slopes = grid.score @ contrast
    parts = np.bincount(grid.cluster, slopes @ (longer - longer.mean()))
    parts[np.abs(parts) < _NOTHING] = 0.0
    signs = np.random.default_rng([seed, 1]).choice([-1.0, 1.0], (shuffles, len(parts)))
    seen = float(parts.sum())
    return {
        "toward_with_length": "recency" if seen > 0 else "primacy",
        "p": two_sided(seen, signs @ parts),
    }


def _before(grid: Grid, limit: float) -> Grid | None:
    """The lengths that a cut leaves whole, else the positions before it at every length; None where fewer than two."""
    offset = grid.relative * grid.tokens
    beyond = (offset > limit).mean(axis=0) >= 0.5
    whole = np.flatnonzero(~beyond.any(axis=1))
    if len(whole):
        return grid.at(whole, np.arange(len(grid.names)))
    seen = np.flatnonzero(~beyond.any(axis=0))
    return grid.at(np.arange(len(grid.lengths)), seen) if len(seen) > 1 else None


def _verdict(whole: Mapping[str, Any]) -> list[str]:
    """What the figures say, in plain sentences."""
    cut, tests = whole["cut"], whole["tests"]["all"]
    if cut is None or cut["called"] != "truncation":
        found = [f"paired over positions: {SHAPES[tests['shape']]}{signed_index(tests['signed'])}"]
        if cut and cut["called"] == "undecided" and tests["shape"] == "primacy":
            found.append(f"a cut at about {cut['tokens']:,} tokens would explain it about as well")
        length = whole["length"]
        if length and length["p"] < 0.05:
            found.append(
                f"the longer the document, the more toward {length['toward_with_length']} ({p_value(length['p'])})"
            )
        return found
    low, high = cut["between"]
    found = [f"paired over positions: truncation between {low:,} and {high:,} tokens from the start"]
    visible = whole["visible"]
    if visible is not None:
        where = f"lengths {', '.join(visible['lengths'])}" if visible["lengths"] else "the rest"
        part = visible["tests"]["all"]
        found.append(f"before the cut ({where}): {SHAPES[part['shape']]}{signed_index(part['signed'])}")
    return found
