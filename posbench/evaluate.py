"""The one core: a collection and a run in, a Report out. Never loads a model or a file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from posbench import measures as m
from posbench import pmrr
from posbench.errors import UsageError
from posbench.types import Collection, Report, Run


def evaluate(
    collection: Collection,
    run: Run,
    measures: Sequence[str] = m.DEFAULT,
    *,
    ranker: str = "",
    header: Mapping[str, Any] | None = None,
) -> Report:
    """Scores every query that the qrels judge, by what the run holds apart from excluded documents.

    A query without any judgement is left out; one that the run does not answer counts 0.

    Args:
        collection: the collection that was searched.
        run: int32[Q, K], rows aligned with ``collection.query_ids``.
        measures: names as ``measures.parse`` returns them.
        ranker: the ranker's name, for the rows.
        header: what the Report carries to repeat it by.
    """
    if len(run.docs) != len(collection.query_ids):
        raise UsageError(f"the run ranks {len(run.docs)} queries; {collection.name} has {len(collection.query_ids)}")
    judged = np.flatnonzero(np.diff(collection.qrels.indptr) > 0)
    run = allowed(collection, run)
    values = m.score(run, collection.qrels, [name for name in measures if name != m.PAIRED])
    if m.PAIRED in measures:
        values[m.PAIRED] = pmrr.by_query(collection, run)
    columns: dict[str, Any] = {
        "dataset": constant(collection.name, len(judged)),
        "ranker": constant(ranker, len(judged)),
        "query_id": collection.query_ids.cast(pa.string()).take(pa.array(judged)),
    }
    for name, labels in collection.query_labels.items():
        columns[name] = labels.cast(pa.string()).take(pa.array(judged)).dictionary_encode()
    columns |= _evidence_columns(collection, judged)
    columns |= {name: values[name][judged] for name in measures}
    return Report(dict(header or {}), tuple(measures), pa.table(columns))


def allowed(collection: Collection, run: Run) -> Run:
    """The run without excluded documents, which are taken out before anything is counted: what follows moves up."""
    pairs = collection.excluded
    if pairs is None or not len(pairs):
        return run
    rows = np.arange(len(run.docs), dtype=np.int64)[:, None]
    gone = np.isin((rows << 32) + run.docs, (pairs[:, 0].astype(np.int64) << 32) + pairs[:, 1]) | (run.docs < 0)
    order = np.argsort(gone, axis=1, kind="stable")
    docs, scores = np.where(gone, np.int32(-1), run.docs), np.where(gone, np.float32(0), run.scores)
    return Run(np.take_along_axis(docs, order, 1), np.take_along_axis(scores, order, 1))


def most_excluded(collection: Collection) -> int:
    """The most documents that are excluded for one query: how much deeper than wanted a run has to be."""
    pairs = collection.excluded
    return 0 if pairs is None or not len(pairs) else int(np.bincount(pairs[:, 0]).max())


def beside(report: Report, kind: str) -> Report:
    """The report of what stands beside a ranker's measures, as columns named ``<measure>:<kind>``."""
    table = report.queries
    for name in report.measures:
        table = table.set_column(table.column_names.index(name), name, table[f"{name}:{kind}"])
    return Report(report.header, report.measures, table)


def constant(text: str, n: int) -> pa.DictionaryArray:
    """A column of n equal strings."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text], pa.string()))


def _evidence_columns(collection: Collection, judged: Any) -> dict[str, Any]:
    """The place of the evidence of each query that has exactly one, else null."""
    evidence = collection.evidence
    if evidence is None:
        return {}
    n = len(collection.query_ids)
    count = np.bincount(evidence.query, minlength=n)
    row = np.full(n, -1, np.int64)
    row[evidence.query] = np.arange(len(evidence.query))
    row[count != 1] = -1
    row = row[judged]
    take = pa.array(np.where(row < 0, 0, row), mask=row < 0)
    columns = {"doc_id": collection.doc_ids.cast(pa.string()).take(pa.array(evidence.doc)).take(take)}
    for name, array in (
        ("span_start", evidence.start),
        ("span_end", evidence.end),
        ("doc_chars", evidence.doc_chars),
        ("doc_tokens", evidence.doc_tokens),
    ):
        columns[name] = pa.array(array).take(take)
    return columns
