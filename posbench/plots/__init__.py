"""Charts of position bias, of HNSW indexes and of mini-benchmarks: figures to Vega-Lite specifications, and renderers.

The functions are pure and their figures JSON-serialisable. A chart is a plain dict, drawn alike as
SVG, PNG or an interactive page (``render``) or by a page of one's own.
"""

from posbench.plots.cells import heatmap
from posbench.plots.curves import offset_curves, paired_curves, position_curves
from posbench.plots.differences import differences, quality_by_cost
from posbench.plots.hnsw import lid_recall, recall_curves
from posbench.plots.mini import size_curves
from posbench.plots.null import null_distribution
from posbench.plots.pairs import forest, slopes
from posbench.plots.ranks import rank_shifts
from posbench.plots.render import page, png, save, script, svg
from posbench.plots.saliency import saliency_curves
from posbench.plots.stored import draw
from posbench.plots.style import COLOURS, Chart

__all__ = [
    "COLOURS",
    "Chart",
    "differences",
    "draw",
    "forest",
    "heatmap",
    "lid_recall",
    "null_distribution",
    "offset_curves",
    "page",
    "paired_curves",
    "png",
    "position_curves",
    "quality_by_cost",
    "rank_shifts",
    "recall_curves",
    "saliency_curves",
    "save",
    "script",
    "size_curves",
    "slopes",
    "svg",
]
