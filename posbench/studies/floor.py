"""The PSI that noise alone gives: what to expect of a ranker without any bias, by mean score and queries a bin."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from posbench.bias import POSITION_BINS
from posbench.studies.simulated import Truth, simulate
from posbench.types import Float64

CELL_QUERIES = 500
"""Queries in a cell of 20 positions x 4 lengths, about: 40,000 a language (the paper's counts are not published)."""
_DRAWS = 2000


@dataclass(frozen=True)
class Floor:
    """Mean and 95th percentile of PSI without bias; the shape of what was asked for."""

    mean: Float64
    high: Float64


def noise_floor(means: Float64, queries: int, seed: int = 0) -> Floor:
    """PSI of twenty bins whose true means are equal.

    Scores are nDCG@10 of one relevant document, as ``studies.simulated`` draws them; queries are taken as independent
    and bins as equally filled, so the true floor is rather higher: queries share documents, and bins differ in size.

    Args:
        means: float64[...], the mean scores, in (0, 1).
        queries: in each bin.
        seed: of the draws.
    """
    level, spread = _spreads()
    error = np.interp(means, level, spread) / np.sqrt(queries)
    draws = np.sort(np.random.default_rng(seed).standard_normal((_DRAWS, POSITION_BINS)), axis=1)
    low, high = draws[:, 0], draws[:, -1]
    flat_mean, flat_error = np.ravel(means)[:, None], np.ravel(error)[:, None]
    smallest, largest = np.maximum(flat_mean + flat_error * low, 0.0), flat_mean + flat_error * high
    psi = 1 - smallest / largest
    shape = np.shape(means)
    return Floor(psi.mean(axis=1).reshape(shape), np.quantile(psi, 0.95, axis=1).reshape(shape))


@cache
def _spreads() -> tuple[Float64, Float64]:
    """Standard deviations of simulated nDCG@10 by mean, ascending."""
    scores = [simulate(20_000, Truth(level=level), 0).queries.score for level in np.linspace(-6, 6, 25)]
    points = sorted((float(score.mean()), float(score.std())) for score in scores)
    return np.array([0.0, *(m for m, _ in points), 1.0]), np.array([0.0, *(s for _, s in points), 0.0])
