"""A selection on its way: what is asked for, what was read, and the scores that selectors share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from posbench import manifest
from posbench.dsir import select as selecting
from posbench.dsir.pool import Pool
from posbench.dsir.quotas import apportion
from posbench.dsir.select import Ask, Weigher
from posbench.dsir.strata import Strata
from posbench.dsir.stream import Picks
from posbench.dsir.target import Target
from posbench.errors import UsageError
from posbench.studies.selection.judge import Judge
from posbench.studies.selection.order import Order
from posbench.types import Progress
from posbench.versions import installed

_VERSIONS = ("numpy", "pyarrow", "scipy")


@dataclass
class Work:
    """A selection on its way."""

    order: Order
    raw: Pool
    targets: list[Target]
    size: int
    selector: str
    strata: Strata | None
    quotas: dict[int, int] | None
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)
    weighers: list[Weigher] = field(default_factory=list)

    @cached_property
    def judge(self) -> Judge:
        """What the selection is measured against."""
        return Judge(self.raw, self.targets, self.order.settings.epsilon, self.order.seed)

    @property
    def proportions(self) -> list[float]:
        """The share of each target in the selection: as given, or by n-grams as the published package has it."""
        given = list(self.order.proportions) or [float(one.fitted.sum()) for one in self.targets]
        if len(given) != len(self.targets):
            raise UsageError(f"{len(given)} proportions for {len(self.targets)} targets; expected one each")
        return given

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the seconds of a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def chosen_by(work: Work, selector: str, size: int) -> list[Picks]:
    """The documents that a selector chooses for each target; quotas are scaled to the size."""
    quotas, strata = work.quotas, work.strata
    if quotas is not None and size != work.size:
        counts = apportion(size, np.array(list(quotas.values()), np.float64))
        quotas = dict(zip(quotas, map(int, counts), strict=True))
    of = None if strata is None else strata.of
    ask = Ask(selector, size, work.order.seed, work.order.distinct, of, quotas)
    return selecting.select(work.weighers, work.proportions, ask)


def header(work: Work) -> dict[str, Any]:
    """The manifest's general part."""
    return {
        "kind": "select",
        "dataset": {"name": Path(work.raw.source.name).name or "raw", "parts": [], "counts": {}},
        "ranker": {"name": work.selector, "recipe": {}, "used": work.order.recipe()},
        "weights": "",
        "seed": work.order.seed,
        "command": work.order.command,
        "peak_memory_mb": manifest.peak_memory(),
        "versions": {**manifest.versions(), **installed(_VERSIONS)},
    }
