"""The per-query table of an HNSW study: what builds found as rows, and rows as cells again.

A row is one query of one build searched with one ef. Beside the measures stand what the build and the search cost,
which is the same in all rows of a cell; the rows of a cell stand together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from posbench import topk
from posbench.evaluate import constant, evaluate
from posbench.studies.hnsw.builds import Task
from posbench.studies.hnsw.subjects import Known, Subject, query_ids
from posbench.types import Float64, Report, Run

COSTS = ("computations", "search_seconds", "build_seconds", "bytes", "probed", "probe_missed")
_KEYS = ("vectors", "ranker", "dataset", "data_seed", "library", "m", "ef_construction", "ef_search", "order")


@dataclass(frozen=True)
class Key:
    """What a cell is, apart from the seed of its levels. ``index`` is what the builds of a comparison share."""

    vectors: str
    ranker: str
    dataset: str
    data_seed: int
    library: str
    m: int
    ef_construction: int
    ef_search: int
    order: str

    @property
    def index(self) -> tuple[str, int, int, int]:
        """Library, m, ef_construction and ef_search."""
        return self.library, self.m, self.ef_construction, self.ef_search


@dataclass(frozen=True)
class Arm:
    """All builds of one key: they differ in the seed of their levels, and in the shuffle where the order has one.

    ``recall`` and ``ndcg`` float64[L, Q], the latter NaN without judgements; ``costs`` float64[L] by name; ``first``
    the row of the report at which the first build begins.
    """

    key: Key
    first: int
    recall: Float64
    ndcg: Float64
    costs: Mapping[str, Float64]


def rows(subject: Subject, known: Known, task: Task, order: str, seed: int, found: Mapping[str, Any]) -> pa.Table:
    """The rows of one build."""
    base = _about_queries(subject, known, task.k)
    return pa.concat_tables(_cell(subject, base, task, order, seed, found, number) for number in range(len(task.efs)))


def _about_queries(subject: Subject, known: Known, k: int) -> pa.Table:
    """What does not depend on the build: ids, labels, place of the evidence, LID, and nDCG by exact search."""
    lid = pa.array(known.query_lid)
    collection = subject.collection
    if collection is None:
        ids = query_ids(subject)
        none = pa.array(np.full(len(ids), np.nan))
        head = {"dataset": constant(subject.name, len(ids)), "ranker": constant(subject.name, len(ids))}
        return pa.table({**head, "query_id": ids, "row": pa.array(np.arange(len(ids))), "lid": lid, _exact(k): none})
    run = _ranked(subject, known.exact.docs)
    report = evaluate(collection, run, (f"nDCG@{k}",), ranker=subject.ranker)
    judged = np.flatnonzero(np.diff(collection.qrels.indptr) > 0)
    table = report.queries.rename_columns(
        [_exact(k) if name == f"nDCG@{k}" else name for name in report.queries.column_names]
    )
    return table.append_column("row", pa.array(judged)).append_column("lid", lid.take(pa.array(judged)))


def _exact(k: int) -> str:
    return f"nDCG@{k}:exact"


def _ranked(subject: Subject, docs: Any) -> Run:
    """Found documents as a run: their exact scores decide, as in a ranker behind an index."""
    assert subject.collection is not None
    vectors = subject.vectors
    docs = np.asarray(docs)
    scores = topk.rescore(vectors.queries, vectors.docs, docs)
    return Run.ranked(docs, scores, subject.collection.doc_order)


def _cell(
    subject: Subject, base: pa.Table, task: Task, order: str, seed: int, found: Mapping[str, Any], number: int
) -> pa.Table:
    which = base["row"].to_numpy()
    n, how = len(base), task.how
    if subject.collection is None:
        ndcg = np.full(n, np.nan)
    else:
        name = f"nDCG@{task.k}"
        run = _ranked(subject, found["docs"][number])
        ndcg = evaluate(subject.collection, run, (name,), ranker=subject.ranker).values(name)
    seconds, size, probed, missed = found["build"].tolist()
    numbers: dict[str, Any] = {
        "data_seed": subject.data_seed,
        "m": how.m,
        "ef_construction": how.ef_construction,
        "ef_search": task.efs[number],
        "level_seed": seed,
        "computations": float(found["computations"][number]),
        "search_seconds": float(found["seconds"][number]),
        "build_seconds": seconds,
        "bytes": int(size),
        "probed": int(probed),
        "probe_missed": int(missed),
    }
    texts = {"vectors": subject.name, "library": how.library, "order": order}
    table = base.drop_columns(["row"])
    for column, text in texts.items():
        table = table.append_column(column, constant(text, n))
    for column, value in numbers.items():
        table = table.append_column(column, pa.array(np.full(n, value)))
    table = table.append_column(f"recall@{task.k}", pa.array(found["recall"][number][which]))
    return table.append_column(f"nDCG@{task.k}", pa.array(ndcg))


def measures(k: int) -> tuple[str, str]:
    """The measures of a study."""
    return f"recall@{k}", f"nDCG@{k}"


def arms(report: Report) -> list[Arm]:
    """The cells of a study's rows, those of one key together, in the order of their first rows."""
    table = report.queries
    recall, ndcg = report.measures
    codes = np.stack([_codes(table[name]) for name in (*_KEYS, "level_seed")], axis=1)
    starts = np.flatnonzero(np.r_[True, (codes[1:] != codes[:-1]).any(axis=1)]).tolist() if len(codes) else []
    values = {name: table[name].to_numpy() for name in (recall, ndcg)}
    together: dict[Key, list[slice]] = {}
    for first, last in zip(starts, [*starts[1:], len(table)], strict=True):
        key = Key(*(table[name][first].as_py() for name in _KEYS))
        together.setdefault(key, []).append(slice(first, last))
    return [_arm(key, slices, table, values[recall], values[ndcg]) for key, slices in together.items()]


def _arm(key: Key, slices: Sequence[slice], table: pa.Table, recall: Float64, ndcg: Float64) -> Arm:
    firsts = pa.array([part.start for part in slices])
    costs = {name: np.asarray(table[name].take(firsts).to_numpy(), np.float64) for name in COSTS}
    return Arm(
        key,
        slices[0].start,
        np.stack([recall[part] for part in slices]),
        np.stack([ndcg[part] for part in slices]),
        costs,
    )


def _codes(column: pa.ChunkedArray) -> Any:
    if pa.types.is_dictionary(column.type):
        return column.unify_dictionaries().combine_chunks().indices.to_numpy()
    return column.to_numpy()


def queries_of(report: Report, arm: Arm) -> pa.Table:
    """The rows of an arm's first build: what is known of its queries."""
    return report.queries.slice(arm.first, arm.recall.shape[1])


def exact_values(table: pa.Table, k: int) -> Float64:
    """The nDCG by exact search of the queries of a table: float64[Q]."""
    return np.asarray(table[_exact(k)].to_numpy(), np.float64)
