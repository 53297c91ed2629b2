"""PSI beside what noise alone would give."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posbench.bias.shuffle import one_sided
from posbench.plots.style import BARS, COLOURS, FAINT, HEIGHT, INK, WIDTH, Chart, chart, figure
from posbench.types import Float64

_BINS = 40
_LINE = 17  # px between the labels of rules
_DASHES = {"observed": [1, 0], "mean": [6, 3], "95%": [2, 2]}


def null_distribution(figures: Mapping[str, tuple[float, Float64]], measure: str, about: str) -> Chart:
    """Histograms of PSI under shuffles with the PSI seen, the null's mean and its 95th percentile as rules.

    Args:
        figures: by ranker the PSI seen and its null float64[B] (``bias.shuffled.Shuffled.psi``).
        measure: the name of what PSI was computed from.
        about: what was searched, for the title.
    """
    values = [np.append(null, seen) for seen, null in figures.values()]
    low, high = min(part.min() for part in values), max(part.max() for part in values)
    edges = np.histogram_bin_edges([low, high], _BINS)
    shuffles = len(next(iter(figures.values()))[1])
    height = HEIGHT - 60 if len(figures) == 1 else 110
    scale = {"domain": [float(edges[0]), float(edges[-1])], "nice": True, "zero": False}
    x = {"type": "quantitative", "scale": scale, "axis": {"tickCount": 6, "format": ".2f"}}
    last = len(figures) - 1
    tables = [
        _one(name, seen, null, edges, {**x, "title": "PSI" if i == last else None}, height)
        for i, (name, (seen, null)) in enumerate(figures.items())
    ]
    lines = f"{about}; {shuffles:,} shuffles of the places of evidence among documents of like length"
    return chart(f"PSI of {measure} observed, and as noise alone gives it", lines, {"vconcat": tables, "spacing": 22})


def _one(name: str, seen: float, null: Float64, edges: Float64, x: Mapping[str, Any], height: int) -> dict[str, Any]:
    counts = np.histogram(null, edges)[0]
    bars = [
        {"from": float(a), "to": float(b), "shuffles": int(n)}
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
    ]
    p, mean, most = one_sided(seen, null), float(null.mean()), float(np.quantile(null, 0.95))
    rules = [
        {"kind": "observed", "at": seen, "label": f"observed {figure(seen)} (p {figure(p)})"},
        {"kind": "mean", "at": mean, "label": f"null's mean {figure(mean)}"},
        {"kind": "95%", "at": most, "label": f"null's 95th percentile {figure(most)}"},
    ]
    y = {"field": "shuffles", "type": "quantitative", "axis": {"tickCount": 3}, "title": "shuffles"}
    histogram = {
        "data": {"values": bars},
        "mark": {"type": "bar", "color": BARS, "binSpacing": 1},
        "encoding": {"x": {**x, "field": "from", "bin": "binned"}, "x2": {"field": "to"}, "y": y},
    }
    head = {"text": name, "anchor": "start", "fontSize": 13, "frame": "group", "color": INK, "offset": 8}
    return {"title": head, "width": WIDTH, "height": height, "layer": [histogram, *_rules(rules, x)]}


def _rules(rules: Sequence[Mapping[str, Any]], x: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A rule each, up to its label on the right; the further left the higher, so that no rule crosses a label."""
    layers = []
    for line, rule in enumerate(sorted(rules, key=lambda rule: -float(rule["at"]))):
        seen = rule["kind"] == "observed"
        at = {"x": {**x, "field": "at"}, "y": {"value": -_LINE * (line + 0.5)}}
        look = {"color": COLOURS[1], "strokeWidth": 2.5} if seen else {"color": FAINT, "strokeWidth": 1.5}
        mark = {"type": "rule", "strokeDash": _DASHES[rule["kind"]], **look}
        text = {
            "type": "text",
            "align": "left",
            "dx": 6,
            "baseline": "middle",
            "fontWeight": "bold" if seen else "normal",
        }
        pair = [
            {"mark": mark, "encoding": {**at, "y2": {"value": "height"}}},
            {"mark": text, "encoding": {**at, "text": {"field": "label"}}},
        ]
        layers.append({"data": {"values": [rule]}, "layer": pair})
    return layers
