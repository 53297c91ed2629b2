"""Which models of a board can be told apart, for any choice of its settings, in a form that a page can work out too.

Two rules, by what the board's figures are made of:

- *queries*: per-query values are at hand. Within a setting the differences of all pairs of models are bootstrapped
  together and have simultaneous 95% intervals (the largest studentised deviation over all pairs, so that the family is
  corrected whatever pair a reader picks). Each model gets a *margin*, half of its widest interval: two models differ
  where their means differ by more than the sum of their margins, which is never less than the pair's own interval. Over
  several settings means and margins are averaged, which holds however much the settings depend on each other.
- *settings*: only means are known, as in published tables. Over three or more settings, pairs are compared by paired
  t-tests over the settings, with Bonferroni's correction; over fewer nothing can be told, and ranks are an order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench import stats
from posbench.paired import upper_bound_ranks
from posbench.types import Float64, Int64

LEVEL = 0.95
FEWEST = 3  # settings that a t-test is made over
REPLICATES = 1000


@dataclass(frozen=True)
class Compared:
    """All pairs of R models over the same queries.

    ``difference`` (row less column) and ``half``, half the width of its simultaneous interval, are float64[R, R].
    """

    difference: Float64
    half: Float64

    @property
    def margin(self) -> Float64:
        """Half of each model's widest interval: float64[R]; 0 for a model that is alone."""
        return np.asarray(self.half.max(axis=1, initial=0.0) / 2)


def compare(scores: Float64, clusters: Int64, strata: Int64, *, seed: int = 0) -> Compared:
    """Compares R models over the same queries.

    Args:
        scores: float64[Q, R].
        clusters: int64[Q], queries that are resampled together.
        strata: int64[Q], within which they are resampled.
        seed: of the resamples.
    """
    means = scores.mean(axis=0)
    drawn = stats.Bootstrap(clusters, strata, REPLICATES, seed).means(scores) - means
    half = np.zeros((len(means), len(means)))
    deviations = [drawn[:, a, None] - drawn[:, a + 1 :] for a in range(len(means) - 1)]
    spreads = [block.std(axis=0) for block in deviations]
    largest = np.zeros(len(drawn))
    for block, spread in zip(deviations, spreads, strict=True):
        studentised = np.divide(np.abs(block), spread, out=np.zeros_like(block), where=spread > 0)
        np.maximum(largest, studentised.max(axis=1, initial=0.0), out=largest)
    critical = float(np.quantile(largest, LEVEL)) if len(largest) else 0.0
    for a, spread in enumerate(spreads):
        half[a, a + 1 :] = half[a + 1 :, a] = critical * spread
    return Compared(means[:, None] - means[None, :], half)


def by_margins(means: Float64, margins: Float64) -> Int64:
    """Shared ranks from means and margins over the chosen settings: int64[R], 0 for NaN."""
    return upper_bound_ranks(means, better_by_margins(means, margins))


def better_by_margins(means: Float64, margins: Float64) -> NDArray[np.bool_]:
    """Whether row is better than column by more than their margins: bool[R, R]."""
    return np.asarray(means[:, None] - means[None, :] > margins[:, None] + margins[None, :])


def by_settings(values: Float64) -> Int64:
    """Shared ranks from means by setting, by paired t-tests: int64[R], 0 for a model that lacks one.

    Args:
        values: float64[R, S], by model and chosen setting; over fewer than three settings ranks are an order.
    """
    means = values.mean(axis=1)
    if values.shape[1] < FEWEST:
        return upper_bound_ranks(means, means[:, None] > means[None, :])
    return upper_bound_ranks(means, better_by_settings(values))


def better_by_settings(values: Float64) -> NDArray[np.bool_]:
    """Whether row is better than column by paired t-tests over settings: bool[R, R], all False over fewer than three.

    Args:
        values: float64[R, S].
    """
    settings = values.shape[1]
    if settings < FEWEST:
        return np.zeros((len(values), len(values)), bool)
    known = int((~np.isnan(values.mean(axis=1))).sum())
    differences = values[:, None, :] - values[None, :, :]
    half = critical(known, [settings])[0] * differences.std(axis=2, ddof=1) / np.sqrt(settings)
    return np.asarray(differences.mean(axis=2) > half)


def critical(models: int, settings: Sequence[int]) -> list[float]:
    """The t quantile that a difference over so many settings is held against, corrected for all pairs of models."""
    from scipy.stats import t

    pairs = max(1, models * (models - 1) // 2)
    return [float(t.ppf(1 - (1 - LEVEL) / (2 * pairs), n - 1)) for n in settings]


def interval_over_settings(values: Float64) -> tuple[float, float] | None:
    """The t interval of a mean over settings, None where there are fewer than three.

    It says how far the mean would move with other settings (languages, tasks) of the kind, not with other queries.
    """
    if len(values) < FEWEST:
        return None
    half = critical(2, [len(values)])[0] * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half
