"""Curves of a measure over a place: relative, by length, in tokens, and paired over composed documents."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from posbench.bias import LENGTHS, MIN_QUERIES
from posbench.plots.style import (
    HEIGHT,
    WIDTH,
    Chart,
    by_series,
    chart,
    counted,
    end_labels,
    length_name,
    measure_axis,
)

Reports = Mapping[str, Mapping[str, Any]]
"""What ``bias.position_report`` returns, by the name that the chart shows."""

_PANEL = 108  # px, the width of a small panel: four and the space between them are as wide as the large one


def position_curves(reports: Reports, about: str) -> Chart:
    """Means by place of the evidence with interval bands: all lengths above, a small panel a length bucket below.

    Args:
        reports: one a ranker, of one measure.
        about: what was searched, for the title.
    """
    measure, names = _measure(reports), list(reports)
    every = {length: _by_length(reports, length) for length in ("all", *LENGTHS)}
    y = measure_axis(measure, _top(row for rows in every.values() for row in rows))
    x = _relative("place of the evidence in its document", 6)
    ends = [_last(name, [row for row in every["all"] if row["series"] == name]) for name in names]
    labels = end_labels([end for end in ends if end], x, y, width=WIDTH, height=HEIGHT)
    whole = {"width": WIDTH, "height": HEIGHT, "layer": [*_bands(every["all"], names, x, y), *labels]}
    bare = {**y, "title": None, "axis": {"labels": False, "ticks": False, "domain": False, "tickCount": 6}}
    used = [length for length in LENGTHS if every[length]]
    panels = [_panel(reports, length, every[length], bare if i else y) for i, length in enumerate(used)]
    lines = [f"{about}, {_queries(reports)}; bands are 95% intervals, documents resampled", *_gaps(every.values())]
    body: dict[str, Any] = {"vconcat": [whole], "spacing": 24}
    if len(panels) > 1:
        body["vconcat"].append({"hconcat": panels, "spacing": 16})
    return chart(f"{measure} by place of the evidence", lines, body)


def _panel(reports: Reports, length: str, rows: list[dict[str, Any]], y: Mapping[str, Any]) -> dict[str, Any]:
    counts = {
        cell["queries"] for r in reports.values() for cell in r["cells"] if cell["length"] == length and cell["whole"]
    }
    x = _relative(None, 2)
    x["axis"] |= {"labelFlush": True}
    # Vega-Lite's own titles stand at uneven heights where only the first panel has an axis.
    heading = {
        "data": {"values": [{}]},
        "mark": {"type": "text", "text": [f"{length_name(length)} tokens", f"n = {counted(counts)}"], "lineHeight": 16},
        "encoding": {"x": {"value": _PANEL / 2}, "y": {"value": -28}},
    }
    return {"width": _PANEL, "height": 120, "layer": [heading, *_bands(rows, list(reports), x, y)]}


def offset_curves(reports: Reports, about: str) -> Chart:
    """Means by tokens from the document's start to the evidence, on an axis of octaves; found cuts are marked."""
    measure, names = _measure(reports), list(reports)
    views = {name: report["offsets"] for name, report in reports.items() if report["offsets"]}
    first = min((cell["high"] for view in views.values() for cell in view["cells"] if cell["high"]), default=128)
    rows = [row for name, view in views.items() for row in _rows(name, view["cells"], first)]
    last = max((row["to"] for row in rows), default=2 * first)
    y = measure_axis(measure, _top(rows))
    ticks = [first / 2]
    while ticks[-1] < last:
        ticks.append(2 * ticks[-1])
    x = {
        "field": "x",
        "type": "quantitative",
        "title": "tokens from the document's start to the evidence",
        "scale": {"type": "log", "base": 2, "domain": [ticks[0], ticks[-1]], "nice": False},
        "axis": {"values": ticks, "labelExpr": _tick_names(ticks[0], ticks[-1], rows), "labelFlush": False},
    }
    ends = [_last(name, [row for row in rows if row["series"] == name]) for name in names]
    layers = [*_cuts(views, names, x), *_bands(rows, names, x, y)]
    layers += end_labels([end for end in ends if end], x, y, width=WIDTH, height=HEIGHT)
    lines = [f"{about}, {_queries(reports)}; bands are 95% intervals, documents resampled", *_gaps([rows])]
    return chart(f"{measure} by distance from the start", lines, {"width": WIDTH, "height": HEIGHT, "layer": layers})


