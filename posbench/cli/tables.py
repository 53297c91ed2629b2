"""What all tables on a terminal share."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from posbench.bias import LENGTH_NAMES, LENGTHS

LENGTH_LABELS = dict(zip(LENGTHS, LENGTH_NAMES, strict=True)) | {"all": "all lengths"}
UNITS = {"document": "documents", "topic": "topics", "query": "queries"}  # what is resampled
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 110  # columns where standard output is no terminal


def terminal() -> Console:
    """Standard output, of a fixed width where it is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def plain_table(first: str, *others: str) -> Table:
    """A plain table: the first column on the left, figures on the right."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def figure(value: float) -> str:
    """Four places, or "-" for what is not a number."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def interval(bounds: Sequence[float] | None) -> str:
    """Two places and two dots, or nothing."""
    return "" if bounds is None or math.isnan(bounds[0]) else f"{bounds[0]:.2f}..{bounds[1]:.2f}"


def probability(p: float) -> str:
    """A p-value with three decimals."""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def curve(values: Sequence[float | None]) -> str:
    """A small curve on a scale from 0 to 1; a dot where a value is withheld."""
    return "".join("·" if value is None else _BLOCKS[min(7, int(max(0.0, value) * 8))] for value in values)
