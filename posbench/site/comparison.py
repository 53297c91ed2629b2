"""Two to five models of one board side by side: which differences are real, and which cannot be told apart.

What the page works out for any choice, ``compared`` works out here, from the same figures by the same rule
(``leaderboard.ranks``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench.leaderboard import ranks
from posbench.leaderboard.boards import LENGTHS, Board
from posbench.plots import differences
from posbench.site.context import FLAGSHIP, Page, Site, slug
from posbench.site.drawings import SCRIPTS, drawn
from posbench.types import Float64

MOST = 12  # models of a board whose pairs all stand on the page
CHOSEN = 5  # models that a reader may compare
_DIGITS = 7


@dataclass(frozen=True)
class Pair:
    """The difference first less second, the better one first, and half the width of its interval, None where none."""

    first: str
    second: str
    difference: float
    half: float | None

    @property
    def told(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.half is not None and abs(self.difference) > self.half


def compared(board: Board, models: Sequence[str], settings: Sequence[str] = (), length: int = 0) -> list[Pair]:
    """All pairs of models that have all the settings, in the order of the models.

    Args:
        board: where the models stand.
        models: some of its models.
        settings: over which means are taken (default: all).
        length: index in ``LENGTHS``; only over all lengths are there comparisons by queries.
    """
    chosen = [board.settings.index(name) for name in settings or board.settings]
    values = board.figures[board.measure][:, chosen, length, 0]
    known: NDArray[np.bool_] = np.asarray(~np.isnan(values).any(axis=1))
    rows = {name: board.models.index(name) for name in models}
    found = []
    for first, second in combinations([name for name in models if known[rows[name]]], 2):
        if board.by_queries and length == 0:
            difference, half = _by_queries(board, first, second, chosen)
        else:
            difference, half = _by_settings(values[rows[first]] - values[rows[second]], int(known.sum()))
        better = (first, second) if difference >= 0 else (second, first)
        found.append(Pair(*better, abs(difference), half))
    return found


def _by_queries(board: Board, first: str, second: str, chosen: Sequence[int]) -> tuple[float, float | None]:
    """Means over settings of the paired difference and of half its simultaneous interval."""
    found = []
    for s in chosen:
        names, one = board.pairs[board.settings[s]]
        a, b = names.index(first), names.index(second)
        found.append((one.difference[a, b], one.half[a, b]))
    difference, half = np.mean(found, axis=0).tolist()
    return difference, half


def _by_settings(values: Float64, models: int) -> tuple[float, float | None]:
    """The mean over settings and half its interval by a paired t-test, corrected for all pairs of so many models."""
    n = len(values)
    half = None
    if n >= ranks.FEWEST:
        half = ranks.critical(models, [n])[0] * float(values.std(ddof=1)) / n**0.5
    return float(values.mean()), half


def pages(site: Site) -> Iterator[Page]:
    """The page, and a script of figures for each board that has two models or more."""
    boards = sorted((board for board in site.boards if len(board.models) > 1), key=lambda one: one.name != FLAGSHIP)
    chart = drawn("differences", differences([], "a measure"), "")
    listed = [{"slug": slug(board.name), "name": board.name, "models": len(board.models)} for board in boards]
    values = {
        "boards": [_all_pairs(board) for board in boards if len(board.models) <= MOST],
        "larger": [board.name for board in boards if len(board.models) > MOST],
        "count": len(boards),
        "chosen": CHOSEN,
    }
    data = {"charts": {}, "boards": listed, "chart": chart.spec, "most": CHOSEN}
    yield Page("compare.html", "compare.html", "Compare models", values, (*SCRIPTS, "compare.js"), data)
    for board in boards:
        path = f"data/compare-{slug(board.name)}.js"
        yield Page(path, "compare-data.js", board.name, {"slug": slug(board.name)}, data=figures(board))


def _all_pairs(board: Board) -> dict[str, Any]:
    pairs = sorted(compared(board, board.models), key=lambda pair: -pair.difference)
    complete = {name for pair in pairs for name in (pair.first, pair.second)}
    return {
        "name": board.name,
        "slug": slug(board.name),
        "measure": board.measure,
        "settings": len(board.settings),
        "by_queries": board.by_queries,
        "pairs": pairs,
        "told": sum(pair.told for pair in pairs),
        "missing": [name for name in board.models if name not in complete],
    }


def figures(board: Board) -> dict[str, Any]:
    """What the page needs of a board, as small as it gets; means are rounded to seven decimals.

    Returns:
        ``values`` by model, length and setting; ``pairs`` by setting the models compared, their means less the
        first's, and half of each pair's interval, row by row of the upper triangle; ``critical``, by how many models
        are known, the t quantiles for three settings and more.
    """
    values = board.figures[board.measure][:, :, :, 0]
    used = [k for k in range(len(LENGTHS)) if not np.isnan(values[:, :, k]).all()]
    return {
        "name": board.name,
        "measure": board.measure,
        "models": board.models,
        "settings": board.settings,
        "lengths": [LENGTHS[k] for k in used],
        "byQueries": board.by_queries,
        "values": [[[_short(value) for value in values[m, :, k]] for k in used] for m in range(len(board.models))],
        "pairs": {name: _pairs(board, *found) for name, found in board.pairs.items()} if board.by_queries else {},
        "critical": _critical(board),
    }


def _pairs(board: Board, names: Sequence[str], found: ranks.Compared) -> dict[str, Any]:
    upper = np.triu_indices(len(names), 1)
    return {
        "models": [board.models.index(name) for name in names],
        "means": [_short(-value) for value in found.difference[0]],
        "half": [_short(value) for value in found.half[upper]],
    }


def _critical(board: Board) -> dict[str, list[float]]:
    counts = range(ranks.FEWEST, len(board.settings) + 1)
    if not counts:
        return {}
    known = ~np.isnan(board.figures[board.measure][:, :, 0, 0])
    return {
        str(models): [_short(value) or 0.0 for value in ranks.critical(models, counts)]
        for models in range(max(2, int(known.all(axis=1).sum())), len(board.models) + 1)
    }


def _short(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), _DIGITS) + 0.0
