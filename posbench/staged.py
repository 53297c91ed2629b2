"""What stands beside a stored pipeline's scores wherever they are shown: first stage, depth, query types and fusion."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench.gains import FIRST, types_of
from posbench.types import Report

KEPT = ("first", "reranker", "depth", "weight", "normalise", "ties")
"""What a manifest says of how a pipeline's stages are put together."""

_MANY = 6  # types of queries: more are counted, not named


def staged(report: Report) -> dict[str, Any] | None:
    """The stages of a pipeline's report; None for other rankers.

    Args:
        report: with the header of a stored result and, of a pipeline, the columns ``<measure>:first``.

    Returns:
        ``first`` and ``reranker`` (name, weights), ``depth``, ``weight`` of the first stage's score in the fusion (0:
        not fused), ``normalise``, ``ties``; ``measures``, the first stage's means; and ``query_types``, where queries
        have types: of each ``queries`` (their number) and the means ``first`` and ``reranked``.
    """
    said = report.header.get("rerank")
    if said is None:
        return None
    values = {name: (report.queries[f"{name}:{FIRST}"].to_numpy(), report.values(name)) for name in report.measures}
    types = {
        kind: {
            "queries": int(member.sum()),
            FIRST: {name: float(np.mean(first[member])) for name, (first, _) in values.items()},
            "reranked": {name: float(np.mean(after[member])) for name, (_, after) in values.items()},
        }
        for kind, member in types_of(report).items()
    }
    means = {name: float(np.mean(first)) for name, (first, _) in values.items()}
    return {**{key: said[key] for key in KEPT}, "measures": means, "query_types": types}


def fusion(said: Mapping[str, Any]) -> str:
    """How the two scores become one."""
    if not said["weight"]:
        return "scores not fused"
    return f"fused: {said['weight']:g} first stage + {1 - said['weight']:g} reranker ({said['normalise']})"


def sentence(said: Mapping[str, Any], measure: str = "") -> str:
    """The stages in a few words, with the first stage's mean of one measure (default nDCG@10, else its first)."""
    known = said["measures"]
    measure = next((name for name in (measure, "nDCG@10") if name in known), next(iter(known)))
    types = said["query_types"]
    counts = ", ".join(f"{kind} ({one['queries']:,})" for kind, one in types.items())
    if len(types) > _MANY:
        counts = str(len(types))
    asked = f"; query type{'s' if len(types) > 1 else ''} {counts}" if types else ""
    first = f"first stage {said['first']['name']} {measure} {known[measure]:.4f}, top {said['depth']:,}"
    return f"{first}; {fusion(said)}{asked}"
