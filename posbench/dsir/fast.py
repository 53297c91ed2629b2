"""The ``fast`` features: posbench's own tokenizer and hash, on the bytes of UTF-8, in NumPy.

Tokens. Characters have one of five classes (``unicode.txt``): white space; word (letters, numbers, ``_``); single;
mark; and other (punctuation, symbols, controls). A token is a run of word characters, a run of other characters, or one
single character; a mark joins what stands before it. On ASCII these are the tokens of WordPunct, save that a run of
more than ``LONGEST`` characters is cut in tokens of so many. Single are the characters of scripts that set no space
between words (Han, kana, Thai, Lao, Khmer, Myanmar, ...): a run of them is a sentence, which no two texts share, while
their characters, and above all the pairs of neighbours, are what word-less retrieval of Chinese and Japanese has always
indexed. Hangul is among them although Korean has spaces: what stands between these is a stem with its particles, too
sparse for counts, and pairs of syllables find the stem. Bidirectional marks and other invisible format characters count
as white space.

Lower case is the simple mapping of one character to one, where both take the same number of bytes; the 25 other pairs
(dotted capital I, the signs of Kelvin and Angstrom, ...) are left as they are.

Hash. A token's bytes are read as 64-bit words, little-endian and padded with zeros, each multiplied and folded into the
state, which starts from the token's length; longer n-grams add up multiples of the codes of their tokens. The top 32
bits of the mixed state times the number of buckets, over 2**32, are the bucket.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posbench.dsir import unicode
from posbench.dsir.blocks import Block, Buckets, Codes, entries, layout
from posbench.types import Int64, Strings

VERSION = 1  # of the tokenizer and the hash: a change of either changes every bucket
LONGEST = 256  # characters a token
BLOCK = 1 << 18  # bytes a block: what is made of them stays in the cache
_PAD = 8  # bytes after the text that can be read as part of a word
_Bytes = NDArray[np.uint8]

_FIRST, _SECOND, _LENGTH = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F))
_HALF, _THIRD = np.uint64(32), np.uint64(29)
_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)

_LEADS = {2: (0xC0, 0xE0), 3: (0xE0, 0xF0), 4: (0xF0, 0xF8)}  # first bytes of characters of so many bytes
_SIX, _TAIL = np.uint32(6), np.uint8(0x3F)


class Spans(NamedTuple):
    """Where tokens stand in a block of bytes."""

    text: _Bytes  # the block in lower case, with ``_PAD`` zeros behind it
    starts: Int64
    ends: Int64
    classes: _Bytes  # of each byte's character; a mark has that of what it joins


def spans(data: _Bytes, rows: Int64, base: int = unicode.WORD) -> Spans:
    """The tokens of a block of whole characters.

    Args:
        data: uint8[B], valid UTF-8.
        rows: where texts begin in it, ascending, 0 to B.
        base: the class that a mark at the very beginning joins.
    """
    lower, kinds = _ascii_tables()
    raw, size = data.tobytes(), len(data)
    text = np.zeros(size + _PAD, np.uint8)
    text[:size] = np.frombuffer(raw.translate(lower), np.uint8)
    classes = np.frombuffer(bytearray(raw).translate(kinds), np.uint8)
    cuts = np.zeros(size + 1, np.bool_)  # where a run begins
    cuts[rows] = True
    if data.max(initial=0) >= 0x80:
        _beyond_ascii(text, classes, cuts, base)
    cuts[1:size] |= classes[1:] != classes[:-1]
    cuts[:1], cuts[size] = True, True
    runs = np.flatnonzero(cuts)
    tokens = np.flatnonzero(classes[runs[:-1]] != unicode.SPACE)
    starts, ends = runs[tokens], runs[1:][tokens]
    if size > LONGEST and (ends - starts).max(initial=0) > LONGEST:
        starts, ends = _cut_long(text, starts, ends)
    return Spans(text, starts, ends, classes)


def _ascii_tables() -> tuple[bytes, bytes]:
    """The lower case and class of each byte; a byte beyond ASCII stays and is taken as part of a word at first."""
    table = unicode.table()[:128]
    lower = (table >> unicode.CLASS_BITS).astype(np.uint8).tobytes() + bytes(range(128, 256))
    return lower, (table & 7).astype(np.uint8).tobytes() + bytes([unicode.WORD]) * 128


def _beyond_ascii(text: _Bytes, classes: _Bytes, cuts: NDArray[np.bool_], base: int) -> None:
    """Puts characters beyond ASCII into lower case, sets their classes, and cuts before single ones."""
    joined: list[tuple[Int64, int]] = []
    for size, (tag, below) in _LEADS.items():
        leads = np.flatnonzero((text >= tag) & (text < below))
        if not len(leads):
            continue
        points = (text[leads] & np.uint8(~tag & 0x3F)).astype(np.uint32)
        for place in range(1, size):
            points = (points << _SIX) | (text[leads + place] & _TAIL)
        found = unicode.table()[points]
        kinds = (found & 7).astype(np.uint8)
        lower = found >> np.uint32(unicode.CLASS_BITS)
        changed = np.flatnonzero(kinds != unicode.WORD)
        _write(classes, leads[changed], [kinds[changed]] * size)
        changed = np.flatnonzero(lower != points)
        _write(text, leads[changed], _encoded(lower[changed], size, tag))
        cuts[leads[kinds == unicode.SINGLE]] = True
        joined.append((leads[kinds == unicode.MARK], size))
    _join_marks(classes, cuts, joined, base)


def _encoded(points: NDArray[np.uint32], size: int, tag: int) -> list[_Bytes]:
    """UTF-8 of code points that take ``size`` bytes, place by place."""
    tags = [tag] + [0x80] * (size - 1)
    bits = [(points >> np.uint32(6 * (size - 1 - place))).astype(np.uint8) & _TAIL for place in range(size)]
    return [part | np.uint8(mark) for part, mark in zip(bits, tags, strict=True)]


def _write(target: _Bytes, leads: Int64, values: list[_Bytes]) -> None:
    """Sets the bytes of characters; ``values[k]`` is the byte at place k of each."""
    for place, value in enumerate(values):
        target[leads + place] = value


def _join_marks(classes: _Bytes, cuts: NDArray[np.bool_], found: list[tuple[Int64, int]], base: int) -> None:
    """Gives marks the class of what stands before them; after white space or nothing they are parts of a word."""
    marks = np.concatenate([leads for leads, _ in found])
    if not len(marks):
        return
    order = np.argsort(marks)
    sizes = np.concatenate([np.full(len(leads), size) for leads, size in found])[order]
    marks = marks[order]
    heads = cuts[marks]
    heads[0] = True
    heads[1:] |= marks[:-1] + sizes[:-1] != marks[1:]
    firsts = marks[heads]
    kinds = classes[firsts - 1]
    kinds[cuts[firsts] | (firsts == 0) | (kinds == unicode.SPACE)] = unicode.WORD
    if firsts[0] == 0:
        kinds[0] = base
    kinds = kinds[np.cumsum(heads) - 1]
    for place in range(4):
        here = sizes > place
        classes[marks[here] + place] = kinds[here]


def _cut_long(text: _Bytes, starts: Int64, ends: Int64) -> tuple[Int64, Int64]:
    """Cuts runs of more than ``LONGEST`` characters."""
    added = []
    for run in np.flatnonzero(ends - starts > LONGEST):
        first = starts[run]
        characters = np.flatnonzero((text[first : ends[run]] & 0xC0) != 0x80)
        added.append(first + characters[LONGEST::LONGEST])
    more = np.concatenate(added)
    return np.sort(np.concatenate([starts, more])), np.sort(np.concatenate([ends, more]))


def codes(found: Spans) -> NDArray[np.uint64]:
    """A hash of each token: uint64[T]."""
    length = found.ends - found.starts
    words: NDArray[np.uint64] = np.ndarray((len(found.text) - 7,), "<u8", found.text, strides=(1,))
    state: NDArray[np.uint64] = words[found.starts] & _MASKS[np.minimum(length, 8)]
    state += length.astype(np.uint64) * _LENGTH
    far, place = np.flatnonzero(length > 8), 8
    while len(far):
        word = words[found.starts[far] + place] & _MASKS[np.minimum(length[far] - place, 8)]
        state[far] = _fold(state[far]) + word
        place += 8
        far = far[length[far] > place]
    _fold(state)
    state ^= state >> _THIRD
    state *= _SECOND
    state ^= state >> _HALF
    return state


def _fold(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixes in place: a bit of the result's upper half depends on every bit."""
    state ^= state >> _HALF
    state *= _FIRST
    return state


