"""Paired comparison of rankers over the same queries: means, position bias, and ranks that can be told apart."""

from posbench.compare.align import Aligned, align
from posbench.compare.change import bias_change
from posbench.compare.choose import choose, labels
from posbench.compare.stages import bias_of_stages
from posbench.compare.table import compare

__all__ = ["Aligned", "align", "bias_change", "bias_of_stages", "choose", "compare", "labels"]
