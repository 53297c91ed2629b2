"""Position bias: how a measure changes with the place of the evidence in its document and the document's length."""

from posbench.bias.composed import composed_report
from posbench.bias.placed import (
    LENGTH_NAMES,
    LENGTHS,
    MIN_QUERIES,
    Placed,
    codes,
    known_places,
    placed,
    relative_position,
)
from posbench.bias.posir import POSITION_BINS, official
from posbench.bias.report import analysis, headline, position_report
from posbench.bias.table import SCORE, read_table

__all__ = [
    "LENGTHS",
    "LENGTH_NAMES",
    "MIN_QUERIES",
    "POSITION_BINS",
    "SCORE",
    "Placed",
    "analysis",
    "codes",
    "known_places",
    "composed_report",
    "headline",
    "official",
    "placed",
    "position_report",
    "read_table",
    "relative_position",
]
