"""What a study of HNSW builds costs beside building and searching.

python benchmarks/hnsw.py [DOCUMENTS WIDTH]          (default 20000 128)

posbench promises: exact ground truth and LID together at most 5% of a grid's wall time, everything that is not building
or searching at most 10%. The peer is a plain loop over the library in as many processes, without posbench.
"""

import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import numpy as np

from posbench.experiment import Settings
from posbench.hnsw import graphs
from posbench.hnsw.graphs import Build
from posbench.hnsw.synthetic import generate
from posbench.studies.hnsw import study
from posbench.studies.hnsw.grid import Grid, Index, Vectors
from posbench.studies.hnsw.subjects import measure, subjects

ORDERS = ("random", "lid-ascending", "lid-descending", "far-first")
EFS = (10, 32, 64, 128)
DIMENSION = 32
QUERIES = 1000


def build(seed: int, documents: int, width: int) -> float:
    """One build and its searches by the library alone; its seconds."""
    made = generate("single-subspace", documents, QUERIES, 0, width=width, dimension=DIMENSION)
    how = Build(graphs.chosen("auto"), 16, 128, seed)
    order = np.random.default_rng(seed).permutation(documents)
    start = time.perf_counter()
    graph = graphs.build(made.docs, order, how)
    for ef in EFS:
        graph.search(made.queries, 10, ef)
    return time.perf_counter() - start


def main(documents: int, width: int) -> None:
    """Runs one grid of 20 builds and as many by hand."""
    parameters = {"width": width, "dimension": DIMENSION}
    vectors = Vectors(synthetic="single-subspace", documents=documents, queries=QUERIES, parameters=parameters)
    index = Index(m=(16,), ef_construction=(128,), ef_search=EFS)
    grid = Grid(vectors=(vectors,), index=(index,), orders=ORDERS, data_seeds=1, level_seeds=5, probe=0)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(out=Path(folder) / "out", cache=Path(folder) / "cache")
        start = time.perf_counter()
        subject = next(subjects(vectors, grid, settings))
        made = time.perf_counter() - start
        measure(subject, grid, Settings(out=settings.out, cache=Path(folder) / "other"))
        truth = time.perf_counter() - start - made
        start = time.perf_counter()
        outcome = study.run("benchmark", grid, settings)
        wall = time.perf_counter() - start
    seconds = outcome.summary["seconds"]
    built = seconds["build and search"]
    with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
        start = time.perf_counter()
        alone = sum(pool.map(build, range(20), [documents] * 20, [width] * 20))
        loop = time.perf_counter() - start
    print(f"{documents:,} x {width}, {20} builds, {cpu_count()} processes: {wall:.1f} s; {seconds}")
    print(f"ground truth and LID: {truth:.1f} s, {truth / wall:.1%} of the wall time (at most 5%)")
    print(f"all but building and searching: {wall - built:.1f} s, {(wall - built) / wall:.1%} (at most 10%)")
    print(f"the library alone in a loop: {loop:.1f} s, {alone:.1f} s of work; the study {wall / loop:.2f} times that")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]] or [20_000, 128]
    main(numbers[0], numbers[1])
