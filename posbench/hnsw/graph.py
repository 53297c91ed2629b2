"""What an HNSW graph is to the rest of posbench, whichever library built it: how it is built and what it finds."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np

from posbench.errors import DataError, UsageError
from posbench.store import read_json
from posbench.types import Float32, Int32, Int64

Library = Literal["hnswlib", "faiss", "faiss-once", "cagra"]
"""What builds: hnswlib; faiss one row at a time, so that the caller's order counts; faiss in one ``add()`` of all rows,
which sorts them by level and shuffles (the control); CAGRA on a GPU, searched as HNSW on the CPU."""
Metric = Literal["l2", "ip"]

M = (2, 10_000)  # links of a node; 1 makes the levels infinite, and hnswlib takes no more than 10,000
_ROWS = 4096  # rows checked at a time
_ABOUT = "about.json"


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a graph depends on besides its vectors and their order.

    ``m``: links of a node on each level above the lowest, which has 2 m (CAGRA has no other level: its degree is 2 m).
    ``ef_construction``: candidates that an insertion looks at; hnswlib raises it to m, CAGRA uses it for the upper
    levels only. ``seed``: of the levels, which are drawn by place in the order of insertion, not by vector.
    """

    library: Library
    m: int = 16
    ef_construction: int = 200
    seed: int = 0
    metric: Metric = "l2"

    def __post_init__(self) -> None:
        if not M[0] <= self.m <= M[1]:
            raise ValueError(f"m {self.m}; expected {M[0]} to {M[1]:,}")
        if self.ef_construction < 1:
            raise ValueError(f"ef_construction {self.ef_construction}; expected 1 or more")
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"seed {self.seed}; expected a whole number from 0 to 2^31 - 1")


@dataclass(frozen=True)
class Found:
    """What a search found.

    ``docs`` int32[Q, k]: document indices whatever the order of insertion, nearest first, -1 padding. ``computations``:
    mean distance computations a query, NaN where the library does not say. ``seconds``: of the search, in one thread.
    """

    docs: Int32
    computations: float
    seconds: float


class Graph(Protocol):
    """A built graph."""

    @property
    def how(self) -> Build:
        """How it was built."""
        ...

    @property
    def bytes(self) -> int:
        """Of the index as it is saved, vectors included."""
        ...

    @property
    def seconds(self) -> float:
        """Of the build."""
        ...

    def search(self, queries: Float32, k: int, ef: int) -> Found:
        """The k nearest documents of float32[Q, d] that a search with a list of ``ef`` candidates finds.

        One thread. There are at most ``ef`` results, and no more than the graph can reach: the rest is -1. (The
        libraries raise ef to k unasked, which would hide a small ef; a database such as pgvector does not.)

        Raises:
            DataError: a query is not finite or of another width.
            UsageError: k or ef is below 1.
        """
        ...

    def save(self, path: Path) -> None:
        """Writes the graph to a new folder, which ``load`` reads."""
        ...


def check_vectors(vectors: Float32) -> Float32:
    """Vectors float32[n, d] in C order that an index can hold.

    Raises:
        DataError: they are not two-dimensional, there is none, or a value is not finite.
    """
    if vectors.ndim != 2 or not all(vectors.shape):
        raise DataError(f"an index needs vectors [n, d], n and d at least 1; found shape {vectors.shape}")
    _refuse_infinite(vectors, "vector")
    return np.ascontiguousarray(vectors, np.float32)


def check_order(order: Int64 | None, n: int) -> Int64:
    """The order of insertion int64[n]; None is the order given.

    Raises:
        DataError: it is no permutation of 0..n-1.
    """
    if order is None:
        return np.arange(n, dtype=np.int64)
    found = np.asarray(order)
    if found.shape != (n,) or not np.issubdtype(found.dtype, np.integer):
        raise DataError(f"an order of {n} documents is {n} whole numbers; found {found.dtype}{list(found.shape)}")
    if not np.array_equal(np.sort(found), np.arange(n)):
        raise DataError(f"an order names each of the documents 0..{n - 1} once; this one repeats or lacks some")
    return found.astype(np.int64)


def check_search(queries: Float32, width: int, k: int, ef: int) -> Float32:
    """Queries float32[Q, d] in C order that a graph can be asked; the errors are those of ``Graph.search``."""
    if k < 1 or ef < 1:
        raise UsageError(f"a search for k {k} with ef {ef}; expected 1 or more of both")
    if queries.ndim != 2 or queries.shape[1] != width:
        raise DataError(
            f"queries of shape {queries.shape} for an index of vectors of width {width}; expected one width"
        )
    _refuse_infinite(queries, "query")
    return np.ascontiguousarray(queries, np.float32)


def write_about(path: Path, how: Build, width: int, seconds: float) -> None:
    """Writes into a graph's folder what ``read_about`` reads."""
    about = {"how": msgspec.to_builtins(how), "width": width, "seconds": seconds}
    (path / _ABOUT).write_text(json.dumps(about, sort_keys=True) + "\n", encoding="utf-8")


def read_about(path: Path, how: Build) -> tuple[int, float]:
    """The width of a saved graph's vectors and the seconds of its build.

    Raises:
        DataError: there is no graph, or it was built in another way than ``how``.
    """
    about = read_json(path / _ABOUT)
    wanted = msgspec.to_builtins(how)
    if not isinstance(about, dict) or about.get("how") != wanted:
        found = about.get("how") if isinstance(about, dict) else about
        raise DataError(f"{path} holds an index built with {found}; expected {wanted}")
    return int(about["width"]), float(about["seconds"])


def padded(docs: Int32, k: int) -> Int32:
    """Results int32[Q, w] widened to k columns by -1."""
    return np.pad(docs, ((0, 0), (0, k - docs.shape[1])), constant_values=-1)


def blocks(n: int, rows: int) -> Iterator[slice]:
    """The slices of ``rows`` that n rows fall into."""
    return (slice(first, min(first + rows, n)) for first in range(0, n, rows))


def _refuse_infinite(vectors: Float32, what: str) -> None:
    for part in blocks(len(vectors), _ROWS):
        wrong = ~np.isfinite(vectors[part]).all(axis=1)
        if wrong.any():
            raise DataError(
                f"{what} {part.start + int(wrong.argmax())} holds NaN or infinity; an index needs finite numbers"
            )
