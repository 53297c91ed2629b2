"""What all tables for a terminal share."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from posbench.bias import LENGTH_NAMES, LENGTHS

LABEL = dict(zip(LENGTHS, LENGTH_NAMES, strict=True)) | {"all": "all lengths"}
_WIDTH = 110  # columns where standard output is no terminal


def screen() -> Console:
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


def interval_text(interval: Sequence[float] | None) -> str:
    """An interval with two decimals, or nothing."""
    return "" if interval is None or math.isnan(interval[0]) else f"{interval[0]:.2f}..{interval[1]:.2f}"


def probability(p: float) -> str:
    """A p-value with three decimals."""
    return "<.001" if p < 0.001 else f"{p:.3f}"
