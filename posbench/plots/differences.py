"""Paired differences with simultaneous intervals, and what quality costs: charts of pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from posbench.plots.style import COLOURS, FAINT, HEIGHT, SHAPES, WIDTH, Chart, chart

Row = Mapping[str, Any]

_ROW = 28  # px a pair


def differences(rows: Sequence[Row], measure: str) -> Chart:
    """Dots with intervals, a pair of models a row; filled where the interval leaves out 0.

    Args:
        rows: ``pair``, ``difference`` and, where there is an interval, ``low``, ``high`` and ``told``, whether it
            leaves out 0. A page may put other rows in their place: nothing else in the chart depends on them.
        measure: the name of what is compared.
    """
    axis = {"labelLimit": 320, "domain": False, "ticks": False, "labelFontSize": 13, "labelPadding": 8}
    y = {"field": "pair", "type": "ordinal", "sort": None, "title": None, "axis": axis}
    x = {
        "field": "difference",
        "type": "quantitative",
        "title": "difference",
        "axis": {"tickCount": 5, "format": "+.3~f"},
    }
    ink = {"condition": {"test": "datum.told", "value": COLOURS[0]}, "value": FAINT}
    fill = {"condition": {"test": "datum.told", "value": COLOURS[0]}, "value": "white"}
    tooltip = [
        {"field": "pair"},
        *({"field": name, "type": "quantitative", "format": "+.3f"} for name in ("difference", "low", "high")),
    ]
    zero = {"mark": {"type": "rule", "color": FAINT}, "encoding": {"x": {"datum": 0, "type": "quantitative"}}}
    bar = {
        "transform": [{"filter": "isValid(datum.low)"}],
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": ink},
    }
    dot = {
        "mark": {"type": "point", "size": 80, "opacity": 1, "strokeWidth": 2},
        "encoding": {"y": y, "x": x, "fill": fill, "stroke": ink, "tooltip": tooltip},
    }
    body = {
        "width": 360,
        "height": {"step": _ROW},
        "data": {"values": list(rows)},
        "layer": [zero, bar, dot],
    }
    return chart(f"Differences in {measure}", "filled: the interval leaves out 0", body)


def quality_by_cost(rows: Sequence[Row], cost: str, measure: str, about: str) -> Chart:
    """Quality against what a query costs on a logarithmic axis, a dot with its interval each, and the first stage.

    Args:
        rows: ``name``, ``cost`` above 0, ``value``, ``low`` and ``high``, and ``first``, the first stage's value.
        cost: the title of the cost axis.
        measure: the name of the quality.
        about: what was reranked, for the title.
    """
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    ends = [row[key] for row in rows for key in ("low", "high", "first")]
    costs = [row["cost"] for row in rows]
    x = {
        "field": "cost",
        "type": "quantitative",
        "title": cost,
        "scale": {"type": "log", "domain": [min(costs) / 1.6, max(costs) * 1.6], "nice": False},
        "axis": {"format": ",.3~r", "tickCount": 6, "grid": False, "labelOverlap": "greedy"},
    }
    y = {
        "field": "value",
        "type": "quantitative",
        "title": measure,
        "scale": {"domain": [max(0.0, min(ends) - 0.02), max(ends) + 0.02], "nice": True, "zero": False},
        "axis": {"tickCount": 6},
    }
    scale = {"domain": names}
    colours = {**scale, "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]}
    shapes = {**scale, "range": [SHAPES[i % len(SHAPES)] for i in range(len(names))]}
    key = {"orient": "bottom", "columns": 2, "title": None, "labelLimit": 300, "labelFontSize": 13, "symbolSize": 90}
    colour = {"field": "name", "type": "nominal", "scale": colours, "legend": key}
    shape = {"field": "name", "type": "nominal", "scale": shapes, "legend": key}
    tooltip = [
        {"field": "name"},
        {"field": "cost", "type": "quantitative", "format": ",.3~f", "title": cost},
        *({"field": name, "type": "quantitative", "format": ".3f"} for name in ("value", "low", "high", "first")),
    ]
    tick = {
        "mark": {"type": "tick", "orient": "horizontal", "thickness": 2, "size": 22, "color": FAINT},
        "encoding": {"x": x, "y": {**y, "field": "first"}},
    }
    bar = {
        "mark": {"type": "rule", "strokeWidth": 1.5},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
    }
    dot = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "tooltip": tooltip},
    }
    body = {"width": WIDTH, "height": HEIGHT, "data": {"values": list(rows)}, "layer": [tick, bar, dot]}
    return chart(f"{measure} by {cost}", f"{about}; bars are 95% intervals, the grey tick is the first stage", body)
