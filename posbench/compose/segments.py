"""Text to sentences by a plain rule, and sentences back to text.

A sentence ends after Chinese, Japanese and full-width terminators; after . ! ? and their Arabic, Urdu, Devanagari,
Armenian and Ethiopic relatives where white space follows and then no small letter (an initial such as "J." ends none);
and at a blank line. What is still longer than ``LONG`` characters (Thai has no full stop) is cut at white space. The
rule needs no model and no language; it errs on abbreviations, which makes a sentence shorter and loses nothing.
"""

import re
from collections.abc import Sequence

LONG = 400
"""Characters of a sentence beyond which it is cut at white space."""

_CLOSING = r"[)\]\"'”’»」』）】]*"
_END = re.compile(rf"[。！？｡]+{_CLOSING}\s*|(?<!\b\w)[.!?…؟۔।॥։።]+{_CLOSING}\s+|\s*\n\s*\n\s*")
_FULL_WIDTH = "。！？｡"
# Scripts written without spaces: CJK punctuation, kana, Chinese characters, full-width forms.
_UNSPACED = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff9f]")


def segments(text: str) -> list[tuple[int, int]]:
    """The sentences of a text as (start, end) in characters, end exclusive, white space behind each included.

    They follow one another without a gap, so that the pieces joined give the text back; none for an empty text.
    """
    found = []
    first = 0
    for match in _END.finditer(text):
        end = match.end()
        closes = match[0][0] in _FULL_WIDTH or "\n" in match[0].strip(" \t") or not text[end : end + 1].islower()
        if closes and 0 < end < len(text) and text[first:end].strip():
            found += _cut(text, first, end)
            first = end
    return found + _cut(text, first, len(text))


def _cut(text: str, first: int, end: int) -> list[tuple[int, int]]:
    """One sentence, or its parts of at most ``LONG`` characters where white space allows."""
    found = []
    while end - first > LONG:
        at = max(text.rfind(blank, first + 1, first + LONG) for blank in " \n\t\u00a0") + 1
        if at <= first + 1 or not text[at:end].strip():
            break
        found.append((first, at))
        first = at
    return [*found, (first, end)] if end > first else found


def around(parts: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The stretch of whole sentences that holds characters start..end."""
    held = [part for part in parts if part[0] < end and part[1] > start]
    return held[0][0], held[-1][1]


def merged(parts: Sequence[tuple[int, int]], kept: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sentences, where those that a stretch of ``kept`` touches become one piece."""
    found: list[tuple[int, int]] = []
    for part in parts:
        joined = found and any(start < part[0] < end for start, end in kept)
        if joined:
            found[-1] = (found[-1][0], part[1])
        else:
            found.append(part)
    return found


def join(pieces: Sequence[str]) -> tuple[str, list[int]]:
    """Pieces without white space at their ends as one text, and where each starts in it, in characters.

    A blank stands between two pieces, none where both edges are written without spaces.
    """
    text: list[str] = []
    starts: list[int] = []
    at = 0
    for piece in pieces:
        if text and not (_UNSPACED.match(text[-1][-1]) and _UNSPACED.match(piece[0])):
            text.append(" ")
            at += 1
        starts.append(at)
        text.append(piece)
        at += len(piece)
    return "".join(text), starts
