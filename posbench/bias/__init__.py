"""Position bias: how a measure changes with the place of the evidence in its document and the document's length."""

from posbench.bias.composed import composed_report
from posbench.bias.placed import LENGTH_NAMES, LENGTHS, MIN_QUERIES, Placed, codes, placed, relative_position
from posbench.bias.posir import POSITION_BINS, official
from posbench.bias.report import position_report

__all__ = [
    "LENGTHS",
    "LENGTH_NAMES",
    "MIN_QUERIES",
    "POSITION_BINS",
    "Placed",
    "codes",
    "composed_report",
    "official",
    "placed",
    "position_report",
    "relative_position",
]
