"""Two simulated rankers over the same queries, with known means and bias, to check what comparisons find."""

from dataclasses import dataclass

import numpy as np

from posbench.bias import Placed
from posbench.studies.simulated import Truth, simulate
from posbench.types import Float64


@dataclass(frozen=True)
class Rival:
    """What one ranker does: ``level`` moves its scores (0 gives a mean nDCG@10 near .6), ``slope`` is its bias.

    ``slope`` is the share of the mean that evidence at the very end loses against the start (negative: gains), along a
    straight line: a signed index of -slope / (2 - slope). ``bend`` is the share that evidence in the middle loses
    against both ends, along a parabola. ``noise`` is the spread of the ranker's own luck with each query.
    """

    level: float = 0.0
    slope: float = 0.0
    bend: float = 0.0
    noise: float = 1.0


def rivals(n: int, first: Rival, second: Rival, seed: int) -> tuple[Placed, Float64]:
    """About n queries in documents of 1 to 6, and the scores float64[Q, 2] of two rankers.

    Difficulty by document, domain, length and query is the same for both; each has luck of its own by document and by
    query. Bias takes hits away at random, so that mean scores follow the curve exactly.
    """
    base = simulate(n, Truth(), seed).queries
    rng = np.random.default_rng([seed, 1])
    docs, domains = int(base.cluster.max()) + 1, int(base.stratum.max()) + 1
    hard = rng.normal(0, 1, docs)[base.cluster] + rng.normal(0, 0.5, domains)[base.stratum] + 0.4 * base.length
    hard += rng.normal(0, 0.7, len(base.score))
    columns = [_scores(base, hard, rival, docs, rng) for rival in (first, second)]
    return base, np.stack(columns, axis=1)


def _scores(base: Placed, hard: Float64, rival: Rival, docs: int, rng: np.random.Generator) -> Float64:
    own = rng.normal(0, rival.noise, docs)[base.cluster] + rng.normal(0, 0.7 * rival.noise, len(hard))
    before = rng.poisson(np.exp(np.clip(hard + own - rival.level - 0.4, -20, 8)))
    score = np.where(before < 10, 1 / np.log2(before + 2.0), 0.0)
    kept = (1 - rival.slope * base.relative) * (1 - rival.bend * (1 - 4 * (base.relative - 0.5) ** 2))
    return np.where(rng.random(len(hard)) < kept / max(1.0, 1 - rival.slope), score, 0.0)