class Hasher:
    """Tokens and buckets of a column of texts, block by block."""

    def __init__(self, ngrams: int, buckets: int, dtype: Any) -> None:
        self._ngrams, self._buckets, self._dtype = ngrams, buckets, dtype

    @staticmethod
    def describe() -> dict[str, Any]:
        """What decides a bucket beside n-grams and buckets."""
        return {"version": VERSION, "unicode": unicode.version()}

    @staticmethod
    def words(text: str) -> list[str]:
        """The tokens of a text, in lower case."""
        found = spans(np.frombuffer(text.encode(), np.uint8), np.zeros(1, np.int64))
        lower = found.text.tobytes()
        return [lower[start:end].decode() for start, end in zip(found.starts, found.ends, strict=True)]

    def blocks(self, column: Strings) -> Iterator[tuple[Block, Buckets]]:
        """The tokens of texts in order, and the entries that they make."""
        tail = np.zeros(self._ngrams - 1, np.uint64)
        for block in tokenise(column):
            known = np.concatenate([tail, block.codes])
            yield block, entries(self._hash(known, len(block.codes)), block)
            tail = known[len(block.codes) :]

    def _hash(self, known: NDArray[np.uint64], count: int) -> Buckets:
        """The buckets of the n-grams that end at each of the last ``count`` tokens: [count, ngrams]."""
        result = np.empty((count, self._ngrams), self._dtype)
        state = np.zeros(count, np.uint64)
        for order in range(self._ngrams):
            first = self._ngrams - 1 - order
            state = state * _SECOND + known[first : first + count]
            result[:, order] = self._bucket(_fold(state.copy()))
        return result

    def _bucket(self, mixed: NDArray[np.uint64]) -> NDArray[np.uint64]:
        mixed >>= _HALF
        mixed *= np.uint64(self._buckets)
        mixed >>= _HALF
        return mixed


