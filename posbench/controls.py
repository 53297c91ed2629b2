"""Controls of difficulty: what a query scores by bm25, and what it scores where its evidence stands alone.

"Questions about the middle are harder" shows in these scores too; "the model does not look there" does not. The first
control ranks the same collection by bm25, which knows no places. The second puts the bare evidence span in the place of
its document, for one query at a time, while the other documents stay whole. ``bias.position_report`` takes both out of
a ranker's scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import UsageError
from posbench.evaluate import evaluate
from posbench.types import Collection, Float32, Int32, Int64, Qrels, Ranker, Report, Run, Strings, strings

_ROWS = 2048  # queries at a time; where spans and documents are ranked together, their spans are in the ranking

HOW = {
    "bm25": "bm25 on the same collection",
    "span": "the bare evidence span in the place of its document, the other documents whole",
}


@dataclass(frozen=True)
class Spans:
    """The bare evidence of each query that has exactly one: ``docs`` int32[Q], -1 for the others, ``texts`` [Q]."""

    docs: Int32
    texts: Strings


def possible(collection: Collection) -> bool:
    """Whether a collection has evidence in the documents that are searched.

    In a cross-lingual one the evidence stands in another language's document, and bm25 finds nothing.
    """
    evidence = collection.evidence
    return evidence is not None and len(evidence.doc) > 0 and not collection.source.get("cross_lingual")


def check(collections: Sequence[Collection]) -> None:
    """Refuses collections of which none can have controls.

    Raises:
        UsageError: none has evidence in the documents that are searched, or they are composed.
    """
    if any("source_doc" in collection.query_labels for collection in collections):
        raise UsageError(
            f"{collections[0].name} is composed: each question is compared with itself, so controls have nothing to "
            "take out; run it without --controls"
        )
    if not any(map(possible, collections)):
        raise UsageError(
            f"controls need evidence in the documents that are searched; {collections[0].name} has none; "
            "run it without --controls"
        )


def spans(collection: Collection) -> Spans:
    """The bare evidence of each query that has exactly one; an empty text for the others."""
    docs, texts = np.full(len(collection.queries), -1, np.int32), [""] * len(collection.queries)
    evidence = collection.evidence
    if evidence is not None:
        alone = np.flatnonzero(np.bincount(evidence.query)[evidence.query] == 1)
        docs[evidence.query[alone]] = evidence.doc[alone]
        for row in alone.tolist():
            text = collection.docs[int(evidence.doc[row])].as_py()
            texts[int(evidence.query[row])] = text[int(evidence.start[row]) : int(evidence.end[row])]
    return Spans(docs, strings(texts))


def by_bm25(report: Report, collection: Collection, ranked: Run) -> Report:
    """A report with the columns ``<measure>:bm25``: the same measures of bm25's run."""
    values = evaluate(collection, ranked, report.measures)
    return _with_columns(report, "bm25", {name: pa.array(values.values(name)) for name in report.measures})


def by_span(
    report: Report, collection: Collection, ranked: Run, ranker: Ranker, make: Callable[..., Ranker], depth: int
) -> Report:
    """A report with the columns ``<measure>:span``: each query with its bare evidence span in its document's place.

    A ranker whose score of a text does not depend on the others has a method ``pairs(queries, texts) -> float32[N]``:
    it scores the spans alone, and each score enters the query's own ranking instead of the document's. For other
    rankers the documents and the spans of up to 2,048 queries are ranked as one collection, ``depth`` + as many deep,
    and the other queries' spans and the document are left out: ``depth`` results then remain, whatever was above them.
    Either way a measure is exact if its cutoff is below ``depth``, or if ``depth`` takes in all documents; queries
    without exactly one evidence have null.

    Args:
        report: the ranker's, of this collection.
        collection: what was searched.
        ranked: the ranker's run.
        ranker: the ranker.
        make: makes the same ranker for another ``depth``.
        depth: of the run.
    """
    found, depth = spans(collection), min(depth, len(collection.docs))
    if hasattr(ranker, "pairs"):
        changed = _scored_alone(collection, ranked, ranker, found, depth)
    else:
        changed = _ranked_together(collection, ranked, make, found, depth)
    values = evaluate(collection, changed, report.measures)
    judged = np.flatnonzero(np.diff(collection.qrels.indptr) > 0)
    missing = found.docs[judged] < 0
    columns = {name: pa.array(values.values(name), mask=missing) for name in report.measures}
    return _with_columns(report, "span", columns)


