"""Graphs by faiss: row by row, which keeps the caller's order; all at once, which shuffles; and CAGRA's, from a GPU.

``IndexHNSW.add`` of several rows sorts them by level and shuffles within a level, so the order of insertion only counts
where rows are added one at a time. That is also why row by row is repeatable with any number of threads.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from posbench.errors import MissingPartError, UsageError, missing_extra
from posbench.hnsw.graph import Build, Found, blocks, check_search, padded, write_about
from posbench.types import Float32, Int64, Progress

_ROWS = 256  # inserted between two steps of the progress bar
_FILES = "graph.bin", "order.npy"
_BUFFER = 1 << 20  # bytes of an index that are counted at a time


def available() -> bool:
    """Whether faiss is installed."""
    return find_spec("faiss") is not None


def gpu_available() -> bool:
    """Whether faiss is installed with CAGRA and sees a GPU."""
    return available() and _has_cagra(_faiss())


def require(library: str) -> None:
    """Raises MissingPartError where faiss, or what "cagra" needs of it, is not here."""
    faiss = _faiss()
    if library == "cagra" and not _has_cagra(faiss):
        raise MissingPartError(
            "library cagra needs a GPU and a faiss that has GpuIndexCagra: pip install 'posbench[faiss-gpu]'; "
            "without one choose library hnswlib or faiss"
        )


@dataclass(frozen=True)
class FaissGraph:
    """A graph of faiss's. ``order`` int64[n]: the document that stands at each of its places."""

    how: Build
    bytes: int
    seconds: float
    index: Any
    order: Int64

    def search(self, queries: Float32, k: int, ef: int) -> Found:
        """As ``Graph.search``; distances are counted in a global of faiss's: one Python thread at a time."""
        faiss = _faiss()
        asked = check_search(queries, self.index.d, k, ef)
        with _threads(faiss, 1):
            faiss.cvar.hnsw_stats.reset()
            start = time.perf_counter()
            places = self.index.search(
                asked, min(k, ef, self.index.ntotal), params=faiss.SearchParametersHNSW(efSearch=ef)
            )[1]
            seconds = time.perf_counter() - start
            computations = faiss.cvar.hnsw_stats.ndis / len(asked) if len(asked) else float("nan")
        docs = np.asarray(np.where(places < 0, -1, self.order[places]), np.int32)
        return Found(padded(docs, k), computations, seconds)

    def save(self, path: Path) -> None:
        """Writes the graph to a new folder."""
        path.mkdir()
        _faiss().write_index(self.index, str(path / _FILES[0]))
        np.save(path / _FILES[1], self.order, allow_pickle=False)
        write_about(path, self.how, self.index.d, self.seconds)


def build(vectors: Float32, order: Int64, how: Build, threads: int, progress: Progress) -> FaissGraph:
    """Inserts the rows as ``how.library`` says: one at a time, all at once, or by CAGRA."""
    faiss = _faiss()
    advance = progress(f"building with {how.library}", len(vectors))
    start = time.perf_counter()
    if how.library == "cagra":
        index = _cagra(faiss, vectors[order], how)
        advance(len(order))
    elif how.library == "faiss-once":
        index = _empty(faiss, vectors.shape[1], how)
        with _threads(faiss, threads):
            index.add(vectors[order])
        advance(len(order))
    else:
        index = _empty(faiss, vectors.shape[1], how)
        with _threads(faiss, 1):
            for part in blocks(len(order), _ROWS):
                rows = vectors[order[part]]
                for row in rows:
                    index.add_c(1, faiss.swig_ptr(row))  # ``add`` would check each row again, a tenth of the time
                advance(len(rows))
    seconds = time.perf_counter() - start
    return FaissGraph(how, _size(faiss, index), seconds, index, order)


def load(path: Path, how: Build, seconds: float) -> FaissGraph:
    """A graph that was saved; RuntimeError, OSError or ValueError where a file is damaged."""
    faiss = _faiss()
    index = faiss.read_index(str(path / _FILES[0]))
    return FaissGraph(how, _size(faiss, index), seconds, index, np.load(path / _FILES[1], allow_pickle=False))


def _faiss() -> Any:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports every attempt to load a variant
    if not available():
        raise missing_extra("library faiss", "faiss")
    import faiss

    return faiss


@contextmanager
def _threads(faiss: Any, count: int) -> Iterator[None]:
    """So many threads for faiss; the setting is global."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _metric(faiss: Any, how: Build) -> int:
    return int(faiss.METRIC_L2 if how.metric == "l2" else faiss.METRIC_INNER_PRODUCT)


def _empty(faiss: Any, width: int, how: Build) -> Any:
    index = faiss.IndexHNSWFlat(width, how.m, _metric(faiss, how))
    index.hnsw.efConstruction = how.ef_construction
    index.hnsw.rng = faiss.RandomGenerator(how.seed)
    return index


def _has_cagra(faiss: Any) -> bool:
    return hasattr(faiss, "GpuIndexCagra") and faiss.get_num_gpus() > 0


def _cagra(faiss: Any, vectors: Float32, how: Build) -> Any:
    """Builds on the GPU (faiss/gpu/GpuIndexCagra.h) and copies to an index that is searched on the CPU."""
    require(how.library)
    degree = 2 * how.m
    if len(vectors) <= 2 * degree:
        raise UsageError(f"CAGRA with m {how.m} needs more than {2 * degree} vectors; found {len(vectors)}")
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = degree, 2 * degree  # the ratio of faiss's defaults
    resources = faiss.StandardGpuResources()
    built = faiss.GpuIndexCagra(resources, vectors.shape[1], _metric(faiss, how), config)
    built.train(vectors)
    index = faiss.IndexHNSWCagra(vectors.shape[1], how.m, _metric(faiss, how))
    index.base_level_only = False  # upper levels are added on the CPU, so that a search starts as HNSW's does
    index.hnsw.efConstruction = how.ef_construction
    index.hnsw.rng = faiss.RandomGenerator(how.seed)
    built.copyTo(index)
    return index


def _size(faiss: Any, index: Any) -> int:
    """The bytes of the index as it is saved, counted without holding them."""
    sizes: list[int] = []
    writer = faiss.PyCallbackIOWriter(lambda part: sizes.append(len(part)), _BUFFER)
    faiss.write_index(index, writer)
    return sum(sizes)
