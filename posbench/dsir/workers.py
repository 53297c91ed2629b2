"""Who featurises shards: this process, several of this machine, or a Ray cluster. What comes out is the same."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

from numpy.typing import NDArray

from posbench.errors import MissingPartError, PosbenchError, UsageError, missing_extra

Job = TypeVar("Job")
Setting = TypeVar("Setting")
Arrays = dict[str, NDArray[Any]]
Work = Callable[[Job, Setting], Arrays]


@dataclass(frozen=True)
class Crew:
    """``processes`` of this machine, or with ``ray`` the cluster of that address ("auto", "local", "ray://host:port").

    On a cluster the sources' paths must be the same on every machine.
    """

    processes: int = 1
    ray: str = ""

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise UsageError(f"{self.processes} processes; expected 1 or more")

    def run(
        self, work: Work[Job, Setting], setting: Setting, jobs: Iterable[tuple[str, Job | None, int]]
    ) -> Iterator[tuple[int, str, Arrays | None, int]]:
        """The jobs in their order, done: (number, key, arrays, size); arrays None where the job was None."""
        if self.ray:
            yield from _on_ray(self.ray, work, setting, jobs)
        elif self.processes > 1:
            yield from _in_processes(self.processes, work, setting, jobs)
        else:
            for number, (key, job, size) in enumerate(jobs):
                yield number, key, None if job is None else work(job, setting), size


ALONE = Crew()


def _in_processes(
    processes: int, work: Work[Job, Setting], setting: Setting, jobs: Iterable[tuple[str, Job | None, int]]
) -> Iterator[tuple[int, str, Arrays | None, int]]:
    # Spawned, not forked: a fork of a process that has threads may hang.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:

        def begin(job: Job) -> Future[Arrays]:
            return pool.submit(work, job, setting)

        def end(future: Future[Arrays]) -> Arrays:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise MissingPartError(
                    "a worker process was ended from outside (out of memory?); the same command goes on where this one "
                    "stopped: give fewer --workers"
                ) from error

        try:
            yield from _in_flight(2 * processes, begin, end, jobs)
        finally:
            pool.shutdown(cancel_futures=True)


def _on_ray(
    address: str, work: Work[Job, Setting], setting: Setting, jobs: Iterable[tuple[str, Job | None, int]]
) -> Iterator[tuple[int, str, Arrays | None, int]]:
    try:
        import ray
    except ImportError as error:
        raise missing_extra("--ray", "ray") from error
    own = not ray.is_initialized()
    if own:
        where = {} if address == "local" else {"address": address}
        try:
            ray.init(**where, log_to_driver=False, include_dashboard=False if address == "local" else None)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(f"--ray {address}: no cluster answers there: {error}; 'local' starts one here") from error
    remote = ray.remote(work)
    shared = ray.put(setting)

    def end(reference: Any) -> Arrays:
        try:
            arrays: Arrays = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, PosbenchError) else error from error
        return arrays

    try:
        slots = max(2, 2 * int(ray.cluster_resources().get("CPU", 1)))
        yield from _in_flight(slots, lambda job: remote.remote(job, shared), end, jobs)
    finally:
        if own:
            ray.shutdown()


def _in_flight(
    slots: int,
    begin: Callable[[Job], Any],
    end: Callable[[Any], Arrays],
    jobs: Iterable[tuple[str, Job | None, int]],
) -> Iterator[tuple[int, str, Arrays | None, int]]:
    """Keeps so many jobs begun, and no more in memory, and hands them on in their order."""
    waiting: deque[tuple[int, str, Any, int]] = deque()
    for number, (key, job, size) in enumerate(jobs):
        waiting.append((number, key, None if job is None else begin(job), size))
        while len(waiting) >= slots:
            yield _ended(waiting.popleft(), end)
    while waiting:
        yield _ended(waiting.popleft(), end)


def _ended(entry: tuple[int, str, Any, int], end: Callable[[Any], Arrays]) -> tuple[int, str, Arrays | None, int]:
    number, key, begun, size = entry
    return number, key, None if begun is None else end(begun), size
