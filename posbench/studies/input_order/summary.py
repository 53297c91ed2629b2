"""What a report of the study says, with intervals: a function of its rows and a seed.

Intervals are percentile intervals over resampled documents; queries that share a relevant one move together. Quality in
another order is compared with the original's by sign flips of documents, all orders corrected by Holm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posbench import paired, stats
from posbench.stats import Bootstrap
from posbench.studies.input_order import ranks, rows
from posbench.studies.input_order.orders import ORIGINAL, PLACES, REVERSED
from posbench.types import Float64, Report

DRAWS = 500  # of a ranker to which places are nothing
GATES = {"sd": 0.005, "range": 0.015}
"""What shuffles may do to mean nDCG@10 for a reranker to count as stable, as in the plan beside arXiv 2606.01782."""


class _Figures:
    """Means of a report's columns with intervals."""

    def __init__(self, report: Report, seed: int) -> None:
        self.report = report
        clusters = np.unique(report.queries["cluster"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        self.clusters, self.bootstrap = clusters, Bootstrap(clusters, seed=seed)

    def column(self, name: str) -> Float64:
        return self.report.values(name)

    def mean(self, values: Float64) -> dict[str, Any]:
        """The mean of a column without what is not a number, its interval, and how many queries have a value."""
        known = ~np.isnan(values)
        if not known.any():
            return {"value": None, "interval": None, "queries": 0}
        low, high = self.bootstrap.intervals(values[:, None])
        interval = [float(low[0]), float(high[0])]
        return {"value": float(values[known].mean()), "interval": interval, "queries": int(known.sum())}

    def of(self, name: str) -> dict[str, Any]:
        """``mean`` of a column by its name."""
        return self.mean(self.column(name))

    def means(self, names: Sequence[str]) -> tuple[Float64, Float64]:
        """Means of columns, and in every resample: float64[M], float64[B, M]."""
        values = np.stack([self.column(name) for name in names], axis=1)
        with np.errstate(invalid="ignore"):
            total, count = np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), self.bootstrap.means(values)


def summary(report: Report, seed: int) -> dict[str, Any]:
    """The seven measures."""
    header = report.header
    figures = _Figures(report, seed)
    return {
        "dataset": header["dataset"]["name"],
        "ranker": header["ranker"]["name"],
        "weights": header["weights"],
        "strategy": header["strategy"],
        "depth": header["depth"],
        "plan": header["plan"],
        "queries": len(report.queries),
        "quality": _quality(figures, header["plan"], seed),
        "consistency": _consistency(figures),
        "anchoring": {name: figures.of(name) for name in ("anchoring", f"anchoring:top{rows.TOP}", "anchoring:said")},
        "exposure": {
            "repaired": _exposure(figures, "exposure", header["plan"]["shuffles"], seed),
            "said": _exposure(figures, "exposure_said", header["plan"]["shuffles"], seed),
        },
        "places": _places(figures) if header["plan"]["places"] else [],
        "malformed": _malformed(figures),
        "names": {name: figures.of(f"anchoring:{name}") for name in ("slot", "name")},
        "facts": header["facts"],
        "seconds": header["seconds"],
        "seed": seed,
    }


def _quality(figures: _Figures, plan: Mapping[str, Any], seed: int) -> dict[str, Any]:
    measure = f"nDCG@{rows.TOP}"
    orders = [ORIGINAL, REVERSED]
    for kind in ("shuffle", "rotation", "repeat"):
        orders += [f"{kind}-{one}" for one in range(1, plan[f"{kind}s"] + 1)]
    values = {order: figures.column(rows.quality_name(measure, order)) for order in orders}
    shuffled = np.stack([values[order] for order in orders if order.startswith("shuffle")], axis=1)
    values["shuffles, mean"] = shuffled.mean(axis=1)
    others = [order for order in values if order != ORIGINAL]
    changes = np.stack([values[order] - values[ORIGINAL] for order in others], axis=1)
    flips = paired.flips_for(len(others))
    p_values = stats.holm(paired.flip_test(changes, figures.clusters, flips, seed).tolist())
    by_order = [{"order": ORIGINAL, **figures.mean(values[ORIGINAL]), "change": None, "p": None}]
    for order, change, p in zip(others, changes.T, p_values, strict=True):
        by_order.append({"order": order, **figures.mean(values[order]), "change": figures.mean(change), "p": p})
    totals = shuffled.mean(axis=0)
    spread = {"sd": float(totals.std(ddof=1)), "range": float(np.ptp(totals))}
    return {
        "measure": measure,
        "first_stage": figures.of(f"{measure}:first"),
        "orders": by_order,
        "of_a_query": {
            "sd": figures.mean(shuffled.std(axis=1, ddof=1)),
            "range": figures.mean(np.ptp(shuffled, axis=1)),
        },
        "of_the_mean": spread,
        "gates": {name: {"at_most": most, "held": spread[name] <= most} for name, most in GATES.items()},
    }


def _consistency(figures: _Figures) -> dict[str, Any]:
    """Agreement of shuffles, of repeats (the noise floor), of the original and its reverse; and what order adds."""
    found: dict[str, Any] = {}
    for name in ("tau", "RBO", f"overlap@{rows.TOP}"):
        kinds = {kind: figures.of(f"{name}:{kind}") for kind in ("shuffles", "repeats", "reversed")}
        lost = figures.column(f"{name}:repeats") - figures.column(f"{name}:shuffles")
        found[name] = {**kinds, "lost_to_order": figures.mean(lost)}
    return found


def _exposure(figures: _Figures, name: str, shuffles: int, seed: int) -> dict[str, Any]:
    """Where the top comes from, with the scalars of the mean curve; total variation beside what chance alone makes."""
    names = [f"{name}:{tenth}" for tenth in rows.TENTHS]
    curve, replicates = figures.means(names)
    if np.isnan(curve).any():
        return {"curve": None, "why": "the lists have fewer than ten places"}
    low, high = stats.percentile_interval(replicates)
    low_scalar, high_scalar = stats.percentile_interval(ranks.unevenness(replicates))
    scalars = dict(zip(("total_variation", "slope", "edge_minus_middle", "entropy_ratio"), range(4), strict=True))
    value = ranks.unevenness(curve)
    found = {
        key: {"value": float(value[at]), "interval": [float(low_scalar[at]), float(high_scalar[at])]}
        for key, at in scalars.items()
    }
    null = ranks.unevenness(ranks.null_curves(_sizes(figures, shuffles), DRAWS, seed))[:, 0]
    found["total_variation"] |= {
        "by_chance": float(null.mean()),
        "p": float((np.count_nonzero(null >= value[0] - 1e-12) + 1) / (len(null) + 1)),
    }
    intervals = [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
    return {"curve": curve.tolist(), "intervals": intervals, **found}


def _sizes(figures: _Figures, shuffles: int) -> list[tuple[int, int, int]]:
    n, k = figures.column("list_size"), figures.column("top_size")
    return [(int(a), int(b), shuffles) for a, b in zip(n, k, strict=True) if b > 0]


def _places(figures: _Figures) -> list[dict[str, Any]]:
    return [
        {"place": share, **{name: figures.of(f"{name}:place-{one}") for name in ("rank", "RR", "first")}}
        for one, share in enumerate(PLACES, 1)
    ]


def _malformed(figures: _Figures) -> dict[str, Any]:
    kinds = {kind: figures.of(f"answers:{kind}") for kind in rows.KINDS}
    counts = ("named", "repeated", "outside", "longest_run", "tail")
    return {
        "answers": {kind: one for kind, one in kinds.items() if kind == "ok" or one["value"]},
        **{name: figures.of(name) for name in counts},
        "unnamed_by_tenth": [figures.of(f"unnamed:{tenth}")["value"] for tenth in rows.TENTHS],
    }
