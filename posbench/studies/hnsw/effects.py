"""Means over builds with their intervals, and what an order changes against the mean random order.

Where several sets were made of one kind, they are a sample of such sets: a set's mean over its builds and queries is
one value, and the interval is Student's over sets. A single set is given: its interval holds the spread over builds
(levels, and shuffles) and over queries, which all builds share. The variances of the means of builds and of queries add
up; what is of single queries in single builds is in both and counted once (two-way random effects), and the sum is at
least as large as either. Degrees of freedom are Satterthwaite's (1946). With 5 builds and 200 queries such intervals
cover 94 to 98% in simulations; with 2 builds as little as 88%.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posbench.types import Float64, Int64

LEVEL = 0.95
TAIL = 0.05
"""The quantile of the queries whose recall is reported as the tail."""


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference with its interval; ``p`` tests that it is 0. NaN where there are no values."""

    value: float
    low: float
    high: float
    p: float


def of_sets(values: Float64) -> Estimate:
    """Student's interval of the mean of float64[S], one value a set."""
    variance = float(values.var(ddof=1)) / len(values)
    return _student(float(values.mean()), variance, [(variance, len(values) - 1)])


def of_builds(builds: Sequence[Float64], signs: Sequence[float], clusters: Int64) -> Estimate:
    """The interval of a sum of arms' means on one set of queries.

    Args:
        builds: of each arm float64[L, Q], L at least 2; the arms are built independently and share the queries.
        signs: what each arm's mean counts, as 1 and -1 for a difference.
        clusters: int64[Q], the queries that move together, as ``stats.clusters_of`` gives them.
    """
    by_query = np.sum([sign * arm.mean(axis=0) for sign, arm in zip(signs, builds, strict=True)], axis=0)
    value, n = float(by_query.mean()), int(clusters.max()) + 1
    of_queries = [(_squares((by_query - value)[None], clusters), n - 1)]
    of_levels, of_both = [], []
    for sign, arm in zip(signs, builds, strict=True):
        rows, build = len(arm), arm.mean(axis=1)
        rest = arm - arm.mean(axis=0) - (build - build.mean())[:, None]
        of_levels.append((sign**2 * float(build.var(ddof=1)) / rows, rows - 1))
        of_both.append((sign**2 * _squares(rest, clusters) / (rows * (rows - 1)), (rows - 1) * (n - 1)))
    most = max(of_levels, of_queries, key=_sum)
    variance = _sum(of_levels) + _sum(of_queries) - _sum(of_both)
    if variance <= _sum(most):
        return _student(value, _sum(most), most)
    return _student(value, variance, [*of_levels, *of_queries, *of_both])


def _squares(rows: Float64, clusters: Int64) -> float:
    """The variance of the mean of each row of float64[L, Q] by its clusters, added up; 0 for one cluster."""
    n = int(clusters.max()) + 1
    if n == 1:
        return 0.0
    sums = np.stack([np.bincount(clusters, row, n) for row in rows])
    return n / (n - 1) * float((sums**2).sum()) / len(clusters) ** 2


def difference(arms: Sequence[Float64], bases: Sequence[Float64], clusters: Int64) -> Estimate:
    """What an order changes: arms and bases are float64[L, Q] of each set, in the same order of sets."""
    if len(arms) > 1:
        return of_sets(np.array([arm.mean() - base.mean() for arm, base in zip(arms, bases, strict=True)]))
    return of_builds([arms[0], bases[0]], [1.0, -1.0], clusters)


def mean(arms: Sequence[Float64], clusters: Int64) -> Estimate:
    """The mean of an order: float64[L, Q] of each set."""
    if len(arms) > 1:
        return of_sets(np.array([arm.mean() for arm in arms]))
    return of_builds([arms[0]], [1.0], clusters)


def over_builds(values: Sequence[Float64]) -> Estimate:
    """The mean of a figure that each build has one of, float64[L] of each set: over sets, or over the builds of one."""
    return of_sets(np.array([one.mean() for one in values]) if len(values) > 1 else values[0])


def tail(arm: Float64) -> Float64:
    """The recall that all but a twentieth of the queries reach, in each build: float64[L] of float64[L, Q]."""
    return np.asarray(np.quantile(arm, TAIL, axis=1))


def _sum(parts: Sequence[tuple[float, int]]) -> float:
    return sum(part for part, _ in parts)


def _student(value: float, variance: float, parts: Sequence[tuple[float, int]]) -> Estimate:
    """The interval from a variance, and the parts that it was made of with their degrees of freedom."""
    from scipy.stats import t

    if not np.isfinite(value) or not np.isfinite(variance):
        return Estimate(value, np.nan, np.nan, np.nan)
    if variance <= 0:
        return Estimate(value, value, value, 1.0 if value == 0 else 0.0)
    freedom = variance**2 / sum(part**2 / df for part, df in parts if part > 0)
    error = variance**0.5
    half = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Estimate(value, value - half, value + half, float(2 * t.sf(abs(value) / error, freedom)))
