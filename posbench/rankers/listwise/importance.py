"""How much each token of a ranking counts in training: more, the better the rank of the identifier that it spells.

FullRank's importance-aware loss (Liu et al. 2024, arXiv 2412.14574): -sum_i w_i log p(y_i | x, y_<i) with
w = 1 + 1 / log2(p + 1) for the tokens of the identifier at rank p, from 2 at rank 1 to 1.15 at rank 100, and alpha <= 1
for all others. By places in the text, so for any tokenizer.
"""

import re
from collections.abc import Sequence

import numpy as np

from posbench.types import Float64

_IDENTIFIER = re.compile(r"\[\d+\]")


def token_weights(label: str, offsets: Sequence[tuple[int, int]], alpha: float = 1.0) -> Float64:
    """The weight of each token of a label: float64[n].

    Args:
        label: the ranking as text, "[3] > [1] > [2]".
        offsets: the characters [start, end) of each token, as tokenizers give them; empty for a special token.
        alpha: of tokens that spell no identifier. One that spells parts of two counts for the better rank.
    """
    rank = np.zeros(len(label) + 1, np.int64)  # of each character; 0 for none
    for place, found in enumerate(_IDENTIFIER.finditer(label), 1):
        rank[found.start() : found.end()] = place
    weights = np.full(len(offsets), alpha, np.float64)
    for token, (start, end) in enumerate(offsets):
        spelled = rank[start:end]
        if (spelled > 0).any():
            weights[token] = 1 + 1 / np.log2(spelled[spelled > 0].min() + 1)
    return weights
