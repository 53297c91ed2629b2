"""Mini-benchmarks: how well a share of the queries keeps the order of rankers, by the way it is chosen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from posbench.plots.style import COLOURS, FAINT, HEIGHT, INK, WIDTH, Chart, chart

_COLUMNS = 3
_PANEL = (190, 170)  # px, width and height
_RANDOM = "random"


def size_curves(selectors: Sequence[Mapping[str, Any]], wanted: float, about: Sequence[str]) -> Chart:
    """Kendall's tau by share of the queries: a panel a selector, its band and mean over those of random choice.

    Args:
        selectors: of ``studies.mini.summary``: ``name``, ``same_as`` and ``sizes`` with share, tau and interval.
        wanted: the tau to keep, drawn as a rule.
        about: lines for the title: the dataset, how many queries and rankers.
    """
    drawn = [one for one in selectors if not one["same_as"]]
    shares = sorted({size["share"] for one in drawn for size in one["sizes"]})
    low = min(0.0, min(size["interval"][0] for one in drawn for size in one["sizes"]))
    axes = _axes(shares, math.floor(low * 5) / 5)
    baseline = next((one for one in drawn if one["name"] == _RANDOM), None)
    panels = [_panel(one, baseline, wanted, axes, len(drawn) == 1) for one in drawn]
    same = [f"{one['name']} chooses as {one['same_as']}" for one in selectors if one["same_as"]]
    lines = [
        *about,
        "Line: mean over seeds on all queries; band: 95% of single choices with queries drawn anew, random's in grey",
        *(["; ".join(same)] if same else []),
    ]
    rows = [{"hconcat": panels[i : i + _COLUMNS], "spacing": 20} for i in range(0, len(panels), _COLUMNS)]
    return chart("Kendall's tau of rankers with all queries, by share of queries chosen", lines, {"vconcat": rows})


def _axes(shares: Sequence[float], low: float) -> tuple[dict[str, Any], dict[str, Any]]:
    x = {
        "field": "share",
        "type": "quantitative",
        "title": "share of queries",
        "scale": {"type": "log", "domain": [shares[0], shares[-1]], "nice": False},
        "axis": {"values": list(shares), "format": ".2~p", "labelFlush": False, "labelOverlap": True, "grid": False},
    }
    y = {
        "field": "tau",
        "type": "quantitative",
        "title": "tau",
        "scale": {"domain": [low, 1], "nice": False},
        "axis": {"tickCount": 6},
    }
    return x, y


def _panel(
    one: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
    wanted: float,
    axes: tuple[dict[str, Any], dict[str, Any]],
    alone: bool,
) -> dict[str, Any]:
    width, height = (WIDTH, HEIGHT) if alone else _PANEL
    grey = one["name"] == _RANDOM
    layers = [_rule(wanted, axes[1])]
    if baseline is not None and not grey:
        layers += _curve(baseline, axes, FAINT, [4, 3])
    layers += _curve(one, axes, FAINT if grey else COLOURS[0], [4, 3] if grey else [1, 0])
    title = {"text": one["name"], "anchor": "start", "fontSize": 13, "offset": 8}
    return {"title": title, "width": width, "height": height, "layer": layers}


def _rule(wanted: float, y: Mapping[str, Any]) -> dict[str, Any]:
    mark = {"type": "rule", "color": INK, "strokeWidth": 1}
    return {"data": {"values": [{"tau": wanted}]}, "mark": mark, "encoding": {"y": y}}


def _curve(
    one: Mapping[str, Any], axes: tuple[dict[str, Any], dict[str, Any]], colour: str, dash: Sequence[int]
) -> list[dict[str, Any]]:
    x, y = axes
    rows = [
        {"selector": one["name"], "share": size["share"], "queries": size["size"], "tau": size["tau"]}
        | {"low": size["interval"][0], "high": size["interval"][1]}
        for size in one["sizes"]
    ]
    tooltip = [
        {"field": "selector"},
        {"field": "queries"},
        *({"field": f, "format": ".3f"} for f in ("tau", "low", "high")),
    ]
    band = {
        "mark": {"type": "area", "opacity": 0.2, "color": colour},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 2.5, "color": colour, "strokeDash": list(dash)},
        "encoding": {"x": x, "y": y},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1, "color": colour},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }
    return [{"data": {"values": rows}, "layer": [band, line, point]}]
