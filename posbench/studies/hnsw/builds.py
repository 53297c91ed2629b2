"""One build of a grid and what it finds; many of them in parallel processes, each in one thread, so that it repeats."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import msgspec
import numpy as np

from posbench.errors import UsageError
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
    """Builds and searches; or reads what was found before, as memory maps: each holds a file open.

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
    asked = np.linspace(0, len(docs) - 1, min(task.probe, len(docs))).astype(np.int64)
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


def run(
    tasks: Iterator[Task], count: int, jobs: int = 0, *, again: bool = False, progress: Progress = no_progress
) -> None:
    """Puts the outcomes of tasks into the cache, where ``outcome`` finds them; so an interrupted run goes on.

    Args:
        tasks: made when there is a process free for them.
        count: how many there are.
        jobs: processes; 0 is one a core, 1 is this one.
        again: drops what was cached before.
        progress: advances by builds.

    Raises:
        UsageError: a process was killed.
    """
    advance = progress("building and searching", count)
    left = _not_cached(tasks, again, advance)
    jobs = min(jobs or os.cpu_count() or 1, count)
    if jobs <= 1:
        for task in left:
            outcome(task)
            advance(1)
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    waiting: set[Future[None]] = set()
    try:
        for task in left:
            with _deaf():
                waiting.add(pool.submit(_done, task))
            while len(waiting) >= _AHEAD * jobs:
                waiting = _finished(waiting, advance)
        while waiting:
            waiting = _finished(waiting, advance)
    except BaseException:
        for child in set(active_children()) - others:  # builds may take long, and nobody waits for them any more
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _not_cached(tasks: Iterator[Task], again: bool, advance: Callable[[int], None]) -> Iterator[Task]:
    for task in tasks:
        cache = Cache(task.place.cache)
        if again:
            cache.drop(_KIND, [task.key])
        if cache.folder(_KIND, task.key).is_dir():
            advance(1)
        else:
            yield task


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start in here ignore SIGINT from their first moment, so that only this one speaks of it."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def _done(task: Task) -> None:
    """In another process: the outcome stays in the cache."""
    outcome(task)


def _finished(waiting: set[Future[None]], advance: Callable[[int], None]) -> set[Future[None]]:
    """Waits for one at the least; what is left."""
    finished, left = wait(waiting, return_when=FIRST_COMPLETED)
    for future in finished:
        try:
            future.result()
        except BrokenProcessPool as error:
            raise UsageError(
                "a process that builds an index was killed, perhaps for want of memory; expected it to end by itself: "
                "run again with --jobs 1, what is finished is kept"
            ) from error
        advance(1)
    return left
