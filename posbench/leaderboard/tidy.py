"""Entries as one tidy table, a row a figure: what the site offers for download and ``posbench export`` writes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

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
SCHEMA = pa.schema([(name, kind) for name, kind, _ in COLUMNS])


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
