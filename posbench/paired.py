"""Paired comparison by random sign flips of clusters, and what follows from many such tests.

If two rankers are exchangeable, the sign of each document's difference is a coin's: flipping all queries of a document
together keeps how they hang together (Fisher's randomisation test, on clusters).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from posbench.types import Float64, Int64

FLIPS = 10_000
POWER_FACTOR = 2.8016
"""Standard errors of a difference that a two-sided test at 5% finds in 80% of cases: 1.9600 + 0.8416."""
_CELLS = 1 << 23  # signs held at a time
_SLACK = 1e-9  # relative; sums that are equal but for rounding count as equal


def flips_for(tests: int) -> int:
    """Flips enough for Holm's correction of so many tests: the smallest corrected p-value stays at .01 or below."""
    return max(FLIPS, 100 * tests)


def cluster_sums(values: Float64, clusters: Int64) -> Float64:
    """Sums by cluster: float64[C, M] of float64[Q, M]."""
    n = int(clusters.max(initial=-1)) + 1
    return np.stack([np.bincount(clusters, column, n) for column in values.T], axis=1)


def signs(clusters: int, flips: int = FLIPS, seed: int = 0) -> Iterator[NDArray[np.int8]]:
    """Random signs: blocks int8[b, C] of -1 and 1, whose rows add up to ``flips``."""
    rng = np.random.default_rng(seed)
    width = -(-clusters // 8)
    step = max(1, _CELLS // max(1, clusters))
    for first in range(0, flips, step):
        rows = min(step, flips - first)
        drawn = np.frombuffer(rng.bytes(rows * width), np.uint8).reshape(rows, width)
        bits = np.unpackbits(drawn, axis=1, count=clusters).view(np.int8)
        yield 1 - 2 * bits


def flip_sums(sums: Float64, flips: int = FLIPS, seed: int = 0) -> Float64:
    """The sum of each column of float64[C, M] under random signs of its rows: float64[flips, M].

    All columns share the signs, so the null of a difference of two columns is the difference of their nulls.
    """
    blocks = [block.astype(np.float64) @ sums for block in signs(len(sums), flips, seed)]
    return np.concatenate(blocks) if blocks else np.empty((0, sums.shape[1]))


def two_sided(seen: Float64, null: Float64) -> Float64:
    """p-values float64[M]: (b + 1) / (B + 1) with b the rows of ``null`` float64[B, M] as far from 0 as ``seen``."""
    far = np.abs(null) >= np.abs(seen) * (1 - _SLACK)
    return np.asarray((far.sum(axis=0) + 1) / (len(null) + 1))


def flip_test(differences: Float64, clusters: Int64, flips: int = FLIPS, seed: int = 0) -> Float64:
    """Two-sided p-values that paired differences are 0 on average.

    Exact where the two rankers are exchangeable in each cluster; for mean differences of 0 alone, right in the limit
    of many clusters (the flipped sums have the variance of the sum itself).

    Args:
        differences: float64[Q, M], one column a test.
        clusters: int64[Q], the cluster of each query, 0..C-1.
        flips: how many.
        seed: of the random generator.
    """
    sums = cluster_sums(differences, clusters)
    return two_sided(sums.sum(axis=0), flip_sums(sums, flips, seed))


def upper_bound_ranks(means: Float64, better: NDArray[np.bool_]) -> Int64:
    """Ranks that are shared where they cannot be told apart: int64[R].

    A ranker's rank is 1 + the number of rankers that are significantly better, the upper bound that leaderboards of
    pairwise comparisons use. A better mean never has a worse rank than it would have without the tests, but a rank may
    skip: 1, 1, 2, 4 means that three are better than the last.

    Args:
        means: float64[R]; NaN has no rank (0).
        better: bool[R, R], whether row is significantly better than column.
    """
    ranks = 1 + (better & (means[:, None] > means[None, :])).sum(axis=0)
    return np.asarray(np.where(np.isnan(means), 0, ranks), np.int64)
