"""Where in a document a model's score comes from."""

from collections.abc import Mapping
from typing import Any

from posbench.plots.style import FAINT, HEIGHT, RULE, TEXT, WIDTH, Chart, by_series, chart, end_labels

_FIFTHS = 5
_LINE = 18  # px between rows of mass labels


def saliency_curves(series: Mapping[str, Mapping[str, Any]], about: str) -> Chart:
    """Mean curves with interval bands over the document in fifths; the share of each fifth stands above it.

    Args:
        series: of each model ``points``, ``mean`` float[P]; ``low``, ``high`` float[P], or None for no band; ``mass``,
            a share each fifth, and ``centroid``. A figure is a number, or a mapping with its ``mean``.
        about: what was read, for the title.
    """
    names = list(series)
    rows = [row for name, one in series.items() for row in _rows(name, one)]
    top = max(row["high"] for row in rows)
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "title": "place in what the model reads",
        "axis": {"format": ".0%", "tickCount": _FIFTHS, "labelFlush": False, "grid": False},
    }
    scale = {"domain": [0, top], "nice": False}
    y = {"field": "mean", "type": "quantitative", "scale": scale, "title": "saliency", "axis": {"tickCount": 5}}
    ends = [
        {"series": name, "label": name, "x": one["points"][-1], "mean": one["mean"][-1]} for name, one in series.items()
    ]
    band = {
        "mark": {"type": "area", "opacity": 0.18},
        "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, **by_series(names, mark="area")},
    }
    line = {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"x": x, "y": y, **by_series(names)}}
    layers = [
        _fifths(x),
        {"data": {"values": rows}, "layer": [band, line]},
        *_masses(series, x),
        *end_labels(ends, x, y, width=WIDTH, height=HEIGHT),
    ]
    lines = f"{about}; bands are 95% intervals, documents resampled"
    return chart("Saliency by place in the document", lines, {"width": WIDTH, "height": HEIGHT, "layer": layers})


def _rows(name: str, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    low, high = one["low"] or one["mean"], one["high"] or one["mean"]
    columns = zip(one["points"], one["mean"], low, high, strict=True)
    return [{"series": name, "x": a, "mean": b, "low": c, "high": d} for a, b, c, d in columns]


def _fifths(x: Mapping[str, Any]) -> dict[str, Any]:
    inner = [{"x": i / _FIFTHS} for i in range(1, _FIFTHS)]
    mark = {"type": "rule", "color": RULE, "strokeWidth": 1.5}
    return {"data": {"values": inner}, "mark": mark, "encoding": {"x": x}}


def _masses(series: Mapping[str, Mapping[str, Any]], x: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a model above the plot: the share of each fifth, then the centroid beside the model's name."""
    names, rows, ends = list(series), [], []
    for line, (name, one) in enumerate(reversed(list(series.items()))):
        y = -12 - _LINE * line
        for fifth, mass in enumerate(one["mass"]):
            rows.append({"series": name, "x": (fifth + 0.5) / _FIFTHS, "y": y, "label": f"{_number(mass):.0%}"})
        label = f"{name} (centroid {_number(one['centroid']):.2f})"
        ends.append({"series": name, "y": y, "label": label})
    place = {"field": "y", "type": "quantitative", "scale": None, "axis": None}
    head: dict[str, Any] = {
        "data": {"values": [{"label": "share of each fifth", "y": -12 - _LINE * len(names)}]},
        "mark": {"type": "text", "align": "left", "color": FAINT},
        "encoding": {"x": {"value": 0}, "y": place, "text": {"field": "label"}},
    }
    shares = {
        "data": {"values": rows},
        "mark": {"type": "text", "fontSize": TEXT},
        "encoding": {"x": x, "y": place, "text": {"field": "label"}},
    }
    dots = {
        "data": {"values": ends},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": {"x": {"value": WIDTH + 14}, "y": place, **by_series(names, mark="area")},
    }
    text = {
        "data": {"values": ends},
        "mark": {"type": "text", "align": "left", "dx": 10, "baseline": "middle"},
        "encoding": {"x": {"value": WIDTH + 14}, "y": place, "text": {"field": "label"}},
    }
    return [head, shares, dots, text]


def _number(value: float | Mapping[str, Any]) -> float:
    return float(value["mean"] if isinstance(value, Mapping) else value)
