"""p-MRR, FollowIR's measure (arXiv 2403.15246): do documents that a changed instruction rules out move down?

Each topic is asked twice, with the original instruction and with the changed one. A document that is relevant under the
first and less so under the second has the ranks R and R' in the two runs. It earns 1 - R / R' where it moved down
(R' > R), else R' / R - 1, which is 0 or below. A topic's value is the mean over its documents, between -1 and 1.
Ranks are those of ``Run``: equal scores stand by document id, descending, so that no order of files or of dictionaries
leaks in.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import UsageError
from posbench.types import Collection, Float64, Int64, Qrels, Run

TOPIC, TYPE = "topic", "query_type"
ORIGINAL, CHANGED = "original", "changed"
"""Labels of a collection with paired queries: the topic, and which of its two queries this is."""


def by_query(collection: Collection, run: Run) -> Float64:
    """The value of each query's topic: float64[Q], the same for both of a pair.

    So a mean over queries is one over topics. A query without the other of its pair has 0.

    Raises:
        UsageError: the collection has no pairs.
    """
    original, changed = pairs_of(collection)
    values = np.zeros(len(run.docs))
    values[original] = values[changed] = p_mrr(run, collection.qrels, original, changed)
    return values


def pairs_of(collection: Collection) -> tuple[Int64, Int64]:
    """The rows of the original and of the changed query of each topic that has both: int64[P] each.

    Raises:
        UsageError: the collection has no pairs.
    """
    labels = collection.query_labels
    if TOPIC not in labels or TYPE not in labels:
        raise UsageError(f"p-MRR needs pairs of queries, as FollowIR has them; {collection.name} has none")
    kinds, topics = (labels[name].cast(pa.string()) for name in (TYPE, TOPIC))
    original, changed = (np.flatnonzero(pc.equal(kinds, kind).to_numpy(False)) for kind in (ORIGINAL, CHANGED))
    place = pc.index_in(topics.take(pa.array(original)), value_set=topics.take(pa.array(changed)))
    found = pc.fill_null(place, -1).to_numpy(zero_copy_only=False)
    return original[found >= 0], changed[found[found >= 0]]


def topics(queries: pa.Table) -> Int64 | None:
    """The topic of each row of a report's queries, numbered from 0: int64[rows]; None where there are no topics.

    The two queries of a topic succeed and fail together, and have one p-MRR: they are resampled as one.
    """
    if TOPIC not in queries.column_names:
        return None
    keys = [queries[name].cast(pa.large_string()).combine_chunks() for name in ("dataset", TOPIC)]
    joined = pc.binary_join_element_wise(*keys, pa.scalar("\x1f", pa.large_string()))
    return np.asarray(joined.dictionary_encode().indices.to_numpy(), np.int64)


def p_mrr(run: Run, qrels: Qrels, original: Int64, changed: Int64) -> Float64:
    """The value of each pair of queries: float64[P], 0 where no document's grade falls.

    Args:
        run: both queries of each pair among its rows; a document that a row lacks stands right behind its last.
        qrels: judgements, rows aligned with the run's.
        original: int64[P], the rows of the queries with the original instruction.
        changed: int64[P], the rows of those with the changed one.
    """
    return np.array(
        [_topic(run, qrels, one, two) for one, two in zip(original.tolist(), changed.tolist(), strict=True)]
    )


def _topic(run: Run, qrels: Qrels, original: int, changed: int) -> float:
    docs = fallen(qrels, original, changed)
    if not len(docs):
        return 0.0
    before, after = _ranks(run, original, docs), _ranks(run, changed, docs)
    moved = np.where(before >= after, after / before - 1, 1 - before / after)
    return float(moved.mean())


def fallen(qrels: Qrels, original: int, changed: int) -> Int64:
    """The documents that are relevant to one query and have a lower grade, or no judgement, for another: int64[N]."""
    old, new = (slice(qrels.indptr[row], qrels.indptr[row + 1]) for row in (original, changed))
    docs, grades = qrels.docs[old], qrels.grades[old]
    place = np.minimum(np.searchsorted(qrels.docs[new], docs), max(0, len(qrels.docs[new]) - 1))
    known = qrels.docs[new][place] == docs if len(qrels.docs[new]) else np.zeros(len(docs), bool)
    now = np.where(known, qrels.grades[new][place] if len(qrels.docs[new]) else 0, 0)
    return docs[(grades > 0) & (now < grades)].astype(np.int64)


def _ranks(run: Run, row: int, docs: Int64) -> Float64:
    there = run.docs[row][:, None] == docs
    behind = int((run.docs[row] >= 0).sum()) + 1
    return np.where(there.any(axis=0), there.argmax(axis=0) + 1, behind).astype(np.float64)
