"""A cut of the model's window in composed collections, told apart from a bias.

A model that reads L tokens loses evidence beyond the L-th and none before it: within a query, a step at one offset from
the start, the same in all lengths. A bias is a smooth curve in the relative position, which may differ by length: a
line and a bend a length. Both are fitted to the scores less each query's mean at each length, and which explains more
is decided by resampling source documents; the search for the best step is part of every permutation and resample.

Five positions often fit both about as well, so a surer sign goes first: with its evidence beyond the window, a composed
document reads the same to the model wherever that evidence stands, so that each query's score is exactly the same at
all those positions. Scores that are tied at the last positions, not at the first, and lower there, are a truncation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias.grid import Grid
from posbench.bias.shuffle import SHUFFLES, one_sided
from posbench.types import Float64

_EDGES = 2.0 ** np.arange(4, 15, 0.125)
"""Offsets at which a step is looked for, in tokens: 16 to 15,000, eight an octave."""
_SURE = 0.95
_TIED = 0.95  # share of the queries with equal scores; the rest are the odd ties that rounding breaks
_FOUND = 3  # tied queries with a score above 0: zeros alone would be no sign
_CELLS = 1 << 21
_NOTHING = 1e-9


@dataclass(frozen=True)
class _Design:
    """Scores and what is fitted to them, by source document; cells are lengths x positions, L x K."""

    score: Float64  # [C, L, K]: sums of centred scores
    steps: Float64  # [C, L, K, J]: evidence beyond each edge that can be tried, centred
    curves: Float64  # [L, K, 2 L]: an orthonormal line and bend for each length
    power: Float64  # [J]: sums of squares of the steps
    size: Float64  # [C]: queries of each document
    edges: Float64  # [J]

    @classmethod
    def of(cls, grid: Grid) -> "_Design":
        size = np.bincount(grid.cluster).astype(np.float64)
        shape = (len(size), *grid.score.shape[1:])
        score, offset = np.zeros(shape), np.zeros(shape)
        np.add.at(score, grid.cluster, grid.score - grid.score.mean(axis=2, keepdims=True))
        np.add.at(offset, grid.cluster, grid.relative * grid.tokens)
        beyond = (offset / size[:, None, None])[..., None] > _EDGES
        steps = beyond - beyond.mean(axis=2, keepdims=True)
        power = (size[:, None, None, None] * steps**2).sum(axis=(0, 1, 2))
        tried = power > 0.02 * size.sum()  # not where only a few documents have evidence on both sides
        columns = np.stack([grid.positions, (grid.positions - 0.5) ** 2], axis=1)
        basis = np.linalg.qr(columns - columns.mean(axis=0))[0][:, : len(grid.names) - 1]
        curves = np.einsum("lm,kn->lkmn", np.eye(len(grid.lengths)), basis)
        flat = curves.reshape(len(grid.lengths), len(grid.names), -1)
        return cls(score, steps[..., tried], flat, power[tried], size, _EDGES[tried])

    def drops(self, score: Float64) -> Float64:
        """How far scores beyond each edge lie below the others, in standard errors but for a factor: [B, J]."""
        flat = score.reshape(len(score), -1) @ self.steps.reshape(-1, len(self.edges))
        return np.asarray(-flat / np.sqrt(self.power))


def search(grid: Grid, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any] | None:
    """The best step, or None where the documents' lengths in tokens are unknown or too short for one.

    Returns:
        ``tokens``, about where the step stands, ``between``, the offsets that it cannot be told from; ``tied``, whether
        ties show it; ``p`` of any step down, corrected for the search; ``better_than_curve``, the share of resamples in
        which the step explains more than the curves; ``called``: "truncation" if p < .05 and scores are tied or that
        share is at least .95, "no truncation" if p is not or the share is at most .05, else "undecided" (so, too, with
        three positions or fewer and no ties, as a curve meets any three points).
    """
    if (grid.tokens <= 0).any():
        return None
    design = _Design.of(grid)
    if not len(design.edges):
        return None
    drops = design.drops(design.score[None])[0]
    p = one_sided(float(drops.max()), _null(design, shuffles, seed)) if drops.max() > _NOTHING else 1.0
    better = _better(design, grid, seed)
    best = design.edges[drops >= drops.max() - _NOTHING]
    between, tied = (float(best[0]), float(best[-1])), _tied(grid)
    called = "no truncation"
    if p < 0.05 and tied is not None:
        called, between = "truncation", tied
    elif p < 0.05 and len(grid.names) <= 3:
        called = "undecided"
    elif p < 0.05 and better > 1 - _SURE:
        called = "truncation" if better >= _SURE else "undecided"
    return {
        "tokens": round(float(np.sqrt(between[0] * between[1]))),
        "between": [round(end) for end in between],
        "tied": called == "truncation" and tied is not None,
        "p": p,
        "better_than_curve": better,
        "called": called,
    }


def _tied(grid: Grid) -> tuple[float, float] | None:
    """The offsets between which ties begin: of the last place that makes a difference and the first that makes none.

    None where no length has its last two positions or more tied for nearly every query, and others not.
    """
    same = np.abs(np.diff(grid.score, axis=2)) <= _NOTHING  # [N, L, K - 1]: as at the next position
    offset = (grid.relative * grid.tokens).mean(axis=0)
    seen, unseen = [], []
    for at in range(len(grid.lengths)):
        varies = np.flatnonzero(same[:, at].mean(axis=0) < _TIED)
        first = int(varies[-1]) + 1 if len(varies) else 0
        seen.append(float(offset[at, max(first - 1, 0)]) if first else 0.0)
        if 0 < first < len(grid.names) - 1 and (grid.score[:, at, first:] > 0).all(axis=1).sum() >= _FOUND:
            lower = grid.score[:, at, first:].mean() < grid.score[:, at, :first].mean()
            unseen += [float(offset[at, first])] if lower else []
    return (min(max(seen), min(unseen)), min(unseen)) if unseen else None


def _null(design: _Design, shuffles: int, seed: int) -> Float64:
    """The largest drop when each document's positions are permuted, in all lengths alike: float64[B]."""
    rng = np.random.default_rng([seed, 2])
    clusters, _, places = design.score.shape
    step = max(1, _CELLS // design.score.size)
    found = []
    for first in range(0, shuffles, step):
        rows = min(step, shuffles - first)
        order = np.argsort(rng.random((rows, clusters, 1, places)), axis=3)
        found.append(design.drops(np.take_along_axis(design.score[None], order, axis=3)).max(axis=1))
    return np.concatenate(found)


def _better(design: _Design, grid: Grid, seed: int) -> float:
    """The share of resamples in which the best step down explains more than the curves."""
    clusters = len(design.score)
    steps = np.einsum("clk,clkj->cj", design.score, design.steps)
    curves = np.einsum("clk,lkm->cm", design.score, design.curves)
    stratum = np.zeros(clusters, np.int64)
    stratum[grid.cluster] = grid.stratum
    sums = stats.replicate_sums(np.hstack([steps, curves]), np.arange(clusters), stratum, seed=seed)
    count = len(design.edges)
    by_step = (np.minimum(sums[:, :count], 0.0) ** 2 / design.power).max(axis=1)
    by_curve = (sums[:, count:] ** 2).sum(axis=1) / design.size.sum()
    return float((by_step > by_curve).mean())
