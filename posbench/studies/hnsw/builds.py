"""One build of a grid and what it finds; many of them in parallel processes, each in one thread, so that it repeats."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posbench.hnsw import graphs
from posbench.hnsw.exact import Neighbours, pair_distances, recall
from posbench.hnsw.graphs import Build
from posbench.recipe import digest
from posbench.store import Cache
from posbench.types import Float32, Int64, Progress, no_progress

_KIND, _VECTORS = "builds", "vectors"
_AHEAD = 2  # builds that wait for each process, so that orders in memory are few


@dataclass(frozen=True)
class Place:
    """A set of vectors in the cache, with the exact neighbours of its queries: what every process maps."""

    cache: Path
    key: str

    def load(self) -> tuple[Float32, Float32, Neighbours]:
        """Documents, queries and neighbours."""
        found = Cache(self.cache).load(_VECTORS, self.key) or {}
        exact = Neighbours(*(np.asarray(found[name]) for name in ("near", "distances", "beyond")))
        return np.asarray(found["docs"]), np.asarray(found["queries"]), exact


@dataclass(frozen=True)
class Task:
    """One build: vectors, the order of insertion, how, the efs to search with, and how many documents to probe."""

    place: Place
    order: Int64
    how: Build
    efs: tuple[int, ...]
    k: int
    probe: int

    @property
    def key(self) -> str:
        """All that the outcome depends on."""
        order = blake2b(np.ascontiguousarray(self.order).tobytes(), digest_size=16).hexdigest()
        how = [msgspec.to_builtins(self.how), graphs.versions(self.how)]
        return digest([self.place.key, order, how, self.efs, self.k, self.probe])


def share(cache: Path, docs: Float32, queries: Float32, exact: Neighbours, fingerprint: str) -> Place:
    """Puts a set where all processes can map it."""
    place = Place(cache, digest([fingerprint, exact.docs.shape[1]]))
    if not Cache(cache).folder(_VECTORS, place.key).is_dir():
        arrays = {"docs": docs, "queries": queries, "near": exact.docs}
        Cache(cache).save(_VECTORS, place.key, {**arrays, "distances": exact.distances, "beyond": exact.beyond})
    return place


def outcome(task: Task) -> Mapping[str, Any]:
    """Builds and searches; or reads what was found before.

    Returns:
        ``docs`` int32[E, Q, k] found with each ef; ``recall`` float64[E, Q]; ``computations`` float64[E], distance
        computations a query (NaN where the library does not say); ``seconds`` float64[E] of all queries, in one thread;
        ``build`` float64[4]: seconds, bytes, how many documents were asked for by their own vector, and how many of
        them were missed.
    """
    cache = Cache(task.place.cache)
    stored = cache.load(_KIND, task.key)
    if stored is None:
        cache.save(_KIND, task.key, _compute(task))
        stored = cache.load(_KIND, task.key) or {}
    return stored


def _compute(task: Task) -> dict[str, Any]:
    docs, queries, exact = task.place.load()
    graph = graphs.build(docs, task.order, task.how)
    found = [graph.search(queries, task.k, ef) for ef in task.efs]
    near = np.stack([one.docs for one in found])
    asked = np.linspace(0, len(docs) - 1, min(task.probe, len(docs))).astype(
        np.int64
    )  # evenly: documents have no order
    missed = 0
    if len(asked):
        own = asked[:, None].astype(np.int32)
        answer = graph.search(docs[asked], 1, task.efs[-1]).docs
        far = [pair_distances(docs[asked], docs, one, task.how.metric)[:, 0] for one in (answer, own)]
        missed = int(np.count_nonzero(far[0] > far[1]))
    return {
        "docs": near,
        "recall": np.stack([recall(one, exact, queries, docs, task.how.metric)[0] for one in near]),
        "computations": np.array([one.computations for one in found]),
        "seconds": np.array([one.seconds for one in found]),
        "build": np.array([graph.seconds, graph.bytes, len(asked), missed], np.float64),
    }


def run(tasks: Iterator[Task], count: int, jobs: int = 0, progress: Progress = no_progress) -> list[Mapping[str, Any]]:
    """The outcomes of tasks, in their order; what is done is cached, so that an interrupted run goes on.

    Args:
        tasks: made when there is a process free for them.
        count: how many there are.
        jobs: processes; 0 is one a core, 1 is this one.
        progress: advances by builds.
    """
    advance = progress("building and searching", count)
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1:
        found = []
        for task in tasks:
            found.append(outcome(task))
            advance(1)
        return found
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    results: dict[int, Mapping[str, Any]] = {}
    waiting: dict[Future[None], tuple[int, Task]] = {}
    try:
        for number, task in enumerate(tasks):
            if Cache(task.place.cache).folder(_KIND, task.key).is_dir():
                results[number] = outcome(task)
                advance(1)
                continue
            waiting[pool.submit(_done, task)] = number, task
            while len(waiting) >= _AHEAD * jobs:
                _collect(waiting, results, advance)
        while waiting:
            _collect(waiting, results, advance)
    finally:
        pool.shutdown(cancel_futures=True)
    return [results[number] for number in range(len(results))]


def _done(task: Task) -> None:
    """In another process: the outcome stays in the cache, from which this one maps it."""
    outcome(task)


def _collect(
    waiting: dict[Future[None], tuple[int, Task]], results: dict[int, Mapping[str, Any]], advance: Callable[[int], None]
) -> None:
    """Takes the outcomes of what is finished, one at the least."""
    finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        number, task = waiting.pop(future)
        future.result()
        results[number] = outcome(task)
        advance(1)
