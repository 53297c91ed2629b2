"""Rerankers that score one document at a time: pairs of a collection to a scorer, and its scores into a Run."""

import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.errors import UsageError
from posbench.rankers import llm
from posbench.rankers.graded import Graded
from posbench.rankers.llm.calls import Backend
from posbench.rankers.llm.client import Client
from posbench.rankers.scorers import Binary, Likelihood, Pair, Plain, Scorer
from posbench.reranking import PointwiseRecipe
from posbench.types import Collection, Float32, Float64, Int32, Progress, Run, Strings, no_progress

METHODS: dict[str, type[Scorer]] = {"graded": Graded, "binary": Binary, "likelihood": Likelihood, "plain": Plain}
_PAIRS = 4096  # scored together


class PointwiseRanker:
    """A pointwise recipe on this machine's weights, or on a server.

    Args:
        recipe: of the reranker.
        cache: folder of caches.
        device: of torch.
        progress: shows pairs scored.
        name: of the ranker, for messages.
        backend: what answers instead of the recipe's, for tests and known answers.
    """

    def __init__(
        self,
        recipe: PointwiseRecipe,
        *,
        cache: Path,
        device: str = "cpu",
        progress: Progress = no_progress,
        name: str = "reranker",
        backend: Backend | None = None,
    ) -> None:
        self.recipe, self.name = recipe, name
        self._progress = progress
        prices = (recipe.backend.price_in, recipe.backend.price_out)
        answering = backend or llm.backend(recipe.backend, cache, device)
        self.weights = getattr(answering, "weights", None)
        self._scorer: Scorer = METHODS[recipe.method](recipe, Client(answering, cache, prices, progress))
        served_by = recipe.backend.identity or recipe.backend.url
        self._engine = " ".join(filter(None, [recipe.backend.engine, recipe.backend.model, served_by]))
        self.fallbacks = 0
        self._evidence: dict[str, int] = {}

    def describe(self) -> Mapping[str, Any]:
        """Protocol, method, prompt, instructions, what is cut, and the backend."""
        recipe = self.recipe
        return {
            "kind": "pointwise",
            "engine": self._engine,
            "protocol": recipe.protocol or "as published",
            **self._scorer.describe(),
            "labels": list(recipe.labels) if recipe.method == "binary" else None,
            "instructions": {"": recipe.instruction, **recipe.instructions},
            "asks": [recipe.asks, recipe.temperature if recipe.asks > 1 else 0.0],
            "fallback": recipe.fallback,
        }

    def facts(self) -> dict[str, Any]:
        """Of the last run: answers by kind, what was cut, what it cost, and documents whose score is the fallback.

        ``evidence`` counts the (query, document) pairs with evidence that were scored, and those of them whose evidence
        ends behind where the recipe's limit cuts the document: no answer can know of it.
        """
        return {**self._scorer.facts(), "fallbacks": self.fallbacks, "evidence": dict(self._evidence)}

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The candidates of every query by their scores.

        Raises:
            UsageError: there are no candidates.
        """
        if candidates is None:
            raise UsageError(
                f"{self.name} is a reranker and needs candidates: --model bm25 --rerank {self.name} --depth 100"
            )
        self._scorer.begin()
        self.fallbacks = 0
        self._evidence = self._cut_evidence(collection, candidates)
        row, column = np.nonzero(candidates.docs >= 0)
        scores = np.zeros(candidates.docs.shape)
        scores[row, column] = self._scores(collection, row.astype(np.int32), candidates.docs[row, column])
        return Run.ranked(candidates.docs, scores, collection.doc_order)

    def pairs(self, queries: Strings, texts: Strings) -> Float32:
        """The score of each query with the text beside it: float32[N]. No other text bears on it."""
        if not len(texts):
            return np.zeros(0, np.float32)
        rows = zip(queries.to_pylist(), texts.to_pylist(), strict=True)
        return self._filled(self._scored([Pair(q, t, self.recipe.instruction) for q, t in rows])).astype(np.float32)

    def instruction(self, collection: str) -> str:
        """The instruction for a collection: of the first pattern that its name, or a head of it, matches."""
        parts = collection.split("/")
        names = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        for pattern, text in self.recipe.instructions.items():
            if any(fnmatchcase(name, pattern) for name in names):
                return text
        return self.recipe.instruction

    def _scores(self, collection: Collection, query: Int32, doc: Int32) -> Float64:
        """Scores of (query, document), those of a query together, so that prefix caches meet what they know."""
        instruction = self.instruction(collection.name)
        advance = self._progress(f"reranking with {self.name}", len(query))
        parts = [np.zeros(0)]
        for first in range(0, len(query), _PAIRS):
            part = slice(first, first + _PAIRS)
            queries = collection.queries.take(pa.array(query[part])).to_pylist()
            docs = collection.docs.take(pa.array(doc[part])).to_pylist()
            parts.append(self._scored([Pair(q, d, instruction) for q, d in zip(queries, docs, strict=True)]))
            advance(len(queries))
        found = np.concatenate(parts)
        bounds = np.flatnonzero(np.diff(query)) + 1
        return np.concatenate([parts[0], *(self._filled(own) for own in np.split(found, bounds))])

    def _cut_evidence(self, collection: Collection, candidates: Run) -> dict[str, int]:
        evidence = collection.evidence
        if evidence is None or self._scorer.prompt is None or collection.source.get("cross_lingual"):
            return {}
        scored = np.flatnonzero((candidates.docs[evidence.query] == evidence.doc[:, None]).any(axis=1))
        beyond = 0
        for row in scored.tolist():
            text = collection.docs[int(evidence.doc[row])].as_py()
            beyond += int(evidence.end[row]) > self._scorer.fitter.kept("document", text)
        return {"scored": len(scored), "beyond_the_cut": beyond}

    def _scored(self, pairs: Sequence[Pair]) -> Float64:
        return self._scorer.score(pairs)

    def _filled(self, scores: Float64) -> Float64:
        """One query's scores, with the fallback where there is none."""
        none = np.isnan(scores)
        if not none.any():
            return scores
        self.fallbacks += int(none.sum())
        known = scores[~none]
        value = self._scorer.lowest
        if len(known) and (self.recipe.fallback == "mean" or math.isnan(value)):
            value = known.mean() if self.recipe.fallback == "mean" else known.min()
        return np.where(none, 0.0 if math.isnan(value) else value, scores)
