"""What a person or a script reads of a stored selection: distances, curves, and what to beware of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from posbench.studies.selection.judge import MEASURES, band
from posbench.types import Report

_COLLAPSED = 0.5  # of the size: below this effective sample size a draw is a ranking


def told(report: Report) -> dict[str, Any]:
    """The summary that a person or a script reads, from a stored report."""
    header, values = report.header, report.queries.to_pylist()
    size, selector = header["selection"]["size"], header["selection"]["selector"]
    selected = _mean(values, selector, size)
    raw = _mean(values, "raw", header["raw"]["documents"])
    random = {name: band(_draws(values, size, name)) for name in MEASURES}
    kept = ("raw", "targets", "selection", "gain_over_random", "effective_sample_size", "drift", "ngrams", "seconds")
    summary = {name: header[name] for name in kept}
    summary |= {"divergence": {"raw": raw, "random": random, "selected": selected}, "comparison": _curves(values)}
    about = header["ranker"]["used"]
    summary |= {"features": about["features"], "settings": about["settings"], "seed": header["seed"]}
    return summary | {"warnings": list(_warnings(summary))}


def _mean(values: Sequence[Mapping[str, Any]], selector: str, size: int) -> dict[str, float]:
    """The measures of a selector's one selection of a size, averaged over targets."""
    mine = [row for row in values if (row["ranker"], row["size"]) == (selector, size)]
    if selector == "random":
        mine = [row for row in mine if row["draw"] < 0]
    return {name: float(np.mean([row[name] for row in mine])) for name in MEASURES} if mine else {}


def _draws(values: Sequence[Mapping[str, Any]], size: int, name: str) -> list[float]:
    """A measure of each random selection of a size, averaged over targets."""
    mine: dict[int, list[float]] = {}
    for row in values:
        if row["ranker"] == "random" and row["size"] == size and row["draw"] >= 0:
            mine.setdefault(row["draw"], []).append(row[name])
    return [float(np.mean(found)) for found in mine.values()]


def _curves(values: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every selector at every size, random with its band."""
    cells = dict.fromkeys((row["size"], row["ranker"]) for row in values if row["ranker"] != "raw")
    found = []
    for size, selector in sorted(cells):
        one: dict[str, Any] = {"selector": selector, "size": size}
        if selector == "random":
            one |= {name: band(_draws(values, size, name)) for name in MEASURES}
        else:
            one |= _mean(values, selector, size)
        found.append(one)
    return found


def _warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know before using the selection."""
    size, selector = summary["selection"]["size"], summary["selection"]["selector"]
    for target, effective in zip(summary["targets"], summary["effective_sample_size"], strict=True):
        mine = summary["selection"]["by_target"][target["name"]]
        if selector in ("dsir", "top-k", "tempered") and effective["drawn"] < _COLLAPSED * mine:
            yield (
                f"the weights collapse: their effective sample size is {effective['drawn']:,.1f} for {mine:,} "
                "documents, so the draw is a ranking without diversity; greedy and logistic do not collapse"
            )
        if target["documents"] < 50:
            few = f"target {target['name']} has {target['documents']} fitted documents; give more if there are any"
            smoothed = selector in ("logistic", "greedy", "random") or summary["settings"]["laplace"]
            yield few if smoothed else f"{few}, and smooth it by --laplace 1"
    for target, gain in zip(summary["targets"], summary["gain_over_random"], strict=True):
        if gain["low"] <= 0 and selector != "random":
            yield (
                f"no nearer to {target['name']} than random selections of {size:,}: held-out KL lower by "
                f"{gain['value']:.3f} ({gain['low']:.3f}..{gain['high']:.3f})"
            )
    if summary["divergence"]["selected"]["KL reduction"] <= 0:
        yield "the KL reduction is not positive: the selection is farther from the target than all raw text is"
    if summary["selection"]["repeated_texts"]:
        count = summary["selection"]["repeated_texts"]
        yield f"{count:,} selected documents repeat another's text; --distinct selects no text twice"
