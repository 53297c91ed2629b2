"""Ways to choose a few of many queries, each as a function of rows, keys and sizes.

All but greedy order the queries once, so that a smaller selection is the beginning of a larger one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from posbench.dsir import noise, weights
from posbench.dsir.features import Features
from posbench.dsir.noise import Keys
from posbench.dsir.quotas import Strata
from posbench.dsir.scorers import SELECTORS, Settings, sample_rows, scorer, target_distribution
from posbench.dsir.selectors import draw, noisy, pooled, refine
from posbench.errors import UsageError
from posbench.types import Float64, Int64

_ALIKE = 1e-9  # nats between weights that are equal but for rounding


class Draw(Protocol):
    """A way to choose."""

    @property
    def name(self) -> str:
        """What tables show."""
        ...

    @property
    def slow(self) -> bool:
        """Whether a choice takes so long that fewer are to be made."""
        ...

    def picks(self, rows: Int64, keys: Keys, sizes: Sequence[int]) -> list[Int64]:
        """A choice of each size.

        Args:
            rows: int64[n], the queries to choose from; in a resample some stand more than once.
            keys: uint64[n], the random number of each.
            sizes: of the choices, 1 to n.

        Returns:
            For each size the places in ``rows``, int64[size].
        """
        ...


@dataclass(frozen=True)
class Weighted:
    """Gumbel top-k over log weights float64[Q] that were fitted on all queries, by the ``temperature`` of a size."""

    name: str
    log_w: Float64
    temperature: Mapping[int, float] = field(default_factory=dict)
    slow: bool = False

    def picks(self, rows: Int64, keys: Keys, sizes: Sequence[int]) -> list[Int64]:
        """See ``Draw``; the temperature is that of the nearest size that it is known for."""
        degrees = [self._degree(size / len(rows)) for size in sizes]
        orders = {degree: self._order(rows, keys, degree) for degree in set(degrees)}
        return [orders[degree][:size] for size, degree in zip(sizes, degrees, strict=True)]

    def _degree(self, share: float) -> float:
        if not self.temperature:
            return 1.0
        size = min(self.temperature, key=lambda known: abs(known / len(self.log_w) - share))
        return self.temperature[size]

    def _order(self, rows: Int64, keys: Keys, degree: float) -> Int64:
        alike = np.ptp(self.log_w) < _ALIKE  # then no weight can matter, and top-k is a random choice too
        scores = noisy("random" if alike else self.name, self.log_w[rows], keys, degree)
        return np.asarray(np.lexsort((keys, scores))[::-1], np.int64)


@dataclass(frozen=True)
class Stratified:
    """A random choice with each stratum's share of the queries; ``codes`` int64[Q]."""

    name: str
    codes: Int64
    slow: bool = False

    def picks(self, rows: Int64, keys: Keys, sizes: Sequence[int]) -> list[Int64]:
        """See ``Draw``: the i-th query of a stratum of n has its turn at (i + u) / n, u drawn once a stratum."""
        codes = self.codes[rows]
        by_stratum = np.lexsort((keys, codes))
        n = np.bincount(codes)
        first = (np.cumsum(n) - n)[codes[by_stratum]]
        offset = noise.uniform(noise.stream(keys, "strata"))[by_stratum[first]]
        turn = np.empty(len(rows))
        turn[by_stratum] = (np.arange(len(rows)) - first + offset) / n[codes[by_stratum]]
        order = np.lexsort((keys, turn))
        return [order[:size] for size in sizes]


@dataclass(frozen=True)
class Greedy:
    """The queries that together are nearest to a target's distribution, picked from a pool as ``dsir`` does.

    ``log_w`` float64[Q] draws the pool; ``p`` float64[B] is the target's distribution.
    """

    name: str
    features: Features
    log_w: Float64
    target: Features
    p: Float64
    settings: Settings
    slow: bool = True

    def picks(self, rows: Int64, keys: Keys, sizes: Sequence[int]) -> list[Int64]:
        """See ``Draw``."""
        scores = noisy(self.name, self.log_w[rows], keys)
        return [self._picked(rows, keys, scores, size) for size in sizes]

    def _picked(self, rows: Int64, keys: Keys, scores: Float64, size: int) -> Int64:
        whole = Strata(("",), np.zeros(len(rows), np.int64), np.array([size]))
        pool = draw(scores, keys, pooled(whole, self.settings.pool))
        some = replace(whole, codes=whole.codes[pool])
        return pool[refine(self.features.take(rows[pool]), self.target, self.p, keys[pool], some, self.settings)]


@dataclass(frozen=True)
class Facts:
    """What is known of the queries to choose from.

    ``strata`` int64[Q] codes by the name of what they come from; ``features`` those of the queries' texts, and
    ``target`` the texts that a choice is to look like; ``keys`` uint64[Q], for the sample that a density ratio is
    fitted on.
    """

    strata: Mapping[str, Int64]
    features: Features
    target: Features
    keys: Keys
    settings: Settings = Settings()


def names(facts: Facts) -> tuple[str, ...]:
    """All ways that these queries can be chosen by, random choice first."""
    others = (name for name in SELECTORS if name != "random")
    return ("random", *(f"by {name}" for name in facts.strata), *others)


def draws(facts: Facts, wanted: Sequence[str], sizes: Sequence[int], seed: int = 0) -> list[Draw]:
    """The ways of these names, fitted.

    Raises:
        UsageError: a name that none has.
    """
    known = names(facts)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no selector {name!r}; these queries can be chosen by {', '.join(known)}")
    return [_draw(facts, name, sizes, seed) for name in wanted or known]


def _draw(facts: Facts, name: str, sizes: Sequence[int], seed: int) -> Draw:
    if name.startswith("by "):
        return Stratified(name, facts.strata[name.removeprefix("by ")])
    if name == "random":
        return Weighted(name, np.zeros(len(facts.features)))
    sample = facts.features.take(sample_rows(facts.keys, len(facts.target)))
    fitted = scorer(name, facts.target, facts.features.counts(), sample, seed, facts.settings)
    log_w = fitted.log_ratio(facts.features)
    if name == "greedy":
        p = target_distribution(facts.target, facts.features.counts(), facts.settings)
        return Greedy(name, facts.features, log_w, facts.target, p, facts.settings)
    if name != "tempered":
        return Weighted(name, log_w)
    return Weighted(name, log_w, {k: weights.temperature(lambda: [log_w], facts.settings.effective * k) for k in sizes})
