"""The study from a grid to a stored result: vectors, exact search, builds, rows, and what they say."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import manifest
from posbench.errors import UsageError
from posbench.experiment import Outcome, Settings
from posbench.hnsw import graphs
from posbench.recipe import digest
from posbench.store import Result, Results, sha256_of
from posbench.studies.hnsw import builds, effects, table
from posbench.studies.hnsw.advice import advice
from posbench.studies.hnsw.builds import Task
from posbench.studies.hnsw.grid import FILE, Built, Grid, built, check, orders_of
from posbench.studies.hnsw.subjects import (
    Known,
    Subject,
    check_depth,
    check_orders,
    insertion,
    measure,
    subjects,
)
from posbench.studies.hnsw.summary import summary
from posbench.types import Progress, Report, no_progress

RANKER = "hnsw"
TARGET = 0.95


@dataclass
class _Work:
    """A study on its way."""

    name: str
    grid: Grid
    settings: Settings
    jobs: int
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    """A subject and the orders it is built in."""

    subject: Subject
    orders: tuple[str, ...]

    @property
    def fingerprint(self) -> list[Any]:
        """What identifies it: vectors, judgements where there are texts, and a user's orders."""
        files = [order for order in self.orders if order.startswith(FILE)]
        content = [sha256_of(Path(order.removeprefix(FILE))) for order in files]
        return [self.subject.name, self.subject.vectors.fingerprint, self._collection, content]

    @property
    def _collection(self) -> str:
        return "" if self.subject.collection is None else self.subject.collection.fingerprint


@dataclass(frozen=True)
class _Set(_Asked):
    """A subject with all that is known of it before it is indexed."""

    known: Known


def run(
    name: str,
    grid: Grid,
    settings: Settings | None = None,
    *,
    jobs: int = 0,
    target: float = TARGET,
    progress: Progress = no_progress,
) -> Outcome:
    """Runs a grid, or reads the finished result.

    Args:
        name: of the grid, under which the result is stored.
        grid: what to build and search.
        settings: how to run; measures and depth do not matter. ``seed`` is the first of all seeds.
        jobs: processes; 0 is one a core. They share memory and its bandwidth, so times are those of a busy machine.
        target: the mean recall that the advice is for.
        progress: shows long steps.

    Raises:
        UsageError: the grid asks for what a set lacks; an order needs categories, say.
        MissingPartError: a library is not installed.
    """
    work = _Work(name, check(grid), settings or Settings(), jobs, progress)
    for one in built(grid):
        graphs.require(one.library)
    start = time.perf_counter()
    asked = list(_asked(work))
    work.seconds["load"] = time.perf_counter() - start
    prints = [one.fingerprint for one in asked]
    fingerprint = digest(["hnsw", msgspec.to_builtins(grid), prints, _versions(grid), work.settings.seed])
    results = Results(work.settings.out)
    result = None if work.settings.again else results.find(name, RANKER, fingerprint)
    fresh = result is None
    if result is None:
        result = results.write(name, RANKER, fingerprint, _compute(work, asked), None)
    report = result.report()
    return Outcome(result, report, told(result, report, work.settings.seed, target), fresh)


def told(result: Result, report: Report, seed: int, target: float = TARGET) -> Mapping[str, Any]:
    """The summary of a stored study, with its advice."""
    found = summary(report, seed)
    header = result.manifest
    k = int(header["grid"]["k"])
    for one in found["sets"]:
        one["advice"] = advice(one, target, k)
    about = {"grid": header["dataset"]["name"], "description": header["grid"]["description"], "k": k, "target": target}
    about["selection"] = header["dataset"].get("selection")
    rest = {name: header[name] for name in ("not_repeatable", "library_versions", "seconds", "weights")}
    return {**about, **found, **rest, "seed": seed, "result": str(result.folder)}


def _asked(work: _Work) -> Iterator[_Asked]:
    """The sets of the grid, refused where they have not what is asked of them, before anything is measured."""
    seen = set()
    for entry in work.grid.vectors:
        for subject in subjects(entry, work.grid, work.settings, work.progress):
            key = subject.name, subject.data_seed
            if key in seen:
                raise UsageError(f"two [[vectors]] are named {key[0]!r}; expected a name of its own for each")
            seen.add(key)
            check_depth(subject, work.grid.k)
            check_orders(subject, orders_of(work.grid, entry))
            yield _Asked(subject, orders_of(work.grid, entry))


def _versions(grid: Grid) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in built(grid):
        found |= graphs.versions(one.seeded(0, "l2"))
    return found


@dataclass(frozen=True)
class _Cell:
    """A build to do."""

    which: _Set
    order: str
    seed: int
    task: Task


