"""How near a selection is to its target: KL to fitted and to held-out documents, beside raw text and random draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from posbench import stats
from posbench.dsir import stream
from posbench.dsir.divergence import kl
from posbench.dsir.features import Features
from posbench.dsir.pool import Pool
from posbench.dsir.stream import Draw, Picks
from posbench.dsir.target import Target
from posbench.dsir.weights import distribution
from posbench.types import Float64, Int64

RANDOM_DRAWS = 20
_FIRST = 1_000_003  # seeds of random selections begin here, so that none is the seed of a selector's own noise
MEASURES = ("KL fitted", "KL held out", "KL reduction")


@dataclass(frozen=True)
class Judge:
    """What selections from a pool are measured against.

    ``epsilon`` is added to every probability in the logarithm. Where nothing is held out the fitted part stands for it.
    """

    pool: Pool
    targets: Sequence[Target]
    epsilon: float
    seed: int

    @cached_property
    def raw(self) -> Float64:
        """The distribution of all raw text."""
        return distribution(self.pool.counts)

    def values(self, counts: Int64) -> list[dict[str, float]]:
        """``MEASURES`` of a selection, a dict a target: its n-grams by bucket are int64[buckets]."""
        selected = distribution(counts)
        return [self._values(one, selected) for one in self.targets]

    def _values(self, one: Target, selected: Float64) -> dict[str, float]:
        fitted = distribution(one.fitted)
        judged = fitted if one.held is None else distribution(one.held)
        found = kl(judged, selected, self.epsilon)
        return {
            "KL fitted": kl(fitted, selected, self.epsilon),
            "KL held out": found if one.held is not None else float("nan"),
            "KL reduction": kl(judged, self.raw, self.epsilon) - found,
        }

    def random(self, size: int) -> list[Int64]:
        """The n-grams of ``RANDOM_DRAWS`` random selections, by bucket."""
        if size not in self._random:
            draws = (self.random_picks(size, number) for number in range(RANDOM_DRAWS))
            self._random[size] = [stream.counts_of(self.pool, picks) for picks in draws]
        return self._random[size]

    def random_picks(self, size: int, number: int) -> Picks:
        """The documents of one random selection."""
        return stream.best(self.pool, size, Draw(seed=self.seed * _FIRST + _FIRST + number))

    def gain(self, one: Target, counts: Int64, others: Sequence[Int64]) -> dict[str, float]:
        """The mean KL to the held-out documents of ``others`` less that of ``counts``, with its interval.

        The target's entropy cancels: it is the mean over the held-out n-grams of the log ratio of probabilities, a
        ratio of sums over documents, so that documents are resampled (percentile bootstrap).
        """
        features = self._judging(one)
        second = np.mean([np.log(distribution(other) + self.epsilon) for other in others], axis=0)
        ratio = np.log(distribution(counts) + self.epsilon) - second
        sums = np.stack([features.by_row(ratio), np.diff(features.indptr).astype(np.float64)], axis=1)
        drawn = stats.Bootstrap(np.arange(len(features)), seed=self.seed).sums(sums)
        low, high = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12), [0.025, 0.975])
        return {"value": float(sums[:, 0].sum() / sums[:, 1].sum()), "low": float(low), "high": float(high)}

    def _judging(self, one: Target) -> Features:
        if one.name not in self._judged:
            self._judged[one.name] = one.features(fitted=one.held is None, most=5_000)
        return self._judged[one.name]

    @cached_property
    def _random(self) -> dict[int, list[Int64]]:
        return {}

    @cached_property
    def _judged(self) -> dict[str, Features]:
        return {}


def band(values: Sequence[float]) -> dict[str, float]:
    """The mean of random selections, its interval, and the range in which 95% of single ones lie (Student's t)."""
    from scipy.stats import t

    found = np.asarray(values, np.float64)
    n, mean = len(found), float(found.mean())
    spread = float(found.std(ddof=1)) if n > 1 else float("nan")
    reach = float(t.ppf(0.975, n - 1)) if n > 1 else float("nan")
    half, one = reach * spread / np.sqrt(n), reach * spread * np.sqrt(1 + 1 / n)
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "single_low": mean - one,
        "single_high": mean + one,
        "draws": n,
    }


def mean_of(values: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over targets of each measure."""
    return {name: float(np.mean([one[name] for one in values])) for name in MEASURES}
