"""A part of a collection as a collection: chosen queries, all that is judged for them, hard negatives, distractors.

What is searched becomes smaller, so scores rise: those of a selection never stand beside the full collection's. The
entry ``selection`` of its ``source`` says what it is a part of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from posbench.errors import UsageError
from posbench.types import Collection, Evidence, Int32, Int64, Qrels, Run, Strings, pairs, strings

SELECTION = "selection"
"""The entry of ``Collection.source`` that marks a selection."""


def subset(
    collection: Collection,
    queries: ArrayLike,
    distractors: ArrayLike = (),
    *,
    runs: Sequence[Run] = (),
    pool_depth: int = 100,
    made: Mapping[str, Any] | None = None,
) -> Collection:
    """The collection of some queries: all documents judged for them, what runs found for them, and distractors.

    Queries and documents keep their order, ids and labels. Judged documents that the collection lacks stay judged, and
    are numbered on from the last document. Evidence stays where its document stays.

    Args:
        collection: what to select from.
        queries: integer[q], rows of its queries; one that stands twice counts once.
        distractors: integer[d], rows of its documents; those that are kept anyhow count once.
        runs: rankings of all its queries, whose first ``pool_depth`` documents are kept as hard negatives.
        pool_depth: documents of each run a query.
        made: how the rows were chosen (selector, seed, target, ...), JSON-serialisable; it joins the selection's entry.

    Returns:
        The selection; its ``source`` holds what the collection's does and ``selection``: ``of`` (name, fingerprint,
        sizes and notes of the full collection), ``queries``, ``documents``, ``judged``, ``pooled``, ``distractors``,
        ``pool_depth``, ``runs`` and what ``made`` says.

    Raises:
        UsageError: no query, a row that is not there, or a run of another number of queries.
    """
    asked = _rows(queries, len(collection.query_ids), "query")
    if not len(asked):
        raise UsageError(f"no query of {collection.name} is selected; expected one or more")
    judged = judged_documents(collection, asked)
    pooled = np.setdiff1d(pool(collection, asked, runs, pool_depth), judged)
    further = np.setdiff1d(_rows(distractors, len(collection.doc_ids), "document"), np.union1d(judged, pooled))
    kept = np.sort(np.concatenate([judged, pooled, further]))
    sizes = {"judged": len(judged), "pooled": len(pooled), "distractors": len(further)}
    sizes |= {"pool_depth": pool_depth if runs else 0, "runs": len(runs)}
    entry = {"of": _about(collection), "queries": len(asked), "documents": len(kept), **sizes, **(made or {})}
    return _part(collection, asked, kept, entry)


def judged_documents(collection: Collection, queries: Int64) -> Int64:
    """The documents that are judged for any of these queries, relevant or not, or hold evidence: int64, ascending."""
    docs = collection.qrels.docs[_entries(collection.qrels.indptr, queries)]
    docs = docs[docs < len(collection.doc_ids)]
    if collection.evidence is not None:
        docs = np.append(docs, collection.evidence.doc[np.isin(collection.evidence.query, queries)])
    return np.unique(docs).astype(np.int64)


def pool(collection: Collection, queries: Int64, runs: Sequence[Run], depth: int) -> Int64:
    """The documents that any run ranks among the first ``depth`` of any of these queries: int64, ascending.

    Raises:
        UsageError: a run of another number of queries, or a depth below 1.
    """
    if runs and depth < 1:
        raise UsageError(f"pool depth {depth}; expected 1 or more")
    seen = np.zeros(len(collection.doc_ids) + 1, bool)  # the last stands for padding
    for run in runs:
        if len(run.docs) != len(collection.query_ids):
            raise UsageError(
                f"a run ranks {len(run.docs)} queries; {collection.name} has {len(collection.query_ids)}: expected a "
                "run of the full collection"
            )
        seen[run.top(depth).docs[queries]] = True
    return np.flatnonzero(seen[:-1])


def texts_of_queries(collection: Collection, by: str = "documents") -> Strings:
    """The text that says what a query is about: its relevant documents joined by line feeds, or its own.

    Args:
        collection: any.
        by: "documents" or "queries". A query whose relevant documents the collection lacks has its own text.

    Raises:
        UsageError: another ``by``.
    """
    if by not in ("documents", "queries"):
        raise UsageError(f"queries by {by!r}; expected documents or queries")
    if by == "queries":
        return collection.queries
    qrels, n = collection.qrels, len(collection.query_ids)
    keep = (qrels.grades > 0) & (qrels.docs < len(collection.doc_ids))
    ends = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(qrels.queries[keep], minlength=n), out=ends[1:])
    texts = collection.docs.take(pa.array(qrels.docs[keep]))
    lists = pa.LargeListArray.from_arrays(pa.array(ends), texts)
    joined = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))
    return strings(pc.if_else(pa.array(np.diff(ends) > 0), joined, collection.queries))


def _rows(rows: ArrayLike, size: int, what: str) -> Int64:
    """Distinct rows in ascending order."""
    found = np.unique(np.asarray(rows, np.int64))
    if len(found) and (found[0] < 0 or found[-1] >= size):
        wrong = found[0] if found[0] < 0 else found[-1]
        raise UsageError(f"{what} row {wrong}; the collection has 0..{size - 1}")
    return found


def _entries(indptr: Int64, rows: Int64) -> Int64:
    """The entries of some rows of a sparse matrix, row by row."""
    counts = np.diff(indptr)[rows]
    first = np.cumsum(counts) - counts
    return np.repeat(indptr[rows] - first, counts) + np.arange(counts.sum())


def _about(collection: Collection) -> dict[str, Any]:
    """What a selection says of the collection it is a part of."""
    about = {
        "name": collection.name,
        "fingerprint": collection.fingerprint,
        "queries": len(collection.query_ids),
        "documents": len(collection.doc_ids),
        "notes": dict(collection.notes),
    }
    before = collection.source.get(SELECTION)
    return about | ({SELECTION: before} if before else {})


def _part(collection: Collection, queries: Int64, docs: Int64, entry: Mapping[str, Any]) -> Collection:
    left_out = {
        "queries_not_selected": len(collection.query_ids) - len(queries),
        "documents_not_selected": len(collection.doc_ids) - len(docs),
    }
    new_query = _places(queries, len(collection.query_ids))
    new_doc = _places(docs, len(collection.doc_ids))
    return replace(
        collection,
        doc_ids=_take(collection.doc_ids, docs),
        docs=_take(collection.docs, docs),
        query_ids=_take(collection.query_ids, queries),
        queries=_take(collection.queries, queries),
        qrels=_qrels(collection.qrels, queries, new_doc, len(docs)),
        evidence=None if collection.evidence is None else _evidence(collection.evidence, new_query, new_doc),
        query_labels={name: _take(column, queries) for name, column in collection.query_labels.items()},
        doc_labels={name: _take(column, docs) for name, column in collection.doc_labels.items()},
        notes={reason: count for reason, count in left_out.items() if count},
        source={**collection.source, SELECTION: dict(entry)},
        excluded=None if collection.excluded is None else _excluded(collection.excluded, new_query, new_doc),
    )


def _take(column: Strings, rows: Int64) -> Strings:
    """Some rows of a column; a label that is not there is empty."""
    taken = column.take(pa.array(rows))
    return strings(pc.fill_null(taken, "") if taken.null_count else taken)


def _places(rows: Int64, size: int) -> Int32:
    """The new index of each old row: int32[size], -1 where it goes."""
    places = np.full(size, -1, np.int32)
    places[rows] = np.arange(len(rows), dtype=np.int32)
    return places


def query_qrels(qrels: Qrels, queries: Int64) -> Qrels:
    """The judgements of some queries, of documents by their indices in the full collection."""
    entries = _entries(qrels.indptr, queries)
    indptr = np.zeros(len(queries) + 1, np.int64)
    np.cumsum(np.diff(qrels.indptr)[queries], out=indptr[1:])
    return Qrels(indptr, qrels.docs[entries], qrels.grades[entries])


def _qrels(qrels: Qrels, queries: Int64, new_doc: Int32, n_docs: int) -> Qrels:
    """The judgements of the kept queries; absent documents are numbered in the order of their first judgement."""
    part = query_qrels(qrels, queries)
    old = part.docs
    docs = np.empty(len(old), np.int64)
    absent = old >= len(new_doc)
    docs[~absent] = new_doc[old[~absent]]
    names, first, which = np.unique(old[absent], return_index=True, return_inverse=True)
    number = np.empty(len(names), np.int64)
    number[np.argsort(first)] = np.arange(len(names))
    docs[absent] = n_docs + number[which]
    return Qrels.from_pairs(part.queries, docs, part.grades, len(queries))


def _excluded(old: Int32, new_query: Int32, new_doc: Int32) -> Int32:
    query, doc = new_query[old[:, 0]], new_doc[old[:, 1]]
    keep = (query >= 0) & (doc >= 0)
    return pairs(query[keep], doc[keep])


def _evidence(evidence: Evidence, new_query: Int32, new_doc: Int32) -> Evidence:
    query, doc = new_query[evidence.query], new_doc[evidence.doc]
    keep = (query >= 0) & (doc >= 0)
    rest = [column[keep] for column in evidence.columns()[2:]]
    return Evidence(query[keep], doc[keep], *rest)
