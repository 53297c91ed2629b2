"""What a token may follow, for answers that must be one of some texts or a ranking."""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Protocol

from posbench.errors import UsageError
from posbench.rankers.llm.calls import Constraint
from posbench.rankers.llm.rankings import Spelling, Unused
from posbench.rankers.llm.tokens import Tokens


class Allowed(Protocol):
    """What may follow in one answer."""

    def after(self, answer: Sequence[int]) -> list[int]:
        """The tokens that may follow an answer so far, ascending; none where it is finished."""
        ...


class Choices:
    """A tree of the tokens of texts, each with the token that ends an answer."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self._next: dict[tuple[int, ...], set[int]] = {}
        for word in words:
            for place, token in enumerate(word):
                self._next.setdefault(tuple(word[:place]), set()).add(token)

    def after(self, answer: Sequence[int]) -> list[int]:
        """See ``Allowed``."""
        return sorted(self._next.get(tuple(answer), ()))


class Holder:
    """What constraints allow, in one tokenizer's tokens; ``end`` is the one that ends an answer."""

    def __init__(self, tokens: Tokens, end: int) -> None:
        self._tokens, self._end = tokens, end
        self._spelling = lru_cache(None)(partial(Spelling, tokens))

    def allowed(self, constraint: Constraint | None) -> Allowed | None:
        """What a constraint allows; None for no constraint.

        Raises:
            UsageError: the constraint is neither a choice nor a ranking.
        """
        if constraint is None:
            return None
        if constraint.kind == "ranking":
            n, count = map(int, constraint.value)
            return Unused(self._spelling(n), count, self._end)
        if constraint.kind == "choice":
            return Choices([[*self._tokens.target(text), self._end] for text in constraint.value])
        raise UsageError(
            f"engine transformers cannot hold an answer to a {constraint.kind}, only to a choice or a ranking; "
            "use vllm, or a server"
        )
