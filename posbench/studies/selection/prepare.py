"""From an order to a Work: sources read and featurised, targets split, sizes and quotas settled."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from posbench.dsir import pool, sources
from posbench.dsir import strata as strata_of
from posbench.dsir import target as targets
from posbench.dsir.pool import Pool
from posbench.dsir.quotas import apportion, spread
from posbench.dsir.selectors import DEFAULT
from posbench.dsir.strata import Strata
from posbench.dsir.target import Target
from posbench.errors import UsageError
from posbench.store import Cache
from posbench.studies.selection.order import Order, reading_for, source
from posbench.studies.selection.work import Work
from posbench.types import Progress, no_progress

_RULES = ("target", "raw", "equal")


def prepared(order: Order, progress: Progress) -> Work:
    """Everything read and featurised, and the order made whole."""
    start = time.perf_counter()
    cache = Cache(order.cache)
    label = [order.strata] if order.strata not in ("", strata_of.LENGTH) else []
    raw_source = sources.together([source(name, order.options, progress) for name in order.raw])
    raw = pool.pool(raw_source, reading_for(order, raw_source, [*label, *order.labels]), cache, order.crew, progress)
    for name in order.labels:
        strata_of.expect(name, raw)
    pools = []
    for name in order.targets:
        one = source(name, order.options, progress)
        wanted = label if order.quotas == "target" else []
        pools.append(pool.pool(one, reading_for(order, one, wanted), cache, order.crew, progress))
    split = _targets(order, pools)
    size = order.size or max(1, round(order.share * len(raw)))
    if size > len(raw):
        raise UsageError(f"--size {size:,} is more than the {len(raw):,} documents of {raw_source.name}")
    selector = order.selector or DEFAULT
    strata = _strata(order, raw, pools)
    quotas = None if strata is None else _quotas(order, strata, raw, pools, size)
    seconds = {"read and featurise": round(time.perf_counter() - start, 3)}
    return Work(order, raw, split, size, selector, strata, quotas, progress, seconds)


def _targets(order: Order, pools: Sequence[Pool]) -> list[Target]:
    if order.joint:
        return [targets.target(" + ".join(one.source.name for one in pools), pools, order.held_out, order.seed)]
    return [targets.target(one.source.name, [one], order.held_out, order.seed) for one in pools]


def _strata(order: Order, raw: Pool, pools: Sequence[Pool]) -> Strata | None:
    if not order.strata:
        if order.quotas != "target":
            raise UsageError("--quotas without --strata; expected what they are quotas of: length or a field")
        return None
    if isinstance(order.quotas, str) and order.quotas not in _RULES:
        raise UsageError(f"--quotas {order.quotas!r}; expected {', '.join(_RULES)}, or NAME=SHARE,NAME=SHARE")
    if order.strata == strata_of.LENGTH:
        return strata_of.by_length(pools)
    return strata_of.by_label(order.strata, [raw, *pools] if order.quotas == "target" else [raw])


def _quotas(order: Order, strata: Strata, raw: Pool, pools: Sequence[Pool], size: int) -> dict[int, int]:
    """How many of each stratum. Shares that the raw text cannot give go to the other strata, unless they were named."""
    there = strata.sizes([raw])
    if isinstance(order.quotas, Mapping):
        unknown = [name for name in order.quotas if name not in strata.names]
        if unknown:
            raise UsageError(f"no stratum {unknown[0]!r}; there are {', '.join(strata.names)}")
        counts = apportion(size, np.array([order.quotas.get(name, 0.0) for name in strata.names]))
        short = [
            f"{strata.names[at]} has {there[at]} of {counts[at]}" for at in map(int, np.flatnonzero(counts > there))
        ]
        if short:
            raise UsageError(f"strata too small for their quotas: {', '.join(short)}; ask for fewer or other shares")
    else:
        shares = there if order.quotas == "raw" else np.ones(len(there), np.int64)
        if order.quotas == "target":
            shares = strata.sizes(pools)
        counts = spread(size, shares, there)
    return {code: int(count) for code, count in enumerate(counts)}


def target_of(order: Order, progress: Progress = no_progress) -> Target:
    """The targets as one, split as the order says."""
    pools = []
    for name in order.targets:
        one = source(name, order.options, progress)
        pools.append(pool.pool(one, reading_for(order, one, []), Cache(order.cache), order.crew, progress))
    return _targets(replace(order, joint=True), pools)[0]
