"""HNSW graphs: built by hnswlib or faiss from vectors and their order of insertion, searched, saved and loaded."""

from pathlib import Path
from typing import get_args

from posbench.errors import DataError, UsageError
from posbench.hnsw import by_faiss, by_hnswlib
from posbench.hnsw.graph import Build, Found, Graph, Library, Metric, check_order, check_vectors, read_about
from posbench.types import Float32, Int64, Progress, no_progress
from posbench.versions import installed

__all__ = [
    "Build",
    "Found",
    "Graph",
    "Library",
    "Metric",
    "available",
    "build",
    "chosen",
    "load",
    "not_repeatable",
    "require",
    "versions",
]

PACKAGES = {"hnswlib": ("hnswlib",), "faiss": ("faiss-cpu", "faiss-gpu")}
_SAME_FROM = (1, 15)  # the faiss whose one-shot build gives the same graph with any number of threads


def available() -> list[Library]:
    """The libraries that are installed here, the preferred one first."""
    found: list[Library] = ["hnswlib"] if by_hnswlib.available() else []
    if by_faiss.available():
        found += ["faiss", "faiss-once"]
    if by_faiss.gpu_available():
        found += ["cagra"]
    return found


def chosen(name: str) -> Library:
    """The library of this name; "auto" is hnswlib where it is installed, else faiss row by row.

    Raises:
        UsageError: no library has that name.
    """
    if name == "auto":
        return "hnswlib" if "hnswlib" in available() else "faiss"
    known: tuple[Library, ...] = get_args(Library)
    for library in known:
        if name == library:
            return library
    raise UsageError(f"index library {name!r}; expected auto or one of {', '.join(known)}")


def require(library: Library) -> None:
    """Refuses a library that is not here.

    Raises:
        MissingPartError: it, or a GPU that it needs, is not here.
    """
    if library == "hnswlib":
        by_hnswlib.require()
    else:
        by_faiss.require(library)


def versions(how: Build) -> dict[str, str]:
    """The version of what builds and searches: another one gives another graph."""
    return installed(PACKAGES["hnswlib" if how.library == "hnswlib" else "faiss"])


def build(
    vectors: Float32, order: Int64 | None, how: Build, threads: int = 1, progress: Progress = no_progress
) -> Graph:
    """Builds a graph.

    Args:
        vectors: float32[n, d], finite, n at least 1; zero vectors and duplicates are allowed.
        order: int64[n], the document that is inserted i-th; None is 0..n-1.
        how: library, parameters and seed.
        threads: of the build. Above 1 hnswlib inserts in no certain order; faiss row by row always uses one.
        progress: shows the build.

    Raises:
        DataError: the vectors or the order are not as above.
        UsageError: ``threads`` is below 1.
        MissingPartError: the library, or a GPU that it needs, is not here.
    """
    if threads < 1:
        raise UsageError(f"{threads} threads; expected 1 or more")
    vectors = check_vectors(vectors)
    order = check_order(order, len(vectors))
    make = by_hnswlib.build if how.library == "hnswlib" else by_faiss.build
    graph: Graph = make(vectors, order, how, threads, progress)
    return graph


def load(path: Path, how: Build) -> Graph:
    """A graph that ``Graph.save`` wrote.

    Raises:
        DataError: there is none, it is damaged, or it was built in another way than ``how``.
        MissingPartError: the library is not here.
    """
    width, seconds = read_about(path, how)
    try:
        if how.library == "hnswlib":
            return by_hnswlib.load(path, how, width, seconds)
        return by_faiss.load(path, how, seconds)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(f"{path}: damaged index: {error}; delete the folder and build it again") from error


def not_repeatable(how: Build, threads: int) -> str:
    """Why building again with so many threads may give another graph, in a sentence; "" where it gives the same bytes.

    Another version of the library may give another graph in any case.
    """
    if how.library == "cagra":
        return "CAGRA builds on a GPU, in parallel: each build may give another graph"
    if threads == 1 or how.library == "faiss":
        return ""
    if how.library == "hnswlib":
        return f"{threads} threads insert in no certain order: each build gives another graph; one thread is repeatable"
    found = next(iter(versions(how).values()), "0")
    if tuple(int(part) for part in found.split(".")[:2]) >= _SAME_FROM:
        return ""
    return (
        f"faiss {found} with {threads} threads builds another graph each time; faiss 1.15 or one thread is repeatable"
    )
