"""A first stage, and a reranker of the top of what it finds.

The reranked documents stand first, by the reranker's score or by both scores together; what the reranker did not score
follows, then what the first stage found below the reranked depth, both in the first stage's order.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from posbench.errors import UsageError
from posbench.evaluate import allowed
from posbench.recipe import PipelineRecipe
from posbench.types import Collection, Float32, Float64, Int32, Ranker, Run

_STEP = 2.0**-20  # of the last reranked score, at least, between documents below it: some units in the last place


class Pipeline:
    """Two rankers, one behind the other, and their names."""

    def __init__(
        self, recipe: PipelineRecipe, first: Ranker, reranker: Ranker, names: tuple[str, str] = ("first", "reranker")
    ) -> None:
        self.recipe, self.first, self.reranker, self.names = recipe, first, reranker, names

    @property
    def stages(self) -> tuple[Ranker, Ranker]:
        """The first stage and the reranker."""
        return self.first, self.reranker

    def describe(self) -> Mapping[str, Any]:
        """Both rankers, how deep is reranked, and how scores and ties are put together."""
        recipe = self.recipe
        return {
            "kind": "pipeline",
            "first": dict(self.first.describe()),
            "rerank": dict(self.reranker.describe()),
            "depth": recipe.depth,
            "weight": recipe.weight,
            "normalise": recipe.normalise if recipe.weight else "",
            "ties": recipe.ties,
        }

    def facts(self) -> dict[str, Any]:
        """What the reranker says of its last run: answers, what was cut, what it cost."""
        found = getattr(self.reranker, "facts", None)
        return dict(found()) if found else {}

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The first stage's run, or the candidates, with their top reranked."""
        found = allowed(collection, self.first.rank(collection) if candidates is None else candidates)
        top = found.top(self.recipe.depth)
        scored = self.reranker.rank(collection, top)
        values = aligned(top.docs, scored, len(collection.docs))
        if self.recipe.weight:
            values = fused(top, values, self.recipe.weight, self.recipe.normalise)
        return composed(found, values, self.recipe.ties, collection.doc_order)


def aligned(docs: Int32, scored: Run, size: int) -> Float64:
    """The reranker's score of each document of the first stage: float64[Q, K], NaN where it gives none.

    Raises:
        UsageError: the reranker returns a document that it was not given.
    """
    row, column = np.nonzero(scored.docs >= 0)
    keys = row * size + scored.docs[row, column]
    order = np.argsort(keys)
    keys, known = keys[order], scored.scores[row, column][order]
    wanted = np.arange(len(docs))[:, None] * size + docs
    place = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    hit = (docs >= 0) & (keys[place] == wanted) if len(keys) else np.zeros(docs.shape, bool)
    if hit.sum() != len(keys):
        raise UsageError(f"the reranker returned {len(keys) - int(hit.sum())} documents that were not candidates")
    return np.where(hit, known[place] if len(keys) else 0.0, np.nan).astype(np.float64)


def fused(top: Run, values: Float64, weight: float, how: Literal["zscore", "minmax"]) -> Float64:
    """Both scores as one, weight * first + (1 - weight) * values, normalised over each query's scored documents.

    "zscore" is (x - mean) / population standard deviation, as ERank's code has it; "minmax" is (x - min) / (max - min).
    Scores that are all equal become 0.
    """
    first = np.where(np.isnan(values), np.nan, top.scores.astype(np.float64))
    return weight * normalised(first, how) + (1 - weight) * normalised(values, how)


def normalised(values: Float64, how: Literal["zscore", "minmax"]) -> Float64:
    """Each row on a common scale; NaN stays."""
    real = ~np.isnan(values)
    count = np.maximum(real.sum(axis=1, keepdims=True), 1)
    plain = np.where(real, values, 0.0)
    if how == "zscore":
        low = plain.sum(axis=1, keepdims=True) / count
        spread = np.sqrt((np.where(real, values - low, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    else:
        low = np.where(real, values, np.inf).min(axis=1, keepdims=True, initial=np.inf)
        spread = np.where(real, values, -np.inf).max(axis=1, keepdims=True, initial=-np.inf) - low
    level = np.where(real, values, np.nan)
    # Equal numbers have a spread of rounding errors, if not of 0.
    flat = ~(spread > 1e-12 * np.maximum(1.0, np.abs(low)))
    return np.where(real & ~flat, (level - low) / np.where(flat, 1.0, spread), np.where(real, 0.0, np.nan))


def composed(found: Run, values: Float64, ties: Literal["first", "docid"], doc_order: Int32) -> Run:
    """One run: documents with a value by it, the others behind them in their order.

    Where the first stage decides ties, each of a tie's documents but the first loses the least that a float32 can: one
    unit in the last place, which ``ties_of`` reads back.

    Args:
        found: the first stage's run of depth N.
        values: float64[Q, K] of its first K documents, NaN for none.
        ties: what orders equal scores.
        doc_order: ``Collection.doc_order``.
    """
    shape = found.docs.shape
    score = np.full(shape, np.nan, np.float32)
    score[:, : values.shape[1]] = values
    place = np.broadcast_to(np.arange(shape[1]), shape)
    order = np.lexsort((place, np.where(np.isnan(score), np.inf, -score)), axis=1)
    docs, score = np.take_along_axis(found.docs, order, 1), np.take_along_axis(score, order, 1)
    if ties == "first":
        _strict(score)
    has = ~np.isnan(score)
    last = np.where(has, score, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    last = np.where(np.isfinite(last), last, 0.0).astype(np.float64)
    behind = np.cumsum(~has, axis=1) * np.maximum(1.0, np.abs(last) * _STEP)
    return Run.ranked(docs, np.where(has, score, last - behind), doc_order)


def _strict(score: Float32) -> None:
    """Makes each row strictly descending, in place."""
    for column in range(1, score.shape[1]):
        below = np.nextafter(score[:, column - 1], np.float32(-np.inf))
        score[:, column] = np.where(score[:, column] > below, below, score[:, column])


def ties_of(run: Run) -> Int32:
    """The tie of each place: int32[Q, K], a number that is the same for neighbours no more than one unit apart."""
    near = np.nextafter(run.scores[:, :-1], np.float32(-np.inf)) <= run.scores[:, 1:]
    same = near & (run.docs[:, :-1] >= 0) & (run.docs[:, 1:] >= 0)
    return np.cumsum(np.pad(~same, ((0, 0), (1, 0))), axis=1).astype(np.int32)
