"""A set of vectors to index and to ask: its checks, its hash, and readers of .npy, .fvecs and ann-benchmarks .hdf5."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench.errors import DataError, UsageError, missing_extra
from posbench.hnsw.graph import Metric
from posbench.types import Float32, Int64

_UNIT = 1e-3  # how far from 1 a length may be for a vector to count as one of length 1
_ROWS = 8192  # vectors measured at a time
_DISTANCES = ("euclidean", "angular")  # the attribute of an ann-benchmarks file


@dataclass(frozen=True)
class VectorSet:
    """Vectors of documents and of queries, of one width.

    ``docs`` float32[n, d], ``queries`` float32[q, d] (q may be 0), ``labels`` int64[n] or None, the category of each
    document. ``source`` says where they come from and what was done to them; it is JSON-serialisable.
    """

    name: str
    docs: Float32
    queries: Float32
    metric: Metric = "l2"
    labels: Int64 | None = None
    source: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> "VectorSet":
        """The set itself.

        Raises:
            DataError: no document, widths that differ, a number that is not finite, or labels of another number.
        """
        check_vectors(self.docs, f"{self.name}: documents")
        if not len(self.docs):
            raise DataError(f"{self.name}: found no document; expected one or more")
        check_vectors(self.queries, f"{self.name}: queries")
        if self.queries.shape[1] != self.docs.shape[1]:
            widths = f"queries of width {self.queries.shape[1]} and documents of width {self.docs.shape[1]}"
            raise DataError(f"{self.name}: found {widths}; expected one width")
        if self.labels is not None and self.labels.shape != (len(self.docs),):
            raise DataError(f"{self.name}: found labels of shape {self.labels.shape}; expected {(len(self.docs),)}")
        return self

    def hold_out(self, queries: int, seed: int) -> "VectorSet":
        """The same vectors with so many randomly chosen documents taken out of the documents to be the queries.

        Raises:
            UsageError: that leaves no document.
        """
        if not 0 < queries < len(self.docs):
            raise UsageError(
                f"{queries} queries to hold out of {len(self.docs)} vectors; expected 1 or more, and fewer"
            )
        chosen = np.sort(np.random.default_rng(seed).choice(len(self.docs), queries, replace=False))
        rest = np.delete(np.arange(len(self.docs)), chosen)
        return replace(
            self,
            docs=self.docs[rest],
            queries=self.docs[chosen],
            labels=None if self.labels is None else self.labels[rest],
            source={**self.source, "held_out": queries, "held_out_seed": seed},
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all content (not of the name): 32 hexadecimal digits."""
        digest = blake2b(self.metric.encode(), digest_size=16)
        arrays: list[NDArray[Any]] = [self.docs, self.queries]
        arrays += [] if self.labels is None else [self.labels]
        for array in arrays:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def check_vectors(vectors: Float32, what: str) -> None:
    """Refuses what is no table of finite numbers; ``what`` begins the message.

    Raises:
        DataError: not two dimensions, no column, or a number that is not finite.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise DataError(f"{what}: found shape {vectors.shape}; expected two dimensions, a row a vector")
    step = max(1, (1 << 24) // vectors.shape[1])  # no mask of the whole beside it
    for first in range(0, len(vectors), step):
        wrong = np.flatnonzero(~np.isfinite(vectors[first : first + step]).all(axis=1))
        if len(wrong):
            raise DataError(f"{what}: row {first + wrong[0]} holds a number that is not finite; expected none")


def metric_of(vectors: Float32) -> Metric:
    """How an index should compare a model's vectors, which rank by inner product: "l2" where all have length 1.

    The two then give one order, and the inner product is no metric.
    """
    blocks = (vectors[first : first + _ROWS] for first in range(0, len(vectors), _ROWS))
    unit = all(bool((np.abs(np.linalg.norm(block, axis=1) - 1) < _UNIT).all()) for block in blocks)
    return "l2" if unit else "ip"


def normalised(vectors: Float32, what: str) -> Float32:
    """The vectors at unit length: float32[n, d].

    Raises:
        DataError: a zero vector, which has no direction.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not lengths.all():
        zero = np.flatnonzero(lengths == 0)
        raise DataError(
            f"{what}: row {zero[0]} is a zero vector, of {len(zero)} such; expected none under an angular distance: "
            "leave them out"
        )
    return np.asarray(vectors / lengths[:, None], np.float32)


