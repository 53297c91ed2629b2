r"""The ``official`` features: those of data-selection 1.0.3, with its tokenizer pinned to Python's ``re``.

Tokens are those of NLTK's WordPunct before NLTK 3.10 (which tokenises by the package ``regex`` and splits some Unicode
differently): ``\w+|[^\w\s]+`` on the lower-cased text. The bucket of an n-gram, its tokens joined by one space, is
the SHA-256 digest of its UTF-8 as an integer, modulo the number of buckets. Lower case and tokens depend on the Unicode
version of Python.

The package hashes every occurrence. Here tokens are numbered, and an n-gram is hashed where a block has it for the
first time and it is not among the pairs that were hashed lately.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench.dsir.blocks import Block, Buckets, entries
from posbench.types import Int64, Strings

TOKEN = re.compile(r"\w+|[^\w\s]+")
_SPACE = re.compile(r"\s")
BLOCK = 1 << 17  # tokens a block, about
PIECE = 1 << 18  # characters of a text that are read at a time, at least
VOCABULARY = 1 << 20  # tokens that are remembered
PAIRS = 1 << 22  # places of the memory of pairs


class Hasher:
    """Tokens and buckets of a column of texts, block by block."""

    def __init__(self, ngrams: int, buckets: int, dtype: Any) -> None:
        self._ngrams, self._size, self._dtype = ngrams, buckets, dtype
        self._ids: defaultdict[str, int] = defaultdict()
        self._ids.default_factory = self._ids.__len__
        self._forget()

    @staticmethod
    def describe() -> dict[str, Any]:
        """What decides a bucket beside n-grams and buckets."""
        return {"package": "data-selection 1.0.3", "unicode": unicodedata.unidata_version}

    @staticmethod
    def words(text: str) -> list[str]:
        """The tokens of a text."""
        return TOKEN.findall(text.lower())

    def blocks(self, column: Strings) -> Iterator[tuple[Block, Buckets]]:
        """The tokens of texts in order, and the entries that they make."""
        tail: list[str] = []
        for row, counts, before, tokens in _parts(column):
            if len(self._ids) > VOCABULARY:
                self._forget()
            known = tail + tokens
            ids = np.fromiter(map(self._ids.__getitem__, known), np.int64, len(known))
            words = list(self._ids)
            buckets = self._hash(ids, words)[len(tail) :]
            block = Block(row, np.array(counts, np.int64), before, ids[len(tail) :])
            yield block, entries(buckets, block)
            tail = known[max(0, len(known) - self._ngrams + 1) :]

    def _forget(self) -> None:
        self._ids.clear()
        self._single = np.zeros(0, self._dtype)
        self._pairs = np.full(PAIRS if self._ngrams > 1 else 1, -1, np.int64)
        self._paired = np.zeros(len(self._pairs), self._dtype)

    def _hash(self, ids: Int64, words: list[str]) -> Buckets:
        """The buckets of the n-grams that end at each token: [T, ngrams]; those that would begin earlier are 0."""
        fresh = self._buckets(words[len(self._single) :])
        self._single = np.concatenate([self._single, fresh])
        result = np.zeros((len(ids), self._ngrams), self._dtype)
        result[:, 0] = self._single[ids]
        grams = ids
        for order in range(1, min(self._ngrams, len(ids))):
            keys, where = np.unique((grams[:-1] << 32) | ids[order:], return_inverse=True)
            first = np.empty(len(keys), np.int64)  # a place where each n-gram begins
            first[where] = np.arange(len(where))
            spans = ids[first[:, None] + np.arange(order + 1)]
            found = self._pair_buckets(keys, spans, words) if order == 1 else self._joined(spans, words)
            result[order:, order] = found[where]
            grams = where
        return result

    def _pair_buckets(self, keys: Int64, spans: Int64, words: list[str]) -> Buckets:
        """The buckets of different pairs, from memory where they are there: a place remembers its last pair."""
        place = ((keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)).astype(np.int64)
        place %= len(self._pairs)
        found = self._paired[place]
        new = np.flatnonzero(self._pairs[place] != keys)
        found[new] = self._joined(spans[new], words)
        self._pairs[place[new]] = keys[new]
        self._paired[place[new]] = found[new]
        return found

    def _joined(self, spans: Int64, words: list[str]) -> Buckets:
        columns = [map(words.__getitem__, column) for column in spans.T.tolist()]
        return self._buckets(map(" ".join, zip(*columns, strict=True)))

    def _buckets(self, grams: Iterable[str]) -> Buckets:
        """The SHA-256 digests of n-grams modulo the number of buckets."""
        digests = b"".join([sha256(gram.encode()).digest() for gram in grams])
        words = np.frombuffer(digests, ">u4").reshape(-1, 8).astype(np.uint64)
        size = np.uint64(self._size)
        rest: NDArray[np.uint64] = np.zeros(len(words), np.uint64)
        for word in words.T:  # long division, 32 bits at a time
            rest = ((rest << np.uint64(32)) | word) % size
        return rest.astype(self._dtype)


def _parts(column: Strings) -> Iterator[tuple[int, list[int], int, list[str]]]:
    """Tokens in parts: the first row, tokens of each row, how many of the first row came before, and the tokens."""
    row, before = 0, 0
    counts: list[int] = []
    tokens: list[str] = []
    for at, value in enumerate(column):
        counts.append(0)
        for piece in _pieces(value.as_py()):
            found = Hasher.words(piece)
            counts[-1] += len(found)
            tokens += found
            if len(tokens) >= BLOCK:
                yield row, counts, before, tokens
                before = counts[-1] + (before if row == at else 0)
                row, counts, tokens = at, [0], []
    yield row, counts, before, tokens


def _pieces(text: str) -> Iterator[str]:
    """A text cut before white space, where neither a token nor the context of a letter's lower case goes on."""
    at = 0
    while at < len(text):
        found = _SPACE.search(text, at + PIECE)
        stop = found.start() if found else len(text)
        yield text[at:stop]
        at = stop
