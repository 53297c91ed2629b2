"""How two rankings of the same items compare, and how far a ranking only repeats what it was given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posbench.types import Float64, Int64


def taus(rankings: Int64) -> Float64:
    """Kendall's tau of each pair of rankings of the same n items: float64[R, R], NaN below 2 items.

    Args:
        rankings: int64[R, n], the item at each rank.
    """
    places = np.argsort(rankings, axis=1)
    n = places.shape[1]
    if n < 2:
        return np.full((len(places), len(places)), np.nan)
    row, column = np.triu_indices(n, 1)
    signs = np.where(places[:, row] < places[:, column], 1.0, -1.0)
    return np.asarray(signs @ signs.T / len(row))


def tau(values: Sequence[int]) -> float:
    """Kendall's tau of a sequence of different numbers with the ascending order; NaN below 2."""
    if len(values) < 2:
        return float("nan")
    return float(taus(np.stack([np.argsort(np.argsort(values)), np.arange(len(values))]))[0, 1])


def overlaps(rankings: Int64, depth: int) -> Float64:
    """The share of the first ``depth`` items that each pair of rankings has in common: float64[R, R]."""
    count, n = rankings.shape
    depth = min(depth, n)
    if not depth:
        return np.full((count, count), np.nan)
    member = np.zeros((count, n))
    np.put_along_axis(member, rankings[:, :depth], 1.0, axis=1)
    return np.asarray(member @ member.T / depth)


def rbo(rankings: Int64, p: float = 0.9) -> Float64:
    """Rank-biased overlap of each pair, extrapolated (Webber, Moffat and Zobel 2010, equation 32): float64[R, R]."""
    n = rankings.shape[1]
    if not n:
        return np.full((len(rankings), len(rankings)), np.nan)
    places = np.argsort(rankings, axis=1)
    deeper = np.maximum(places[:, None, :], places[None, :, :])  # [R, R, n]: the depth from which both have an item
    shared = np.stack([(deeper < depth).sum(axis=2) / depth for depth in range(1, n + 1)], axis=2)
    weights = p ** np.arange(1, n + 1)
    return np.asarray((1 - p) / p * (shared @ weights) + shared[:, :, -1] * p**n)


def mean_of_pairs(matrix: Float64) -> float:
    """The mean over all pairs of different rankings; NaN for fewer than two."""
    row, column = np.triu_indices(len(matrix), 1)
    return float(matrix[row, column].mean()) if len(row) else float("nan")


def longest_run(places: Sequence[int]) -> int:
    """The most places in a row that each follow the one before it, as 41, 42, 43: what was only counted up."""
    best = here = min(1, len(places))
    for before, after in zip(places, places[1:], strict=False):
        here = here + 1 if after == before + 1 else 1
        best = max(best, here)
    return best


def tail(places: Sequence[int]) -> int:
    """How many places the run of consecutive ones has with which a ranking ends."""
    count = min(1, len(places))
    while count and count < len(places) and places[-count] == places[-count - 1] + 1:
        count += 1
    return count


BUCKETS = 10


def buckets(n: int) -> Int64:
    """The tenth of a list in which each of its n places is: int64[n]."""
    return np.arange(n) * BUCKETS // max(n, 1)


def top_of(n: int, k: int) -> int:
    """How many items count as the top of a list: k, or half of a list that is shorter than 2 k, so that some do not."""
    return min(k, n // 2) if n > 1 else n


def exposure(places: Sequence[int], n: int, k: int) -> Float64:
    """How often the top came from each tenth of the input, 1 for its fair share: float64[10], NaN for an empty tenth.

    Args:
        places: input places of the items in the top.
        n: items of the list.
        k: items that the top has if it is whole.
    """
    size = np.bincount(buckets(n), minlength=BUCKETS)
    found = np.bincount(buckets(n)[np.asarray(places, np.int64)], minlength=BUCKETS)
    fair = size * k / max(n, 1)
    return np.asarray(np.divide(found, fair, out=np.full(BUCKETS, np.nan), where=fair > 0))


def unevenness(curve: Float64) -> Float64:
    """Total variation, slope, edge minus middle, and entropy ratio of exposure curves: float64[..., 4] of [..., 10].

    Total variation is half the mean distance from 1; slope the change of the fitted line from the first to the last
    tenth; edge minus middle the mean of the first and last fifth less that of the middle one; the entropy of the shares
    is divided by that of equal ones.
    """
    line = np.linspace(-0.5, 0.5, BUCKETS)
    slope = curve @ line / (line @ line)
    edge = curve[..., [0, 1, 8, 9]].mean(axis=-1) - curve[..., 4:6].mean(axis=-1)
    total = curve.sum(axis=-1, keepdims=True)
    share = np.divide(curve, total, out=np.zeros_like(curve), where=total > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    entropy = -(share * logs).sum(axis=-1) / np.log(BUCKETS)
    return np.asarray(np.stack([np.abs(curve - 1).mean(axis=-1) / 2, slope, edge, entropy], axis=-1))


def null_curves(sizes: Sequence[tuple[int, int, int]], draws: int, seed: int) -> Float64:
    """Mean exposure curves of a ranker to which places are nothing: float64[draws, 10].

    Because the shuffles are random, its top is a random draw of places; exact for lists of any length.

    Args:
        sizes: (n, k, shuffles) of each query: items, those in the top, and lists drawn.
        draws: curves.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    total, count = np.zeros((draws, BUCKETS)), np.zeros(BUCKETS)
    for n, k, lists in sizes:
        size = np.bincount(buckets(n), minlength=BUCKETS)
        fair = size * k / n
        drawn = _counts(rng, size, k, (draws, lists)).mean(axis=1)
        total += np.divide(drawn, fair, out=np.zeros_like(drawn), where=fair > 0)
        count += fair > 0
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _counts(rng: np.random.Generator, size: Int64, k: int, shape: tuple[int, int]) -> NDArray[np.int64]:
    return np.asarray(rng.multivariate_hypergeometric(size, k, shape, method="marginals"))
