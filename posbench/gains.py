"""What reranking gains over the first stage: each query's difference, how sure the mean is, and for which queries.

Intervals come from the cluster bootstrap of ``stats`` and p-values from the sign flips of clusters of ``paired``, as
everywhere two rankers are compared over the same queries.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench import paired, stats
from posbench.types import Float64, Int64, Report

FIRST, BEST, WORST = "first", "best_ties", "worst_ties"
TYPES = ("query_type", "type")
"""Labels of queries that say what kind of query each is, the first that a report has counts."""
ALL = "all"


def gains(report: Report, clusters: Int64, strata: Int64 | None = None, *, seed: int = 0) -> list[dict[str, Any]]:
    """One dict a measure and type of queries, those of all queries first.

    Args:
        report: a pipeline's, with the columns ``<measure>:first``, ``:best_ties`` and ``:worst_ties``.
        clusters: int64[Q], the resampling cluster of each query, 0..C-1.
        strata: int64[Q], the stratum of each query.
        seed: of resamples and flips.

    Returns:
        ``queries`` ("all" or a type; the type itself where all have one), ``count``, ``measure``, the means ``first``,
        ``reranked``, ``worst_ties`` and ``best_ties``, and the ``difference`` reranked - first with its 95%
        ``interval`` and two-sided ``p``, which is not corrected for several measures or types.
    """
    members = _members(report)
    cells = [(kind, name) for kind in members for name in report.measures]
    after, first, best, worst = (
        np.stack([np.where(members[kind], _values(report, name, of), np.nan) for kind, name in cells], axis=1)
        for of in ("", FIRST, BEST, WORST)
    )
    differences = after - first
    low, high = stats.mean_intervals(differences, clusters, strata, seed=seed)
    p = paired.flip_test(np.nan_to_num(differences), clusters, seed=seed)
    return [
        {
            "queries": kind,
            "count": int(members[kind].sum()),
            "measure": name,
            "first": float(np.nanmean(first[:, i])),
            "reranked": float(np.nanmean(after[:, i])),
            "worst_ties": float(np.nanmean(worst[:, i])),
            "best_ties": float(np.nanmean(best[:, i])),
            "difference": float(np.nanmean(differences[:, i])),
            "interval": [float(low[i]), float(high[i])],
            "p": float(p[i]),
        }
        for i, (kind, name) in enumerate(cells)
    ]


def types_of(report: Report) -> dict[str, Any]:
    """Which queries are of each type, by its name in alphabetical order: bool[Q]; empty where queries have no type."""
    column = next((name for name in TYPES if name in report.queries.column_names), "")
    if not column:
        return {}
    labels = np.array([label or "untyped" for label in report.queries[column].to_pylist()])
    return {kind: labels == kind for kind in sorted(set(labels.tolist()))}


def _members(report: Report) -> Mapping[str, Any]:
    """Which queries are of each type, all of them first: bool[Q] by name."""
    kinds = types_of(report)
    return kinds if len(kinds) == 1 else {ALL: np.ones(len(report.queries), bool), **kinds}


def _values(report: Report, measure: str, of: str) -> Float64:
    return np.asarray(report.queries[f"{measure}:{of}" if of else measure].to_numpy(), np.float64)
