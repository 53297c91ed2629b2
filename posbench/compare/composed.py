"""Position bias compared on composed collections: each ranker's slope is a mean of slopes within queries.

The signed index is sum(slope) / (2 sum(mean)) over queries, as ``bias.composed`` has it. A document's contribution to
it (its influence) is (slope / 2 - index x mean) / sum(mean); what the test flips is that of one ranker less that of the
other, as ``places`` does for collections that are not composed, and with the same null: the two indices are equal.
"""

from itertools import combinations
from typing import Any

import numpy as np

from posbench import paired, stats
from posbench.bias import composed
from posbench.bias.grid import Grid
from posbench.compare import places
from posbench.compare.align import Aligned
from posbench.compare.scores import add_p

_NOTHING = 1e-12  # what rounding leaves of slopes that are 0


def compare_composed(aligned: Aligned, measure: str, *, seed: int = 0, flips: int = 0) -> dict[str, Any] | None:
    """The signed index of each ranker and the difference of each pair; None where documents are not composed.

    The form is ``table.compare_bias``'s, with ``composed`` True, all lengths together and no PSI.
    """
    grids = [Grid.of(report, measure) for report in aligned.reports]
    known = [grid for grid in grids if grid is not None and not grid.mirrored]
    if len(known) < len(grids):
        return None
    figures = _indices(known, seed, flips or paired.flips_for(len(known) * (len(known) - 1) // 2))
    low, high = stats.percentile_interval(figures.resampled[:, :, 0])
    rankers = []
    for r, grid in enumerate(known):
        shape = composed.analyse(grid, seed)["tests"]["all"]["shape"]
        index = {"value": float(figures.values[r, 0]), "interval": [float(low[r]), float(high[r])]}
        name = aligned.names[r]
        rankers.append({"name": name, "shape": shape, "index": {"all": index}, "psi": {"all": None}, "rank": None})
    pairs, rows, p_values = [], [], []
    for a, b in combinations(range(len(known)), 2):
        between = figures.resampled[:, a] - figures.resampled[:, b]
        lowest, highest = stats.percentile_interval(between)
        difference = float(figures.values[a, 0] - figures.values[b, 0])
        rows.append({"difference": difference, "interval": [float(lowest[0]), float(highest[0])]})
        p_values.append(float(figures.p[a, b, 0]))
        nothing = dict.fromkeys(places.GROUPS)
        both = {"index": {**nothing, "all": rows[-1]}, "psi": nothing}
        pairs.append({"first": aligned.names[a], "second": aligned.names[b], **both})
    add_p(rows, p_values)
    return {"measure": measure, "queries": len(known[0].score), "composed": True, "rankers": rankers, "pairs": pairs}


def _indices(grids: list[Grid], seed: int, flips: int) -> places.Figures:
    """The index of each ranker, all lengths together (one group)."""
    first, rankers = grids[0], len(grids)
    contrast = composed.slope_and_bend(first.positions)[0]
    curves = [grid.score.mean(axis=1) for grid in grids]
    slopes = np.stack([curve @ contrast for curve in curves], axis=1)
    levels = np.stack([curve.mean(axis=1) for curve in curves], axis=1)
    sums = stats.Bootstrap(first.cluster, first.stratum, seed=seed).sums(np.hstack([slopes, levels]))
    seen, drawn = (_ratio(x[:, :rankers], x[:, rankers:]) for x in (np.hstack([slopes, levels]).sum(0)[None], sums))
    total = np.maximum(levels.sum(axis=0), 1e-12)
    influence = paired.cluster_sums((slopes / 2 - seen[0] * levels) / total, first.cluster)
    influence[np.abs(influence) < _NOTHING] = 0.0
    null = paired.flip_sums(influence, flips, seed)
    p = places.pairwise(seen[0][:, None], null[:, :, None])
    return places.Figures(seen[0][:, None], drawn[:, :, None], p)


def _ratio(slope: Any, level: Any) -> Any:
    return np.divide(slope, 2 * level, out=np.full(slope.shape, np.nan), where=level > 0)