def _with_columns(report: Report, control: str, values: dict[str, Any]) -> Report:
    table = report.queries
    for name, column in values.items():
        table = table.append_column(f"{name}:{control}", column)
    return Report(report.header, report.measures, table)


def _scored_alone(collection: Collection, ranked: Run, ranker: Any, found: Spans, depth: int) -> Run:
    """The run with each span where its score belongs."""
    alone = np.asarray(ranker.pairs(collection.queries, found.texts), np.float32)
    docs, scores = _blank(len(ranked.docs), depth)
    for first in range(0, len(docs), _ROWS):
        part = slice(first, first + _ROWS)
        own = found.docs[part, None]
        others = np.where(ranked.docs[part] == own, -1, ranked.docs[part])
        both = np.hstack([others, own]), np.hstack([ranked.scores[part], alone[part, None]])
        run = Run.ranked(*both, collection.doc_order).top(depth)
        docs[part, : run.depth], scores[part, : run.depth] = run.docs, run.scores
    return Run(docs, scores)


def _ranked_together(collection: Collection, ranked: Run, make: Callable[..., Ranker], found: Spans, depth: int) -> Run:
    """The run of the documents and each query's own span, by ranking all of them."""
    size = len(collection.docs)
    docs, scores = _blank(len(ranked.docs), depth)
    for first in range(0, len(docs), _ROWS):
        rows = first + np.flatnonzero(found.docs[first : first + _ROWS] >= 0)
        doc, wanted = found.docs[rows, None], depth + len(rows)
        run = make(depth=wanted).rank(_union(collection, found, rows)).top(wanted)
        _check_depth(run, wanted)
        own = run.docs == size + np.arange(len(rows))[:, None]
        gone = (run.docs >= size) | (run.docs == doc)
        place = np.where(own, doc, np.where(gone, -1, run.docs))
        run = Run.ranked(place, run.scores, collection.doc_order).top(depth)
        docs[rows, : run.depth], scores[rows, : run.depth] = run.docs, run.scores
    return Run(docs, scores)


def _check_depth(run: Run, wanted: int) -> None:
    """Refuses a ranker that stops too early to leave enough documents when spans are taken out."""
    if run.depth < wanted and (run.docs[:, -1:] >= 0).any():
        raise UsageError(
            f"the span control ranks documents and evidence spans together and needs {wanted} results a query; this "
            f"ranker gives {run.depth}; give it a method pairs(queries, texts), or leave out --controls"
        )


def _union(collection: Collection, found: Spans, rows: Int64) -> Collection:
    """The documents, then the spans of some queries as documents; the queries are those of the spans."""
    prefix = "span:"
    while pc.any(pc.starts_with(collection.doc_ids, prefix)).as_py():
        prefix += ":"
    queries, docs = pa.array(rows), pa.array(found.docs[rows])
    query_ids = collection.query_ids.take(queries)
    span_ids = strings([prefix + name for name in query_ids.to_pylist()])
    none = np.empty(0, np.int32)
    return Collection(
        name=f"{collection.name}+spans",
        doc_ids=_joined(collection.doc_ids, span_ids),
        docs=_joined(collection.docs, found.texts.take(queries)),
        query_ids=query_ids,
        queries=collection.queries.take(queries),
        qrels=Qrels.from_pairs(none, none, none, len(rows)),
        query_labels={name: column.take(queries) for name, column in collection.query_labels.items()},
        doc_labels={name: _joined(column, column.take(docs)) for name, column in collection.doc_labels.items()},
        source=collection.source,
    )


def _joined(first: Strings, second: Strings) -> Strings:
    return strings(pa.chunked_array([strings(first), strings(second)]))


def _blank(queries: int, depth: int) -> tuple[Int32, Float32]:
    return np.full((queries, depth), -1, np.int32), np.zeros((queries, depth), np.float32)
