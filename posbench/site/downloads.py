"""Every table of the site as CSV and parquet, and the page that offers them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from posbench import exports
from posbench.leaderboard import tidy
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import Entry
from posbench.site.context import Page, Site, slug

FOLDER = "downloads"


@dataclass(frozen=True)
class Download:
    """A table, what it is, and the path of its files without their ending."""

    title: str
    path: str
    table: pa.Table


def pages(site: Site) -> Iterator[Page]:
    """The page of downloads."""
    values = {
        "tables": [
            {"title": one.title, "path": one.path, "rows": len(one.table), "columns": one.table.num_columns}
            for one in tables(site)
        ],
        "queries": [{"path": path, "entry": found.entry} for path, found in per_query(site)],
        "schemas": [("Tables of boards", _told(tidy.COLUMNS)), ("Table of studies", _told(tidy.STUDY_COLUMNS))],
    }
    yield Page("downloads.html", "downloads.html", "Downloads", values)


def files(site: Site) -> Iterator[tuple[str, bytes]]:
    """The files: CSV and parquet of every table, and parquet of per-query values as they lie beside their entries."""
    for one in tables(site):
        yield f"{one.path}.csv", exports.content(tidy.guarded(one.table), "csv")
        yield f"{one.path}.parquet", exports.content(one.table, "parquet")
    for path, found in per_query(site):
        if found.table is not None:
            yield path, found.table.read_bytes()


def tables(site: Site) -> list[Download]:
    """All boards in one table, each board's own, and what the studies say; no table without a row."""
    entries = {board.name: [found.entry for found in _scores(site, board.name)] for board in site.boards}
    every: list[Entry] = [one for some in entries.values() for one in some]
    found = [Download("All boards", f"{FOLDER}/all-boards", tidy.table(every))]
    found += [Download(name, f"{FOLDER}/board-{slug(name)}", tidy.table(some)) for name, some in entries.items()]
    found.append(Download("Studies", f"{FOLDER}/studies", tidy.studies(one.entry for one in site.studies)))
    return [one for one in found if len(one.table)]


def per_query(site: Site) -> Iterator[tuple[str, Found]]:
    """The entries that have per-query values, each with the path of its file."""
    taken: set[str] = set()
    for board in site.boards:
        for found in _scores(site, board.name):
            if found.table is None:
                continue
            stem = f"{FOLDER}/queries/{slug(board.name)}/{slug(found.entry.model.name)}/{slug(found.entry.data.name)}"
            path = next(path for n in range(1, len(taken) + 2) if (path := _numbered(stem, n)) not in taken)
            taken.add(path)
            yield path, found


def _numbered(stem: str, n: int) -> str:
    return f"{stem}.parquet" if n == 1 else f"{stem}-{n}.parquet"


def _scores(site: Site, name: str) -> list[Found]:
    """The entries of a board, by model."""
    board = next(board for board in site.boards if board.name == name)
    return [found for model in board.models for found in board.entries[model]]


def _told(columns: tuple[tuple[str, pa.DataType, str], ...]) -> list[tuple[str, str, str]]:
    return [(name, str(kind), meaning) for name, kind, meaning in columns]
