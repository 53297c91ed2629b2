"""Position bias from documents and their mirror images: difference-in-differences on the same queries.

A query's evidence moves from x to about 1 - x while the document's sentences stay the same. d = s(mirrored) -
s(original) is regressed on z = x(mirrored) - x(original): the slope is what the place does to the score, from start to
end, and the level is what mirroring as such does (text in the wrong order). With evidence at the front (x < 1/2) and at
the back, (d at the back - d at the front) / 2 is the difference-in-differences: positive for primacy.
"""

from typing import Any

import numpy as np

from posbench import stats
from posbench.bias import inference
from posbench.bias.grid import Grid
from posbench.bias.placed import MIN_QUERIES
from posbench.bias.shuffle import SHUFFLES, two_sided
from posbench.bias.words import SHAPES, signed_index
from posbench.types import Float64

_STRAIGHT = {"value": 0.0, "p": 1.0, "interval_90": [0.0, 0.0]}  # a line is all that two places of a query give


def analyse(grid: Grid, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any]:
    """The analysis of a grid whose two positions are the original and the mirrored documents.

    Returns:
        ``queries``, ``source_documents``, ``incomplete``; ``means`` (original, mirrored); ``signed`` (``slope``, index
        ``value`` = slope / (2 mean), intervals, ``p``), ``level`` of mirroring as such with ``interval``;
        ``difference_in_differences`` (``value``, ``interval``, ``front`` and ``back`` queries); ``shape``; ``verdict``.
        Figures are None where too few queries.
    """
    gain = grid.score[:, 0, 1] - grid.score[:, 0, 0]
    moved = grid.relative[:, 0, 1] - grid.relative[:, 0, 0]
    front = grid.relative[:, 0, 0] < 0.5
    found: dict[str, Any] = {
        "queries": len(gain),
        "source_documents": int(grid.cluster.max()) + 1,
        "incomplete": grid.incomplete,
        "means": grid.score[:, 0].mean(axis=0).tolist(),
        "signed": None,
        "level": None,
        "difference_in_differences": None,
        "shuffles": shuffles,
    }
    mean = float(grid.score.mean())
    if min(front.sum(), (~front).sum()) >= MIN_QUERIES and np.ptp(moved) > 0 and mean > 0:
        found |= _figures(grid, gain, moved, front, seed)
        found["signed"]["p"] = _sign_flips(grid, gain, moved, shuffles, seed)
    found["shape"] = inference.shape(found["signed"], _STRAIGHT)
    found["verdict"] = [f"mirrored documents: {SHAPES[found['shape']]}{signed_index(found['signed'])}"]
    return found


def _figures(grid: Grid, gain: Float64, moved: Float64, front: Any, seed: int) -> dict[str, Any]:
    """Slope, level and difference-in-differences with intervals: source documents resampled within domains."""
    one = np.ones(len(gain))
    both = grid.score[:, 0].mean(axis=1)
    columns = [one, moved, gain, moved**2, moved * gain, both, front, front * gain]
    values = np.stack(columns, axis=1).astype(np.float64)
    seen = _from_sums(values.sum(0)[None])
    many = _from_sums(stats.replicate_sums(values, grid.cluster, grid.stratum, seed=seed))
    low, high = stats.percentile_interval(many)
    small, large = stats.percentile_interval(many[:, :1], 0.90)
    index, slope, level, did = (
        {"value": float(seen[0, n]), "interval": [float(low[n]), float(high[n])]} for n in range(4)
    )
    return {
        "signed": {
            **index,
            "interval_90": [float(small[0]), float(large[0])],
            "slope": slope["value"],
            "slope_interval": slope["interval"],
        },
        "level": level,
        "difference_in_differences": {**did, "front": int(front.sum()), "back": int((~front).sum())},
    }


def _from_sums(sums: Float64) -> Float64:
    """Index, slope, level and difference-in-differences of each row of sums: float64[B, 4]; NaN where undefined."""
    n, z, d, zz, zd, score, front, front_d = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (zd - z * d / n) / (zz - z * z / n)
        level = (d - slope * z) / n
        did = ((d - front_d) / (n - front) - front_d / front) / 2
        found = np.stack([slope / (2 * score / n), slope, level, did], axis=1)
    return np.where(np.isfinite(found), found, np.nan)


def _sign_flips(grid: Grid, gain: Float64, moved: Float64, shuffles: int, seed: int) -> float:
    """Two-sided p of the slope: documents' contributions, the level taken out, with random signs (wild bootstrap)."""
    parts = np.bincount(grid.cluster, (moved - moved.mean()) * (gain - gain.mean()))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (shuffles, len(parts)))
    return two_sided(float(parts.sum()), signs @ parts)
