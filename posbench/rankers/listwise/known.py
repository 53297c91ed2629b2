"""Rankers whose answer is known beforehand, as replies of ``InstantBackend``: they prove what is measured of others."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from posbench.rankers.listwise.answers import written
from posbench.rankers.llm.calls import Request

_LINE = re.compile(r"^\[(\d+)\] ?(.*)$", re.MULTILINE)
_QUERY = re.compile(r"^Query: (.*)$", re.MULTILINE)


def shown(request: Request) -> tuple[str, list[tuple[int, str]]]:
    """The query of a prompt, and identifier and text of each passage in the order shown."""
    prompt = "\n".join([*(turn.content for turn in request.messages), request.text])
    query = _QUERY.search(prompt)
    return query[1] if query else "", [(int(name), text) for name, text in _LINE.findall(prompt)]


def copying(request: Request) -> str:
    """Repeats the order shown."""
    return written([name - 1 for name, _ in shown(request)[1]])


@dataclass(frozen=True)
class Knowing:
    """Orders by what passages are worth, less ``primacy`` times the share of the list that stands before them.

    Without primacy it is an oracle; with much of it it copies. ``naming`` does the same by identifier instead of place.
    """

    worth: Callable[[str, str], float]  # of (query, passage)
    primacy: float = 0.0
    naming: float = 0.0

    def __call__(self, request: Request) -> str:
        """The answer to a prompt; ties by the order shown."""
        query, passages = shown(request)
        last = max(1, len(passages) - 1)
        worth = {
            name: self.worth(query, text) - self.primacy * place / last - self.naming * (name - 1) / last
            for place, (name, text) in enumerate(passages)
        }
        return written([name - 1 for name in sorted(worth, key=lambda name: -worth[name])])
