"""Calls on threads, results as they come."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
Came = SimpleQueue[tuple[int, Future[T]]]


def gather(
    call: Callable[[int], T], n: int, width: int, hurry: Callable[[], None], abandon: Callable[[], None]
) -> Iterator[list[tuple[int, T]]]:
    """``call(0)`` to ``call(n - 1)``, ``width`` at one time: lists of (number, result) of those that came together.

    After a failure nothing new is begun. What runs is paid for and still comes in, ``hurry`` told to try nothing
    again; then the first failure is raised. Whoever stops reading, or interrupts it, waits for nothing: ``abandon`` is
    told to end the calls that run, and no thread of theirs keeps Python from ending.
    """
    todo: SimpleQueue[int | None] = SimpleQueue()
    came: Came[T] = SimpleQueue()
    failure: BaseException | None = None
    running = n
    for number in range(n):
        todo.put(number)
    # Threads of a pool would not do: Python waits for those when it ends.
    for _ in range(min(n, width)):
        Thread(target=_work, args=(call, todo, came), daemon=True).start()
    try:
        while running:
            results, wrong = _finished(came)
            running -= len(results) + len(wrong)
            if wrong and failure is None:
                failure = wrong[0]
                hurry()
                running -= _emptied(todo)
            if results:
                yield results
    finally:
        _emptied(todo)
        for _ in range(width):
            todo.put(None)
        (abandon if running else hurry)()
    if failure is not None:
        raise failure


def _work(call: Callable[[int], T], todo: "SimpleQueue[int | None]", came: Came[T]) -> None:
    """Calls what is to be done until there is nothing more."""
    while (number := todo.get()) is not None:
        future: Future[T] = Future()
        try:
            future.set_result(call(number))
        except BaseException as error:
            future.set_exception(error)
        came.put((number, future))


def _finished(came: Came[T]) -> tuple[list[tuple[int, T]], list[BaseException]]:
    """Waits for one or more, and parts results from failures."""
    done = [came.get()]
    while not came.empty():
        done.append(came.get())
    results: list[tuple[int, T]] = []
    wrong: list[BaseException] = []
    for number, future in done:
        error = future.exception()
        if error is None:
            results.append((number, future.result()))
        else:
            wrong.append(error)
    return results, wrong


def _emptied(todo: "SimpleQueue[int | None]") -> int:
    """How many waited; now none do."""
    count = 0
    try:
        while True:
            todo.get_nowait()
            count += 1
    except Empty:
        return count
