"""Hashed n-gram features of texts: which buckets the n-grams of each text fall in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.dsir import fast, official
from posbench.dsir.blocks import Buckets, entry_counts
from posbench.errors import DataError, UsageError
from posbench.types import Float64, Int32, Int64, Strings, strings

KINDS: dict[str, type[fast.Hasher] | type[official.Hasher]] = {"fast": fast.Hasher, "official": official.Hasher}
MAX_NGRAMS = 8
MAX_BUCKETS = 1 << 32
_BLOCK = 1 << 16  # entries a block, so that temporary arrays stay small


@dataclass(frozen=True)
class FeatureSpec:
    """What features are made of.

    Attributes:
        kind: ``fast`` (posbench's own tokenizer and hash) or ``official`` (those of data-selection 1.0.3).
        ngrams: n-grams of 1 to so many tokens, 1 to 8.
        buckets: the number of buckets that all of them share, 2 to 2**32.

    Raises:
        UsageError: a value is out of range.
    """

    kind: str = "fast"
    ngrams: int = 2
    buckets: int = 10_000

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"features of kind {self.kind!r}; expected {' or '.join(KINDS)}")
        if not 1 <= self.ngrams <= MAX_NGRAMS:
            raise UsageError(f"n-grams of up to {self.ngrams} tokens; expected 1 to {MAX_NGRAMS}")
        if not 2 <= self.buckets <= MAX_BUCKETS:
            raise UsageError(f"{self.buckets} buckets; expected 2 to 2**32")

    @property
    def dtype(self) -> type[np.uint16] | type[np.uint32]:
        """The smallest type that holds every bucket."""
        return np.uint16 if self.buckets <= 1 << 16 else np.uint32

    def describe(self) -> dict[str, Any]:
        """Everything that decides in which bucket an n-gram falls."""
        return {"kind": self.kind, "ngrams": self.ngrams, "buckets": self.buckets, **KINDS[self.kind].describe()}


@dataclass(frozen=True)
class Features:
    """The n-grams of texts as buckets: one row a text, one entry an occurrence of an n-gram.

    Attributes:
        indptr: int64[N + 1]; the entries of text i are ``buckets[indptr[i]:indptr[i + 1]]``.
        buckets: uint16[nnz] or uint32[nnz], each below ``size``; may be a memory map.
        tokens: int32[N], tokens of each text.
        size: the number of buckets.
    """

    indptr: Int64
    buckets: Buckets
    tokens: Int32
    size: int

    def __len__(self) -> int:
        return len(self.tokens)

    def counts(self) -> Int64:
        """How often each bucket occurs: int64[size]."""
        total = np.zeros(self.size, np.int64)
        step = max(_BLOCK, self.size)
        for at in range(0, len(self.buckets), step):
            total += np.bincount(self.buckets[at : at + step], minlength=self.size)
        return total

    def by_row(self, values: Float64) -> Float64:
        """The sum of ``values[bucket]`` over the entries of each row; 0 for a row without entries.

        A row's sum depends on its own entries alone, to the last bit.

        Args:
            values: float64[size].

        Returns:
            float64[N].
        """
        if len(values) != self.size:
            raise UsageError(f"{len(values)} values for {self.size} buckets; expected one a bucket")
        sums = np.zeros(len(self), np.float64)
        for first, last in self._blocks():
            start, stop = self.indptr[first], self.indptr[last]
            if last - first == 1 and stop - start > _BLOCK:
                pieces = range(start, stop, _BLOCK)
                sums[first] = sum(values[self.buckets[at : min(at + _BLOCK, stop)]].sum() for at in pieces)
            else:
                rows = first + np.flatnonzero(np.diff(self.indptr[first : last + 1]))
                if len(rows):
                    found = values[self.buckets[start:stop]]
                    sums[rows] = np.add.reduceat(found, self.indptr[rows] - start)
        return sums

    def take(self, rows: Any) -> "Features":
        """The rows of the given indices, in their order, again and again where an index is repeated."""
        index = np.asarray(rows, np.int64)
        lengths = np.diff(self.indptr)[index]
        indptr = np.zeros(len(index) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        taken = Features(indptr, np.empty(indptr[-1], self.buckets.dtype), self.tokens[index], self.size)
        for first, last in taken._blocks():
            shift = np.repeat(self.indptr[index[first:last]] - indptr[first:last], lengths[first:last])
            entries = np.arange(indptr[first], indptr[last])
            taken.buckets[indptr[first] : indptr[last]] = self.buckets[entries + shift]
        return taken

    @staticmethod
    def concat(parts: Sequence["Features"]) -> "Features":
        """The rows of all parts, one after the other.

        Raises:
            UsageError: there is no part, or their numbers of buckets differ.
        """
        sizes = {part.size for part in parts}
        if len(sizes) != 1:
            given = " and ".join(map(str, sorted(sizes))) or "no part"
            raise UsageError(f"features cannot be joined: {given} given; expected parts of one number of buckets")
        lengths = np.concatenate([np.diff(part.indptr) for part in parts])
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        tokens = np.concatenate([part.tokens for part in parts])
        return Features(indptr, np.concatenate([part.buckets for part in parts]), tokens, sizes.pop())

    def _blocks(self) -> "Sequence[tuple[int, int]]":
        """Ranges of rows of at most ``_BLOCK`` entries together, a longer row alone."""
        ranges, first = [], 0
        while first < len(self):
            last = int(np.searchsorted(self.indptr, self.indptr[first] + _BLOCK, "right")) - 1
            ranges.append((first, max(last, first + 1)))
            first = ranges[-1][1]
        return ranges


def featurise(texts: Strings | Sequence[str], spec: FeatureSpec = FeatureSpec()) -> Features:
    """The features of texts; n-grams never cross from one text into the next.

    Temporary memory is bounded, whatever the length of a text.

    Args:
        texts: any sequence or Arrow column of strings, without nulls.
        spec: what features are made of.

    Returns:
        One row a text, in order; a text without tokens has a row without entries.

    Raises:
        DataError: a text is null or is not valid Unicode.
    """
    column = _checked(texts)
    hasher = KINDS[spec.kind](spec.ngrams, spec.buckets, spec.dtype)
    tokens = np.zeros(len(column), np.int32)
    parts = [np.zeros(0, spec.dtype)]
    for block, found in hasher.blocks(column):
        tokens[block.row : block.row + len(block.counts)] += block.counts.astype(np.int32)
        parts.append(found)
    indptr = np.zeros(len(column) + 1, np.int64)
    np.cumsum(entry_counts(tokens, spec.ngrams), out=indptr[1:])
    return Features(indptr, np.concatenate(parts), tokens, spec.buckets)


def ngrams(text: str, spec: FeatureSpec = FeatureSpec()) -> list[str]:
    """The n-grams of a text in readable form, tokens joined by one space, in the order of its entries in Features."""
    words = KINDS[spec.kind].words(text)
    ends = range(1, len(words) + 1)
    return [" ".join(words[end - n : end]) for end in ends for n in range(1, min(end, spec.ngrams) + 1)]


def _checked(texts: Strings | Sequence[str]) -> Strings:
    try:
        column = strings(texts)
        column.validate(full=True)
    except (UnicodeEncodeError, pa.ArrowInvalid) as error:
        raise DataError(f"a text is not valid Unicode ({error}); replace what is wrong by U+FFFD") from error
    if column.null_count:
        where = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"text {where} is null; expected a string: drop it, or make it an empty string")
    return column
