"""One page a board: its table, its settings, which differences are real, and where every figure is from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from posbench.leaderboard.boards import Board, Line
from posbench.site import tables
from posbench.site.context import Page, Site, board_path
from posbench.types import distinct

MOST = 12  # models whose pairs are written out


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
class Pair:
    """Two models, the first with the higher mean: the mean difference over settings and half of its interval."""

    better: str
    other: str
    difference: float
    half: float
    settings: int
    real: int

    @property
    def told(self) -> bool:
        """Whether the difference is more than chance makes."""
        return self.difference > self.half


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
            "pairs": pairs(board, table.lines),
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


def pairs(board: Board, lines: Sequence[Line]) -> list[Pair]:
    """All pairs of the first ``MOST`` models, best first: differences and half widths averaged over shared settings."""
    names = [line.model for line in lines[:MOST]]
    found = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            shared = [
                (compared.difference[models.index(a), models.index(b)], compared.half[models.index(a), models.index(b)])
                for models, compared in board.pairs.values()
                if a in models and b in models
            ]
            if shared:
                found.append(_pair(a, b, [(float(difference), float(half)) for difference, half in shared]))
    return found


def _pair(a: str, b: str, shared: Sequence[tuple[float, float]]) -> Pair:
    mean = float(np.mean([difference for difference, _ in shared]))
    half = float(np.mean([half for _, half in shared]))
    if mean < 0:
        a, b, mean = b, a, -mean
    return Pair(a, b, mean, half, len(shared), sum(abs(difference) > one for difference, one in shared))


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
