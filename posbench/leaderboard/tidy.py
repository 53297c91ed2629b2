"""Entries as one tidy table, a row a figure: what the site offers for download and ``posbench export`` writes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from posbench.leaderboard import entry as entries
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import Entry, Source

COLUMNS = (
    ("board", pa.string(), "the benchmark"),
    ("dataset", pa.string(), "the dataset's own name"),
    ("model", pa.string(), "the model, as it was published or as its recipe is called"),
    ("setting", pa.string(), "a language pair (query-document), a task, or all"),
    ("length", pa.string(), "of documents: all, or Q1 (to 512 tokens), Q2 (to 1,024), Q3 (to 1,536), Q4 (longer)"),
    ("measure", pa.string(), "for example nDCG@10, PSI, signed index"),
    ("value", pa.float64(), "the figure, at full precision; fractions, not percent"),
    ("low", pa.float64(), "low end of its 95% interval; empty where it has none"),
    ("high", pa.float64(), "high end of its 95% interval"),
    ("queries", pa.int64(), "how many queries it is of; empty where that is unknown"),
    ("origin", pa.string(), "published (not reproduced here), here, or submitted"),
    ("source", pa.string(), "of published figures: title and address"),
)
STUDY_COLUMNS = (
    ("kind", pa.string(), "hnsw, saliency, input-order or rerank-strategies"),
    *COLUMNS[:3],
    ("path", pa.string(), "where the value stands in the study's summary, for example sets[0].recall"),
    ("value", pa.float64(), "the number, empty where it is text"),
    ("text", pa.string(), "the text, empty where it is a number"),
    ("origin", pa.string(), "here, or submitted"),
)
SCHEMA = pa.schema([(name, kind) for name, kind, _ in COLUMNS])
STUDY_SCHEMA = pa.schema([(name, kind) for name, kind, _ in STUDY_COLUMNS])


def table(found: Iterable[Entry], measures: Sequence[str] = ()) -> pa.Table:
    """The figures of entries in their order, with the columns of ``SCHEMA``; ``measures`` empty: all."""
    rows = [row for one in found for row in _rows(one, measures)]
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def _rows(entry: Entry, measures: Sequence[str]) -> Iterator[tuple[object, ...]]:
    source = source_text(entry.source)
    for measure, settings in entry.figures.items():
        if measures and measure not in measures:
            continue
        for setting, lengths in settings.items():
            for length, one in lengths.items():
                place = (entry.data.board, entry.data.name, entry.model.name, setting, length, measure)
                yield (*place, one.value, one.low, one.high, one.queries, entry.origin, source)


def studies(found: Iterable[Entry]) -> pa.Table:
    """Every figure and word of studies' summaries, a row each, with the columns of ``STUDY_SCHEMA``."""
    rows = [
        (one.kind, one.data.board, one.data.name, one.model.name, path, *_leaf(value), one.origin)
        for one in found
        for path, value in _leaves(one.details.get("summary"), "")
    ]
    columns = list(zip(*rows, strict=True)) or [()] * len(STUDY_SCHEMA)
    fields = zip(columns, STUDY_SCHEMA, strict=True)
    return pa.table([pa.array(column, field.type) for column, field in fields], STUDY_SCHEMA)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All values within a summary, by their path: sets[0].recall."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield from _leaves(part, f"{path}[{place}]")
    elif value is not None:
        yield path, value


def _leaf(value: Any) -> tuple[float | None, str]:
    """A number, or the text of anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    return None, str(value)


def guarded(table: pa.Table) -> pa.Table:
    """The table for a CSV file that spreadsheets may open: no text that they would take for a formula.

    A text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe before it; numbers stay. Parquet
    holds the texts as they are.
    """
    columns = [
        pc.replace_substring_regex(column, r"\A([=+\-@\t\r])", r"'\1") if pa.types.is_string(column.type) else column
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)


def source_text(source: Source | None) -> str:
    """A source in one line; empty where there is none."""
    return "" if source is None else ", ".join(filter(None, (source.title, source.url)))


def read(root: Path) -> list[Found]:
    """The entries under a folder, in the order of their paths, each with its per-query values.

    Raises:
        DataError: one is not readable, or its per-query values are not what it names.
    """
    found = ((path, entries.read(path)) for path in entries.files([root]))
    return [Found(one, path, entries.per_query(one, path)) for path, one in found]
