"""Exact nearest-neighbour search in bounded memory, with one tie rule and the same bytes for every chunk size.

Two steps. A fast matrix product in float32 proposes ``k + SLACK`` candidates a query. Their scores are then computed
again as float64 dot products rounded to float32, which depend on nothing but the two vectors, and these decide the
order. The float32 product errs by less than a bound: only candidates that this leaves in doubt are computed again, and
a query whose candidates might miss a document by it (many equal scores) is searched again, all in float64.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from posbench.errors import UsageError
from posbench.types import Float32, Int32, Int64, Run

SLACK = 24
_CHUNK_BYTES = {"cpu": 48 << 20, "cuda": 1 << 30}
_QUERY_ROWS = {"cpu": 256, "cuda": 4096}  # few rows and many columns a chunk: selecting costs least so
_ROWS = 64  # queries whose candidates are rescored together


def search(
    queries: Float32,
    docs: Float32,
    k: int,
    doc_order: Int32,
    *,
    devices: Sequence[str] = ("cpu",),
    chunk: int | None = None,
    engine: Literal["auto", "torch", "faiss"] = "auto",
) -> Run:
    """The k documents of largest inner product for each query, exactly.

    Args:
        queries: float32[Q, d].
        docs: float32[D, d]; may be a memory map larger than memory, which is read once, in order.
        k: how many to return; at most D are.
        doc_order: int32[D], the tie rule: of equal scores the document with the larger value stands first.
        devices: torch devices; the documents are shared out among them.
        chunk: documents scored at a time; by default 48 MiB of scores (1 GiB on a GPU).
        engine: what proposes the candidates; the result is the same. "auto" is faiss on a CPU where it is installed,
            which is quicker there, else torch.

    Returns:
        A Run of depth min(k, D) whose scores are the inner products rounded to float32.
    """
    if queries.ndim != 2 or docs.ndim != 2 or queries.shape[1] != docs.shape[1]:
        raise UsageError(f"queries and documents need one width; found {queries.shape} and {docs.shape}")
    k = min(k, len(docs))
    wide = min(k + SLACK, len(docs))
    if not k or not len(queries):
        return Run(np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32))
    queries = np.ascontiguousarray(queries, np.float32)
    near, scores = propose(queries, docs, wide, devices, chunk, engine)
    count = _contenders(scores, k, queries, _longest(docs))
    near = near[:, : count.max()]
    ranked = Run.ranked(near, rescore(queries, docs, near), doc_order).top(k)
    unsure = np.flatnonzero(count == wide) if wide < len(docs) else ()
    if not len(unsure):
        return ranked
    found_docs, found_scores = ranked.docs.copy(), ranked.scores.copy()
    for row in unsure:
        found_docs[row], found_scores[row] = _full_scan(queries[row], docs, k, doc_order)
    return Run(found_docs, found_scores)


def _longest(docs: Float32) -> float:
    """The largest Euclidean norm among the documents."""
    step = max(1, (8 << 20) // max(1, 4 * docs.shape[1]))

    def part(first: int) -> float:
        rows = docs[first : first + step]
        return float(np.sqrt(np.einsum("ij,ij->i", rows, rows).max()))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return max(pool.map(part, range(0, len(docs), step)))


def _contenders(scores: Float32, k: int, queries: Float32, longest: float) -> Int64:
    """How many of each query's candidates, at least k, could belong to its first k: int64[q].

    Where that is all of them, a document outside the candidates could too. A float32 inner product of width d errs by
    at most d u |q| |x| with u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), so what
    lies more than twice that below the k-th is out.
    """
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    bound = 1.01 * queries.shape[1] * 2.0**-24 * norms * longest + np.finfo(np.float32).tiny
    # The scores rank by float32 after rescoring, which rounds once more: half a unit in the last place on each side.
    last = scores[:, k - 1].astype(np.float64)
    floor = last - 2 * (bound + 2.0**-24 * np.abs(last))
    return np.asarray(np.count_nonzero(scores >= floor[:, None], axis=1))


def propose(
    queries: Float32,
    docs: Float32,
    wide: int,
    devices: Sequence[str] = ("cpu",),
    chunk: int | None = None,
    engine: str = "auto",
) -> tuple[Int32, Float32]:
    """The ``wide`` best documents by float32 inner product, descending: int32[q, wide], float32[q, wide].

    Not exact: for callers that rescore what they find and know how far a float32 product can err; ``search`` does.
    The arguments are those of ``search``; ``wide`` is at most D, and the queries are contiguous.
    """
    if engine not in ("auto", "torch", "faiss"):
        raise UsageError(f"search engine {engine!r}; expected 'auto', 'torch' or 'faiss'")
    simple = chunk is None and tuple(devices) == ("cpu",)
    if engine == "faiss" or (engine == "auto" and simple and find_spec("faiss")):
        return _propose_faiss(queries, docs, wide, devices)
    bounds = np.linspace(0, len(docs), len(devices) + 1).astype(int)
    jobs = list(zip(devices, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    if len(jobs) == 1:
        return _propose_torch(queries, docs, wide, chunk, *jobs[0])
    with ThreadPoolExecutor(len(jobs)) as pool:
        parts = list(pool.map(lambda job: _propose_torch(queries, docs, wide, chunk, *job), jobs))
    near = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.concatenate([part[1] for part in parts], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :wide]
    return np.take_along_axis(near, order, 1), np.take_along_axis(scores, order, 1)


def _propose_torch(
    queries: Float32, docs: Float32, wide: int, chunk: int | None, device: str, first: int, last: int
) -> tuple[Int32, Float32]:
    """The best of documents first..last: each chunk of documents is read once and meets all queries."""
    import torch

    kind = "cuda" if device.startswith("cuda") else "cpu"
    rows = min(len(queries), _QUERY_ROWS[kind])
    step = max(1, chunk or _CHUNK_BYTES[kind] // (4 * rows))
    wide = min(wide, last - first)
    best = torch.full((len(queries), wide), -torch.inf, device=device)
    where = torch.zeros((len(queries), wide), dtype=torch.int64, device=device)
    with torch.inference_mode():
        asked = torch.from_numpy(_writable(queries)).to(device)
        for start in range(first, last, step):
            part = torch.from_numpy(_writable(docs[start : min(start + step, last)])).to(device)
            for row in range(0, len(queries), rows):
                block = slice(row, row + rows)
                value, index = torch.topk(asked[block] @ part.T, min(wide, len(part)), dim=1)
                both = torch.cat((best[block], value), 1)
                best[block], index_of_best = torch.topk(both, wide, dim=1)
                where[block] = torch.cat((where[block], index + start), 1).gather(1, index_of_best)
    return where.cpu().numpy().astype(np.int32), best.cpu().numpy()


def _writable(part: Float32) -> Float32:
    """The part itself, or a copy where it is a read-only map (which torch warns about)."""
    return part if part.flags.writeable and part.flags.c_contiguous else np.array(part, np.float32, order="C")


def _propose_faiss(queries: Float32, docs: Float32, wide: int, devices: Sequence[str]) -> tuple[Int32, Float32]:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports every attempt to load a variant
    try:
        import faiss
    except ImportError as error:
        from posbench.errors import missing_extra

        raise missing_extra("engine 'faiss'", "faiss") from error
    if devices[0].startswith("cuda"):
        scores, near = faiss.knn_gpu(
            faiss.StandardGpuResources(), queries, np.ascontiguousarray(docs), wide, metric=faiss.METRIC_INNER_PRODUCT
        )
    else:
        with _faiss_blocks(faiss.cvar):
            scores, near = faiss.knn(queries, np.ascontiguousarray(docs), wide, metric=faiss.METRIC_INNER_PRODUCT)
    return near.astype(np.int32), scores


@contextmanager
def _faiss_blocks(settings: Any) -> Iterator[None]:
    """Larger blocks of documents than faiss takes by itself: a tenth quicker, in 32 MiB (its settings are global)."""
    before = settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs
    settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs = 1024, 8192
    try:
        yield
    finally:
        settings.distance_compute_blas_query_bs, settings.distance_compute_blas_database_bs = before


def rescore(queries: Float32, docs: Float32, near: Int32) -> Float32:
    """The exact scores of candidates, float64 inner products rounded to float32: float32[q, width of near].

    Args:
        queries: float32[q, d].
        docs: float32[D, d].
        near: int32[q, w], indices of documents; what stands beside a -1 is the score of some document.
    """
    scores = np.empty(near.shape, np.float32)

    def block(first: int) -> None:
        found = np.empty((near.shape[1], docs.shape[1]), docs.dtype)
        for row in range(first, min(first + _ROWS, len(near))):
            np.take(docs, near[row], axis=0, out=found, mode="clip")  # "raise" would copy
            scores[row] = _dots(queries[row], found)

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(block, range(0, len(near), _ROWS)))
    return scores


def _dots(query: Float32, docs: Float32) -> Float32:
    """float64 inner products of one query with rows, one pair of vectors at a time."""
    return np.asarray(np.vecdot(docs.astype(np.float64), query.astype(np.float64)), np.float32)


def _full_scan(query: Float32, docs: Float32, k: int, doc_order: Int32) -> tuple[Int32, Float32]:
    """The first k of one query with every score computed exactly."""
    step = max(k, _CHUNK_BYTES["cpu"] // (8 * docs.shape[1]))
    near: NDArray[np.int64] = np.empty(0, np.int64)
    scores: Float32 = np.empty(0, np.float32)
    for first in range(0, len(docs), step):
        part = _dots(query, docs[first : first + step])
        near = np.concatenate((near, np.arange(first, first + len(part))))
        scores = np.concatenate((scores, part))
        best = np.lexsort((-doc_order[near], -scores))[:k]
        near, scores = near[best], scores[best]
    return near.astype(np.int32), scores
