"""Finds sentences that say again what some evidence says: exact overlap of character 5-grams."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posbench.compose.plan import COPY

_GRAM = 5
_Grams = NDArray[np.uint64]


def normalised(text: str) -> str:
    """Lower case, white space runs as one blank."""
    return " ".join(text.casefold().split())


def grams(text: str) -> _Grams:
    """The distinct 5-grams of a text as 64-bit hashes, ascending; one for a shorter text.

    A collision could only leave out a sentence needlessly.
    """
    codes = np.frombuffer(normalised(text).encode("utf-32-le"), np.uint32).astype(np.uint64)
    width = min(_GRAM, len(codes))
    count = len(codes) - width + 1 if width else 0
    mixed = np.zeros(count, np.uint64)
    for at in range(width):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + codes[at : at + count] + np.uint64(1)
    return np.unique(mixed)


class Copies:
    """Compares sentences with all evidence of a set at once."""

    def __init__(self, evidence: Sequence[str]) -> None:
        parts = [grams(text) for text in evidence]
        self._sizes = np.array([len(part) for part in parts], np.int64)
        keys = np.concatenate(parts) if parts else np.empty(0, np.uint64)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._owner = np.repeat(np.arange(len(parts)), self._sizes)[order]

    def overlap(self, text: str) -> float:
        """The largest share of 5-grams, of the shorter of the two, that the text has in common with one evidence."""
        mine = grams(text)
        low, high = (np.searchsorted(self._keys, mine, side) for side in ("left", "right"))
        counts = high - low
        total = int(counts.sum())
        if not total:
            return 0.0
        rows = np.repeat(low - (np.cumsum(counts) - counts), counts) + np.arange(total)
        shared = np.bincount(self._owner[rows], minlength=len(self._sizes))
        return float((shared / np.maximum(1, np.minimum(self._sizes, len(mine)))).max())

    def holds(self, text: str) -> bool:
        """Whether the text copies some evidence: an overlap of ``COPY`` or more."""
        return self.overlap(text) >= COPY
