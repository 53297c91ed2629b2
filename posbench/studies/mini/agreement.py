"""How well the means on a part of the queries keep the order of rankers that the means on all of them have."""

from itertools import combinations

import numpy as np

from posbench.correlation import ranks
from posbench.types import Float64, Int64

_TIE = 1e-12  # means closer than this are equal but for rounding


def pairs(rankers: int) -> Int64:
    """All pairs of rankers, the smaller index first: int64[P, 2]."""
    return np.array(list(combinations(range(rankers), 2)), np.int64).reshape(-1, 2)


def signs(means: Float64) -> Float64:
    """Which of each pair is ahead: float64[..., P] of -1, 0 and 1, for means float64[..., R]."""
    first, second = pairs(means.shape[-1]).T
    ahead = means[..., first] - means[..., second]
    return np.where(np.abs(ahead) <= _TIE, 0.0, np.sign(ahead))


def tau_b(first: Float64, second: Float64) -> Float64:
    """Kendall's tau-b (1945) along the last axis: float64[...].

    (concordant - discordant pairs) / sqrt(pairs untied in one * pairs untied in the other); 0 where all are tied on one
    side, since nothing of the order is kept then.

    Args:
        first: float64[..., R].
        second: float64[..., R], broadcast against the first.
    """
    one, two = signs(first), signs(second)
    untied = np.sqrt((one != 0).sum(axis=-1) * (two != 0).sum(axis=-1))
    total = (one * two).sum(axis=-1)
    return np.asarray(np.divide(total, untied, out=np.zeros(np.shape(total)), where=untied > 0))


def largest_shift(first: Float64, second: Float64) -> Float64:
    """The most ranks that any ranker moves, ties at their mean rank: float64[...]."""
    return np.asarray(np.abs(ranks(first) - ranks(second)).max(axis=-1))


def order_kept(means: Float64, ahead: Float64) -> Float64:
    """1 where every pair that is known to differ has its order, else 0: float64[...].

    Args:
        means: float64[..., R].
        ahead: float64[P] of -1 and 1, and 0 for pairs that cannot be told apart.
    """
    known = ahead != 0
    return np.asarray((signs(means)[..., known] == ahead[known]).all(axis=-1), np.float64)


def error(means: Float64, full: Float64) -> Float64:
    """The mean over rankers of the absolute difference of their means: float64[...]."""
    return np.asarray(np.abs(means - full).mean(axis=-1))
