"""What a token may follow, for answers that must be one of some texts."""

from collections.abc import Sequence

from posbench.errors import UsageError
from posbench.rankers.llm.calls import Constraint
from posbench.rankers.llm.tokens import Tokens


class Choices:
    """A tree of the tokens of texts, each with the token that ends an answer."""

    def __init__(self, words: Sequence[Sequence[int]]) -> None:
        self._next: dict[tuple[int, ...], set[int]] = {}
        for word in words:
            for place, token in enumerate(word):
                self._next.setdefault(tuple(word[:place]), set()).add(token)

    def after(self, answer: Sequence[int]) -> list[int]:
        """The tokens that may follow an answer so far, ascending; none where it is finished."""
        return sorted(self._next.get(tuple(answer), ()))


def choices(constraint: Constraint | None, tokens: Tokens, end: int) -> Choices | None:
    """What a constraint allows; None for no constraint.

    Raises:
        UsageError: the constraint is not a choice.
    """
    if constraint is None:
        return None
    if constraint.kind != "choice":
        raise UsageError(
            f"engine transformers cannot hold an answer to a {constraint.kind}, only to a choice; use vllm, or a server"
        )
    return Choices([[*tokens.target(text), end] for text in constraint.value])
