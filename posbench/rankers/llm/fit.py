"""Makes prompts fit: fields are cut at their beginnings' limits, then one gives way until the whole prompt fits.

Counted in the model's own tokens, chat template included. Without its tokenizer a token is taken to be four characters
and the whole is not checked: the server refuses what is too long, and that is counted too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from posbench.rankers.llm.calls import Backend, Request
from posbench.rankers.llm.prompts import Template
from posbench.rankers.llm.tokens import Tokens

_CHARACTERS = 4  # a token, where there is no tokenizer
_KEPT = 1 << 14  # texts whose cut is remembered


class Fitter:
    """Fills one prompt for one backend.

    Args:
        backend: whose tokens count.
        template: the prompt.
        limits: tokens of a field, 0 for none.
        room: tokens that the answer needs.
        gives: the field that gives way where the whole does not fit.
    """

    def __init__(
        self, backend: Backend, template: Template, limits: Mapping[str, int], room: int, gives: str = "document"
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._backend, self._template, self._gives, self._room = backend, template, gives, room
        self._limits = {field: limit for field, limit in limits.items() if limit}
        self._cut = lru_cache(_KEPT)(self._cut_now)
        self._overhead: int | None = None

    def rule(self) -> dict[str, Any]:
        """How prompts are made to fit, for the manifest."""
        return {"limits": self._limits, "gives_way": self._gives, "answer_tokens": self._room}

    def kept(self, field: str, text: str) -> int:
        """How many leading characters of a text its field's limit leaves."""
        return len(self._cut(text, self._limits[field])) if field in self._limits else len(text)

    def fill(self, rows: Sequence[Mapping[str, str]]) -> list[Request | None]:
        """A request for each row of fields; None where nothing that may give way would make it fit."""
        cut = [self._limited(row) for row in rows]
        requests: list[Request | None] = [self._template.fill(row) for row in cut]
        context, tokens = self._backend.context, self._backend.tokens
        if not context or tokens is None:
            return requests
        room = context - self._room
        doubtful = [n for n, row in enumerate(cut) if self._most(row, requests[n]) > room]
        lengths = _lengths(tokens, [one for n in doubtful if (one := requests[n]) is not None])
        for n, length in zip(doubtful, lengths, strict=True):
            if length > room:
                requests[n] = self._shrunk(cut[n], length, room)
        return requests

    def _limited(self, row: Mapping[str, str]) -> Mapping[str, str]:
        if not self._limits:
            return row
        made = {
            field: self._cut(text, self._limits[field]) if field in self._limits else text
            for field, text in row.items()
        }
        for field in self._limits:
            self.counts[f"{field}_cut"] += len(made.get(field, "")) < len(row.get(field, ""))
        return made

    def _cut_now(self, text: str, limit: int) -> str:
        tokens = self._backend.tokens
        if tokens is None:
            return text[: limit * _CHARACTERS]
        return text if tokens.most(text) <= limit else tokens.cut(text, limit)

    def _most(self, row: Mapping[str, str], request: Request | None) -> int:
        """Tokens that the request has at most, at once."""
        tokens = self._backend.tokens
        if tokens is None or request is None:
            return 0
        if self._overhead is None:
            empty = self._template.fill({})
            texts = [turn.content for turn in empty.messages] + [empty.text, empty.target]
            self._overhead = tokens.overhead(empty) + sum(tokens.most(text) for text in texts)
        return self._overhead + sum(tokens.most(row.get(field, "")) for field in self._template.fields)

    def _shrunk(self, row: Mapping[str, str], length: int, room: int) -> Request | None:
        """The request with the field that gives way cut until all fits; each step takes at least what is too much."""
        tokens = self._backend.tokens
        assert tokens is not None
        text = row.get(self._gives, "")
        left = tokens.count([text])[0]
        while length > room and left > 0:
            left = max(0, left - (length - room))
            request = self._template.fill({**row, self._gives: tokens.cut(text, left)})
            (length,) = _lengths(tokens, [request])
        if length > room:
            self.counts["refused"] += 1
            return None
        self.counts[f"{self._gives}_cut_to_fit"] += 1
        return request


def _lengths(tokens: Tokens, requests: Sequence[Request]) -> list[int]:
    """Tokens of each prompt and of the text given as its answer."""
    prompts = tokens.ids(requests)
    return [len(ids) + len(tokens.target(one.target)) for ids, one in zip(prompts, requests, strict=True)]
