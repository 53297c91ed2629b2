"""Selectors: from log weights and n-gram features to the rows that are selected.

    greedy    the texts that together bring KL(target || selected) down, out of a pool that ``logistic`` draws (default)
    logistic  the log density ratio of a logistic regression + Gumbel noise, the k largest
    dsir      the published method: log w + Gumbel noise, the k largest
    tempered  (log w) / T + Gumbel noise, with T such that the effective sample size is a multiple of k
    top-k     log w without noise
    random    noise alone

Scoring (``scorers``: one text at a time, so raw text may stream through) and selecting are separate steps; ``choose``
does both in memory.

Why ``greedy`` is the default at every size: KL(held-out target || selected) of k out of 50,000 texts, means of ten
seeds (``benchmarks/dsir_quality.py``; 95% intervals reach at most 15% from a figure, 27% for ``tempered`` on code at
3,000). "source" is a random draw from the target's own source, which nobody knows; "none" are manuals where raw text
has none.

    k                    300                          1,000                          3,000
             manuals code short none     manuals code short none     manuals code short none
    greedy    .078  .068  1.30  1.31      .030  .038  .608  1.25      .025  .032  .322  1.25
    logistic  .159  .107  1.55  1.50      .046  .051  .776  1.42      .029  .036  .339  1.44
    tempered  .151  .222  1.96  1.52      .094  .104  1.02  1.39      .105  .063  .413  1.40
    dsir      .525  .406  3.66  2.29      .329  .224  1.94  1.46      .195  .110  1.08  1.41
    top-k     .524  .406  3.67  2.28      .329  .224  1.96  1.45      .195  .110  1.08  1.41
    random    .758  .537  2.41  1.86      .727  .437  1.27  1.77      .715  .415  .932  1.75
    source    .125  .103  1.49            .035  .046  .720            .022  .031  .321

It was below random on all seven targets, also where raw text has fewer than k texts of the source (descriptions,
German). Weights judge texts one by one; greedy judges the selection, so that what one text has too much another makes
up for. Texts that no classifier would take could do that as well, and long ones do it fastest: hence the pool, and the
bands of length (without them 300 texts of the short source are a tenth too long, and manuals where there are none a
third too short). Held-out text decides, and greedy was fitted on the other half: it overfits little (its gain falls to
nothing at 3,000, where a random draw from the source is as good). ``logistic`` is the choice where each text by itself
must be of the kind rather than the whole be alike: of 300 English questions among 50,000 short texts that held 396 it
found 77% right, greedy 52%. ``dsir`` is there to repeat what was published: on long texts its weights amount to one
text, and on the package's features its KL equals the package's to .001.

A target of 10 or 50 texts needs no smoothing for ``greedy``; ``dsir`` gains much by ``laplace`` 1 (10 texts, k 3,000:
.585 to .157), ``mix`` 0.5 about as much (.187). ``tempered`` aims at an effective size of k, the least of which k texts
can be a sample: 1, 2, 4 and 8 k gave .103, .119, .145 and .198 (manuals, k 3,000).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from posbench.dsir import noise, quotas, weights
from posbench.dsir.features import Features
from posbench.dsir.greedy import greedy
from posbench.dsir.noise import Keys
from posbench.dsir.scorers import PLAIN, POOL, Settings, sample_rows, scorer, target_distribution
from posbench.errors import DataError, UsageError
from posbench.types import Float64, Int64

DEFAULT = "greedy"


def top(scores: Float64, keys: Keys, k: int) -> Int64:
    """The rows of the k largest scores, largest first; of equal scores the larger key first, int64[k].

    Raises:
        UsageError: k is below 0 or above the number of scores.
        DataError: a score is not finite.
    """
    if not 0 <= k <= len(scores):
        raise UsageError(f"{k} texts were asked for, and there are {len(scores)} to choose from")
    if not np.isfinite(scores).all():
        raise DataError("a score is not a finite number; scores must be finite")
    if not k:
        return np.zeros(0, np.int64)
    least = np.partition(scores, len(scores) - k)[len(scores) - k]
    rows = np.flatnonzero(scores >= least)
    order = np.lexsort((keys[rows], scores[rows]))[::-1]
    return np.asarray(rows[order[:k]], np.int64)


def noisy(name: str, log_w: Float64, keys: Keys, temperature: float = 1.0) -> Float64:
    """What a selector ranks by: log w / T plus the Gumbel noise of the keys (``top-k``: log w alone), float64[N]."""
    if name == "top-k":
        return log_w
    return np.asarray(log_w / temperature + noise.gumbel(noise.stream(keys, "gumbel")))


def draw(scores: Float64, keys: Keys, strata: quotas.Strata) -> Int64:
    """The best of each stratum by its quota, then all in order of their scores, largest first: int64[k].

    Args:
        scores: float64[N], from ``noisy``.
        keys: uint64[N].
        strata: codes int64[N]; a code below 0 is a text that cannot be selected.
    """
    parts = [np.zeros(0, np.int64)]
    for stratum, quota in enumerate(strata.quotas.tolist()):
        rows = np.flatnonzero(strata.codes == stratum)
        parts.append(rows[top(scores[rows], keys[rows], quota)])
    chosen = np.concatenate(parts)
    return chosen[top(scores[chosen], keys[chosen], len(chosen))]


def pool_share(pool: float, k: int) -> float:
    """How many texts ``greedy`` sees for each that it picks: ``pool``, or fewer, to hold ``POOL`` or k at most."""
    return min(pool, max(1.0, POOL / max(1, k)))


def pooled(strata: quotas.Strata, pool: float) -> quotas.Strata:
    """The same strata with ``pool_share`` times the quotas, as far as there are texts."""
    pool = pool_share(pool, int(strata.quotas.sum()))
    sizes = np.bincount(strata.codes[strata.codes >= 0], minlength=len(strata.quotas))
    return replace(strata, quotas=np.minimum(np.ceil(pool * strata.quotas - 1e-9).astype(np.int64), sizes))


def refine(
    pool: Features, target: Features, p: Float64, keys: Keys, strata: quotas.Strata, settings: Settings = PLAIN
) -> Int64:
    """The greedy selection from a pool: rows of the pool in order of picking, int64[k]; as it is where it has k texts.

    Each stratum's quota is shared among bands of length as the target's texts are, as far as the pool has them.

    Args:
        pool: M texts.
        target: the target's texts, for their lengths.
        p: float64[B], the target's distribution.
        keys: uint64[M].
        strata: of the pool, with the quotas of the selection.
        settings: ``lengths`` is used.
    """
    k = int(strata.quotas.sum())
    if k == len(pool):
        return np.arange(k)
    band, shares = quotas.bands(pool.tokens, target.tokens, settings.lengths)
    codes = strata.codes * len(shares) + band
    wanted = [
        quotas.spread(quota, shares, np.bincount(band[strata.codes == i], minlength=len(shares)))
        for i, quota in enumerate(strata.quotas.tolist())
    ]
    return greedy(pool, p, k, noise.stream(keys, "greedy"), codes, np.concatenate(wanted))


@dataclass(frozen=True)
class Part:
    """What was selected for one target.

    Attributes:
        rows: int64[k], in the order of picking.
        log_w: float64[N], the log weight of every raw text before temperature and noise.
        temperature: 1 but for ``tempered``.
        plain: the effective sample size of the weights of all texts with n-grams.
        effective: the same after the temperature.
    """

    rows: Int64
    log_w: Float64
    temperature: float
    plain: float
    effective: float

    @property
    def collapsed(self) -> bool:
        """The weights amount to less than half of what was selected: the top of a ranking rather than a sample."""
        return self.effective < len(self.rows) / 2


@dataclass(frozen=True)
class Chosen:
    """A selection: ``rows`` int64[k], and the part that each target has in it, by name ("" for one target)."""

    rows: Int64
    parts: Mapping[str, Part]


def choose(
    name: str,
    features: Features,
    target: Features | Mapping[str, Features],
    k: int,
    keys: Keys,
    seed: int = 0,
    settings: Settings = PLAIN,
    proportions: Mapping[str, float] | None = None,
    strata: quotas.Strata | None = None,
) -> Chosen:
    """Selects k of the raw texts: the same ones whatever the order of raw and of target texts.

    A text without an n-gram is never selected.

    Args:
        name: one of ``scorers.SELECTORS``.
        features: the raw texts.
        target: the target's texts; a mapping for targets that each get a share of k (``Features.concat`` makes one
            target of several). Targets with a smaller share choose first, then by name; no text is selected twice.
        k: how many, 0 to the number of raw texts with n-grams.
        keys: uint64[N], ``noise.keys`` of the texts' ids and the seed.
        seed: for the folds of the density ratio.
        settings: smoothing and the selectors' settings.
        proportions: shares of separate targets by name; by their n-grams where not given.
        strata: of all raw texts (``quotas.strata``), with quotas that add up to k; each separate target has its share
            of every quota.

    Raises:
        RecipeError: an unknown selector.
        UsageError: a k, proportions or quotas that cannot be had.
        DataError: a target, or the raw texts, without n-grams.
    """
    targets = dict(target) if isinstance(target, Mapping) else {"": target}
    strata = strata or quotas.Strata(("",), np.zeros(len(features), np.int64), np.array([k], np.int64))
    usable = np.flatnonzero(np.diff(features.indptr))
    codes = np.full(len(features), -1, np.int64)
    codes[usable] = strata.codes[usable]
    _check(k, strata.quotas, codes)
    shares = share_of(targets, proportions)
    plan = dict(zip(shares, shared(strata.quotas, list(shares.values())), strict=True))
    raw, parts = features.counts(), {}
    named = keys[usable]
    for one in sorted(targets, key=lambda one: (shares[one], one)):
        mine = noise.stream(keys, f"target {one}") if one else keys
        sample = features.take(usable[sample_rows(named, len(targets[one]))])
        log_w = scorer(name, targets[one], raw, sample, seed, settings).log_ratio(features)
        free = quotas.Strata(strata.names, codes, plan[one])
        degree = 1.0 if name != "tempered" else _temperature(log_w[usable], settings.effective * plan[one].sum())
        rows = draw(noisy(name, log_w, mine, degree), mine, free if name != "greedy" else pooled(free, settings.pool))
        if name == "greedy":
            p = target_distribution(targets[one], raw, settings)
            of_pool = quotas.Strata(strata.names, codes[rows], plan[one])
            rows = rows[refine(features.take(rows), targets[one], p, mine[rows], of_pool, settings)]
        parts[one] = _part(rows, log_w, usable, degree)
        codes[rows] = -1
    return Chosen(np.concatenate([parts[one].rows for one in targets]), {one: parts[one] for one in targets})


def _temperature(log_w: Float64, wanted: float) -> float:
    return weights.temperature(lambda: [log_w], wanted) if wanted else 1.0


def _part(rows: Int64, log_w: Float64, usable: Int64, degree: float) -> Part:
    candidates = log_w[usable]
    if not len(candidates):
        return Part(rows, log_w, degree, 0.0, 0.0)
    plain = weights.effective_size(candidates)
    return Part(rows, log_w, degree, plain, plain if degree == 1 else weights.effective_size(candidates / degree))


def share_of(targets: Mapping[str, Features], proportions: Mapping[str, float] | None) -> dict[str, float]:
    """The share of each separate target, in any unit: the proportions, or the targets' n-grams."""
    held = {name: float(one.indptr[-1] - one.indptr[0]) for name, one in targets.items()}
    for name in held:
        if not held[name]:
            which = f" {name!r}" if name else ""
            raise DataError(f"the target{which} has no n-gram; give target texts with words in them")
    if proportions is None:
        return held
    if set(proportions) != set(targets):
        raise UsageError(
            f"proportions are given for {', '.join(sorted(proportions))}; the targets are {', '.join(sorted(targets))}"
        )
    return {name: float(proportions[name]) for name in targets}


def shared(wanted: Int64, shares: list[float]) -> Int64:
    """Each stratum's quota, int64[S], apportioned among targets: int64[T, S]."""
    return np.stack([quotas.apportion(int(quota), shares) for quota in wanted], axis=1)


def _check(k: int, wanted: Int64, codes: Int64) -> None:
    """Refuses what cannot be selected."""
    usable = np.bincount(codes[codes >= 0], minlength=len(wanted))
    if not 0 <= k <= usable.sum():
        raise UsageError(
            f"{k} texts were asked for; {usable.sum()} of {len(codes)} raw texts hold an n-gram and can be selected"
        )
    if wanted.sum() != k or (wanted < 0).any() or (wanted > usable).any():
        raise UsageError(f"the quotas {wanted.tolist()} do not make {k} texts of strata that hold {usable.tolist()}")