def read_vectors(
    path: Path, queries: Path | None = None, *, labels: Path | None = None, metric: Metric = "l2"
) -> VectorSet:
    """Vectors from files.

    Args:
        path: documents: ``.npy`` (two dimensions), ``.fvecs``, or ``.hdf5`` as ann-benchmarks writes it, with the
            documents as ``train``, the queries as ``test`` and the attribute ``distance``. Angular files are
            normalised to unit length, under which Euclidean distance and cosine give one order.
        queries: a file of the same kinds, of which ``.hdf5`` gives ``test``; None is the queries of an ``.hdf5``, else
            no query (see ``VectorSet.hold_out``).
        labels: ``.npy`` of integers, the category of each document.
        metric: of ``.npy`` and ``.fvecs``; an ``.hdf5`` says its own.

    Raises:
        DataError: a file cannot be read, or is not of its form; the message names it.
        MissingPartError: h5py is not installed.
    """
    docs, own = _read(path, "train")
    source: dict[str, Any] = {"path": str(path), **own}
    name = path.stem
    if "distance" in own:
        metric = "l2"
        queries = queries or path
    asked: Float32 = np.empty((0, docs.shape[1]), np.float32)
    if queries is not None:
        asked, _ = _read(queries, "test")
        source["queries"] = str(queries)
    if own.get("distance") == "angular":
        docs, asked = normalised(docs, f"{path}: documents"), normalised(asked, f"{queries}: queries")
        source["normalised"] = True
    return VectorSet(name, docs, asked, metric, None if labels is None else _labels(labels), source).check()


def _read(path: Path, part: str) -> tuple[Float32, dict[str, Any]]:
    """The vectors of a file, checked, and what it says of itself."""
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: found a file of kind {path.suffix or 'none'!r}; expected {', '.join(_READERS)}")
    if not path.is_file():
        raise DataError(f"{path}: found no such file; expected vectors as {', '.join(_READERS)}")
    try:
        vectors, own = reader(path, part)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable {path.suffix} file: {error}") from error
    if vectors.dtype.kind not in "fiu":
        raise DataError(f"{path}: found values of type {vectors.dtype}; expected real numbers")
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite and is refused
        single = np.ascontiguousarray(vectors, np.float32)
    check_vectors(single, str(path))
    return single, own


def _npy(path: Path, part: str) -> tuple[NDArray[Any], dict[str, Any]]:
    return np.load(path, allow_pickle=False, mmap_mode="r"), {}


def _fvecs(path: Path, part: str) -> tuple[NDArray[Any], dict[str, Any]]:
    """Each vector is its width, an int32, and as many float32, all little-endian."""
    words = np.fromfile(path, "<i4")
    width = int(words[0]) if len(words) else 0
    if width <= 0 or path.stat().st_size % (4 * (width + 1)):
        size = path.stat().st_size
        raise DataError(f"{path}: found {size:,} bytes and a first width of {width}; expected rows of 4 + 4 x width")
    rows = words.reshape(-1, width + 1)
    odd = np.flatnonzero(rows[:, 0] != width)
    if len(odd):
        raise DataError(f"{path}: row {odd[0]} says width {rows[odd[0], 0]}; expected {width}, as row 0 has")
    return rows[:, 1:].view("<f4"), {}


def _hdf5(path: Path, part: str) -> tuple[NDArray[Any], dict[str, Any]]:
    try:
        import h5py
    except ImportError as error:
        raise missing_extra(f"reading {path}", "hnsw") from error
    with h5py.File(path, "r") as file:
        distance = file.attrs.get("distance")
        distance = distance.decode() if isinstance(distance, bytes) else distance
        if distance not in _DISTANCES:
            raise DataError(f"{path}: found the distance {distance!r}; expected {' or '.join(_DISTANCES)}")
        if not isinstance(file.get(part), h5py.Dataset):
            raise DataError(f"{path}: found no {part!r} among {', '.join(sorted(file)) or 'nothing'}")
        return np.asarray(file[part]), {"distance": distance}


_READERS: dict[str, Callable[[Path, str], tuple[NDArray[Any], dict[str, Any]]]] = {
    ".npy": _npy,
    ".fvecs": _fvecs,
    ".hdf5": _hdf5,
    ".h5": _hdf5,
}


def _labels(path: Path) -> Int64:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy file of labels: {error}") from error
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise DataError(f"{path}: found labels of {found.dtype}, shape {found.shape}; expected one row of integers")
    return np.asarray(found, np.int64)
