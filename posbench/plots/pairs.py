"""Two rankers side by side: paired slopes, and a forest of paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

from posbench.plots.style import COLOURS, FAINT, HEIGHT, INK, WIDTH, Chart, chart, figure, measure_axis, spread

_COLUMNS = (150.0, 330.0)  # px from the axis
_X = {"field": "x", "type": "quantitative", "scale": None, "axis": None}
_ROW = 30  # px a comparison
_FOREST = 320  # px


def slopes(
    lines: Mapping[str, tuple[float, float]],
    mean: tuple[float, float],
    columns: tuple[str, str],
    measure: str,
    about: str,
    *,
    labels: bool = True,
) -> Chart:
    """A thin line a pair between two columns, the mean as a thick one.

    Args:
        lines: by name (a place, a query) its values in the two columns.
        mean: the means of the two columns.
        columns: what is compared: two rankers, or original and mirrored documents.
        measure: the name of the values.
        about: what was searched, for the title.
        labels: print the names of the lines, for up to about ten of them.
    """
    y = measure_axis(measure, max(max(pair) for pair in [*lines.values(), mean]))
    thin = _lines([row for name, pair in lines.items() for row in _ends(name, pair)], y, FAINT, 1.2 if labels else 0.8)
    thin["mark"] |= {"opacity": 0.8} if labels else {"opacity": 0.3, "point": False}
    thick = _lines(_ends("mean", mean), y, COLOURS[0], 3.5)
    named = {**lines, "mean": mean} if labels else {"mean": mean}
    texts = [layer for side in (0, 1) for layer in _names(named, side, y)]
    heads = {
        "data": {"values": [{"x": x, "label": name} for x, name in zip(_COLUMNS, columns, strict=True)]},
        "mark": {"type": "text", "fontSize": 13, "fontWeight": "bold"},
        "encoding": {"x": _X, "y": {"value": -12}, "text": {"field": "label"}},
    }
    body = {"width": WIDTH, "height": HEIGHT, "layer": [heads, thin, thick, *texts]}
    return chart(f"{measure}: {columns[0]} and {columns[1]}", about, body)


def _ends(name: str, pair: tuple[float, float]) -> list[dict[str, Any]]:
    return [{"name": name, "x": x, "mean": value} for x, value in zip(_COLUMNS, pair, strict=True)]


def _lines(rows: Sequence[Mapping[str, Any]], y: Mapping[str, Any], colour: str, width: float) -> dict[str, Any]:
    mark = {"type": "line", "color": colour, "strokeWidth": width, "point": {"color": colour, "size": 25 * width}}
    tooltip = [{"field": "name"}, {"field": "mean", "format": ".3f", "title": y["title"]}]
    detail = {"field": "name"}
    return {"data": {"values": rows}, "mark": mark, "encoding": {"x": _X, "y": y, "detail": detail, "tooltip": tooltip}}


def _names(pairs: Mapping[str, tuple[float, float]], side: int, y: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name and value beside each line's end on one side, moved apart where they would meet, tied by a thin rule."""
    low, high = y["scale"]["domain"]
    at = spread([pair[side] for pair in pairs.values()], 16 * (high - low) / HEIGHT, low, high)
    rows = []
    for (name, pair), place in zip(pairs.items(), at, strict=True):
        value = figure(pair[side])
        label = f"{value} {name}" if side else f"{name} {value}"
        rows.append({"x": _COLUMNS[side], "mean": pair[side], "at": place, "label": label, "whole": name == "mean"})
    edge = {"value": _COLUMNS[side] + (22 if side else -22)}
    lead = {
        "mark": {"type": "rule", "color": FAINT, "strokeWidth": 0.7},
        "encoding": {"x": _X, "x2": edge, "y": y, "y2": {"field": "at"}},
    }
    text = {
        "mark": {"type": "text", "align": "left" if side else "right", "dx": 4 if side else -4, "baseline": "middle"},
        "encoding": {
            "x": edge,
            "y": {**y, "field": "at"},
            "text": {"field": "label"},
            "color": {"condition": {"test": "datum.whole", "value": COLOURS[0]}, "value": INK},
        },
    }
    return [{"data": {"values": rows}, "layer": [lead, text]}]


def forest(comparisons: Sequence[Mapping[str, Any]], measure: str, about: str) -> Chart:
    """Paired differences with their intervals, one a row; filled where Holm's p is below .05.

    Args:
        comparisons: dicts with ``a``, ``b``, ``difference`` (a less b), ``interval`` and ``p_holm``.
        measure: the name of what is compared.
        about: what was searched, for the title.
    """
    rows = []
    for one in comparisons:
        low, high = one["interval"]
        name, sure = f"{one['a']} \N{MINUS SIGN} {one['b']}", one["p_holm"] < 0.05
        value = f"{figure(one['difference'])} [{figure(low)}, {figure(high)}]"
        rows.append(
            {"name": name, "mean": one["difference"], "low": low, "high": high, "sure": sure, "value": value}
            | {"p": "p < 0.001" if one["p_holm"] < 0.001 else f"p {figure(one['p_holm'])}"}
        )
    names = [row["name"] for row in rows]
    reach = 1.05 * max(max(abs(row["low"]), abs(row["high"])) for row in rows) or 1.0
    axis = {"labelLimit": 0, "domain": False, "ticks": False, "labelFontSize": 13, "labelPadding": 8}
    y = {"field": "name", "type": "ordinal", "sort": names, "title": None, "axis": axis}
    x = {
        "field": "mean",
        "type": "quantitative",
        "scale": {"domain": [-reach, reach], "nice": False},
        "title": f"difference in {measure}",
        "axis": {"tickCount": 5, "format": "+.2f"},
    }
    zero = {"data": {"values": [{"mean": 0}]}, "mark": {"type": "rule", "color": FAINT}, "encoding": {"x": x}}
    ink = {"condition": {"test": "datum.sure", "value": COLOURS[0]}, "value": FAINT}
    bar = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": ink},
    }
    fill = {"condition": {"test": "datum.sure", "value": COLOURS[0]}, "value": "white"}
    dot = {
        "mark": {"type": "point", "size": 80, "opacity": 1, "strokeWidth": 2},
        "encoding": {"y": y, "x": x, "fill": fill, "stroke": ink},
    }
    text = {"type": "text", "align": "left", "baseline": "middle", "color": INK}
    columns = [
        {"mark": text, "encoding": {"y": y, "x": {"value": _FOREST + at}, "text": {"field": field}}}
        for field, at in (("value", 16), ("p", 170))
    ]
    body = {
        "width": _FOREST,
        "height": _ROW * len(rows),
        "layer": [zero, {"data": {"values": rows}, "layer": [bar, dot, *columns]}],
    }
    lines = f"{about}; bars are 95% intervals of paired differences; p by Holm, filled below 0.05"
    return chart(f"Differences in {measure}", lines, body)
