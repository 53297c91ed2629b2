"""The recall of single queries beside the local intrinsic dimension (LID) around them, under the random order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posbench.bias import MIN_QUERIES
from posbench.studies.hnsw import effects
from posbench.studies.hnsw.grid import BASELINE
from posbench.studies.hnsw.summary import clusters
from posbench.studies.hnsw.table import Arm, arms, queries_of
from posbench.types import Float64, Int64, Report

PARTS = 10
_INDEX = ("library", "m", "ef_construction", "ef_search")


def by_lid(report: Report, sets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every query's mean recall over the builds, and means by tenths of LID, under the smallest index of the study.

    Args:
        report: of a study.
        sets: what ``summary`` says of its sets, whose correlations are repeated here.

    Returns:
        Of each set that has LIDs: ``vectors``, ``null``, the index (``library``, ``m``, ``ef_construction``,
        ``ef_search``), ``lid`` and ``recall`` float[Q] of all its queries, ``parts``, and ``spearman``: ``rho``,
        ``low``, ``high`` and ``queries``, or None where recall or LID does not vary. A part is a tenth of each set's
        queries by LID, or more where a tenth has fewer than ten: ``lid``, their median; ``mean``, ``low`` and ``high``
        of recall, as in ``effects``; ``queries``.
    """
    every = [arm for arm in arms(report) if arm.key.order == BASELINE]
    smallest = min(arm.key.index for arm in every)
    found = []
    for one in sets:
        mine = [arm for arm in every if arm.key.vectors == one["vectors"] and arm.key.index == smallest]
        lids = [np.asarray(queries_of(report, arm)["lid"].to_numpy(), np.float64) for arm in mine]
        known = [np.flatnonzero(~np.isnan(lid)) for lid in lids]
        if not all(len(some) for some in known):
            continue
        index = dict(zip(_INDEX, smallest, strict=True))
        found.append(
            {
                "vectors": one["vectors"],
                "null": one["null"],
                **index,
                "lid": np.concatenate([lid[some] for lid, some in zip(lids, known, strict=True)]).tolist(),
                "recall": np.concatenate(
                    [arm.recall.mean(axis=0)[some] for arm, some in zip(mine, known, strict=True)]
                ).tolist(),
                "parts": _parts(report, mine, lids, known),
                "spearman": next((row for row in one["lid_recall"] if index.items() <= row.items()), None),
            }
        )
    return found


def _parts(report: Report, mine: Sequence[Arm], lids: Sequence[Float64], known: Sequence[Int64]) -> list[Any]:
    """Means by equal parts of each set's queries; empty where there are too few for two."""
    number = min(PARTS, min(map(len, known)) // MIN_QUERIES)
    if number < 2:
        return []
    pieces = [
        np.array_split(some[np.argsort(lid[some], kind="stable")], number)
        for lid, some in zip(lids, known, strict=True)
    ]
    together = clusters(report, mine[0])
    found = []
    for members in zip(*pieces, strict=True):
        mean = effects.mean(
            [arm.recall[:, some] for arm, some in zip(mine, members, strict=True)],
            np.unique(together[members[0]], return_inverse=True)[1].astype(np.int64),
        )
        among = np.concatenate([lid[some] for lid, some in zip(lids, members, strict=True)])
        row = {"lid": float(np.median(among)), "mean": mean.value, "low": mean.low, "high": mean.high}
        found.append({**row, "queries": len(among)})
    return found
