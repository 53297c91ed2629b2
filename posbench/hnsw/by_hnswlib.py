"""Graphs by hnswlib: with one thread it inserts in the order given and gives the same bytes each time."""

import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from posbench.errors import MissingPartError
from posbench.hnsw.graph import Build, Found, blocks, check_search, padded, write_about
from posbench.types import Float32, Int32, Int64, Progress

_ROWS = 256  # inserted between two steps of the progress bar
_FILE = "graph.bin"


def available() -> bool:
    """Whether hnswlib is installed."""
    return find_spec("hnswlib") is not None


def require() -> None:
    """Raises MissingPartError where hnswlib is not installed."""
    if not available():
        raise MissingPartError(
            "library hnswlib is not installed: pip install 'posbench[hnsw]' (compiles C++), or choose library faiss"
        )


@dataclass(frozen=True)
class HnswlibGraph:
    """A graph of hnswlib's; its labels are document indices."""

    how: Build
    bytes: int
    seconds: float
    index: Any

    def search(self, queries: Float32, k: int, ef: int) -> Found:
        """As ``Graph.search``; hnswlib does not say how many distances it computes."""
        asked = check_search(queries, self.index.dim, k, ef)
        self.index.set_ef(ef)
        start = time.perf_counter()
        docs = self._search(asked, min(k, ef, self.index.element_count))
        return Found(padded(docs, k), float("nan"), time.perf_counter() - start)

    def save(self, path: Path) -> None:
        """Writes the graph to a new folder."""
        path.mkdir()
        self.index.save_index(str(path / _FILE))
        write_about(path, self.how, self.index.dim, self.seconds)

    def _search(self, queries: Float32, k: int) -> Int32:
        try:
            return np.asarray(self.index.knn_query(queries, k=k, num_threads=1)[0], np.int32)
        except RuntimeError:  # a query reaches fewer than k documents, and hnswlib then returns nothing at all
            rows = [self._reachable(query[None], k) for query in queries]
            return np.stack(rows)

    def _reachable(self, query: Float32, k: int) -> Int32:
        """What one query reaches of k, by bisection: the most that hnswlib returns without an error, then -1."""
        low, high, best = 0, k, np.empty(0, np.int32)
        while low < high:
            middle = (low + high + 1) // 2
            try:
                best = np.asarray(self.index.knn_query(query, k=middle, num_threads=1)[0][0], np.int32)
                low = middle
            except RuntimeError:
                high = middle - 1
        return np.asarray(padded(best[None], k)[0], np.int32)


def build(vectors: Float32, order: Int64, how: Build, threads: int, progress: Progress) -> HnswlibGraph:
    """Inserts the rows in their order; in the order of several threads' turns where ``threads`` is above 1."""
    index = _index(how, vectors.shape[1])
    start = time.perf_counter()
    index.init_index(len(vectors), M=how.m, ef_construction=how.ef_construction, random_seed=_seed(how.seed))
    advance = progress("building with hnswlib", len(vectors))
    for part in blocks(len(order), _ROWS * threads):
        rows = order[part]
        index.add_items(vectors[rows], rows, num_threads=threads)
        advance(len(rows))
    return HnswlibGraph(how, int(index.index_file_size()), time.perf_counter() - start, index)


def load(path: Path, how: Build, width: int, seconds: float) -> HnswlibGraph:
    """A graph that was saved; RuntimeError where the file is damaged."""
    index = _index(how, width)
    index.load_index(str(path / _FILE))
    return HnswlibGraph(how, int(index.index_file_size()), seconds, index)


def _seed(seed: int) -> int:
    """The seed of hnswlib that stands for ours.

    It draws levels by a linear congruential generator (C++ ``minstd_rand0``), for which 0 and 1 are one seed, and under
    1 and 2 half of the vectors on upper levels are the same. Hashed, neighbouring seeds are independent.
    """
    return int(np.random.SeedSequence(seed).generate_state(1)[0]) % (2**31 - 2) + 1


def _index(how: Build, width: int) -> Any:
    require()
    import hnswlib

    return hnswlib.Index(how.metric, width)
