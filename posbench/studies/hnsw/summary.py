"""What a study's rows say: means, what orders change, tails and costs, by kind of vectors, index and order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np

from posbench import bias, stats
from posbench.bias import placed
from posbench.compare import places
from posbench.correlation import interval
from posbench.studies.hnsw import effects, shifts
from posbench.studies.hnsw.effects import Estimate
from posbench.studies.hnsw.grid import BASELINE
from posbench.studies.hnsw.table import Arm, arms, exact_values, queries_of
from posbench.types import Float64, Int64, Report, distinct

_EXACT = "exact search"


def summary(report: Report, seed: int = 0) -> dict[str, Any]:
    """Everything that is said of a study, JSON-serialisable.

    Returns:
        ``sets``: of each kind of vectors its facts from the manifest, ``arms`` (means by index and order), ``effects``
        (differences from the mean random order, p-values corrected by Holm within the kind), ``lid_recall``
        (correlation of the LID at a query with its recall) and ``position`` (position bias under each index against
        exact search); ``shifts``: of each dataset with several models their ranks by index and order.
    """
    every = arms(report)
    kinds = {name: [arm for arm in every if arm.key.vectors == name] for name in distinct(a.key.vectors for a in every)}
    facts = {one["vectors"]: one for one in report.header["sets"]}
    sets = [
        {
            **facts[name],
            "arms": [_arm(some, report) for some in _alike(mine)],
            "effects": _effects(mine, report),
            "lid_recall": _lid(mine, report),
            "position": _position(mine, report, seed),
        }
        for name, mine in kinds.items()
    ]
    return {"sets": sets, "shifts": _shifts(every, report, seed)}


def _alike(mine: Iterable[Arm]) -> list[list[Arm]]:
    """Arms that differ in the data seed alone, together; by index, then by order as first met."""
    found: dict[Any, list[Arm]] = {}
    for arm in mine:
        found.setdefault((arm.key.index, arm.key.order), []).append(arm)
    return [found[key] for key in sorted(found, key=lambda key: key[0])]


def clusters(report: Report, arm: Arm) -> Int64:
    """Queries of one document of evidence move together; others stand alone: int64[Q]."""
    table = queries_of(report, arm)
    alone = np.arange(len(table))
    if "doc_id" not in table.column_names:
        return alone
    known = ~table["doc_id"].is_null().to_numpy()
    return np.unique(np.where(known, bias.codes(table, "doc_id"), -1 - alone), return_inverse=True)[1].astype(np.int64)


def _arm(some: Sequence[Arm], report: Report) -> dict[str, Any]:
    first = some[0]
    together = clusters(report, first)
    queries = first.recall.shape[1]
    found = {
        **_index(first),
        "order": first.key.order,
        "builds": sum(len(arm.recall) for arm in some),
        "recall": asdict(effects.mean([arm.recall for arm in some], together)),
        "tail": asdict(effects.over_builds([effects.tail(arm.recall) for arm in some])),
        "milliseconds": asdict(effects.over_builds([1000 * arm.costs["search_seconds"] / queries for arm in some])),
        "computations": asdict(effects.over_builds([arm.costs["computations"] for arm in some])),
        "build_seconds": asdict(effects.over_builds([arm.costs["build_seconds"] for arm in some])),
        "bytes": float(np.mean([arm.costs["bytes"].mean() for arm in some])),
        "probed": int(sum(arm.costs["probed"].sum() for arm in some)),
        "missed": asdict(effects.over_builds([_share(arm) for arm in some])),
    }
    if not np.isnan(first.ndcg).any():
        exact = exact_values(queries_of(report, first), int(report.header["grid"]["k"]))
        found["ndcg"] = asdict(effects.mean([arm.ndcg for arm in some], together))
        found["ndcg_exact"] = float(exact.mean())
        found["ndcg_loss"] = asdict(effects.of_builds([exact - first.ndcg], [1.0], together))
    return found


def _share(arm: Arm) -> Float64:
    """The share of the probed documents that were not found by their own vector: float64[L]."""
    return arm.costs["probe_missed"] / np.maximum(arm.costs["probed"], 1)


def _index(arm: Arm) -> dict[str, Any]:
    return dict(zip(("library", "m", "ef_construction", "ef_search"), arm.key.index, strict=True))


def _effects(mine: Sequence[Arm], report: Report) -> list[dict[str, Any]]:
    """Differences from the mean random order of the same index, for recall, its tail and nDCG."""
    found = []
    for _, group in groupby(_alike(mine), key=lambda some: some[0].key.index):
        by_order = {some[0].key.order: some for some in group}
        base = by_order[BASELINE]
        together = clusters(report, base[0])
        for order, some in by_order.items():
            if order == BASELINE:
                continue
            row = {**_index(some[0]), "order": order}
            for measure in ("recall", "ndcg"):
                values = [[getattr(arm, measure) for arm in side] for side in (some, base)]
                if not np.isnan(values[0][0]).any():
                    row[measure] = asdict(effects.difference(values[0], values[1], together))
            row["tail"] = asdict(_tails(some, base))
            found.append(row)
    for row, p in zip(found, stats.holm([row["recall"]["p"] for row in found]), strict=True):
        row["recall"]["p_holm"] = p
    return found


def _tails(some: Sequence[Arm], base: Sequence[Arm]) -> Estimate:
    """The difference of tails: over sets, or over the builds of one set, whose queries are given."""
    pairs = [(effects.tail(arm.recall), effects.tail(other.recall)) for arm, other in zip(some, base, strict=True)]
    if len(pairs) > 1:
        return effects.of_sets(np.array([one.mean() - other.mean() for one, other in pairs]))
    one, other = pairs[0]
    return effects.of_builds([one[:, None], other[:, None]], [1.0, -1.0], np.zeros(1, np.int64))


def _lid(mine: Sequence[Arm], report: Report) -> list[dict[str, Any]]:
    """Spearman's correlation of the LID at a query with its mean recall under the random order, by index.

    Queries of several sets are correlated within each; the figure is the mean of the sets', its interval Student's over
    sets, or Fisher's of one set's queries. Left out where recall or LID does not vary.
    """
    from scipy.stats import spearmanr

    found = []
    for some in _alike(arm for arm in mine if arm.key.order == BASELINE):
        pairs = [(queries_of(report, arm)["lid"].to_numpy(), arm.recall.mean(axis=0)) for arm in some]
        pairs = [(lid[~np.isnan(lid)], recall[~np.isnan(lid)]) for lid, recall in pairs]
        pairs = [(lid, recall) for lid, recall in pairs if len(lid) > 3 and np.ptp(lid) > 0 and np.ptp(recall) > 0]
        if not pairs:
            continue
        rho = np.array([float(spearmanr(*pair).statistic) for pair in pairs])
        low, high = interval(float(rho[0]), len(pairs[0][0]))
        if len(rho) > 1:
            over = effects.of_sets(rho)
            low, high = over.low, over.high
        queries = sum(len(lid) for lid, _ in pairs)
        found.append({**_index(some[0]), "rho": float(rho.mean()), "low": low, "high": high, "queries": queries})
    return found


def _position(mine: Sequence[Arm], report: Report, seed: int) -> list[dict[str, Any]]:
    """The signed index of position bias under exact search and under each index and order, and their difference.

    Means over builds are compared with exact search on the same queries (``compare.places.signed_index``); Holm's
    correction is over all rows. Empty where no evidence is known.
    """
    if not mine or "span_start" not in report.queries.column_names:
        return []
    table = queries_of(report, mine[0])
    ndcg = report.measures[1]
    where = placed(Report(report.header, report.measures, table), ndcg)
    if where is None or np.isnan(mine[0].ndcg).any():
        return []
    known = bias.known_places(Report(report.header, report.measures, table))
    exact = exact_values(table, int(report.header["grid"]["k"]))
    scores = np.stack([exact, *(arm.ndcg.mean(axis=0) for arm in mine)], axis=1)[known]
    figures = places.signed_index(where, scores, seed=seed)
    drawn = figures.resampled[:, 1:, 0] - figures.resampled[:, :1, 0]
    low, high = stats.percentile_interval(drawn)
    rows = [
        {
            **_index(arm),
            "order": arm.key.order,
            "exact": float(figures.values[0, 0]),
            "index": float(figures.values[i + 1, 0]),
            "difference": float(figures.values[i + 1, 0] - figures.values[0, 0]),
            "low": float(low[i]),
            "high": float(high[i]),
            "p": float(figures.p[0, i + 1, 0]),
            "queries": int(known.sum()),
        }
        for i, arm in enumerate(mine)
    ]
    for row, p in zip(rows, stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _shifts(every: Sequence[Arm], report: Report, seed: int) -> list[dict[str, Any]]:
    """Models on one dataset: their ranks under exact search beside those under each index and order."""
    judged = [arm for arm in every if not np.isnan(arm.ndcg).any()]
    found = []
    for dataset in distinct(arm.key.dataset for arm in judged):
        cells: dict[Any, dict[str, Arm]] = {}
        for arm in judged:
            if arm.key.dataset == dataset:
                cells.setdefault((arm.key.index, arm.key.order), {})[arm.key.ranker] = arm
        for (_, order), models in sorted(cells.items(), key=lambda item: item[0][0]):
            if len(models) > 1:
                found.append({"dataset": dataset, **_shift(models, report, seed), "order": order})
    return found


def _shift(models: Mapping[str, Arm], report: Report, seed: int) -> dict[str, Any]:
    first = next(iter(models.values()))
    k = int(report.header["grid"]["k"])
    exact = {name: exact_values(queries_of(report, arm), k) for name, arm in models.items()}
    found = {name: arm.ndcg for name, arm in models.items()}
    return {**_index(first), **shifts.shifts(exact, found, clusters(report, first), seed)}
