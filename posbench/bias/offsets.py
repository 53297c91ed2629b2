"""Tokens from the document's start, beside the relative place: tells a cut of the model's window apart from bias.

A model that reads L tokens loses evidence beyond the L-th token and none before it: a step in the absolute offset. A
bias is a function of the relative place. Both make late evidence worse, so both are fitted to the same scores (domain
and length levels taken out): the step at the L that fits best, and a parabola. Which of the two explains more is
decided by resampling documents.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench import stats
from posbench.bias.inference import one_sided, without
from posbench.bias.placed import MIN_QUERIES, Placed
from posbench.bias.shuffle import SHUFFLES, Levels, Shuffler
from posbench.types import Float64

_EDGES = 2.0 ** np.arange(6, 15, 0.25)
"""Offsets at which a step is looked for, in tokens: 64 to 13,777, four an octave."""
_VIEW = (0, 128, 256, 512, 1024, 2048, 4096, 8192)
_SURE = 0.95


def offsets(queries: Placed, *, seed: int = 0, shuffles: int = SHUFFLES) -> dict[str, Any] | None:
    """The absolute view and the search for a cut, or None where the documents' lengths in tokens are unknown.

    Returns:
        ``cells`` (low, high in tokens, queries, mean and interval, None where too few) and ``cut``: ``tokens``, where
        the best step down stands (None where no step fits), ``before`` and ``after``, the means on both sides among
        documents that are longer, ``p`` (of any step down, corrected for the search), ``better_than_curve`` (the share
        of resamples in which the step explains more than the curve) and ``called``: "truncation" if p < .05 and that
        share is at least .95, "no truncation" if it is not significant or the share at most .05, else "undecided".
    """
    known = queries.tokens > 0
    if known.sum() < 2 * MIN_QUERIES:
        return None
    some = queries.take(known)
    return {"cells": _cells(some, seed), "cut": _cut(some, seed, shuffles)}


def _cells(queries: Placed, seed: int) -> list[dict[str, Any]]:
    edges = [*_VIEW, np.inf]
    cell = np.searchsorted(_VIEW, queries.offset, side="right") - 1
    used = [b for b in range(len(_VIEW)) if (cell == b).any()]
    values = np.stack([np.where(cell == b, queries.score, np.nan) for b in used], axis=1)
    low, high = stats.mean_intervals(values, queries.cluster, queries.stratum, seed=seed)
    found = []
    for i, b in enumerate(used):
        n = int((cell == b).sum())
        enough = n >= MIN_QUERIES
        mean = float(queries.score[cell == b].mean()) if enough else None
        interval = [float(low[i]), float(high[i])] if enough else None
        end = None if np.isinf(edges[b + 1]) else int(edges[b + 1])
        found.append({"low": int(edges[b]), "high": end, "queries": n, "mean": mean, "interval": interval})
    return found


def _cut(queries: Placed, seed: int, shuffles: int) -> dict[str, Any]:
    score = Levels.of(queries, queries.score).rest
    place, tokens = queries.relative, queries.tokens.astype(np.float64)
    beyond = _beyond(place * tokens)
    counts = np.bincount(beyond, minlength=len(_EDGES) + 1)[::-1].cumsum()[::-1][1:]
    tried = (counts >= MIN_QUERIES) & (counts <= len(score) - MIN_QUERIES)
    nothing = {"tokens": None, "before": None, "after": None, "p": 1.0, "better_than_curve": 0.0, "called": "undecided"}
    if not tried.any():
        return nothing

    def largest_drop(source: NDArray[np.int64]) -> Float64:
        return np.array(_drops(score, _beyond(place[source] * tokens))[tried].max())

    drops = np.where(tried, _drops(score, beyond), -np.inf)
    null = Shuffler.of(queries).map(largest_drop, shuffles, seed)
    p = one_sided(float(drops.max()), null)
    better = _better_than_curve(queries, score, beyond, tried, seed)
    limit = float(_EDGES[int(np.argmax(drops))])
    longer = queries.tokens > limit
    after = longer & (queries.offset > limit)
    means = [
        float(queries.score[rows].mean()) if rows.sum() >= MIN_QUERIES else None for rows in (longer & ~after, after)
    ]
    called = "no truncation"
    if p < 0.05 and better > 1 - _SURE:
        called = "truncation" if better >= _SURE else "undecided"
    return {
        "tokens": round(limit),
        "before": means[0],
        "after": means[1],
        "p": p,
        "better_than_curve": better,
        "called": called,
    }


def _beyond(offset: Float64) -> NDArray[np.int64]:
    """How many edges lie below each offset: int64[Q]."""
    return np.asarray(np.clip(np.ceil(4 * np.log2(np.maximum(offset, 1e-9)) - 24), 0, len(_EDGES)), np.int64)


def _drops(score: Float64, beyond: NDArray[np.int64]) -> Float64:
    """How far the scores beyond each edge lie below the others, in standard errors but for a factor: float64[edges]."""
    n = len(score)
    total = np.bincount(beyond, score, len(_EDGES) + 1)[::-1].cumsum()[::-1][1:]
    count = np.bincount(beyond, minlength=len(_EDGES) + 1)[::-1].cumsum()[::-1][1:]
    spread = np.sqrt(np.maximum(count * (1 - count / n), 1e-9))
    return np.asarray(-total / spread)


def _better_than_curve(
    queries: Placed, score: Float64, beyond: NDArray[np.int64], tried: NDArray[np.bool_], seed: int
) -> float:
    """The share of resamples in which the best step down explains more of the scores than a parabola."""
    edges = np.flatnonzero(tried)
    steps = np.stack([Levels.of(queries, (beyond > edge).astype(np.float64)).rest for edge in edges], axis=1)
    line = Levels.of(queries, queries.relative).rest
    bend = without(Levels.of(queries, (queries.relative - 0.5) ** 2).rest, line)
    designs = np.column_stack([line, bend, steps])
    power = np.maximum((designs**2).sum(0), 1e-12)
    sums = stats.replicate_sums(designs * score[:, None], queries.cluster, queries.stratum, seed=seed)
    curve, step = (sums[:, :2] ** 2 / power[:2]).sum(1), (np.minimum(sums[:, 2:], 0.0) ** 2 / power[2:]).max(1)
    return float((step > curve).mean())
