"""Any per-query table with the place of the evidence, from CSV or parquet, as a Report."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from posbench.errors import DataError
from posbench.types import Report

_TEXT = ("query_id", "doc_id")
_NUMBERS = ("span_start", "span_end", "doc_chars", "score")
_OPTIONAL = ("domain", "doc_tokens")
SCORE = "score"
"""The one measure of a table's report."""


def read_table(path: Path) -> tuple[Report, list[str]]:
    """The report of a table, and remarks on what it lacks.

    Columns: query_id, doc_id, span_start, span_end (characters, end exclusive), doc_chars, score; domain and doc_tokens
    may be absent. Other columns are left out. A row whose span is empty (null) is a query without known evidence.

    Raises:
        DataError: the file cannot be read, a column is missing or not of its type, a score is null, NaN or infinite, a
            query stands twice, or a span does not lie in its document.
    """
    table = _read(path)
    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: column {', '.join(twice)} stands twice; expected each column once")
    missing = [name for name in (*_TEXT, *_NUMBERS) if name not in table.column_names]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(table.column_names)}; expected "
            f"{', '.join((*_TEXT, *_NUMBERS))}, and domain and doc_tokens where they are known"
        )
    columns = {name: _strings(table, name) for name in _TEXT}
    columns |= {name: _numbers(path, table, name) for name in _NUMBERS}
    _check(path, columns)
    remarks = [f"no column {name}: {what}" for name, what in _LACKS.items() if name not in table.column_names]
    if "domain" in table.column_names:
        columns["domain"] = _strings(table, "domain")
    tokens = pa.nulls(len(table), pa.int64())
    if "doc_tokens" in table.column_names:
        tokens = _numbers(path, table, "doc_tokens")
        known = pc.and_(pc.is_finite(tokens), pc.greater(tokens, 0))
        _refuse(path, "doc_tokens", _not(known), tokens, "a number above 0, or nothing")
        tokens = tokens.cast(pa.int64(), safe=False)
    columns["doc_tokens"] = tokens
    columns["dataset"] = pa.array([path.stem] * len(table), pa.string())
    return Report({}, (SCORE,), pa.table(columns)), remarks


_LACKS = {
    "domain": "documents are resampled together, not within domains",
    "doc_tokens": "nothing is said by length in tokens, nor of a cut",
}


def _read(path: Path) -> pa.Table:
    wanted = (*_TEXT, *_NUMBERS, *_OPTIONAL)
    try:
        if path.suffix == ".parquet":
            known = [name for name in pq.read_schema(path).names if name in wanted]
            table = pq.read_table(path, columns=known)
        else:
            # Ids are text: 007 and 7 are two.
            types = {name: pa.string() for name in (*_TEXT, "domain")}
            table = pyarrow.csv.read_csv(path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    except (OSError, pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise DataError(f"{path}: not a readable CSV or parquet table: {error}") from error
    if not len(table):
        raise DataError(f"{path}: no rows; expected one a query")
    return table


def _strings(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table[name].cast(pa.string())


def _numbers(path: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    kind = table[name].type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise DataError(f"{path}, column {name}: found {kind}; expected numbers")
    return table[name].cast(pa.float64())


def _check(path: Path, columns: dict[str, pa.ChunkedArray]) -> None:
    for name in _TEXT:
        empty = pc.fill_null(pc.equal(columns[name], ""), True)
        _refuse(path, name, empty, columns[name], "a value")
    for name in ("span_start", "span_end", "doc_chars"):
        _refuse(path, name, _not(pc.is_finite(columns[name])), columns[name], "a finite number, or nothing")
    score = columns[SCORE]
    _refuse(path, SCORE, pc.invert(pc.fill_null(pc.is_finite(score), False)), score, "a finite number")
    seen = np.unique(columns["query_id"].to_numpy(), return_index=True)[1]
    twice = np.ones(len(score), bool)
    twice[seen] = False
    _refuse(path, "query_id", pa.array(twice), columns["query_id"], "each query once")
    start, end, chars = (columns[name] for name in ("span_start", "span_end", "doc_chars"))
    outside = pc.or_(pc.less(start, 0), pc.or_(pc.less(end, start), pc.greater(end, chars)))
    _refuse(path, "span_start", pc.fill_null(outside, False), start, "0 <= span_start <= span_end, within doc_chars")


def _not(good: pa.ChunkedArray) -> pa.ChunkedArray:
    """Where something known is not so; what is not known is no fault."""
    return pc.invert(pc.fill_null(good, True))


def _refuse(path: Path, column: str, bad: pa.Array, values: pa.ChunkedArray, expected: str) -> None:
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows):
        found = values[int(rows[0])].as_py()
        raise DataError(
            f"{path}: row {rows[0] + 1}, column {column}: found {found!r}; expected {expected} "
            f"({len(rows):,} such rows)"
        )
