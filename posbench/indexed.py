"""What an index costs: each query's measures under exact search, and the share of its exact results that were found.

Columns beside an indexed ranker's, as those of ``controls`` are beside any ranker's.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.evaluate import evaluate
from posbench.types import Collection, Float64, Report, Run

CUTOFFS = (10, 100)
EXACT = "exact"


def recall_column(k: int) -> str:
    """The name of the column with the share of the exact first k."""
    return f"recall@{k}:{EXACT}"


def by_exact(report: Report, collection: Collection, ranked: Run, exact: Run, depth: int, reach: int) -> Report:
    """A report with ``<measure>:exact``, the same measures under exact search, and ``recall@k:exact``.

    Args:
        report: the indexed ranker's, of this collection.
        collection: what was searched.
        ranked: the indexed ranker's run.
        exact: the run of exact search, at least as deep as the cutoffs or the collection.
        depth: of the exact run that is measured.
        reach: the most results that the index gives; a k above it has no column.
    """
    table = report.queries
    values = evaluate(collection, exact.top(depth), report.measures)
    for name in report.measures:
        table = table.append_column(f"{name}:{EXACT}", pa.array(values.values(name)))
    judged = np.flatnonzero(np.diff(collection.qrels.indptr) > 0)
    for k in CUTOFFS:
        if min(k, len(collection.docs)) <= reach:
            table = table.append_column(recall_column(k), pa.array(recall(ranked, exact, k)[judged]))
    return Report(report.header, report.measures, table)


def recall(ranked: Run, exact: Run, k: int) -> Float64:
    """The share of the exact first k (of all documents, where there are fewer) among the first k found: float64[Q].

    Both runs have exact scores, so a document found counts if it scores at least as much as the exact k-th: one of
    several that tie there is as good as another.
    """
    k = min(k, exact.depth)
    if not k:
        return np.zeros(len(exact.docs))
    found, scores = ranked.docs[:, :k], ranked.scores[:, :k]
    return np.asarray(((found >= 0) & (scores >= exact.scores[:, k - 1, None])).sum(axis=1) / k)


def facts(ranker: Any, collections: Sequence[Collection]) -> dict[str, Any]:
    """What the manifest says of an index: its parameters, and what it is for each collection."""
    each = {collection.name: ranker.index(collection) for collection in collections}
    return {**ranker.settings(), "depth": ranker.depth, "collections": each}
