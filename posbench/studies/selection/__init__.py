"""Select documents that look like a target, and say how near they are to it."""

from posbench.studies.selection.benchmark import nearness
from posbench.studies.selection.order import Order
from posbench.studies.selection.prepare import target_of
from posbench.studies.selection.study import run

__all__ = ["Order", "nearness", "run", "target_of"]
