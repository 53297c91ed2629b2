"""Selections from a pool of any size, the same as ``selectors.choose`` makes in memory: scores stream by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from posbench.dsir import quotas as quota
from posbench.dsir import selectors, stream, weights
from posbench.dsir.logistic import Logistic, raw_rows
from posbench.dsir.pool import Pool
from posbench.dsir.scorers import SELECTORS, Products, Settings
from posbench.dsir.stream import Draw, Picks, Scores
from posbench.dsir.target import Target
from posbench.errors import UsageError, unknown_name
from posbench.types import Float64, Int64, Progress, no_progress


class Weigher:
    """The scores of a pool for one target, each computed once and kept in a folder.

    Args:
        pool: what is selected from.
        target: what for.
        settings: smoothing and the selectors' settings.
        seed: of the sample and the folds of the density ratio.
        folder: for scores, eight bytes a document and kind.
        progress: shows the passes.
    """

    def __init__(
        self,
        pool: Pool,
        target: Target,
        settings: Settings,
        seed: int,
        folder: Path,
        progress: Progress = no_progress,
    ) -> None:
        self.pool, self.target, self.settings, self.seed = pool, target, settings, seed
        self._folder, self._progress = folder, progress
        raw = weights.distribution(pool.counts)
        self.p: Float64 = weights.distribution(target.fitted, settings.laplace, settings.mix, raw)
        self._products = Products(weights.log_ratio(self.p, raw, settings.epsilon))
        self._temperatures: dict[float, float] = {}

    @cached_property
    def plain(self) -> Scores:
        """DSIR's log weights."""
        return stream.score(self.pool, self._products.log_ratio, self._folder / "plain", self._progress)

    @cached_property
    def density(self) -> Scores:
        """Log density ratios of the logistic regression."""
        return stream.score(self.pool, self.model.log_ratio, self._folder / "density", self._progress, "density ratio")

    @cached_property
    def model(self) -> Logistic:
        """The logistic regression, fitted on the target's fitted documents and a sample of the pool."""
        mine = self.target.features()
        raw = stream.gather(self.pool, stream.sample(self.pool, raw_rows(len(mine)), self.seed))
        return Logistic.fit(mine, raw, self.seed)

    def scores(self, selector: str) -> Scores | None:
        """What a selector draws by; None where all documents weigh the same."""
        if selector == "random":
            return None
        return self.density if selector in ("logistic", "greedy") else self.plain

    def temperature(self, selector: str, size: int) -> float:
        """What the scores are divided by before ``size`` documents are drawn."""
        if selector != "tempered" or not size:
            return 1.0
        wanted = self.settings.effective * size
        if wanted not in self._temperatures:
            self._temperatures[wanted] = weights.temperature(self.plain.blocks, wanted)
        return self._temperatures[wanted]

    def effective_size(self, selector: str, size: int) -> float:
        """The effective sample size of the weights that a selector draws by (of greedy: those of its pool)."""
        scores, heat = self.scores(selector), self.temperature(selector, size)
        if scores is None or not np.isfinite(heat):
            return float(len(self.pool))
        return weights.effective_size(np.asarray(block) / heat for block in scores.blocks())


@dataclass(frozen=True)
class Ask:
    """What is wanted: ``size`` documents by ``selector``; of each stratum its quota; each text once if ``distinct``."""

    selector: str
    size: int
    seed: int = 0
    distinct: bool = False
    strata: stream.Strata | None = None
    quotas: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        if self.selector not in SELECTORS:
            raise unknown_name("selector", self.selector, SELECTORS, f"there are {', '.join(SELECTORS)}")


def select(weighers: Sequence[Weigher], proportions: Sequence[float], ask: Ask) -> list[Picks]:
    """The documents chosen for each target, best first; one document is chosen for one target at most.

    Targets with a smaller share choose first, then by the hash of their texts.

    Args:
        weighers: one a target, of one pool.
        proportions: the share of each target in the selection, in any unit.
        ask: what is wanted.

    Raises:
        UsageError: more is wanted than there is.
    """
    wanted = ask.quotas or {0: ask.size}
    plan = selectors.shared(np.array(list(wanted.values()), np.int64), list(proportions))
    order = sorted(range(len(weighers)), key=lambda at: (proportions[at], weighers[at].target.identity))
    found = {at: Picks.none() for at in order}
    taken = Picks.none()
    for at in order:
        mine = dict(zip(wanted, map(int, plan[at]), strict=True))
        name = "" if len(weighers) == 1 else weighers[at].target.identity
        found[at] = _of_target(weighers[at], ask, mine, taken, name)
        taken = taken.plus(found[at])
    return [found[at] for at in range(len(weighers))]


def _of_target(weigher: Weigher, ask: Ask, wanted: Mapping[int, int], taken: Picks, name: str) -> Picks:
    size = sum(wanted.values())
    heat = weigher.temperature(ask.selector, size)
    greedy = ask.selector == "greedy"
    share = selectors.pool_share(weigher.settings.pool, size) if greedy else 1.0
    quotas = {code: int(np.ceil(share * count - 1e-9)) for code, count in wanted.items()}
    draw = Draw(ask.selector, ask.seed, heat, name, ask.distinct, ask.strata, quotas)
    picks = stream.best(weigher.pool, size, draw, weigher.scores(ask.selector), taken)
    codes = _codes(weigher.pool, picks, ask)
    order = sorted(wanted)
    code = np.searchsorted(order, codes)
    there = np.bincount(code, minlength=len(order))
    counts = np.array([wanted[stratum] for stratum in order], np.int64)
    if (there < counts).any():
        raise UsageError(
            f"{ask.size:,} documents are wanted; {weigher.pool.source.name} has {there.tolist()} of the "
            f"{counts.tolist()} that are needed (after limits, repeated texts and strata): ask for fewer"
        )
    if not greedy:
        return picks
    strata = quota.Strata(tuple(map(str, order)), code.astype(np.int64), counts)
    pool = stream.gather(weigher.pool, picks)
    mine = weigher.target.features()
    return picks.take(selectors.refine(pool, mine, weigher.p, picks.key, strata, weigher.settings))


def _codes(pool: Pool, picks: Picks, ask: Ask) -> Int64:
    strata = ask.strata
    if strata is None:
        return np.zeros(len(picks), np.int64)
    return stream.gather_column(picks, lambda part: strata(pool.block(part)))
