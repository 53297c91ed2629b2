"""Reads a ranking such as "[3] > [1] > [2]" out of any text: a permutation always, and what was wrong with it.

Repair is the published one (RankGPT, FullRank): what stands twice counts where it stands first, what is out of range
does not count, and what is missing follows in the order of the input. Repaired places are bias towards the input, so
that what was said itself is kept apart.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from posbench.rankers.llm.calls import Finish

Kind = Literal[
    "ok", "wrong_format", "out_of_range", "repetition", "missing", "empty", "truncated", "too_long", "filtered"
]
"""What an answer is: the first of these that holds, "ok" where none of the others does."""

_FORM = re.compile(r"\s*\[\d+\](?:\s*>\s*\[\d+\])*\s*")
_BRACKETED = re.compile(r"\[\s*(\d+)\s*\]")
_BARE = re.compile(r"\d+")
_DIGITS = 9  # of an identifier; longer ones are out of range


@dataclass(frozen=True)
class Ranking:
    """A ranking of n items, from 0.

    Attributes:
        order: all n items, best first.
        said: how many of them the answer named before anything was repaired; those after are in the order of the input.
        kind: of the answer.
        repeated: identifiers that stood there before.
        outside: identifiers out of range.
    """

    order: tuple[int, ...]
    said: int
    kind: Kind
    repeated: int = 0
    outside: int = 0


def read(text: str, n: int, finish: Finish = "stop", top: int = 0) -> Ranking:
    """The ranking in an answer.

    Args:
        text: the answer; reasoning up to the last ``</think>`` does not count.
        n: items, whose identifiers are 1 to n.
        finish: how the answer ended. The last identifier of one that was cut may lack digits and does not count.
        top: identifiers that were asked for, 0 for all; more are not read.
    """
    if finish in ("too_long", "filtered"):
        return Ranking(tuple(range(n)), 0, "too_long" if finish == "too_long" else "filtered")
    wanted = min(top or n, n)
    answer = text.rpartition("</think>")[2]
    numbers = _numbers(answer, finish == "length")
    said: dict[int, None] = {}
    repeated = outside = used = 0
    for number in numbers:
        if len(said) == wanted and top:
            break
        used += 1
        if not 1 <= number <= n:
            outside += 1
        elif number - 1 in said:
            repeated += 1
        else:
            said[number - 1] = None
    cut = finish == "length" and len(said) < wanted
    formed = _formed(answer, finish == "length", bool(numbers))
    kind = _kind(bool(answer.strip()), formed, cut, (outside, repeated, wanted - len(said)))
    order = (*said, *(item for item in range(n) if item not in said))
    return Ranking(order, len(said), kind, repeated, outside)


def _kind(anything: bool, formed: bool, cut: bool, faults: Sequence[int]) -> Kind:
    if not anything:
        return "truncated" if cut else "empty"
    outside, repeated, missing = faults
    if not formed:
        return "wrong_format"
    if outside:
        return "out_of_range"
    if repeated:
        return "repetition"
    if missing:
        return "truncated" if cut else "missing"
    return "ok"


def _formed(answer: str, cut: bool, numbers: bool) -> bool:
    """Whether an answer has the form that was asked for, as far as it goes where it was cut."""
    if not cut:
        return bool(_FORM.fullmatch(answer))
    return bool(_FORM.fullmatch(answer[: answer.rfind("]") + 1])) or not numbers


def _numbers(answer: str, cut: bool) -> list[int]:
    """The identifiers: those in brackets, or all numbers where there are none."""
    found = _BRACKETED.findall(answer)
    if not found:
        found = _BARE.findall(answer)
        if cut and found and answer[-1:].isdecimal():
            found = found[:-1]
    return [int(digits) if len(digits) <= _DIGITS else 0 for digits in found]


def written(order: Sequence[int]) -> str:
    """The answer that says a ranking of items from 0."""
    return " > ".join(f"[{item + 1}]" for item in order)
