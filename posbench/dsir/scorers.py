"""Scorers: fitted once on target and raw text, they give each text a log weight, whatever the other texts are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from posbench.dsir import noise, weights
from posbench.dsir.divergence import EPSILON
from posbench.dsir.features import Features
from posbench.dsir.logistic import Logistic, raw_rows
from posbench.dsir.noise import Keys
from posbench.errors import DataError, UsageError, unknown_name
from posbench.types import Float64, Int64

POOL = 100_000
"""The most texts that ``greedy`` picks from; a selection as large as that is the pool itself."""
SELECTORS = ("greedy", "logistic", "dsir", "tempered", "top-k", "random")


@dataclass(frozen=True)
class Settings:
    """What changes a selection beside the texts, the selector, k and the seed.

    Attributes:
        laplace: n-grams added to every bucket of the target (dsir, tempered, top-k, greedy).
        mix: the share of the raw text's distribution in the target's, 0 to 1 (the same selectors).
        epsilon: added to probabilities before the logarithm (dsir, tempered, top-k).
        effective: the effective sample size that ``tempered`` aims for, in multiples of k.
        pool: how many texts ``greedy`` picks from, in multiples of k; never more than ``POOL`` texts.
        lengths: ``greedy`` keeps the target's shares of so many bands of length in tokens; 1 lets lengths drift.

    Raises:
        UsageError: a value is out of range.
    """

    laplace: float = 0.0
    mix: float = 0.0
    epsilon: float = EPSILON
    effective: float = 1.0
    pool: float = 4.0
    lengths: int = 8

    def __post_init__(self) -> None:
        if not (self.effective > 0 and self.pool >= 1 and self.lengths >= 1 and self.epsilon > 0):
            raise UsageError(
                "a selection needs effective > 0, pool >= 1, lengths >= 1 and epsilon > 0; found "
                f"{self.effective}, {self.pool}, {self.lengths} and {self.epsilon}"
            )


PLAIN = Settings()


class Scorer(Protocol):
    """Gives each text a log weight that depends on that text alone."""

    def log_ratio(self, features: Features) -> Float64:
        """The log weight of each text, float64[N]."""
        ...


@dataclass(frozen=True)
class Products:
    """The published weight, a product over n-grams: ``values`` float64[B], what an n-gram of each bucket adds."""

    values: Float64

    def log_ratio(self, features: Features) -> Float64:
        """The sum over a text's n-grams, float64[N]; 0 for a text without any."""
        return features.by_row(self.values)


@dataclass(frozen=True)
class Alike:
    """Every text weighs the same."""

    def log_ratio(self, features: Features) -> Float64:
        """Zeros, float64[N]."""
        return np.zeros(len(features))


def target_distribution(target: Features, raw: Int64, settings: Settings = PLAIN) -> Float64:
    """The target's smoothed distribution over buckets, float64[B]; ``raw`` int64[B] are the raw texts' n-grams.

    Raises:
        DataError: the target has no n-gram.
    """
    counts = target.counts()
    if not counts.any():
        raise DataError("the target has no n-gram; give target texts with words in them")
    background = weights.distribution(raw) if settings.mix else None
    return weights.distribution(counts, settings.laplace, settings.mix, background)


def sample_rows(keys: Keys, target: int) -> Int64:
    """The raw texts that a density ratio is fitted on, ascending: those with the smallest of a stream of the keys.

    Args:
        keys: uint64[N], of all raw texts. The smallest of several parts' smallest are the smallest of all.
        target: how many texts the target has; ``logistic.raw_rows`` says how many raw texts that takes.
    """
    base = noise.stream(keys, "sample")
    return np.sort(np.argsort(base, kind="stable")[: raw_rows(target)])


def scorer(name: str, target: Features, raw: Int64, sample: Features, seed: int, settings: Settings = PLAIN) -> Scorer:
    """Fits the scorer that a selector needs.

    Args:
        name: one of ``SELECTORS``.
        target: the target's texts.
        raw: int64[B], the n-grams of all raw texts by bucket.
        sample: raw texts to fit a density ratio on (``sample_rows``).
        seed: for the folds of the density ratio.
        settings: smoothing and epsilon.

    Raises:
        RecipeError: an unknown selector.
        DataError: the target or the raw texts have no n-gram.
    """
    if name not in SELECTORS:
        raise unknown_name("selector", name, SELECTORS, f"there are {', '.join(SELECTORS)}")
    p = target_distribution(target, raw, settings)
    if name == "random":
        return Alike()
    if name in ("logistic", "greedy"):
        return Logistic.fit(target, sample, seed)
    return Products(weights.log_ratio(p, weights.distribution(raw), settings.epsilon))
