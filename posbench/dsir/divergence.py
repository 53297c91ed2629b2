"""How far apart two distributions of n-grams are."""

import numpy as np
from numpy.typing import ArrayLike

EPSILON = 1e-8
"""Added to every probability before a logarithm is taken, as the published method does."""


def kl(p: ArrayLike, q: ArrayLike, epsilon: float = EPSILON) -> float:
    """KL(p || q) = sum_j p_j (ln(p_j + epsilon) - ln(q_j + epsilon)), in nats.

    Not exactly a divergence, because of epsilon: it may fall below 0 by about epsilon times the number of buckets, and
    an n-gram that q lacks costs about ln(p_j / epsilon), which few texts pay often. So a figure means something only
    beside the number of buckets, epsilon and the number of texts behind p and q.

    Args:
        p: float[B], sums to 1: the target.
        q: float[B], sums to 1: raw text or a selection.
        epsilon: above 0.
    """
    first, second = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return float(first @ (np.log(first + epsilon) - np.log(second + epsilon)))


def kl_reduction(p: ArrayLike, raw: ArrayLike, selected: ArrayLike, epsilon: float = EPSILON) -> float:
    """KL(p || raw) - KL(p || selected) in nats: above 0 where the selection is nearer to the target than raw text is.

    The published figure is the mean of this over the targets. With ``raw`` the distribution of all raw text, a small
    selection starts at a loss, since it lacks n-grams: a random selection of the same size is the fair baseline.
    """
    return kl(p, raw, epsilon) - kl(p, selected, epsilon)
