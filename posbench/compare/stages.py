"""Position bias before and after reranking: the first stage's own analysis, and what reranking changes."""

from collections.abc import Mapping
from typing import Any

from posbench import bias
from posbench.compare.change import bias_change
from posbench.compare.table import compare
from posbench.evaluate import beside
from posbench.gains import FIRST
from posbench.types import Report

RERANKED = "reranked"


def bias_of_stages(report: Report, after: Mapping[str, Any] | None, *, seed: int = 0) -> dict[str, Any] | None:
    """The first stage's position bias beside that of the reranked run, over the same queries.

    Args:
        report: a pipeline's, with the columns ``<measure>:first``.
        after: ``bias.position_report`` of the reranked run.
        seed: of resamples, shuffles and flips.

    Returns:
        None where ``after`` is. ``first``, what ``bias.position_report`` says of the first stage; ``shapes`` of both;
        ``change`` (``bias_change``): the signed index of both, ``first`` and ``reranked``, and the paired difference
        reranked - first with its interval and p, None where it is withheld, for the reason in ``withheld``.
    """
    plain = beside(report, FIRST)
    before = None if after is None else bias.position_report(plain, after["measure"], seed=seed)
    if after is None or before is None:
        return None
    found = compare({RERANKED: report, FIRST: plain}, (after["measure"],), seed=seed)
    change = bias_change(found["bias"])
    few = "" if change else f"a position bin has fewer than {bias.MIN_QUERIES} queries, or one of the two finds nothing"
    return {
        "first": before,
        "shapes": {FIRST: bias.headline(before)["shape"], RERANKED: bias.headline(after)["shape"]},
        "change": change,
        "withheld": found["bias_withheld"] or few,
    }