def _cells(work: _Work, sets: Sequence[_Set]) -> Iterator[_Cell]:
    """All builds, set by set, so that the processes work on the same vectors."""
    grid, seeds = work.grid, range(work.settings.seed, work.settings.seed + work.grid.level_seeds)
    for one in sets:
        vectors = one.subject.vectors
        place = builds.share(work.settings.cache, vectors.docs, vectors.queries, one.known.exact, vectors.fingerprint)
        for how in built(grid):
            for order in one.orders:
                for seed in seeds:
                    permutation = insertion(one.known, order, seed)
                    build = how.seeded(seed, vectors.metric)
                    task = Task(place, permutation, build, how.ef_search, grid.k, grid.probe)
                    yield _Cell(one, order, seed, task)


def _compute(work: _Work, asked: Sequence[_Asked]) -> Report:
    grid = work.grid
    start = time.perf_counter()
    measured = (measure(one.subject, grid, work.settings, work.progress) for one in asked)
    sets = [_Set(one.subject, one.orders, known) for one, known in zip(asked, measured, strict=True)]
    work.seconds["exact search and dimension"] = time.perf_counter() - start
    start = time.perf_counter()
    count = sum(len(one.orders) for one in sets) * len(built(grid)) * grid.level_seeds
    tasks = (cell.task for cell in _cells(work, sets))
    builds.run(tasks, count, work.jobs, again=work.settings.again, progress=work.progress)
    work.seconds["build and search"] = time.perf_counter() - start
    start = time.perf_counter()
    rows = [
        table.rows(one.which.subject, one.which.known, one.task, one.order, one.seed, builds.outcome(one.task))
        for one in _cells(work, sets)
    ]
    queries = pa.concat_tables(rows, promote_options="default").unify_dictionaries()
    work.seconds["tabulate"] = time.perf_counter() - start
    return Report(_header(work, sets), table.measures(grid.k), queries)


def _header(work: _Work, sets: Sequence[_Set]) -> dict[str, Any]:
    grid = work.grid
    reasons = {graphs.not_repeatable(one.seeded(0, "l2"), 1) for one in built(grid)} - {""}
    collections = {s.subject.collection.name: s.subject.collection for s in sets if s.subject.collection is not None}
    return {
        "kind": "hnsw",
        "dataset": manifest.dataset(work.name, list(collections.values())),
        "ranker": {"name": RANKER, "recipe": {}, "used": _versions(grid)},
        "weights": "; ".join(dict.fromkeys(one.subject.weights for one in sets if one.subject.weights)),
        "measures": list(table.measures(grid.k)),
        "grid": msgspec.to_builtins(grid),
        "indexes": [_about_index(one) for one in built(grid)],
        "sets": _about_sets(sets),
        "not_repeatable": sorted(reasons),
        "library_versions": _versions(grid),
        "seed": work.settings.seed,
        "command": work.settings.command,
        "seconds": {key: round(value, 3) for key, value in work.seconds.items()},
        "peak_memory_mb": manifest.peak_memory(),
        "versions": {**manifest.versions(), **_versions(grid)},
    }


def _about_index(how: Built) -> dict[str, Any]:
    return {**msgspec.to_builtins(how), "versions": graphs.versions(how.seeded(0, "l2"))}


def _about_sets(sets: Sequence[_Set]) -> list[dict[str, Any]]:
    """The facts of each kind of vectors; sets of one kind as one, dimensions averaged over them."""
    kinds: dict[str, list[_Set]] = {}
    for one in sets:
        kinds.setdefault(one.subject.name, []).append(one)
    return [
        {
            "vectors": name,
            "ranker": mine[0].subject.ranker,
            "dataset": mine[0].subject.dataset,
            "null": mine[0].subject.null,
            "weights": mine[0].subject.weights,
            "metric": mine[0].subject.vectors.metric,
            "documents": len(mine[0].subject.vectors.docs),
            "queries": len(mine[0].subject.vectors.queries),
            "width": int(mine[0].subject.vectors.docs.shape[1]),
            "data_seeds": [one.subject.data_seed for one in mine],
            "fingerprints": [one.subject.vectors.fingerprint for one in mine],
            "source": dict(mine[0].subject.vectors.source),
            "dimension": {way: _dimension(mine, way) for way in mine[0].known.whole},
            "lid": _quantiles(np.concatenate([one.known.lid for one in mine])),
            "ties": int(sum((one.known.exact.distances[:, -1] == one.known.exact.beyond).sum() for one in mine)),
        }
        for name, mine in kinds.items()
    ]


def _dimension(sets: Sequence[_Set], way: str) -> dict[str, float | None]:
    """The dimension of one set, or the mean of several, with its interval; None where it is undefined."""
    each = [one.known.whole[way] for one in sets]
    found: Any = each[0] if len(each) == 1 else effects.of_sets(np.array([one.value for one in each]))
    figures = {name: float(getattr(found, name)) for name in ("value", "low", "high")}
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _quantiles(values: Any) -> dict[str, float | None]:
    defined = values[~np.isnan(values)]
    parts = {"p5": 0.05, "median": 0.5, "p95": 0.95}
    return {name: float(np.quantile(defined, part)) if len(defined) else None for name, part in parts.items()}
