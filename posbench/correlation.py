"""Rank correlation of few items: exact tests, intervals, the difference of two, and what so few can show."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from posbench.types import Float64, Int64

EXACT_ITEMS = 12
"""Up to so many items, Spearman's null is enumerated (all n! orders, by subsets); above, orders are drawn."""
DRAWS = 20_000
RESAMPLES = 10_000


def ranks(values: Float64) -> Float64:
    """Ranks from 1 along the last axis, ties at their mean."""
    less = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    same = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return np.asarray(less + (same + 1) / 2)


def spearman(first: Float64, second: Float64) -> Float64:
    """Spearman's rho along the last axis; NaN where one side is constant."""
    a, b = (r - r.mean(axis=-1, keepdims=True) for r in (ranks(first), ranks(second)))
    scale = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return np.asarray(np.divide(product, scale, out=np.full_like(product, np.nan), where=scale > 0))


def spearman_p(first: Float64, second: Float64, seed: int = 0) -> float:
    """Two-sided permutation p-value of rho: the share of orders of ``second`` at least as far from 0.

    Exact for up to ``EXACT_ITEMS`` items, with ties or without; above, (b + 1) / (B + 1) over drawn orders.
    """
    a, b = (np.rint(2 * ranks(x)).astype(np.int64) for x in (first, second))
    middle = a.sum() * b.sum() / len(a)
    seen = abs(float(a @ b) - middle)
    if len(a) <= EXACT_ITEMS:
        ways = _products(a, b)
        far = np.abs(np.arange(len(ways)) - middle) >= seen - 1e-6
        return float(ways[far].sum() / ways.sum())
    rng = np.random.default_rng(seed)
    null = rng.permuted(np.tile(b, (DRAWS, 1)), axis=1) @ a
    return float((np.count_nonzero(np.abs(null - middle) >= seen - 1e-6) + 1) / (DRAWS + 1))


def _products(a: Int64, b: Int64) -> Float64:
    """How many orders of b give each value of sum a_i b_i: counts by value, built up over the subsets of b."""
    n, size = len(a), int(np.sort(a) @ np.sort(b)) + 1
    ways = {0: np.eye(1, size)[0]}
    for value in a:
        longer: dict[int, Float64] = {}
        for used, counts in ways.items():
            for j in range(n):
                if not used >> j & 1:
                    shift = int(value * b[j])
                    into = longer.setdefault(used | 1 << j, np.zeros(size))
                    into[shift:] += counts[: size - shift]
        ways = longer
    return np.asarray(ways[(1 << n) - 1])


def interval(rho: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of Spearman's rho on Fisher's z with the standard error sqrt((1 + rho^2 / 2) / (n - 3)).

    Bonett and Wright (2000), Sample size requirements for estimating Pearson, Kendall and Spearman correlations. A rho
    of 1 counts as the next value below, since z has no end.
    """
    if n < 4 or np.isnan(rho):
        return float("nan"), float("nan")
    most = 1 - 12 / (n**3 - n)  # the next value below 1 that n items without ties can have
    rho = float(np.clip(rho, -most, most))
    half = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half))


def detectable(n: int, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest |rho| that a two-sided test of n items finds with this power, by Fisher's z of ranks.

    The standard error of z is sqrt(1.06 / (n - 3)) (Fieller, Hartley and Pearson 1957). NaN below 4 items.
    """
    if n < 4:
        return float("nan")
    need = NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)
    return float(np.tanh(need * np.sqrt(1.06 / (n - 3))))


@dataclass(frozen=True)
class Correlation:
    """Two rank correlations of the same items and how sure they are; ``without`` is the range when one is left out."""

    rho: float
    interval: tuple[float, float]
    p: float
    tau: float
    tau_p: float
    without: tuple[float, float]
    items: int


def correlate(first: Float64, second: Float64, seed: int = 0) -> Correlation:
    """Spearman's rho and Kendall's tau-b of float64[n], n >= 4, with exact tests where they can be had."""
    from scipy.stats import kendalltau

    tau = kendalltau(first, second)
    others = ~np.eye(len(first), dtype=bool)
    left_out = np.array([float(spearman(first[keep], second[keep])) for keep in others])
    rho = float(spearman(first, second))
    low, high = float(left_out.min()), float(left_out.max())
    return Correlation(
        rho,
        interval(rho, len(first)),
        spearman_p(first, second, seed),
        float(tau.statistic),
        float(tau.pvalue),
        (low, high),
        len(first),
    )


@dataclass(frozen=True)
class Difference:
    """rho(first, target) - rho(second, target) of the same items."""

    value: float
    interval: tuple[float, float]
    p: float


def difference(first: Float64, second: Float64, target: Float64, seed: int = 0) -> Difference:
    """Compares two correlations with one target.

    The interval is the percentile interval over resampled items. The test exchanges the two ranks of an item, all 2^n
    ways (drawn ones above ``EXACT_ITEMS``); it is exact if the two are exchangeable, whatever the target.
    """
    n = len(first)
    seen = float(spearman(first, target) - spearman(second, target))
    rows = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    resampled = spearman(first[rows], target[rows]) - spearman(second[rows], target[rows])
    low, high = np.nanquantile(resampled, [0.025, 0.975])
    swap = _swaps(n, seed)
    a, b = ranks(first), ranks(second)
    one, other = np.where(swap, b, a), np.where(swap, a, b)
    aims = np.broadcast_to(target, one.shape)
    null = spearman(one, aims) - spearman(other, aims)
    p = np.count_nonzero(np.abs(null) >= abs(seen) - 1e-9) / len(null)
    return Difference(seen, (float(low), float(high)), float(p))


def _swaps(n: int, seed: int) -> NDArray[np.bool_]:
    """All subsets of n items, or ``RESAMPLES`` drawn ones with the empty one first: bool[S, n]."""
    if n <= EXACT_ITEMS:
        return (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
    drawn = np.random.default_rng(seed).random((RESAMPLES, n)) < 0.5
    drawn[0] = False
    return drawn


def reliability(scores: Float64) -> float:
    """Cronbach's alpha of the mean over columns, float64[items, parts]: the share of its variance that is not noise."""
    parts = scores.shape[1]
    if parts < 2:
        return float("nan")
    whole = float(scores.sum(axis=1).var(ddof=1))
    return parts / (parts - 1) * (1 - float(scores.var(axis=0, ddof=1).sum()) / whole) if whole else float("nan")
