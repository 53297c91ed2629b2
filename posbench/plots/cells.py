"""Length x position: the mean and the number of queries printed in every cell."""

from collections.abc import Mapping
from typing import Any

from posbench.bias import LENGTHS, MIN_QUERIES
from posbench.plots.curves import Reports
from posbench.plots.style import EMPTY, INK, TEXT, WIDTH, Chart, chart, length_name

_ROW = 42  # px
_DARK = 0.435
"""Below this place on viridis white print has more contrast than black; the least contrast is 4.5."""


def heatmap(reports: Reports, about: str) -> Chart:
    """A table of cells coloured by their mean, one below the other for several rankers; grey where withheld.

    The colours run from 0 to 1 in every chart; the means printed in the cells are their legend.

    Args:
        reports: ``bias.position_report`` of each ranker, of one measure.
        about: what was searched, for the title.
    """
    measure = str(next(iter(reports.values()))["measure"])
    tables = [_table(name, report, last=i == len(reports) - 1) for i, (name, report) in enumerate(reports.items())]
    lines = [f"{about}; mean and number of queries (n) in each cell"]
    if any(row["mean"] is None for table in tables for row in table["data"]["values"]):
        lines.append(f"Grey: withheld, fewer than {MIN_QUERIES} queries")
    body = {"vconcat": tables, "spacing": 18}
    return chart(f"{measure} by document length and place of the evidence", lines, body)


def _table(name: str, report: Mapping[str, Any], last: bool) -> dict[str, Any]:
    rows = [_cell(cell) for cell in report["cells"]]
    columns = list(dict.fromkeys(row["place"] for row in rows))
    lengths = [length_name(bucket) for bucket in (*LENGTHS, "all")]
    lengths = [length for length in lengths if any(row["length"] == length for row in rows)]
    axis = {"domain": False, "ticks": False, "labelPadding": 6, "labelAngle": 0}
    title = "place of the evidence in its document" if last else None
    x = {"field": "place", "type": "ordinal", "sort": [*columns[1:], columns[0]], "title": title, "axis": axis}
    y = {"field": "length", "type": "ordinal", "sort": lengths, "title": "document tokens", "axis": axis}
    scale = {"scheme": "viridis", "domain": [0, 1], "clamp": True}
    colour = {
        "field": "mean",
        "type": "quantitative",
        "scale": scale,
        "legend": None,
    }
    tooltip = [
        {"field": "length", "title": "document tokens"},
        {"field": "place", "title": "place"},
        {"field": "mean", "format": ".3f"},
        *({"field": side, "format": ".3f", "title": f"95% {side}"} for side in ("low", "high")),
        {"field": "n", "title": "queries", "format": ","},
    ]
    box = {"type": "rect", "stroke": "white", "strokeWidth": 2}
    empty = {"mark": {**box, "color": EMPTY}, "encoding": {"tooltip": tooltip}}
    rect = {"mark": box, "encoding": {"color": colour, "tooltip": tooltip}}
    ink = {"condition": {"test": "datum.dark", "value": "white"}, "value": "black"}
    heading = {"text": name, "anchor": "start", "fontSize": 13, "frame": "group", "color": INK, "offset": 6}
    return {
        "title": heading,
        "data": {"values": rows},
        "width": WIDTH,
        "height": _ROW * len(lengths),
        "encoding": {"x": x, "y": y},
        "layer": [empty, rect, _print("upper", 13, -7, ink), _print("lower", TEXT, 9, ink)],
    }


def _print(field: str, size: int, dy: int, ink: Mapping[str, Any]) -> dict[str, Any]:
    mark = {"type": "text", "fontSize": size, "dy": dy, "fontWeight": "bold" if field == "upper" else "normal"}
    return {"mark": mark, "encoding": {"text": {"field": field}, "color": ink}}


def _cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    mean, (low, high) = cell["mean"], cell["interval"] or (None, None)
    return {
        "length": length_name(cell["length"]),
        "place": "all places" if cell["whole"] else f"{100 * cell['low']:.0f}\N{EN DASH}{cell['high']:.0%}",
        "mean": mean,
        "low": low,
        "high": high,
        "n": cell["queries"],
        "upper": f"n < {MIN_QUERIES}" if mean is None else f"{mean:.2f}",
        "lower": f"n = {cell['queries']:,}",
        "dark": mean is not None and mean < _DARK,
    }
