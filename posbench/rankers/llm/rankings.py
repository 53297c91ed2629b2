"""Valid rankings from a model in this process: tokens that spell no unused identifier are never drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from posbench.rankers.llm.tokens import Tokens


@dataclass
class _Node:
    """A place in the tree of tokens that spell identifiers: which of them go through here, and one that ends here."""

    through: set[int] = field(default_factory=set)
    after: dict[int, "_Node"] = field(default_factory=dict)
    ends: int = 0


def _tree(words: Sequence[Sequence[int]]) -> _Node:
    root = _Node()
    for name, word in enumerate(words, 1):
        node = root
        node.through.add(name)
        for token in word:
            node = node.after.setdefault(token, _Node())
            node.through.add(name)
        node.ends = name
    return root


class Spelling:
    """How a tokenizer spells "[1]" to "[n]" at the beginning of an answer, and " > [1]" to " > [n]" within one."""

    def __init__(self, tokens: Tokens, n: int) -> None:
        names = [f"[{name}]" for name in range(1, n + 1)]
        first = [tokens.target(name) for name in names]
        self.first, self.later = _tree(first), _tree([_behind(tokens, names[0], first[0], name) for name in names])


def _behind(tokens: Tokens, one: str, spelled: Sequence[int], name: str) -> list[int]:
    """The tokens of an identifier that follows another; where the two share a token, those of its text alone."""
    both = tokens.target(f"{one} > {name}")
    length = len(spelled)
    return both[length:] if both[:length] == list(spelled) else tokens.target(f" > {name}")


class Unused:
    """Which tokens may follow in one answer; ``count`` identifiers, each once, then the end."""

    def __init__(self, spelling: Spelling, count: int, end: int) -> None:
        self._spelling, self._count, self._end = spelling, count, end
        self._used: set[int] = set()
        self._node, self._read = spelling.first, 0

    def after(self, answer: Sequence[int]) -> list[int]:
        """The tokens that may follow an answer so far, ascending; each call's answer goes on from the last one's."""
        for token in answer[self._read :]:
            self._node = self._node.after[token]
            if self._node.ends:
                self._used.add(self._node.ends)
                self._node = self._spelling.later
        self._read = len(answer)
        if len(self._used) == self._count:
            return [self._end]
        return sorted(token for token, node in self._node.after.items() if node.through - self._used)
