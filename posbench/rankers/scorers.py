"""How a model's answer about a query and a document becomes a score, one class a method."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench.rankers.llm.calls import Answer, Message, Request, Sampling
from posbench.rankers.llm.client import Client
from posbench.rankers.llm.fit import Fitter
from posbench.rankers.llm.prompts import Template, template
from posbench.reranking import PointwiseRecipe
from posbench.types import Float64

TOP = 20  # alternatives at each place: what servers and vLLM give at most by default
REFUSED = Answer("", "too_long")


@dataclass(frozen=True)
class Pair:
    """A query and a document, and the instruction under which they are compared."""

    query: str
    document: str
    instruction: str = ""


class Scorer(ABC):
    """Fills the prompt, asks, and reads; ``counts`` says what was read.

    ``masses`` are the probabilities that the answers which can be read had together, where their tokens say so.
    """

    lowest = 0.0
    """The lowest score of the scale; not a number where it has no end."""

    def __init__(self, recipe: PointwiseRecipe, client: Client) -> None:
        self.recipe, self.client = recipe, client
        self.counts: Counter[str] = Counter()
        self.masses: list[float] = []
        self.prompt: Template | None = template(recipe.prompt) if recipe.prompt else None
        if self.prompt is not None:
            self.prompt.require("query", "document")
            limits = {"query": recipe.query_tokens, "document": recipe.document_tokens}
            self.fitter = Fitter(client.backend, self.prompt, limits, self._room())

    def describe(self) -> dict[str, Any]:
        """All that the scores depend on."""
        return {
            "method": self.recipe.method,
            "score": self.recipe.scored,
            "prompt": self.prompt.digest if self.prompt else None,
            "fit": self.fitter.rule() if self.prompt else None,
            "context": self.recipe.backend.context,
            "backend": dict(self.client.backend.describe()),
        }

    def begin(self) -> None:
        """Forgets what happened so far."""
        self.counts.clear()
        self.masses.clear()
        self.client.begin()
        if self.prompt:
            self.fitter.counts.clear()

    def facts(self) -> dict[str, Any]:
        """What happened since: answers by kind, the mean of ``masses``, what was cut, and what it cost."""
        cut = dict(sorted(self.fitter.counts.items())) if self.prompt else {}
        return {
            "answers": dict(sorted(self.counts.items())),
            **({"score_mass": sum(self.masses) / len(self.masses)} if self.masses else {}),
            "fit": cut,
            "chat_template": self.client.template() if self.prompt else "",
            "cost": self.client.cost(),
        }

    @abstractmethod
    def score(self, pairs: Sequence[Pair]) -> Float64:
        """A score a pair: float64[N], NaN where the answer has none."""

    def _room(self) -> int:
        return self.recipe.answer_tokens

    def requests(self, pairs: Sequence[Pair]) -> list[Request | None]:
        """The filled prompts; None for one that cannot be made to fit."""
        rows = [{"query": p.query, "document": p.document, "instruction": p.instruction} for p in pairs]
        return self.fitter.fill(rows)

    def ask(self, requests: Sequence[Request | None], sampling: Sampling) -> list[Answer]:
        """The answers; to a request that does not fit, that it is too long."""
        came = iter(self.client.ask([request for request in requests if request is not None], sampling))
        return [REFUSED if request is None else next(came) for request in requests]


class Binary(Scorer):
    """One word against another at the place of the answer: the log-odds, or the probability as it is published.

    Both have one order; but in float32, which runs keep, probabilities from 1 - 3e-8 on are all 1, and tie.
    """

    def __init__(self, recipe: PointwiseRecipe, client: Client) -> None:
        super().__init__(recipe, client)
        self._sampling = Sampling(max_tokens=1, top=TOP, also=recipe.labels)
        self.lowest = 0.0 if recipe.scored == "probability" else math.nan

    def _room(self) -> int:
        return 1

    def score(self, pairs: Sequence[Pair]) -> Float64:
        """ln(P(relevant) / P(not)), or P(relevant) / (P(relevant) + P(not)) in [0, 1]."""
        return np.array([self._read(answer) for answer in self.ask(self.requests(pairs), self._sampling)], np.float64)

    def _read(self, answer: Answer) -> float:
        if answer.missing or not answer.tokens:
            self.counts[answer.finish if answer.missing else "empty"] += 1
            return math.nan
        named = dict(answer.tokens[0].top) | {answer.tokens[0].text: answer.tokens[0].logprob}
        found = [named.get(label) for label in self.recipe.labels]
        if found[0] is None and found[1] is None:
            self.counts["no_label"] += 1
            return math.nan
        self.masses.append(min(1.0, sum(math.exp(value) for value in found if value is not None)))
        # A word that is not named is at most as probable as the least probable one that is.
        self.counts["ok" if None not in found else "one_label"] += 1
        floor = min(named.values())
        margin = (floor if found[0] is None else found[0]) - (floor if found[1] is None else found[1])
        if self.recipe.scored == "margin":
            return margin
        return 1 / (1 + math.exp(-margin)) if margin >= 0 else math.exp(margin) / (1 + math.exp(margin))


class Likelihood(Scorer):
    """The log-probability of the query's tokens given the document, their mean or their sum."""

    lowest = math.nan

    def _room(self) -> int:
        return 1

    def score(self, pairs: Sequence[Pair]) -> Float64:
        """Natural logarithms, at most 0."""
        answers = self.ask(self.requests(pairs), Sampling(max_tokens=1))
        self.counts.update("ok" if answer.tokens else answer.finish for answer in answers)
        gather = np.mean if self.recipe.scored == "mean" else np.sum
        return np.array(
            [gather([t.logprob for t in answer.tokens]) if answer.tokens else math.nan for answer in answers],
            np.float64,
        )


class Plain(Scorer):
    """The number that a cross-encoder gives."""

    lowest = math.nan

    def score(self, pairs: Sequence[Pair]) -> Float64:
        """Whatever scale the model has."""
        requests = [Request((Message("query", pair.query), Message("document", pair.document))) for pair in pairs]
        answers = self.client.ask(requests, Sampling(max_tokens=1))
        self.counts.update("cut" if answer.finish == "length" else "ok" for answer in answers)
        return np.array([float(answer.text) for answer in answers], np.float64)
