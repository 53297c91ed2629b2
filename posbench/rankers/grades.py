"""Integer scores from 0 to 10 out of a model's answers, as ERank gives them (arXiv 2509.00520, section 3.2).

The answer is ``<think>...</think><answer>integer</answer>``. Three scores are made of it: the integer s times the
probability of the tokens that spell it (as published; how the authors treat "10", which most tokenizers split, is not
published: here it is the product over its tokens), the expected value over the eleven scores, and s alone.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from posbench.rankers.llm.calls import Token

HIGHEST = 10
Kind = Literal[
    "ok",
    "untagged",
    "several",
    "empty",
    "truncated",
    "no_score",
    "not_an_integer",
    "out_of_range",
    "filtered",
    "too_long",
]
ACCEPTED: tuple[Kind, ...] = ("ok", "untagged", "several")
SPLIT_FROM = 1e-6  # probability of a first digit 1 from which what follows it is asked for: moves E by 9e-6 at most

_TAGGED = re.compile(r"<answer>([^<]*)(</answer>)?")
_INTEGER = re.compile(r"\s*([0-9]+)\s*")
_ANY = re.compile(r"\s*[+-]?[0-9]+(?:[.,/:][0-9]+)*%?\s*")
_DIGITS = re.compile(r"\s*([0-9]+)")


@dataclass(frozen=True)
class Grade:
    """A score from 0 to 10, None where the answer has none, what was odd about it, and where it stands in the text."""

    score: int | None
    kind: Kind
    start: int = -1
    end: int = -1


def read(text: str, finish: str = "stop") -> Grade:
    """The score in an answer, opening included.

    What stands before the last ``</think>`` is not read. The last ``<answer>`` counts; if others before it differ that
    is noted as "several". Without any, a text that is an integer and nothing else is taken ("untagged").
    """
    if finish in ("filtered", "too_long"):
        return Grade(None, "filtered" if finish == "filtered" else "too_long")
    closed = text.rfind("</think>")
    if closed < 0 and "<think>" in text:
        return Grade(None, "truncated" if finish == "length" else "no_score")
    begin = closed + len("</think>") if closed >= 0 else 0
    found = list(_TAGGED.finditer(text, begin))
    if not found:
        return _untagged(text, begin, finish)
    last = found[-1]
    if finish == "length" and not last[2] and last.end() == len(text) and not last[1].strip(" \n\t0123456789"):
        return Grade(None, "truncated")
    grade = _integer(last[1], last.start(1))
    others = {one[1].strip() for one in found[:-1] if _INTEGER.fullmatch(one[1])} - {last[1].strip()}
    return Grade(grade.score, "several", grade.start, grade.end) if others and grade.kind == "ok" else grade


def _untagged(text: str, begin: int, finish: str) -> Grade:
    rest = text[begin:]
    if finish == "length":
        return Grade(None, "truncated")
    if not rest.strip():
        return Grade(None, "empty")
    grade = _integer(rest, begin)
    if grade.kind == "ok":
        return Grade(grade.score, "untagged", grade.start, grade.end)
    return grade if _ANY.fullmatch(rest) else Grade(None, "no_score")


def _integer(text: str, offset: int) -> Grade:
    whole = _INTEGER.fullmatch(text)
    if whole is None:
        return Grade(None, "not_an_integer" if text.strip() else "empty")
    digits = whole[1].lstrip("0") or "0"
    if len(digits) > 2 or int(digits) > HIGHEST:
        return Grade(None, "out_of_range")
    return Grade(int(digits), "ok", offset + whole.start(1), offset + whole.end(1))


@dataclass(frozen=True)
class Spelled:
    """The tokens that spell a score, ``first`` to ``last`` (exclusive), and what precedes the digits in the first."""

    first: int
    last: int
    before: str


def spelled(tokens: Sequence[Token], digits: str) -> Spelled | None:
    """The tokens that spell these digits, behind the last ``<answer>`` or ``</think>`` if any; None where none do."""
    joined = "".join(token.text for token in tokens)
    behind = max(joined.rfind("<answer>"), joined.rfind("</think>"), 0)
    places = [m for m in re.finditer(r"[0-9]+", joined) if m[0] == digits and m.start() >= behind]
    if not places:
        return None
    start, end = places[0].span()
    at, first, last, before = 0, 0, len(tokens), ""
    for number, token in enumerate(tokens):
        if at <= start < at + len(token.text):
            first, before = number, token.text[: start - at]
        if at < end <= at + len(token.text):
            last = number + 1
        at += len(token.text)
    return Spelled(first, last, before)


def probability(tokens: Sequence[Token], place: Spelled) -> float:
    """The probability of the tokens that spell a score, in [0, 1]."""
    return math.exp(sum(token.logprob for token in tokens[place.first : place.last]))


def first_digits(token: Token, before: str) -> dict[str, float]:
    """The probability of each run of digits with which the answer could begin here, instead of the one it has.

    ``before`` is what precedes the digits in the token that was drawn; one that is more than space must precede theirs
    as well. Digits that something else follows in the same token end in ".".
    """
    found: dict[str, float] = {}
    named = dict(token.top)
    named.setdefault(token.text, token.logprob)
    for text, value in named.items():
        if before.strip():
            if not text.startswith(before):
                continue
            text = text[len(before) :]
        match = _DIGITS.match(text)
        if match:
            key = match[1] + ("." if match.end() < len(text) else "")
            found[key] = found.get(key, 0.0) + math.exp(value)
    return found


def followed(token: Token) -> tuple[float, float]:
    """The probabilities that a 0 follows here, and that no digit does."""
    starts = first_digits(token, "")
    spaced = {text: p for text, p in starts.items() if text[0] == "0"}
    return min(1.0, sum(spaced.values())), max(0.0, 1.0 - sum(starts.values()))


def distribution(begins: dict[str, float], split: tuple[float, float]) -> list[float]:
    """The probability of each score from 0 to 10, as far as it is known: eleven numbers whose sum is at most 1.

    Args:
        begins: of ``first_digits``.
        split: of ``followed``, behind a first digit 1.
    """
    shares = [0.0] * (HIGHEST + 1)
    for text, p in begins.items():
        digits = text.rstrip(".")
        if text == "1":
            shares[10] += p * split[0]
            shares[1] += p * split[1]
        elif len(digits) <= 2 and int(digits) <= HIGHEST:
            shares[int(digits)] += p
    return shares


def expected(shares: Sequence[float]) -> float:
    """The expected score, 0 to 10, given that the answer is a score at all; NaN where no score has any mass."""
    mass = sum(shares)
    return sum(score * share for score, share in enumerate(shares)) / mass if mass > 0 else math.nan
