"""Tokens from the document's start, beside the relative place: tells a cut of the model's window apart from bias.

A model that reads L tokens loses evidence beyond the L-th token and none before it: a step in the absolute offset. A
bias is a function of the relative place. Both make late evidence worse, so both are fitted to the same scores (domain
and length levels taken out): the step at the L that fits best, and a parabola. Which of the two explains more is
decided by resampling documents.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench import stats
from posbench.bias.levels import Levels
from posbench.bias.placed import MIN_QUERIES, Placed
from posbench.bias.shuffle import one_sided, without
from posbench.types import Float64

_EDGES = 2.0 ** np.arange(6, 15, 0.25)
"""Offsets at which a step is looked for, in tokens: 64 to 13,777, four an octave."""
_VIEW = (0, 128, 256, 512, 1024, 2048, 4096, 8192)
_SURE = 0.95


@dataclass(frozen=True)
class Steps:
    """Where scores step down with the offset; queries whose documents have no known length weigh nothing.

    ``score`` float64[Q] is less its levels; ``place`` and ``tokens`` are log2; ``tried`` bool[E] are the edges with
    enough queries on both sides.
    """

    score: Float64
    place: Float64
    tokens: Float64
    known: int
    tried: NDArray[np.bool_]

    @classmethod
    def of(cls, queries: Placed) -> "Steps | None":
        """The steps to try, in the order of the queries, or None where no edge has enough queries on both sides."""
        known = queries.tokens > 0
        if known.sum() < 2 * MIN_QUERIES:
            return None
        score = np.zeros(len(known))
        score[known] = Levels.of(queries.take(known)).without(queries.score[known])
        place = np.log2(np.maximum(queries.relative, 1e-9))
        tokens = np.where(known, np.log2(np.maximum(queries.tokens, 1)), -np.inf)  # of unknown ones: before every edge
        counts = _beyond(_edges_below(place + tokens))
        tried = (counts >= MIN_QUERIES) & (counts <= known.sum() - MIN_QUERIES)
        return cls(score, place, tokens, int(known.sum()), tried) if tried.any() else None

    def largest_drop(self, source: NDArray[np.int64]) -> float:
        """The largest drop over the tried edges if each query had the place of its source."""
        return float(self.drops(_edges_below(self.place.take(source) + self.tokens)).max())

    @property
    def below(self) -> NDArray[np.int64]:
        """How many edges lie below each query's offset: int64[Q]."""
        return _edges_below(self.place + self.tokens)

    def drops(self, below: NDArray[np.int64]) -> Float64:
        """How far the scores beyond each edge lie below the others, in standard errors but for a factor: float64[E]."""
        total, count = _beyond(below, self.score), _beyond(below)
        spread = np.sqrt(np.maximum(count * (1 - count / self.known), 1e-9))
        return np.where(self.tried, -total / spread, -np.inf)


def offsets(queries: Placed, steps: Steps | None, null: Float64, draws: stats.Bootstrap) -> dict[str, Any] | None:
    """The absolute view and the search for a cut, or None where the documents' lengths in tokens are unknown.

    Args:
        queries: the scores and places.
        steps: ``Steps.of`` the same queries.
        null: float64[B], the largest drop under shuffles.
        draws: resamples of the same queries.

    Returns:
        ``cells`` (low, high in tokens, queries, mean and interval, None where too few) and ``cut``: ``tokens``, where
        the best step down stands (None where no step can be tried), ``before`` and ``after``, the means on both sides
        among documents that are longer, ``p`` (of any step down, corrected for the search), ``better_than_curve`` (the
        share of resamples in which the step explains more than the curve) and ``called``: "truncation" if p < .05 and
        that share is at least .95, "no truncation" if it is not significant or the share at most .05, else "undecided".
    """
    cells = view(queries, draws)
    if cells is None:
        return None
    cut: dict[str, Any] = {"tokens": None, "before": None, "after": None, "p": 1.0, "better_than_curve": 0.0}
    cut["called"] = "undecided"
    if steps is not None:
        cut = _cut(queries, steps, null, draws)
    return {"cells": cells, "cut": cut}


def view(queries: Placed, draws: stats.Bootstrap) -> list[dict[str, Any]] | None:
    """Means by tokens from the start, or None where too few lengths are known; see ``offsets``."""
    known = queries.tokens > 0
    if known.sum() < 2 * MIN_QUERIES:
        return None
    edges = [*_VIEW, np.inf]
    cell = np.where(known, np.searchsorted(_VIEW, np.nan_to_num(queries.offset), side="right") - 1, -1)
    used = [b for b in range(len(_VIEW)) if (cell == b).any()]
    values = np.stack([np.where(cell == b, queries.score, np.nan) for b in used], axis=1)
    low, high = draws.intervals(values)
    found = []
    for i, b in enumerate(used):
        n = int((cell == b).sum())
        enough = n >= MIN_QUERIES
        mean = float(queries.score[cell == b].mean()) if enough else None
        interval = [float(low[i]), float(high[i])] if enough else None
        end = None if np.isinf(edges[b + 1]) else int(edges[b + 1])
        found.append({"low": int(edges[b]), "high": end, "queries": n, "mean": mean, "interval": interval})
    return found


def _cut(queries: Placed, steps: Steps, null: Float64, draws: stats.Bootstrap) -> dict[str, Any]:
    drops = steps.drops(steps.below)
    p = one_sided(float(drops.max()), null)
    better = _better_than_curve(queries, steps, draws)
    limit = float(_EDGES[int(np.argmax(drops))])
    longer = queries.tokens > limit
    after = longer & (queries.relative * queries.tokens > limit)
    sides = [longer & ~after, after]
    means = [float(queries.score[rows].mean()) if rows.sum() >= MIN_QUERIES else None for rows in sides]
    called = "no truncation"
    if p < 0.05 and better > 1 - _SURE:
        called = "truncation" if better >= _SURE else "undecided"
    cut: dict[str, Any] = {"tokens": round(limit), "before": means[0], "after": means[1], "p": p}
    return cut | {"better_than_curve": better, "called": called}


def _edges_below(offset: Float64) -> NDArray[np.int64]:
    """How many edges lie below each offset, given as log2 tokens: int64[Q]."""
    return np.clip(np.ceil(4 * offset - 24), 0, len(_EDGES)).astype(np.int64)


def _beyond(below: NDArray[np.int64], weight: Float64 | None = None) -> Float64:
    """The number, or the sum of weights, of the queries beyond each edge: float64[E]."""
    sums = np.bincount(below, weight, len(_EDGES) + 1)
    return np.asarray(sums[::-1].cumsum()[::-1][1:], np.float64)


def _better_than_curve(queries: Placed, steps: Steps, draws: stats.Bootstrap) -> float:
    """The share of resamples in which the best step down explains more of the scores than a parabola."""
    known = queries.tokens > 0
    some, below = queries.take(known), steps.below[known]
    levels = Levels.of(some)
    down = np.stack([levels.without((below > edge).astype(np.float64)) for edge in np.flatnonzero(steps.tried)], axis=1)
    line = levels.without(some.relative)
    bend = without(levels.without((some.relative - 0.5) ** 2), line)
    designs = np.column_stack([line, bend, down])
    power = np.maximum((designs**2).sum(0), 1e-12)
    products = np.zeros((len(known), designs.shape[1]))
    products[known] = designs * steps.score[known][:, None]
    sums = draws.sums(products)
    curve, step = (sums[:, :2] ** 2 / power[:2]).sum(1), (np.minimum(sums[:, 2:], 0.0) ** 2 / power[2:]).max(1)
    return float((step > curve).mean())
