"""A board as one table of HTML: readable as it is, and what ``table.js`` works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench.leaderboard.boards import Board, Line, table
from posbench.leaderboard.ranks import FEWEST
from posbench.site.columns import Column, columns, others_of
from posbench.site.context import slug
from posbench.site.render import NONE, figure, interval
from posbench.types import Float64

SCRIPTS = ("datatables.js", "table.js")


@dataclass(frozen=True)
class Table:
    """A board's lines, best first, and its columns."""

    board: Board
    lines: tuple[Line, ...]
    columns: tuple[Column, ...]

    @property
    def groups(self) -> dict[str, list[Column]]:
        """The columns by the group that they are chosen in."""
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            found.setdefault(column.group, []).append(column)
        return found

    @property
    def pairs(self) -> dict[str, list[str]]:
        """The settings by kind: monolingual and cross-lingual, where names are pairs of languages."""
        parts = {name: name.split("-") for name in self.board.settings}
        if any(len(part) != 2 for part in parts.values()):
            return {}
        found = {"monolingual": [s for s, (a, b) in parts.items() if a == b]}
        found["cross-lingual"] = [s for s, (a, b) in parts.items() if a != b]
        return found if all(found.values()) else {}

    @property
    def ranking(self) -> str:
        """How models come to share a rank."""
        if self.board.by_queries:
            return (
                "Models share a rank where their difference is within simultaneous 95% intervals of all pairs, "
                "bootstrapped over the same queries."
            )
        if len(self.board.settings) >= FEWEST:
            return (
                "Models share a rank where paired t-tests over the settings, corrected for all pairs (Bonferroni), "
                "cannot tell them apart at 5%; values of single queries are not at hand."
            )
        return f"Ranks are an order only: values of single queries are not at hand, and fewer than {FEWEST} settings."

    @property
    def intervals(self) -> str:
        """What the intervals of means are over."""
        if self.board.by_queries:
            return "Intervals are bootstrapped over queries; over several settings, both ends are averaged."
        return (
            f"Where no interval over queries is known, that of a mean is a t interval over the settings, if there are "
            f"{FEWEST} or more: it says how far the mean would move with other settings of the kind."
        )

    def cells(self, i: int) -> str:
        """The figures of line ``i`` as HTML cells; figures and intervals alone, so that nothing needs escaping."""
        from markupsafe import Markup

        return Markup("".join(_cell(column.figures[i]) for column in self.columns))

    def data(self) -> dict[str, Any]:
        """What the script needs at once: names of columns and settings, and where the rest is."""
        return {
            "name": self.board.name,
            "slug": slug(self.board.name),
            "settings": list(self.board.settings),
            "groups": self.pairs,
            "columns": [
                {
                    "key": one.key,
                    "label": f"{one.over} {one.label}".strip(),
                    "shown": one.shown,
                    "measure": one.measure,
                    "length": one.length,
                }
                for one in self.columns
            ],
            "models": [slug(line.model) for line in self.lines],
        }


def _cell(values: Float64) -> str:
    """One cell; without its end tag, which HTML lets out, as there are thousands."""
    value, low, high = map(float, values)
    ends = interval(low, high)
    return f"<td>{figure(value)} <i>{ends}</i>" if ends else f"<td>{figure(value)}"


def rank(line: Line) -> str:
    """A rank as it is shown; a dash for a model without a mean."""
    return str(line.rank) if line.rank else NONE


def make(board: Board, boards: Sequence[Board]) -> Table:
    """The table of a board over all its settings; ``boards`` are all of the site."""
    lines = table(board)
    return Table(board, tuple(lines), tuple(columns(board, lines, others_of(board, boards))))


def shared(lines: Sequence[Line]) -> int:
    """How many models share their rank with another."""
    ranks = np.array([line.rank for line in lines if line.rank], np.int64)
    counts = np.bincount(ranks) if len(ranks) else ranks
    return int(counts[counts > 1].sum())
