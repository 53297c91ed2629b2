"""LID of every document, exact and sampled, against faiss.knn of the same neighbours.

python benchmarks/lid.py [DOCUMENTS WIDTH [REPEATS]]          (default 100000 384 1; needs faiss-cpu)

Prints seconds, the best of so many repeats taken in turn, and the ratios that posbench promises: exact LID at most 1.2
times faiss.knn(X, X, 101), the sampled estimator at most a tenth.
"""

import sys
import time
from collections.abc import Callable

import faiss
import numpy as np

from posbench.hnsw import dimension, exact
from posbench.hnsw.synthetic import generate

SAMPLE = 2000
QUERIES = 1000


def timed(job: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main(documents: int, width: int, repeats: int) -> None:
    """Takes turns, so that a busy machine slows all of them."""
    made = generate("subspaces", documents, QUERIES, 0, width=width, high=width // 2, spread=30.0)
    jobs: dict[str, Callable[[], object]] = {
        "faiss.knn": lambda: faiss.knn(made.docs, made.docs, dimension.K + 1),
        "exact LID": lambda: dimension.lid(made.docs),
        "sampled LID": lambda: dimension.sampled(made.docs, SAMPLE),
        "ground truth": lambda: exact.neighbours(made.queries, made.docs, 10),
    }
    dimension.lid(made.docs[:2000])
    best = dict.fromkeys(jobs, np.inf)
    for _ in range(repeats):
        for name, job in jobs.items():
            best[name] = min(best[name], timed(job))
    print(f"{documents:,} documents x {width}, {faiss.omp_get_max_threads()} threads")
    for name, seconds in best.items():
        print(f"{name:12} {seconds:8.2f} s   {seconds / best['faiss.knn']:.3f} of faiss.knn")
    both = best["exact LID"] + best["ground truth"]
    print(f"ground truth of {QUERIES:,} queries and exact LID together: {both:.2f} s")
    print(f"sampled against exact: {dimension.sampled(made.docs, SAMPLE).error}")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]] or [100_000, 384]
    main(numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 1)
