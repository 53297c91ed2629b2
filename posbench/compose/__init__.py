"""Composed collections: the same evidence at chosen places of documents of chosen lengths."""

from posbench.compose.filler import Count
from posbench.compose.folder import COMPOSITION, finished, write
from posbench.compose.methods import compose
from posbench.compose.parts import LABELS
from posbench.compose.plan import MIRRORED, OWN, Plan

__all__ = ["COMPOSITION", "LABELS", "MIRRORED", "OWN", "Count", "Plan", "compose", "finished", "write"]
