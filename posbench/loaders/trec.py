"""TREC qrels and run files of any size, as arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from posbench.errors import DataError
from posbench.loaders.assemble import Judgements
from posbench.loaders.lines import content
from posbench.loaders.tables import Rows
from posbench.types import Collection, Float64, Int32, Int64, Qrels, Run, Strings, byte_order, index_of, strings


@dataclass(frozen=True)
class RunRows:
    """The lines of a run file: query and document ids, and float64 scores."""

    queries: Strings
    docs: Strings
    scores: Float64


def judgements(path: Path) -> Judgements:
    """Qrels of four columns (query, anything, document, grade).

    Raises:
        DataError: a line has another number of columns, or a grade is not a whole number.
    """
    table = _columns(path, ("query", "iteration", "document", "grade"))
    grades = _numbers(path, table["grade"], "grade", pa.int32(), "a whole number")
    rows = Rows((path,), (len(table),), "line")
    return Judgements(strings(table["query"]), strings(table["document"]), grades.astype(np.int32), rows, "1", "3")


def read_run(path: Path) -> RunRows:
    """A run of six columns (query, Q0, document, rank, score, tag); the rank is ignored, as trec_eval does.

    Raises:
        DataError: a line has another number of columns, or a score is not a finite number.
    """
    table = _columns(path, ("query", "q0", "document", "rank", "score", "tag"))
    scores = _numbers(path, table["score"], "score", pa.float64(), "a number")
    with np.errstate(over="ignore"):
        odd = ~np.isfinite(scores.astype(np.float32))
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise DataError(f"{path}: line {_line(path, row)}, column score: {scores[row]} is not a finite 32-bit number")
    return RunRows(strings(table["query"]), strings(table["document"]), scores)


def without_texts(qrels_path: Path, run_paths: Sequence[Path]) -> Collection:
    """A collection of ids alone, for runs whose texts are not at hand: what the qrels judge and the runs name.

    Runs that are to be compared are given together, so that they are of one collection. Texts are empty; what ranks or
    measures by text (rerankers, position analysis) has nothing to work on.

    Raises:
        DataError: a file is malformed, or a document is judged twice for one query.
    """
    judged, runs = judgements(qrels_path), [read_run(path) for path in run_paths]
    query_ids = strings(pc.unique(judged.queries))
    doc_ids = strings(pc.unique(pa.chunked_array([judged.docs, *(run.docs for run in runs)])))
    query, doc = index_of(query_ids, judged.queries), index_of(doc_ids, judged.docs)
    refuse_repeats(qrels_path, query.astype(np.int64) * len(doc_ids) + doc, judged.queries, judged.docs)
    return Collection(
        name=qrels_path.name,
        doc_ids=doc_ids,
        docs=strings([""] * len(doc_ids)),
        query_ids=query_ids,
        queries=strings([""] * len(query_ids)),
        qrels=Qrels.from_pairs(query, doc, judged.grades, len(query_ids)),
        source={"qrels": str(qrels_path), "texts": False},
    )


def score_inputs(qrels_path: Path, run_path: Path) -> tuple[Strings, Run, Qrels, dict[str, int]]:
    """A run file and its qrels over common integers, ready for ``measures.score``.

    Returns:
        The ids of the queries of the qrels, the Run and Qrels over them (a query missing from the run has an empty
        row), and the counts ``missing_queries`` (of the run) and ``extra_queries`` (not in the qrels, ignored).

    Raises:
        DataError: a file is malformed, or a document stands twice for one query.
    """
    judged, run = judgements(qrels_path), read_run(run_path)
    query_ids = strings(pc.unique(judged.queries))
    doc_ids = strings(pc.unique(pa.chunked_array([judged.docs, run.docs])))
    judged_query, judged_doc = index_of(query_ids, judged.queries), index_of(doc_ids, judged.docs)
    pair = judged_query.astype(np.int64) * len(doc_ids) + judged_doc
    refuse_repeats(qrels_path, pair, judged.queries, judged.docs)
    qrels = Qrels.from_pairs(judged_query, judged_doc, judged.grades, len(query_ids))
    query, doc = index_of(query_ids, run.queries), index_of(doc_ids, run.docs)
    known = np.flatnonzero(query >= 0)
    pair = query[known].astype(np.int64) * len(doc_ids) + doc[known]
    refuse_repeats(run_path, pair, run.queries, run.docs, known)
    run_over = ranked(query[known], doc[known], run.scores[known], len(query_ids), byte_order(doc_ids))
    extra = pc.count_distinct(run.queries.filter(pa.array(query < 0))).as_py()
    missing = int((run_over.docs[:, 0] < 0).sum()) if run_over.depth else len(query_ids)
    return query_ids, run_over, qrels, {"missing_queries": missing, "extra_queries": extra}


def ranked(query: Int32, doc: Int32, scores: Float64, n: int, order: Int32) -> Run:
    """Lines of a run as a Run of n queries: aligned indices of query and document and their scores, in any order."""
    by_query = np.argsort(query, kind="stable")
    query, doc, scores = query[by_query], doc[by_query], scores[by_query]
    counts = np.bincount(query, minlength=n)
    place = np.arange(len(query)) - (np.cumsum(counts) - counts)[query]
    docs = np.full((n, int(counts.max(initial=0))), -1, np.int32)
    values = np.zeros(docs.shape)
    docs[query, place], values[query, place] = doc, scores
    return Run.ranked(docs, values, order)


def _columns(path: Path, names: tuple[str, ...]) -> pa.Table:
    """White-space separated columns as strings; pyarrow's reader wants single separators."""
    data = content(path)
    if not data.strip():
        raise DataError(f"{path}: empty; expected lines of {len(names)} columns ({', '.join(names)})")
    data = data.replace(b"\t", b" ").replace(b"\r", b"")
    if re.search(rb"  | \n|\n | \Z|\A ", data):
        data = b"\n".join(b" ".join(line.split()) for line in data.split(b"\n"))
    try:
        return csv.read_csv(
            pa.BufferReader(data),
            csv.ReadOptions(column_names=list(names), use_threads=True),
            csv.ParseOptions(delimiter=" ", quote_char=False, ignore_empty_lines=True),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise DataError(_complaint(path, data, names)) from error


def _complaint(path: Path, data: bytes, names: tuple[str, ...]) -> str:
    """The first line that is wrong, for a message."""
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            fields = line.decode("utf-8").split()
        except UnicodeDecodeError:
            return f"{path}: line {number}: bytes that are not UTF-8 text"
        if fields and len(fields) != len(names):
            return f"{path}: line {number}: {len(fields)} columns; expected {len(names)} ({', '.join(names)})"
    return f"{path}: not a file of {len(names)} columns ({', '.join(names)})"


def _numbers(path: Path, column: pa.ChunkedArray, name: str, kind: pa.DataType, expected: str) -> Float64:
    try:
        return np.asarray(column.cast(kind).to_numpy())
    except pa.ArrowInvalid as error:
        for row, text in enumerate(column.to_pylist()):
            try:
                pa.scalar(text).cast(kind)
            except pa.ArrowInvalid:
                raise DataError(
                    f"{path}: line {_line(path, row)}, column {name}: {text!r}; expected {expected}"
                ) from error
        raise


def _line(path: Path, row: int) -> int:
    """The number of the line that holds a row; blank lines are no rows."""
    lines = (number for number, line in enumerate(content(path).split(b"\n"), 1) if line.strip())
    return next(number for place, number in enumerate(lines) if place == row)


def refuse_repeats(path: Path, pairs: Int64, queries: Strings, docs: Strings, lines: Int64 | None = None) -> None:
    """Refuses a document that stands twice for one query.

    Args:
        path: of the file, for the message.
        pairs: one number for each pair of query and document.
        queries: ids, a line of the file each.
        docs: likewise.
        lines: of the pairs, where they are not all of the file's.

    Raises:
        DataError: one does; the line, the document and the query are named.
    """
    first = np.unique(pairs, return_index=True)[1]
    if len(first) == len(pairs):
        return
    again = np.ones(len(pairs), bool)
    again[first] = False
    row = int(np.flatnonzero(again)[0])
    line = row if lines is None else int(lines[row])
    raise DataError(
        f"{path}: line {_line(path, line)}: document {docs[line].as_py()!r} stands more than once for query "
        f"{queries[line].as_py()!r}; expected each document at most once"
    )
