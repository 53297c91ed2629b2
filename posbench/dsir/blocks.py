"""What tokenizers hand on: blocks of tokens, and how n-grams are taken from them without crossing texts."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from posbench.types import Int64, Strings

Codes = NDArray[Any]
Buckets = NDArray[np.uint16 | np.uint32]


class Block(NamedTuple):
    """The tokens of consecutive texts, or of a part of one long text."""

    row: int  # the first text
    counts: Int64  # tokens of each text here
    before: int  # tokens of the first text in blocks before this one
    codes: Codes  # [T] a number for each token


def layout(column: Strings) -> tuple[Int64, NDArray[np.uint8]]:
    """The Arrow buffers of a column: offsets int64[N + 1] and bytes of UTF-8, neither copied."""
    _, offsets, data = column.buffers()
    if not len(column) or offsets is None:
        return np.zeros(len(column) + 1, np.int64), np.zeros(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64, len(column) + 1, column.offset * 8)
    return ends, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def entries(buckets: Buckets, block: Block) -> Buckets:
    """The n-grams of a block, text by text, without those that would reach back over the beginning of their text.

    Args:
        buckets: [T, n], in column k the bucket of the k + 1 tokens that end at each token.
        block: the tokens.

    Returns:
        buckets[entries], token by token and shorter n-grams first.
    """
    orders = buckets.shape[1]
    if orders == 1:
        return buckets[:, 0]
    valid = np.ones(buckets.shape, np.bool_)
    firsts = np.cumsum(block.counts) - block.counts
    before = np.zeros(len(firsts), np.int64)
    before[:1] = block.before
    for place in range(orders - 1):  # a text's token of this number ends no n-gram of more than place + 1 tokens
        here = place - before
        rows = np.flatnonzero((here >= 0) & (here < block.counts))
        valid[firsts[rows] + here[rows], place + 1 :] = False
    return buckets[valid]


def entry_counts(tokens: NDArray[Any], orders: int) -> Int64:
    """How many n-grams of 1 to ``orders`` tokens texts of so many tokens have: int64[N]."""
    counts = tokens.astype(np.int64)
    return sum((np.maximum(counts - less, 0) for less in range(1, orders)), counts)
