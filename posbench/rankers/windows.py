"""Long texts as windows: where they are cut, and the mean of their vectors.

A text of T tokens of its own, more than the w that fit beside prompt and special tokens, becomes
n = ceil((T - w) / stride) + 1 windows of w tokens, whose starts are spread evenly from 0 to T - w: the first window
starts with the text, the last one ends with it, none is shorter than another, and all overlap alike. Fixed steps from
the start would read the tail of every text twice, or leave it to a window of a few tokens: they would favour or neglect
a place, in an instrument that measures places.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import UsageError
from posbench.rankers.encoders import Encoder
from posbench.rankers.tokens import Role
from posbench.types import Float32, Int32, Int64, Progress, Strings, no_progress, strings

_TEXTS = 1024  # texts that are Python strings at one time
_ROWS = 8192  # windows averaged at one time


@dataclass(frozen=True)
class Cut:
    """Where a column of texts is cut.

    ``spans`` int32[W, 2]: the characters of each window, end exclusive; text i has the windows
    ``bounds[i]:bounds[i + 1]``, at least one (int64[N + 1]). ``tokens`` int32[N]: of each text with its prompt, before
    any cut. ``limit``: the tokens of a window, prompt and special tokens included.
    """

    spans: Int32
    bounds: Int64
    tokens: Int32
    limit: int


def token_counts(model: Encoder, column: Strings, role: Role) -> Int32:
    """Tokens of each text of a column with its prompt, before any cut: int32[N]."""
    step = 4096
    parts = [model.lengths(column.slice(first, step).to_pylist(), role) for first in range(0, len(column), step)]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def cut(model: Encoder, texts: Strings, limit: int, stride: int = 0, progress: Progress = no_progress) -> Cut:
    """Cuts the documents of a column that are longer than ``limit`` tokens; the others are one window each.

    Args:
        model: whose tokens count.
        texts: the documents.
        limit: tokens of a window, prompt and special tokens included.
        stride: tokens from one window's start to the next one's, at most; 0, or more than a window holds, is what a
            window holds: windows overlap no more than even spacing needs.
        progress: shows the cutting.

    Raises:
        UsageError: prompt and special tokens leave no room for text.
    """
    tokens = token_counts(model, texts, "document")
    chars = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int32)
    advance = progress("cutting documents", len(texts))
    parts: list[Int32] = []
    for first in range(0, len(texts), _TEXTS):
        block = texts.slice(first, _TEXTS)
        for row, text in enumerate(block, first):
            if tokens[row] <= limit:
                parts.append(np.array([[0, chars[row]]], np.int32))
            else:
                parts.append(_cut_text(model, text.as_py(), int(tokens[row]), limit, stride))
        advance(len(block))
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=bounds[1:])
    return Cut(np.concatenate(parts) if parts else np.empty((0, 2), np.int32), bounds, tokens, limit)


def _cut_text(model: Encoder, text: str, tokens: int, limit: int, stride: int) -> Int32:
    """The spans of one text's windows; narrower ones where a word that is cut in two needs more tokens than before."""
    offsets = model.offsets(text, "document")
    width = limit - (tokens - len(offsets))
    while width > 0:
        first = starts(len(offsets), width, stride)
        spans = np.stack([offsets[first, 0], offsets[first + width - 1, 1]], axis=1)
        found = [text[start:end].lstrip() for start, end in spans.tolist()]  # a token may begin with a space
        excess = int(model.lengths(found, "document").max()) - limit
        if excess <= 0:
            spans[:, 0] = spans[:, 1] - [len(piece) for piece in found]
            return spans
        width -= excess
    raise UsageError(f"windows of {limit} tokens leave no room for text beside prompt and special tokens; use more")


def starts(tokens: int, width: int, stride: int = 0) -> Int64:
    """The first token of each window of ``width`` tokens in a text of ``tokens``, which are more, evenly spread."""
    step = min(stride or width, width)
    last = tokens - width
    count = -(-last // step)
    return np.arange(count + 1) * last // max(count, 1)


def texts_of(texts: Strings, pieces: Cut) -> Strings:
    """The windows of a column of texts as a column: W texts; the column itself where nothing is cut."""
    if len(pieces.spans) == len(texts):
        return texts
    parts = []
    for first in range(0, len(texts), _TEXTS):
        block = texts.slice(first, _TEXTS).to_pylist()
        bounds = pieces.bounds[first : first + len(block) + 1]
        spans = pieces.spans[bounds[0] : bounds[-1]].tolist()
        owners = np.repeat(np.arange(len(block)), np.diff(bounds)).tolist()
        found = [block[owner][start:end] for owner, (start, end) in zip(owners, spans, strict=True)]
        parts.append(pa.array(found, pa.large_string()))
    return strings(pa.chunked_array(parts, pa.large_string()))


def average(vectors: Float32, bounds: Int64, normalize: bool) -> Float32:
    """The mean of each text's window vectors: float32[N, d], again of length 1 if ``normalize``.

    All windows of a text hold the same number of tokens, so the mean needs no weights. The vector of a text with one
    window is that window's, to the last bit.
    """
    means = np.empty((len(bounds) - 1, vectors.shape[1]), np.float32)
    first = 0
    while first < len(means):
        last = max(first + 1, int(np.searchsorted(bounds, bounds[first] + _ROWS, side="right")) - 1)
        block, edges = vectors[bounds[first] : bounds[last]], bounds[first : last + 1] - bounds[first]
        sizes = np.diff(edges)
        mean = np.add.reduceat(block, edges[:-1], axis=0, dtype=np.float64) / sizes[:, None]
        if normalize:
            mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        means[first:last] = np.where((sizes == 1)[:, None], block[edges[:-1]], mean)
        first = last
    return means


def outside(pieces: Cut, doc: Int32, start: Int32, end: Int32) -> Int64:
    """Which spans of characters stand whole in no window of their text: indices into the aligned arrays."""
    whole = np.zeros(len(doc), bool)
    size = np.diff(pieces.bounds)[doc]
    for place in range(int(size.max(initial=0))):
        has = np.flatnonzero(size > place)
        window = pieces.spans[pieces.bounds[doc[has]] + place]
        whole[has] |= (window[:, 0] <= start[has]) & (window[:, 1] >= end[has])
    return np.flatnonzero(~whole)
