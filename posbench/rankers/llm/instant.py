"""Answers at once: for the cost of everything but the model, and for rankers whose quality is known beforehand."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from math import log
from pathlib import Path
from typing import Any

from posbench.rankers import weights
from posbench.rankers.llm.calls import Answer, Answers, Request, Sampling, Token
from posbench.rankers.llm.gguf import unpacked
from posbench.rankers.llm.tokens import Tokens
from posbench.reranking import Backend

PROBABILITY = 0.9  # of each character of an answer
_ROWS = 1024  # answers given out together


class InstantBackend:
    """Says of every prompt what a function says of it, by default the recipe's ``reply``.

    An answer's tokens are its characters. Prompts are counted by the tokenizer of the recipe's source, without one by
    words.

    Args:
        recipe: of the backend.
        cache: folder of caches.
        reply: the answer to a request.
        name: of the function, for what the answers depend on.
    """

    def __init__(
        self, recipe: Backend, cache: Path, reply: Callable[[Request], str] | None = None, name: str = "function"
    ) -> None:
        self.recipe, self._cache, self._reply, self._name = recipe, cache, reply, name

    @property
    def context(self) -> int:
        """As the recipe says."""
        return self.recipe.context

    @cached_property
    def tokens(self) -> Tokens | None:
        """The tokenizer of the recipe's source, None where it names none."""
        if not self.recipe.source:
            return None
        found = weights.find(self.recipe.source, "the tokenizer")
        return Tokens(unpacked(found, self._cache), self.recipe.template_args)

    def describe(self) -> Mapping[str, Any]:
        """What it answers."""
        return {"engine": "instant", "reply": self._name if self._reply else self.recipe.reply}

    def faults(self) -> Mapping[str, int]:
        """None."""
        return {}

    def answers(self, requests: Sequence[Request], sampling: Sampling) -> Answers:
        """Answers in the order of the requests; see ``calls.Backend``."""
        top = bool(sampling.top or sampling.also)
        for first in range(0, len(requests), _ROWS):
            part = requests[first : first + _ROWS]
            counts = self._counts(part)
            yield [
                (first + place, self._answer(request, count, top))
                for place, (request, count) in enumerate(zip(part, counts, strict=True))
            ]

    def _counts(self, requests: Sequence[Request]) -> list[int]:
        if self.tokens is not None:
            return [len(ids) for ids in self.tokens.ids(requests)]
        texts = [" ".join([*(turn.content for turn in one.messages), one.text, one.opening]) for one in requests]
        return [len(text.split()) for text in texts]

    def _answer(self, request: Request, count: int, top: bool) -> Answer:
        if request.target:
            return Answer("", "target", count, 0, 0, _spelled(request.target))
        text = self._reply(request) if self._reply else self.recipe.reply
        return Answer(text, "stop", count, len(text), 0, _spelled(text) if top else ())


@lru_cache(maxsize=1024)
def _spelled(text: str) -> tuple[Token, ...]:
    value = log(PROBABILITY)
    return tuple(Token(character, value, ((character, value),)) for character in text)
