"""Asks a backend through the cache, and keeps the books: what was asked, what it cost, what was known already."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posbench.rankers.llm.cache import CallCache, keys
from posbench.rankers.llm.calls import Answer, Backend, Request, Sampling, pruned
from posbench.types import Progress, no_progress


@dataclass
class Ledger:
    """What the answers that were used cost, now or when they were first given.

    ``calls`` counts requests, ``cached`` those of them that were answered from the cache or by another request of the
    same content; tokens are of all, and the ``new_`` ones only of calls that were made now.
    """

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    reused_tokens: int = 0
    new_prompt_tokens: int = 0
    new_answer_tokens: int = 0
    seconds: float = 0.0
    finish: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer, new: bool) -> None:
        """Enters one answer."""
        self.calls += 1
        self.prompt_tokens += answer.prompt_tokens
        self.answer_tokens += answer.answer_tokens
        self.reused_tokens += answer.reused_tokens
        self.finish[answer.finish] += 1
        if new:
            self.new_prompt_tokens += answer.prompt_tokens
            self.new_answer_tokens += answer.answer_tokens
        else:
            self.cached += 1


class Client:
    """One backend behind a cache of calls.

    Args:
        backend: what answers.
        cache: folder of caches; None asks every time.
        prices: of a million tokens of prompt and of answer.
        progress: shows requests answered.
    """

    def __init__(
        self,
        backend: Backend,
        cache: Path | None,
        prices: tuple[float, float] = (0.0, 0.0),
        progress: Progress = no_progress,
    ) -> None:
        self.backend = backend
        self.ledger = Ledger()
        self._root = cache
        self._prices = prices
        self._progress = progress
        self._cache: CallCache | None = None
        self._faults: Mapping[str, int] = {}

    def begin(self) -> None:
        """Begins new books."""
        self.ledger = Ledger()
        self._faults = dict(self.backend.faults())

    def template(self) -> str:
        """A hash of the chat template that prompts were rendered with; "" where it is not known here."""
        tokens = self.backend.tokens
        return tokens.template if tokens is not None else ""

    def ask(self, requests: Sequence[Request], sampling: Sampling) -> list[Answer]:
        """The answer to each request. What is known is not asked again; what comes is kept at once.

        That a prompt is too long is not kept: it is a fact of how the engine runs, and not of the model.

        Raises:
            BackendError: the model does not answer; what it answered before is kept.
            UsageError: the backend cannot do what a request asks for.
        """
        wanted = keys(requests, sampling)
        cache = self._opened()
        known = cache.find(list(dict.fromkeys(wanted))) if cache is not None else {}
        fresh = {key: row for row, key in enumerate(wanted) if key not in known}
        if fresh:
            known |= self._asked([requests[row] for row in fresh.values()], list(fresh), sampling, cache)
        for row, key in enumerate(wanted):
            self.ledger.add(known[key], fresh.get(key) == row)
        return [known[key] for key in wanted]

    def cost(self) -> dict[str, Any]:
        """The books, as JSON: calls, tokens, prefix-cache hits, seconds, faults of transport and, if known, the price.

        ``price`` is of all calls, ``price_now`` of those that were not known already.
        """
        books = self.ledger
        content: dict[str, Any] = {
            **{name: getattr(books, name) for name in books.__dataclass_fields__},
            "finish": dict(sorted(books.finish.items())),
            "faults": dict(Counter(self.backend.faults()) - Counter(self._faults)),
            "seconds": round(books.seconds, 3),
        }
        if any(self._prices):
            content["price"] = self._price(books.prompt_tokens, books.answer_tokens)
            content["price_now"] = self._price(books.new_prompt_tokens, books.new_answer_tokens)
        return content

    def _price(self, prompt: int, answer: int) -> float:
        return round((prompt * self._prices[0] + answer * self._prices[1]) / 1e6, 6)

    def _opened(self) -> CallCache | None:
        if self._cache is None and self._root is not None:
            self._cache = CallCache(self._root, self.backend.describe())
        return self._cache

    def _asked(
        self, requests: list[Request], names: list[bytes], sampling: Sampling, cache: CallCache | None
    ) -> Mapping[bytes, Answer]:
        found: dict[bytes, Answer] = {}
        advance = self._progress("asking the model", len(requests))
        start = time.perf_counter()
        try:
            with closing(self.backend.answers(requests, sampling)) as batches:
                for batch in batches:
                    came = [(names[row], pruned(answer, sampling.after)) for row, answer in batch]
                    if cache is not None:  # a prompt that is too long costs nothing, and may fit another time
                        cache.save([(key, answer) for key, answer in came if answer.finish != "too_long"])
                    found.update(came)
                    advance(len(came))
        finally:
            self.ledger.seconds += time.perf_counter() - start
        return found
