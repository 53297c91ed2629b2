"""What an index costs a ranker: recall against exact search, and measures and position bias compared with it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench import stats
from posbench.compare import align, compare
from posbench.indexed import CUTOFFS, exact_report, recall_column
from posbench.types import Report

INDEX, EXACT = "index", "exact search"


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
    pair = {INDEX: report, EXACT: exact_report(report)}
    found = compare(pair, seed=seed)
    return {
        **report.header["index"],
        "recall": _recall(report, pair, seed),
        "measures": {part["measure"]: _compared(part) for part in found["measures"]},
        "resampled": found["resampled"],
        "bias": _bias(found["bias"]),
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
        "index": means[INDEX],
        "exact": means[EXACT],
        "difference": pair["difference"],
        "interval": pair["interval"],
        "p": pair["p"],
    }


def _bias(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The signed index over all lengths of both, and their difference; None where one is withheld."""
    if found is None:
        return None
    values = {row["name"]: row["index"]["all"] for row in found["rankers"]}
    difference = found["pairs"][0]["index"]["all"]
    if difference is None:
        return None
    return {
        "measure": found["measure"],
        "index": values[INDEX]["value"],
        "exact": values[EXACT]["value"],
        "difference": difference["difference"],
        "interval": difference["interval"],
        "p": difference["p"],
    }
