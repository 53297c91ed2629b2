"""Fills the prompt of a list and makes it fit: the longest passages are cut to one length, as far as needed.

Where a list does not fit, passages longer than a common limit are cut to it, and the limit is the largest with which
all fits; shorter ones stay whole. Below 8 tokens the list is refused. Counted in the model's own tokens, chat template
included; without its tokenizer a token is taken to be four characters, and the whole is not checked.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from posbench.listwise import ListwiseRecipe
from posbench.rankers.llm.calls import Backend, Request
from posbench.rankers.llm.prompts import Template

FLOOR = 8  # tokens of a passage below which a list is not asked for
_CHARACTERS = 4  # a token, where there is no tokenizer
_KEPT = 1 << 16  # texts that are remembered
_IDENTIFIER = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Window:
    """What is ranked in one prompt: a query and passages in the order shown.

    ``names`` are the identifiers of the passages, from 1; empty: their places. ``sample`` tells repeats apart.
    """

    query: str
    passages: tuple[str, ...]
    names: tuple[int, ...] = ()
    sample: int = 0


def plain(text: str, words: int = 0) -> str:
    """A text on one line, with nothing in it that looks like an identifier, cut behind ``words`` if that is not 0."""
    parts = text.split()
    return _IDENTIFIER.sub(r"(\1)", " ".join(parts[:words] if words else parts))


def lines(passages: Sequence[str], names: Sequence[int] = ()) -> str:
    """Passages as a prompt shows them, a line each, under their identifiers or their places from 1."""
    named = zip(names or range(1, len(passages) + 1), passages, strict=True)
    return "\n".join(f"[{name}] {text}".rstrip() for name, text in named)


class ListFitter:
    """Fills the prompt of one recipe for one backend; ``counts`` says what was cut."""

    def __init__(self, backend: Backend, template: Template, recipe: ListwiseRecipe) -> None:
        self.counts: Counter[str] = Counter()
        self._backend, self._template, self._recipe = backend, template, recipe
        self._plain = lru_cache(_KEPT)(self._plain_now)
        self._length = lru_cache(_KEPT)(self._length_now)

    def begin(self) -> None:
        """Forgets what was cut so far."""
        self.counts.clear()
        self._plain.cache_clear()

    def rule(self) -> dict[str, Any]:
        """How prompts are made to fit, for the manifest."""
        recipe = self._recipe
        limits = {name: getattr(recipe, name) for name in ("query_tokens", "document_words", "document_tokens")}
        return {"limits": limits, "gives_way": "the longest passages, to one length", "floor": FLOOR}

    def fill(self, window: Window, room: int) -> Request | None:
        """The request of a window whose answer takes ``room`` tokens; None where it cannot be made to fit."""
        query = self._plain(window.query, self._recipe.query_tokens, 0)
        limits = self._recipe.document_tokens, self._recipe.document_words
        passages = [self._plain(text, *limits) for text in window.passages]
        request = self._request(window, query, passages)
        tokens, context = self._backend.tokens, self._backend.context
        if not context or tokens is None:
            return request
        texts = [request.text, *(turn.content for turn in request.messages)]
        if sum(map(tokens.most, texts)) + tokens.overhead(request) <= context - room:
            return request
        return self._shrunk(window, query, passages, context - room)

    def _request(self, window: Window, query: str, passages: Sequence[str]) -> Request:
        shown = lines(passages, window.names)
        fields = {"query": query, "passages": shown, "count": str(len(passages)), "example": "[2] > [1]"}
        request = self._template.fill(fields)
        if window.sample:
            request = Request(request.messages, request.text, request.opening, "", None, window.sample)
        return request

    def _shrunk(self, window: Window, query: str, passages: list[str], room: int) -> Request | None:
        """The request with its longest passages cut until it has at most ``room`` tokens."""
        tokens = self._backend.tokens
        assert tokens is not None
        lengths = [self._length(text) for text in passages]
        total, limit = sum(lengths), max(lengths, default=0)
        request = self._request(window, query, passages)
        while (excess := len(tokens.ids([request])[0]) - room) > 0:
            total -= excess  # at least one token each time
            limit = _level(lengths, total)
            if limit < FLOOR:
                self.counts["lists_refused"] += 1
                return None
            cut = [tokens.cut(t, limit) if n > limit else t for t, n in zip(passages, lengths, strict=True)]
            request = self._request(window, query, cut)
        if total < sum(lengths):
            self.counts["lists_cut_to_fit"] += 1
            self.counts["passages_cut_to_fit"] += sum(n > limit for n in lengths)
        return request

    def _plain_now(self, text: str, most_tokens: int, most_words: int) -> str:
        """A text as the prompt shows it, cut as the recipe says."""
        if most_words:
            self.counts["passages_cut_to_words"] += len(text.split()) > most_words
        line = plain(text, most_words)
        if not most_tokens:
            return line
        tokens = self._backend.tokens
        if tokens is None:
            cut = line[: most_tokens * _CHARACTERS]
        else:
            cut = line if tokens.most(line) <= most_tokens else tokens.cut(line, most_tokens)
        self.counts["texts_cut_to_tokens"] += len(cut) < len(line)
        return cut

    def _length_now(self, text: str) -> int:
        tokens = self._backend.tokens
        assert tokens is not None
        return tokens.count([text])[0]


def _level(lengths: Sequence[int], total: int) -> int:
    """The largest limit under which lengths, cut to it, add up to ``total`` at most; below 0 where none does."""
    left, below = total, len(lengths)
    for length in sorted(lengths):
        if left < length * below:
            return left // below
        left, below = left - length, below - 1
    return max(lengths, default=0)
