"""One page a board: its table, its settings, which differences are real, and where every figure is from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from posbench.leaderboard.boards import Board
from posbench.site import tables
from posbench.site.comparison import MOST, compared
from posbench.site.context import Page, Site, board_path
from posbench.types import distinct


@dataclass(frozen=True)
class Setting:
    """A setting: how many models have it, its queries and documents (None: not said), its best model and figure."""

    name: str
    models: int
    queries: int | None
    documents: int | None
    best: str
    value: float


@dataclass(frozen=True)
class Provenance:
    """Where a model's figures on the board come from."""

    model: str
    origin: str
    entries: int
    sources: tuple[tuple[str, str], ...]
    weights: tuple[str, ...]
    selections: tuple[str, ...]
    commands: tuple[str, ...]


def pages(site: Site) -> Iterator[Page]:
    """A page for each board."""
    for board in site.boards:
        table = tables.make(board, site.boards)
        values = {
            "table": table,
            "settings": settings(board),
            "pairs": compared(board, [line.model for line in table.lines[:MOST]]),
            "most": MOST,
            "provenance": [provenance(board, line.model) for line in table.lines],
        }
        yield Page(board_path(board.name), "board.html", board.name, values, tables.SCRIPTS, table.data())


def settings(board: Board) -> list[Setting]:
    """What each setting holds."""
    values = board.figures[board.measure][:, :, 0, 0]
    found = []
    for s, name in enumerate(board.settings):
        if np.isnan(values[:, s]).all():
            continue
        best = int(np.nanargmax(values[:, s]))
        cells = [board.cell(board.measure, model, name) for model in board.models]
        queries = next((cell.queries for cell in cells if cell is not None and cell.queries), None)
        models = int((~np.isnan(values[:, s])).sum())
        found.append(
            Setting(name, models, queries, _documents(board, name), board.models[best], float(values[best, s]))
        )
    return found


def _documents(board: Board, setting: str) -> int | None:
    """The documents of a setting, where an entry of it alone says so."""
    for found in (one for entries in board.entries.values() for one in entries):
        counts = found.entry.details.get("counts")
        if found.entry.settings() == [setting] and isinstance(counts, dict) and "documents" in counts:
            return int(counts["documents"])
    return None


def provenance(board: Board, model: str) -> Provenance:
    """Sources, weights and commands of a model, each once."""
    entries = [found.entry for found in board.entries[model]]
    return Provenance(
        model,
        board.origin(model),
        len(entries),
        tuple(dict.fromkeys((one.source.title, one.source.url) for one in entries if one.source is not None)),
        tuple(distinct(one.model.weights for one in entries if one.model.weights)),
        tuple(distinct(one.data.selection for one in entries if one.data.selection)),
        tuple(distinct(one.command for one in entries if one.command)),
    )
