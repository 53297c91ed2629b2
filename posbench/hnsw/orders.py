"""The orders in which documents can be inserted into an index. Each is a permutation; the documents keep their indices.

``given`` is as they stand; ``random`` a seeded shuffle; ``lid-ascending`` and ``-descending`` by local intrinsic
dimension; ``category`` label by label; ``category-shuffled-blocks`` the category order cut into blocks of consecutive
documents, each shuffled within, as an import does that shuffles what its buffer holds; ``norm`` and
``norm-descending`` by length of the vector; ``near-first`` and ``far-first`` by distance to the mean vector; ``length``
and ``length-descending`` by length of the document; ``evidence-position`` and ``-descending`` by where documents hold
their evidence, those that hold none last, shuffled. Equal keys stand by index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posbench.errors import DataError, UsageError, unknown_name
from posbench.types import Float32, Float64, Int64

BLOCK = 8192
"""The most documents of a shuffled block; a tenth of all where that is less."""


@dataclass(frozen=True)
class Facts:
    """What orders go by, one entry a document; None where it is not known.

    ``docs`` float32[n, d]; ``lid`` float64[n], NaN where it is undefined, which stands last; ``labels`` int64[n], the
    category; ``lengths`` int64[n], of the document in any unit; ``positions`` float64[n], the mean relative position
    0..1 of the evidence in the document, NaN where it holds none.
    """

    docs: Float32
    lid: Float64 | None = None
    labels: Int64 | None = None
    lengths: Int64 | None = None
    positions: Float64 | None = None


def insertion_order(name: str, facts: Facts, seed: int = 0) -> Int64:
    """The index of the document that is inserted first, second, ...: int64[n], a permutation.

    Args:
        name: one of ``ORDERS``.
        facts: of the documents; ``needs(name)`` says which one must be known.
        seed: of orders that shuffle.

    Raises:
        RecipeError: no order has that name.
        UsageError: the fact that it goes by is not known.
        DataError: the fact is not of all documents.
    """
    needed = needs(name)
    if needed is not None:
        fact = getattr(facts, needed)
        if fact is None:
            raise UsageError(f"order {name!r} needs {_WHAT[needed]}; found none: choose another order or dataset")
        if len(fact) != len(facts.docs):
            raise DataError(f"{_WHAT[needed]} of {len(fact)} documents; expected {len(facts.docs)}")
    return np.asarray(_MAKERS[name][1](facts, np.random.default_rng(seed)), np.int64)


def needs(name: str) -> str | None:
    """The field of ``Facts`` that an order goes by, or None.

    Raises:
        RecipeError: no order has that name.
    """
    if name not in _MAKERS:
        raise unknown_name("insertion order", name, ORDERS, f"known are {', '.join(ORDERS)}")
    return _MAKERS[name][0]


def seeded(name: str) -> bool:
    """Whether the seed matters."""
    needs(name)
    return name in ("random", "category-shuffled-blocks", "evidence-position", "evidence-position-descending")


def read_order(path: Path, count: int) -> Int64:
    """A user's permutation of 0..count-1: ``.npy``, or text with one index a line.

    Raises:
        DataError: the file cannot be read or holds no such permutation.
    """
    try:
        loaded = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _numbers(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path}: not a readable order: {error}; expected .npy, or text with an index a line"
        ) from error
    if loaded.dtype.kind not in "iu" or loaded.ndim != 1:
        raise DataError(f"{path}: found {loaded.dtype} of shape {loaded.shape}; expected one row of integers")
    order = np.asarray(loaded, np.int64)
    if len(order) != count:
        raise DataError(f"{path}: found {len(order)} indices; expected {count}, one a document")
    wrong = order[(order < 0) | (order >= count)]
    if len(wrong):
        raise DataError(f"{path}: found index {wrong[0]}; expected 0..{count - 1}")
    times = np.bincount(order, minlength=count)
    if times.max(initial=1) > 1:
        twice = int(np.argmax(times))
        raise DataError(f"{path}: found index {twice} {times[twice]} times; expected each index once")
    return order


def _numbers(path: Path) -> NDArray[np.int64]:
    return np.array([int(word) for word in path.read_text(encoding="utf-8").split()], np.int64)


def _by(key: ArrayLike) -> Int64:
    """Ascending, equal keys by index, NaN last."""
    return np.argsort(key, kind="stable")


def _of(field: str) -> Callable[[Facts], NDArray[np.float64]]:
    return lambda facts: np.asarray(getattr(facts, field), np.float64)


def _norms(facts: Facts) -> Float64:
    return _distances(facts.docs, np.zeros(facts.docs.shape[1]))


def _from_mean(facts: Facts) -> Float64:
    return _distances(facts.docs, np.mean(facts.docs, axis=0, dtype=np.float64))


def _distances(docs: Float32, point: Float64) -> Float64:
    distances = np.empty(len(docs))
    step = max(1, (1 << 22) // docs.shape[1])
    for first in range(0, len(docs), step):
        moved = docs[first : first + step] - point
        distances[first : first + step] = np.vecdot(moved, moved)
    return distances


_Make = Callable[[Facts, np.random.Generator], Int64]


def _rising(key: Callable[[Facts], NDArray[np.float64]]) -> _Make:
    return lambda facts, rng: _by(key(facts))


def _falling(key: Callable[[Facts], NDArray[np.float64]]) -> _Make:
    return lambda facts, rng: _by(-key(facts))


def _given(facts: Facts, rng: np.random.Generator) -> Int64:
    return np.arange(len(facts.docs))


def _random(facts: Facts, rng: np.random.Generator) -> Int64:
    return rng.permutation(len(facts.docs))


def _category(facts: Facts, rng: np.random.Generator) -> Int64:
    return _by(np.asarray(facts.labels))


def _shuffled_blocks(facts: Facts, rng: np.random.Generator) -> Int64:
    order = _category(facts, rng)
    size = max(1, min(BLOCK, -(-len(order) // 10)))
    for first in range(0, len(order), size):
        rng.shuffle(order[first : first + size])
    return order


def _evidence(sign: int) -> _Make:
    def make(facts: Facts, rng: np.random.Generator) -> Int64:
        position = np.asarray(facts.positions)
        order = _by(sign * position)
        held = int(np.count_nonzero(~np.isnan(position)))
        rng.shuffle(order[held:])
        return order

    return make


_MAKERS: dict[str, tuple[str | None, _Make]] = {
    "given": (None, _given),
    "random": (None, _random),
    "lid-ascending": ("lid", _rising(_of("lid"))),
    "lid-descending": ("lid", _falling(_of("lid"))),
    "category": ("labels", _category),
    "category-shuffled-blocks": ("labels", _shuffled_blocks),
    "norm": ("docs", _rising(_norms)),
    "norm-descending": ("docs", _falling(_norms)),
    "near-first": ("docs", _rising(_from_mean)),
    "far-first": ("docs", _falling(_from_mean)),
    "length": ("lengths", _rising(_of("lengths"))),
    "length-descending": ("lengths", _falling(_of("lengths"))),
    "evidence-position": ("positions", _evidence(1)),
    "evidence-position-descending": ("positions", _evidence(-1)),
}
ORDERS = tuple(_MAKERS)
_WHAT = {
    "docs": "the vectors",
    "lid": "the local intrinsic dimension",
    "labels": "the categories",
    "lengths": "the lengths",
    "positions": "the evidence positions",
}
