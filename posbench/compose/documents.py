"""Composed documents: one piece of text a passage and place, with the offsets of the evidence in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posbench.compose.evidence import Passage
from posbench.compose.filler import Count
from posbench.compose.segments import around, join, merged, segments


@dataclass(frozen=True)
class Document:
    """A composed text and where the passage starts in it, in characters."""

    text: str
    start: int


def place(passage: Passage, pieces: Sequence[str], count: Count, positions: Sequence[float]) -> list[Document]:
    """The passage among pieces, one document a position.

    It stands at the boundary before which the share of the pieces' tokens comes closest to the position.
    """
    before = np.concatenate([[0], np.cumsum(count(pieces))])
    documents = []
    for position in positions:
        at = int(np.argmin(np.abs(before - position * before[-1])))
        text, starts = join([*pieces[:at], passage.text, *pieces[at:]])
        documents.append(Document(text, starts[at]))
    return documents


def others(text: str, passage: Passage) -> list[str]:
    """The sentences of the passage's own document, without the passage."""
    parts = segments(text)
    start, end = around(parts, passage.start, passage.end)
    pieces = [text[a:b].strip() for a, b in parts if b <= start or a >= end]
    return [piece for piece in pieces if piece]


def mirror(text: str, spans: Sequence[tuple[int, int]]) -> tuple[list[str], list[tuple[int, int]]]:
    """A text's sentences in order, none that cuts a span, and for each span its sentence and the offset in it."""
    parts = merged(segments(text), spans)
    pieces, at = [], []
    for a, b in parts:
        piece = text[a:b].strip()
        if piece:
            pieces.append(piece)
            at.append(a + len(text[a:b]) - len(text[a:b].lstrip()))
    found = []
    for start, _ in spans:
        number = max(n for n, first in enumerate(at) if first <= max(start, at[0]))
        found.append((number, max(0, start - at[number])))
    return pieces, found