def _tick_names(low: float, high: float, rows: Sequence[Mapping[str, Any]]) -> str:
    """The first cell begins at 0, which no logarithm reaches; the last one may have no end."""
    end = "''" if any(row["open"] for row in rows) else "format(datum.value, ',')"
    return f"datum.value == {low} ? '0' : datum.value == {high} ? {end} : format(datum.value, ',')"


def _cuts(views: Mapping[str, Any], names: Sequence[str], x: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A vertical rule where a report found that a model reads no further."""
    cuts = [
        {"series": name, "x": view["cut"]["tokens"], "label": f"{name} cut at about {view['cut']['tokens']:,}"}
        for name, view in views.items()
        if view["cut"] and view["cut"]["called"] == "truncation"
    ]
    if not cuts:
        return []
    cuts.sort(key=lambda cut: float(cut["x"]))
    rule = {
        "data": {"values": cuts},
        "mark": {"type": "rule", "strokeWidth": 1.5},
        "encoding": {"x": x, **by_series(names)},
    }
    low, high = x["scale"]["domain"]
    room = low * (high / low) ** 0.4
    layers = [rule]
    for line, cut in enumerate(cuts):
        before = line == 0 and cut["x"] > room  # the first one's name may stand on its left
        side = {"align": "right", "dx": -5} if before else {"align": "left", "dx": 5}
        layers += _haloed(cut, {"x": x, "y": {"value": HEIGHT - 10 - 17 * line}}, side)
    return layers


def _haloed(row: Mapping[str, Any], at: Mapping[str, Any], side: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A label that stays readable on top of rules: once in white as a halo, once in ink."""
    label = {"data": {"values": [row]}, "encoding": {**at, "text": {"field": "label"}}}
    mark = {"type": "text", "baseline": "middle", **side}
    return [{**label, "mark": {**mark, "stroke": "white", "strokeWidth": 4}}, {**label, "mark": mark}]


def paired_curves(series: Mapping[str, Mapping[str, Any]], measure: str, about: str) -> Chart:
    """Composed documents: the same queries with their evidence at each place; a mean a ranker over faint queries.

    Args:
        series: of each ranker ``positions`` float[P] in [0, 1], ``mean``, ``low``, ``high`` float[P], ``queries``
            (how many) and ``sample``, some queries' own values, float[S][P].
        measure: the name of what was averaged.
        about: what was searched, for the title.
    """
    names = list(series)
    rows, faint = [], []
    for name, one in series.items():
        numbers = zip(one["positions"], one["mean"], one["low"], one["high"], strict=True)
        for x, mean, low, high in numbers:
            row = {
                "series": name,
                "x": x,
                "mean": mean,
                "low": low,
                "high": high,
                "queries": one["queries"],
                "piece": 0,
            }
            rows.append({**row, "cell": f"{x:.0%}", "alone": False})
        for number, values in enumerate(one["sample"]):
            pairs = zip(one["positions"], values, strict=True)
            faint += [{"series": name, "query": f"{name} {number}", "x": x, "mean": value} for x, value in pairs]
    y, x = measure_axis(measure, _top(rows)), _relative("place of the evidence in the composed document", 6)
    thin = {
        "data": {"values": faint},
        "mark": {"type": "line", "strokeWidth": 0.7, "opacity": 0.18},
        "encoding": {"x": x, "y": y, "detail": {"field": "query"}, **by_series(names, mark="area")},
    }
    ends = [_last(name, [row for row in rows if row["series"] == name]) for name in names]
    labels = end_labels([end for end in ends if end], x, y, width=WIDTH, height=HEIGHT)
    n = counted({one["queries"] for one in series.values()})
    lines = f"{about}, {n} queries, each at every place; bands are 95% intervals, thin lines single queries"
    body = {"width": WIDTH, "height": HEIGHT, "layer": [thin, *_bands(rows, names, x, y), *labels]}
    return chart(f"{measure} by place of the same evidence", lines, body)


def _measure(reports: Reports) -> str:
    return str(next(iter(reports.values()))["measure"])


def _queries(reports: Reports) -> str:
    return f"{counted({report['queries'] for report in reports.values()})} queries"


def _relative(title: str | None, ticks: int) -> dict[str, Any]:
    axis = {"format": ".0%", "tickCount": ticks, "labelFlush": False, "grid": False}
    return {"field": "x", "type": "quantitative", "scale": {"domain": [0, 1]}, "title": title, "axis": axis}


def _by_length(reports: Reports, length: str) -> list[dict[str, Any]]:
    found = []
    for name, report in reports.items():
        found += _rows(name, [cell for cell in report["cells"] if cell["length"] == length and not cell["whole"]])
    return found


def _rows(name: str, cells: Sequence[Mapping[str, Any]], first: int | None = None) -> list[dict[str, Any]]:
    """A row a cell; cells on both sides of a withheld one belong to different pieces, so that no line crosses a gap.

    Args:
        name: of the series.
        cells: in order of place, edges relative, or in tokens with ``first`` given.
        first: the end of the first cell in tokens: it is drawn as the octave below.
    """
    found = []
    for i, cell in enumerate(cells):
        low, high = cell["low"], cell["high"]
        near = [other["mean"] for other in (*cells[max(0, i - 1) : i], *cells[i + 1 : i + 2])]
        if first:
            low = max(low, first / 2)
            place, text = (low * (high or 2 * low)) ** 0.5, f"{cell['low']:,} to {high:,}" if high else f"{low:,} on"
        else:
            place, text = (low + high) / 2, f"{low:.0%} to {high:.0%}"
        bounds = cell["interval"] or (None, None)
        row = {"series": name, "x": place, "cell": text, "mean": cell["mean"], "low": bounds[0], "high": bounds[1]}
        piece = sum(other["mean"] is None for other in cells[:i])
        alone = all(mean is None for mean in near)
        to, is_open = high or 2 * low, high is None
        found.append({**row, "queries": cell["queries"], "piece": piece, "alone": alone, "to": to, "open": is_open})
    return found


def _gaps(groups: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    withheld = any(row["mean"] is None for rows in groups for row in rows)
    return [f"Gaps: fewer than {MIN_QUERIES} queries"] if withheld else []


def _top(rows: Iterable[Mapping[str, Any]]) -> float:
    return max((row["high"] if row["high"] is not None else row["mean"] or 0.0 for row in rows), default=1.0)


def _last(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    shown = [row for row in rows if row["mean"] is not None]
    return {"series": name, "label": name, "x": shown[-1]["x"], "mean": shown[-1]["mean"]} if shown else None


def _bands(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], x: Mapping[str, Any], y: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Interval bands, lines and points over one table of rows; withheld rows are left out of it."""
    shown = [row for row in rows if row["mean"] is not None]
    piece = {"field": "piece", "type": "nominal"}
    low = {**y, "field": "low"}
    tooltip = [
        {"field": "series", "title": "ranker"},
        {"field": "cell", "title": "place"},
        {"field": "mean", "format": ".3f", "title": y["title"] or "mean"},
        *({"field": side, "format": ".3f", "title": f"95% {side}"} for side in ("low", "high")),
        {"field": "queries", "format": ",", "title": "queries"},
    ]
    band = {
        "mark": {"type": "area", "opacity": 0.16},
        "encoding": {"x": x, "y": low, "y2": {"field": "high"}, "detail": piece, **by_series(names, mark="area")},
    }
    lone = {
        "transform": [{"filter": "datum.alone"}],
        "mark": {"type": "rule", "strokeWidth": 1.5},
        "encoding": {"x": x, "y": low, "y2": {"field": "high"}, **by_series(names, mark="area")},
    }
    line = {
        "mark": {"type": "line", "strokeWidth": 2},
        "encoding": {"x": x, "y": y, "detail": piece} | by_series(names),
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 52, "opacity": 1},
        "encoding": {"x": x, "y": y, "tooltip": tooltip, **by_series(names, mark="point")},
    }
    return [{"data": {"values": shown}, "layer": [band, lone, line, point]}]
