"""What to compose: the choices that a user makes, checked."""

from dataclasses import dataclass
from typing import Literal, get_args

from posbench.errors import UsageError

Method = Literal["insert", "move", "mirror"]
Filler = Literal["random", "topic", "hard"]

TOLERANCE = 0.05
"""A composed document has between 1 - TOLERANCE and 1 + TOLERANCE of the tokens that were asked for."""
MOST = 0.5
"""Evidence that fills more of the shortest document than this share is left out: its place could hardly vary."""
COPY = 0.6
"""Filler that shares this much of its character 5-grams with some evidence is a copy of it (overlap coefficient)."""
MIRRORED = ("original", "mirrored")
OWN = "own"
"""The length of documents that keep their own."""


@dataclass(frozen=True)
class Plan:
    """How to compose.

    ``lengths`` are tokens (``insert`` only); ``positions`` the share of the other text that stands before the evidence,
    0 to 1; ``queries`` how many at most (0: all that can be had); ``distractors`` further documents without evidence
    (None: none for ``insert``, all that the collection has for ``move`` and ``mirror``); ``seed`` of every choice.
    """

    method: Method = "insert"
    lengths: tuple[int, ...] = (256, 512, 1024)
    positions: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    filler: Filler = "random"
    queries: int = 0
    distractors: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot be composed.

        Raises:
            UsageError: a value is out of its range.
        """
        if self.method not in get_args(Method):
            raise UsageError(f"method {self.method!r}; expected one of {', '.join(get_args(Method))}")
        if self.filler not in get_args(Filler):
            raise UsageError(f"filler {self.filler!r}; expected one of {', '.join(get_args(Filler))}")
        if self.queries < 0 or (self.distractors or 0) < 0:
            raise UsageError(f"queries {self.queries}, distractors {self.distractors}; expected 0 or more")
        if self.method == "insert" and (not self.lengths or min(self.lengths) < 16 or _repeats(self.lengths)):
            raise UsageError(f"lengths {_list(self.lengths)}; expected different numbers of tokens, each 16 or more")
        if self.method != "mirror":
            inside = all(0 <= place <= 1 for place in self.positions)
            if len(self.positions) < 2 or not inside or _repeats(self.positions):
                raise UsageError(f"positions {_list(self.positions)}; expected two or more different ones from 0 to 1")


def _repeats(values: tuple[float, ...]) -> bool:
    return len(set(values)) < len(values)


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values) or "(none)"
