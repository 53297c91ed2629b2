"""What an index costs a ranker: recall against exact search, and measures and position bias compared with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench import stats
from posbench.compare import align, bias_change, compare
from posbench.evaluate import beside
from posbench.indexed import CUTOFFS, EXACT, recall_column
from posbench.types import Report

INDEX = "index"


def cost(report: Report, *, seed: int = 0) -> dict[str, Any]:
    """An indexed ranker beside the same ranker by exact search, on the same queries.

    Args:
        report: an indexed ranker's, with the columns of ``posbench.indexed``.
        seed: of resamples and flips.

    Returns:
        The manifest's ``index``; ``recall``, by k the mean share of the exact first k that was found, with its
        interval; ``measures``, by name the mean under the ``index`` and ``exact`` search, and the paired ``difference``
        with its interval and p; ``bias``, the signed index of both and their difference with its interval and p over
        all lengths, None where it is withheld, with the reason in ``bias_withheld``.
    """
    pair = {INDEX: report, EXACT: beside(report, EXACT)}
    found = compare(pair, seed=seed)
    return {
        **report.header["index"],
        "recall": _recall(report, pair, seed),
        "measures": {part["measure"]: _compared(part) for part in found["measures"]},
        "resampled": found["resampled"],
        "bias": bias_change(found["bias"]),
        "bias_withheld": found["bias_withheld"],
    }


def _recall(report: Report, pair: Mapping[str, Report], seed: int) -> dict[str, Any]:
    """Mean and interval of the recall at each cutoff that all collections reach."""
    aligned = align(pair)
    table = report.queries
    known = [k for k in CUTOFFS if recall_column(k) in table.column_names and not table[recall_column(k)].null_count]
    if not known:
        return {}
    values = np.stack([table[recall_column(k)].to_numpy() for k in known], axis=1)
    low, high = stats.mean_intervals(values, aligned.clusters, aligned.strata, seed=seed)
    return {
        str(k): {"mean": float(values[:, i].mean()), "interval": [float(low[i]), float(high[i])]}
        for i, k in enumerate(known)
    }


def _compared(part: Mapping[str, Any]) -> dict[str, Any]:
    means = {row["name"]: row["mean"] for row in part["rankers"]}
    (pair,) = part["pairs"]
    return {
        INDEX: means[INDEX],
        EXACT: means[EXACT],
        "difference": pair["difference"],
        "interval": pair["interval"],
        "p": pair["p"],
    }
