"""The figures of a board for the script that averages them anew over chosen settings: data/SLUG.js.

A classic script, since a page that opens from a file can load nothing else. Figures are whole numbers of 1e-9 of the
measure's unit in 32 bits, base64: their means then agree with Python's to any digit that is shown.
"""

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from posbench.leaderboard import ranks
from posbench.leaderboard.boards import Board
from posbench.site import tables
from posbench.site.context import Site, slug
from posbench.site.tables import Table
from posbench.types import Float64

_ABSENT = -(2**31)


def files(site: Site) -> Iterator[tuple[str, bytes]]:
    """A script for each board that has settings to choose from."""
    for board in site.boards:
        if len(board.settings) > 1:
            content = json.dumps(data(tables.make(board, site.boards)), separators=(",", ":"), allow_nan=False)
            yield f"data/{slug(board.name)}.js", f"posbenchData({content});\n".encode()


def data(table: Table) -> dict[str, Any]:
    """What means, intervals and ranks are worked out from; models in the order of the table's lines."""
    board = table.board
    order = [board.models.index(line.model) for line in table.lines]
    lengths: dict[str, list[int]] = {}
    for column in table.columns:
        if column.measure:
            lengths.setdefault(column.measure, []).append(column.length)
    counts = range(1, len(board.settings) + 1)
    return {
        "main": board.measure,
        "figures": {name: _figures(board, name, chosen, order) for name, chosen in lengths.items()},
        "margins": packed(board.margins[order]) if board.by_queries else None,
        "fractions": [name for name in lengths if board.is_fraction(name)],
        "fewest": ranks.FEWEST,
        "interval": [_quantile(2, n) for n in counts],
        "critical": None if board.by_queries else _critical(board),
    }


def _figures(board: Board, measure: str, lengths: Sequence[int], order: Sequence[int]) -> Mapping[str, Any]:
    """By length: value, low and high, [models, settings]; ends that no setting has are left out."""
    found = {}
    for length in lengths:
        values = board.figures[measure][order, :, length]
        ends = () if np.isnan(values[..., 1]).all() else (1, 2)
        found[str(length)] = [packed(values[..., part]) for part in (0, *ends)]
    return found


def packed(values: Float64) -> dict[str, Any]:
    """Numbers in 32 bits: their unit is 1 / ``scale``, the finest power of ten that holds them all."""
    known = ~np.isnan(values)
    largest = float(np.abs(values[known]).max(initial=0.0))
    scale = 10**9
    while largest * scale > 2**31 - 1 and scale > 1:
        scale //= 10
    whole = np.full(values.shape, _ABSENT, "<i4")
    whole[known] = np.rint(values[known] * scale)
    return {"scale": scale, "values": b64encode(whole.tobytes()).decode()}


def _critical(board: Board) -> list[list[float]]:
    """The t quantiles of tests, by how many models have a mean and over how many settings."""
    models = range(len(board.models) + 1)
    counts = range(1, len(board.settings) + 1)
    return [[_quantile(m, n) for n in counts] for m in models]


def _quantile(models: int, settings: int) -> float:
    return round(ranks.critical(models, [settings])[0], 9) if settings >= ranks.FEWEST else 0.0
