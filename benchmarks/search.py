"""Exact top 100 of 1,000 queries x 200,000 x 384 float32 on the CPU against faiss.knn and semantic_search.

python benchmarks/search.py              (needs faiss-cpu)

Each contender runs in a process of its own; peak memory is what it adds to the process with the data in it. The peak is
reset first (Linux: clear_refs), or making the data would hide it.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

CASES = ("posbench", "posbench-torch", "faiss.knn", "semantic_search")


def data() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors, the same in every process."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((201_000, 384), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[:1000].copy(), vectors[1000:].copy()


def contender(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The function to time."""
    if name.startswith("posbench"):
        from posbench import topk

        order = np.arange(200_000, dtype=np.int32)
        engine: Literal["auto", "torch"] = "torch" if name.endswith("torch") else "auto"
        return lambda q, d: topk.search(q, d, 100, order, engine=engine).docs
    if name == "faiss.knn":
        import faiss

        return lambda q, d: faiss.knn(q, d, 100, metric=faiss.METRIC_INNER_PRODUCT)[1]
    from sentence_transformers.util import semantic_search
    from torch import from_numpy

    def searched(q: np.ndarray, d: np.ndarray) -> np.ndarray:
        found = semantic_search(from_numpy(q), from_numpy(d), top_k=100)
        return np.array([[hit["corpus_id"] for hit in row] for row in found])

    return searched


def megabytes(field: str) -> float:
    """A field of this process's status: VmRSS is memory in use, VmHWM its peak."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, field
    return int(found[1]) / 1024


def measure(name: str) -> None:
    """Prints seconds, megabytes added and the agreement of the first places."""
    queries, docs = data()
    search = contender(name)
    search(queries[:8], docs[:2000])
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        found = search(queries, docs)
        seconds.append(time.perf_counter() - start)
    added = megabytes("VmHWM") - before
    print(min(seconds), added, int(found[:, 0].sum()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        sys.exit()
    rows = {}
    for name in CASES:
        line = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True).stdout
        rows[name] = [float(field) for field in line.split()]
        print(f"{name:16} {rows[name][0]:.3f} s  +{rows[name][1]:.0f} MB")
    assert len({row[2] for row in rows.values()}) == 1, "different results"
    print(f"faiss.knn / posbench: {rows['faiss.knn'][0] / rows['posbench'][0]:.2f} (time)")
    print(f"semantic_search / posbench: {rows['semantic_search'][0] / rows['posbench'][0]:.2f} (time), ", end="")
    print(f"{rows['semantic_search'][1] / max(1.0, rows['posbench'][1]):.2f} (peak memory)")
