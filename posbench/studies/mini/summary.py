"""What a study of mini-benchmarks says: each selector's curve over sizes, and the smallest size that will do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posbench.stats import percentile_interval
from posbench.studies.mini.later import COLUMNS
from posbench.types import Float64, Report

COVERS = (
    "95% of the taus of one selection when clusters of queries are drawn anew with replacement and the selection is "
    "made among them: the luck of both draws, for these rankers; it says nothing of other rankers, and weights fitted "
    "on all queries are not fitted anew"
)
"""What the interval of tau covers."""
SURE = 0.95
"""The share of resamples in which all pairs that differ must keep their order."""


def summary(report: Report) -> dict[str, Any]:
    """JSON-serialisable.

    Returns:
        ``rankers`` (best first), ``known`` pairs of ``pairs``, ``selectors`` (``name``, ``sizes`` with the figures of
        each, ``smallest``, ``smallest_on_average`` and ``smallest_known``: sizes, None where none tried will do;
        ``same_as``, an earlier one that chose the same throughout), ``best`` (selector and size of the smallest that
        keeps the wanted tau), ``covers`` and the plan.
    """
    header = report.header
    columns = {name: report.queries[name].to_numpy() for name in ("size", "resample", *report.measures, *COLUMNS)}
    names = np.asarray(report.queries["selector"].to_pylist(), object)
    wanted, queries = float(header["plan"]["wanted"]), int(header["queries"])
    selectors: list[dict[str, Any]] = []
    for name in dict.fromkeys(names.tolist()):
        mine = {key: column[names == name] for key, column in columns.items()}
        sizes = [_size(mine, int(size), queries, wanted) for size in np.unique(mine["size"])]
        same = next((one["name"] for one in selectors if one["sizes"] == sizes), None)
        about = {"name": name, "same_as": same, **_trials(mine)}
        selectors.append({**about, "sizes": sizes, **_smallest(sizes, wanted, bool(header["known"]))})
    rankers = sorted(header["rankers"], key=lambda one: -one["mean"])
    return {
        "dataset": header["dataset"]["name"],
        "selection": header["dataset"].get("selection"),
        "measure": header["plan"]["measure"],
        "queries": queries,
        "clusters": header["clusters"],
        "rankers": rankers,
        "pairs": len(rankers) * (len(rankers) - 1) // 2,
        "known": header["known"],
        "wanted": wanted,
        "selectors": selectors,
        "best": _best(selectors),
        "covers": COVERS,
        "plan": header["plan"],
        "seed": header["seed"],
    }


def _trials(columns: Mapping[str, Float64]) -> dict[str, int]:
    """How many choices a size, on the collection and on resamples."""
    first = columns["size"] == columns["size"][0]
    on_all = int((columns["resample"][first] < 0).sum())
    return {"seeds": on_all, "resamples": int(first.sum()) - on_all}


def _size(columns: Mapping[str, Float64], size: int, queries: int, wanted: float) -> dict[str, Any]:
    """The figures of one selector and size."""
    on_all = (columns["size"] == size) & (columns["resample"] < 0)
    drawn = (columns["size"] == size) & (columns["resample"] >= 0)
    tau = columns["tau"]
    low, high = percentile_interval(np.stack([columns[name][drawn] for name in ("tau", "shift", "error")], axis=1))
    later = {name: float(columns[name][on_all].mean()) for name in COLUMNS if not np.isnan(columns[name][on_all]).any()}
    return {
        "size": size,
        "share": size / queries,
        "tau": float(tau[on_all].mean()),
        "interval": [float(low[0]), float(high[0])],
        "shift_interval": [float(low[1]), float(high[1])],
        "error_interval": [float(low[2]), float(high[2])],
        "reach": float((tau[on_all] >= wanted).mean()),
        "reach_resampled": float((tau[drawn] >= wanted).mean()),
        "shift": float(columns["shift"][on_all].mean()),
        "worst_shift": float(columns["shift"][on_all].max()),
        "kept": float(columns["kept"][on_all].mean()),
        "kept_resampled": float(columns["kept"][drawn].mean()),
        "error": float(columns["error"][on_all].mean()),
        "later": later or None,
    }


def _smallest(sizes: Sequence[Mapping[str, Any]], wanted: float, known: bool) -> dict[str, int | None]:
    """The smallest sizes from which on, upwards, all that were tried will do; ``known``: some pairs surely differ."""
    return {
        "smallest": _from_here([one["interval"][0] >= wanted for one in sizes], sizes),
        "smallest_on_average": _from_here([one["tau"] >= wanted for one in sizes], sizes),
        "smallest_known": _from_here([known and one["kept_resampled"] >= SURE for one in sizes], sizes),
    }


def _from_here(good: Sequence[bool], sizes: Sequence[Mapping[str, Any]]) -> int | None:
    bad = [i for i, fits in enumerate(good) if not fits]
    first = bad[-1] + 1 if bad else 0
    return int(sizes[first]["size"]) if first < len(sizes) else None


def _best(selectors: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The selector with the smallest size that will do, the first of equals."""
    fitting = [one for one in selectors if one["smallest"] is not None]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: one["smallest"])
    return {"selector": best["name"], "size": best["smallest"]}
