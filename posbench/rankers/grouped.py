"""Exact search for documents by their best window: the score of a document is the maximum over its windows (MaxP).

Dai and Callan 2019, Deeper Text Understanding for IR with Contextual Neural Language Modeling, section 3.
"""

from collections.abc import Sequence

import numpy as np

from posbench import topk
from posbench.types import Float32, Int32, Int64, Run

_CELLS = 1 << 24  # windows ranked at one time, over all queries: 128 MiB of indices and scores


def search(
    queries: Float32, windows: Float32, bounds: Int64, k: int, doc_order: Int32, *, devices: Sequence[str] = ("cpu",)
) -> Run:
    """The k documents whose best window has the largest inner product with each query, exactly.

    Windows are searched under the tie rule of their documents, so the documents among a query's first windows, each at
    its first window, are the first documents. A query whose first windows belong to fewer than k documents is searched
    again twice as deep, at most to 1 + the sum of the k - 1 largest numbers of windows, where k documents are certain.

    Args:
        queries: float32[Q, d].
        windows: float32[W, d], document by document; may be a memory map.
        bounds: int64[D + 1]; document i has the windows ``bounds[i]:bounds[i + 1]``, at least one.
        k: how many documents to return; at most D are.
        doc_order: int32[D], the tie rule of ``topk.search``.
        devices: torch devices.
    """
    sizes = np.diff(bounds)
    k = min(k, len(sizes))
    docs, scores = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.float32)
    if not docs.size:
        return Run(docs, scores)
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    order = np.empty(len(owner), np.int32)
    order[np.argsort(doc_order[owner], kind="stable")] = np.arange(len(owner), dtype=np.int32)
    enough = 1 + int(np.sort(sizes)[::-1][: k - 1].sum())
    waiting = [(np.arange(len(queries)), min(enough, k * -(-len(owner) // len(sizes))))]
    while waiting:
        rows, wide = waiting.pop()
        block = max(1, _CELLS // wide)
        if len(rows) > block:
            waiting.append((rows[block:], wide))
        rows = rows[:block]
        found = topk.search(queries[rows], windows, wide, order, devices=devices)
        best, value, counts = _documents(owner[found.docs], found.scores, k)
        done = counts == k
        docs[rows[done]], scores[rows[done]] = best[done], value[done]
        if not done.all():
            waiting.append((rows[~done], min(enough, 2 * wide)))
    return Run(docs, scores)


def _documents(owners: Int32, scores: Float32, k: int) -> tuple[Int32, Float32, Int64]:
    """The first k distinct documents of each row, in order, with their first scores, and how many there are."""
    order = np.argsort(owners, axis=1, kind="stable")
    ascending = np.take_along_axis(owners, order, 1)
    first = np.ones(owners.shape, bool)
    np.put_along_axis(first, order[:, 1:], ascending[:, 1:] != ascending[:, :-1], 1)
    place = np.cumsum(first, axis=1) - 1
    row, column = np.nonzero(first & (place < k))
    docs, values = np.full((len(owners), k), -1, np.int32), np.zeros((len(owners), k), np.float32)
    docs[row, place[row, column]], values[row, place[row, column]] = owners[row, column], scores[row, column]
    return docs, values, np.minimum(place[:, -1] + 1, k)
