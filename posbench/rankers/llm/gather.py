"""Calls on threads, results as they come."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def gather(call: Callable[[int], T], n: int, width: int, hurry: Callable[[], None]) -> Iterator[list[tuple[int, T]]]:
    """``call(0)`` to ``call(n - 1)``, ``width`` at one time: lists of (number, result) of those that came together.

    After a failure nothing new is begun. What runs is paid for and still comes in, ``hurry`` told to try nothing
    again; then the first failure is raised. Whoever stops reading stops the calls too.
    """
    todo, running = iter(range(n)), dict[Future[T], int]()
    failure: BaseException | None = None
    pool = ThreadPoolExecutor(width)
    try:
        while True:
            # As many again wait in the pool, so that no thread idles while results are read.
            wanted = 0 if failure else 2 * width - len(running)
            running |= {pool.submit(call, number): number for number in islice(todo, wanted)}
            if not running:
                break
            came, wrong = _finished(running)
            if wrong and failure is None:
                failure = wrong[0]
                hurry()
                for future in [future for future in running if future.cancel()]:
                    del running[future]
            if came:
                yield came
    finally:
        hurry()
        pool.shutdown(wait=False, cancel_futures=True)
    if failure is not None:
        raise failure


def _finished(running: dict[Future[T], int]) -> tuple[list[tuple[int, T]], list[BaseException]]:
    """Waits for one or more, takes them out of ``running``, and parts results from failures."""
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    came: list[tuple[int, T]] = []
    wrong: list[BaseException] = []
    for future in done:
        number, error = running.pop(future), future.exception()
        if error is None:
            came.append((number, future.result()))
        else:
            wrong.append(error)
    return came, wrong