def tokenise(column: Strings) -> Iterator[Block]:
    """The tokens of texts in order, as hashes; texts longer than a block come in several."""
    offsets, data = layout(column)
    row = 0
    while row < len(column):
        last = int(np.searchsorted(offsets, offsets[row] + BLOCK, "right")) - 1
        if last > row:
            begins = offsets[row : last + 1] - offsets[row]
            found = spans(data[offsets[row] : offsets[last]], begins)
            yield Block(row, np.diff(np.searchsorted(found.starts, begins)), 0, codes(found))
        else:
            last = row + 1
            for before, part in _long(data[offsets[row] : offsets[last]]):
                yield Block(row, np.array([len(part)]), before, part)
        row = last


def _long(data: _Bytes) -> Iterator[tuple[int, Codes]]:
    """The tokens of one long text in parts, each with the number of tokens before it."""
    at, before, base = 0, 0, unicode.WORD
    while at < len(data):
        stop = min(at + BLOCK, len(data))
        while stop < len(data) and data[stop] & 0xC0 == 0x80:
            stop -= 1
        found = spans(data[at:stop], np.zeros(1, np.int64), base)
        keep = len(found.starts)
        after = stop
        if stop < len(data) and keep and found.ends[-1] == stop - at:  # it may go on: the next part begins with it
            keep -= 1
            after = at + int(found.starts[-1])
            base = int(found.classes[found.starts[-1]])
        yield before, codes(found)[:keep]
        before, at = before + keep, after
