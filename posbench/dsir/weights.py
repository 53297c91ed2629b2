"""Importance weights of texts: two distributions of n-grams, the log of their ratio, and how many texts it amounts to.

The published estimator (Xie, Santurkar, Ma and Liang 2023, arXiv 2302.03169): the n-grams of a text are drawn one by
one from p (the target) or q (raw text), so log w(x) = sum_j count_j(x) (ln(p_j + 1e-8) - ln(q_j + 1e-8)), a sum over
the text's n-grams that is not normalised by its length.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from posbench.dsir.divergence import EPSILON
from posbench.errors import DataError, UsageError
from posbench.types import Float64

Blocks = Callable[[], Iterable[Float64]]
"""Gives the log weights of all texts anew at each call, in blocks of any size, so that they need not fit in memory."""


def distribution(
    counts: ArrayLike, laplace: float = 0.0, mix: float = 0.0, background: ArrayLike | None = None
) -> Float64:
    """The share of each bucket among all n-grams, smoothed if asked: float64[B], sums to 1.

    (1 - mix) (counts + laplace) / sum(counts + laplace) + mix * background.

    Args:
        counts: int[B], n-grams by bucket.
        laplace: 0 or more n-grams added to every bucket.
        mix: 0 to 1, the share of ``background``.
        background: float[B], sums to 1 (the raw text's distribution); needed where ``mix`` is above 0.

    Raises:
        DataError: no n-gram was counted and nothing is added.
        UsageError: a smoothing outside its range, or ``mix`` without ``background``.
    """
    if not (np.isfinite(laplace) and laplace >= 0 and 0 <= mix <= 1):
        raise UsageError(f"smoothing needs laplace >= 0 and 0 <= mix <= 1; found laplace {laplace} and mix {mix}")
    if mix and background is None:
        raise UsageError("smoothing with mix needs the distribution that is mixed in (background)")
    added = np.asarray(counts, np.float64) + laplace
    total = added.sum()
    if not total > 0:
        raise DataError("the texts hold no n-gram at all, so they have no distribution; give texts with words in them")
    p = added / total
    return p if background is None else np.asarray((1 - mix) * p + mix * np.asarray(background, np.float64))


def log_ratio(p: ArrayLike, q: ArrayLike, epsilon: float = EPSILON) -> Float64:
    """What one n-gram of each bucket adds to a text's log weight: ln(p + epsilon) - ln(q + epsilon), float64[B]."""
    return np.asarray(np.log(np.asarray(p, np.float64) + epsilon) - np.log(np.asarray(q, np.float64) + epsilon))


def log_sum_exp(blocks: Iterable[Float64], factors: Float64) -> tuple[Float64, int, float]:
    """Gives ln sum exp(f x) over all x of all blocks for each factor f >= 0, the number of x, and max x - min x."""
    top, low, count = -np.inf, np.inf, 0
    total = np.zeros(len(factors))
    for block in blocks:
        x = np.asarray(block, np.float64)
        if not len(x):
            continue
        if not np.isfinite(x).all():
            raise DataError("a log weight is not a finite number; weights must be finite")
        new = max(top, float(x.max()))
        if count and new > top:
            total *= np.exp(factors * (top - new))
        top, low, count = new, min(low, float(x.min())), count + len(x)
        total += [np.exp(f * (x - top)).sum() for f in factors]
    if not count:
        raise DataError("there are no log weights; give at least one text")
    return np.log(total) + factors * top, count, top - low


def effective_size(log_w: Float64 | Iterable[Float64]) -> float:
    """Kish's effective sample size (sum w)^2 / sum w^2 of weights given by their logarithms: from 1 to N.

    Args:
        log_w: float64[N], or an iterable of such arrays; the size of the numbers does not matter.

    Raises:
        DataError: no weights, or one that is not finite.
    """
    blocks = [log_w] if isinstance(log_w, np.ndarray) else log_w
    (one, two), _, _ = log_sum_exp(blocks, np.array([1.0, 2.0]))
    return float(np.exp(2 * one - two))


def temperature(blocks: Blocks, wanted: float) -> float:
    """T >= 1 such that the weights exp(log w / T) have the effective sample size ``wanted``.

    The effective size grows with T: its logarithm is 2 L(1/T) - L(2/T) with L(b) = ln sum exp(b log w), and L is
    convex. The search starts between 1 and the T at which Kantorovich's inequality promises enough,
    sum w^2 <= (sum w)^2 / N * cosh^2((max - min) / 2T), and narrows eightfold a pass over the blocks, so that
    nothing but one block is ever in memory. The result is rounded to six digits: the order of blocks cannot show in it.

    Returns:
        1.0 where plain weights reach ``wanted`` already; infinity (all weights alike) where ``wanted`` is N or more.

    Raises:
        UsageError: ``wanted`` is not above 0.
        DataError: as ``effective_size``.
    """
    if not wanted > 0:
        raise UsageError(f"the wanted effective sample size must be above 0; found {wanted}")
    (one, two), count, spread = log_sum_exp(blocks(), np.array([1.0, 2.0]))
    if 2 * one - two >= np.log(wanted):
        return 1.0
    if wanted >= count:
        return float("inf")
    low, high = 0.0, float(np.log(max(1.0, spread / (2 * np.arccosh(np.sqrt(count / wanted))))))
    while high - low > 1e-8:
        inner = np.linspace(low, high, 9)[1:-1]
        factors = np.exp(-inner)
        sums, _, _ = log_sum_exp(blocks(), np.concatenate([factors, 2 * factors]))
        enough = 2 * sums[:7] - sums[7:] >= np.log(wanted)
        first = int(np.argmax(enough)) if enough.any() else 7
        low, high = (low if first == 0 else float(inner[first - 1])), (high if first == 7 else float(inner[first]))
    return float(f"{np.exp(high):.6g}")
