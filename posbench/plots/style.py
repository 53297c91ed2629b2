"""What every chart shares: colours that the colour-blind tell apart, type, scales, labels at the ends of lines.

A chart is a Vega-Lite specification: a plain dict that any Vega-Lite can draw. Nothing here needs a package.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from posbench.bias import LENGTH_NAMES, LENGTHS
from posbench.errors import UsageError

Chart: TypeAlias = dict[str, Any]
"""A Vega-Lite 6 specification, JSON-serialisable."""

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which a white page swallows."""
DASHES = ((1, 0), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2), (12, 3), (1, 3))
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "stroke")
INK, FAINT, BARS, EMPTY, RULE = "#222222", "#5A5A5A", "#BDBDBD", "#E4E4E4", "#E0E0E0"
FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
TEXT = 12  # px, the smallest type
WIDTH, HEIGHT = 480, 300  # of the plot itself; labels stand beside it
_LINE = 16.0  # px between two labels


def chart(title: str, subtitle: str | Sequence[str], body: Mapping[str, Any]) -> Chart:
    """A whole specification: a body with its title and the common style."""
    lines = [subtitle] if isinstance(subtitle, str) else list(subtitle)
    return {"$schema": SCHEMA, "title": {"text": title, "subtitle": lines}, **body, "config": _config()}


def _config() -> dict[str, Any]:
    axis = {
        "labelFontSize": TEXT,
        "titleFontSize": TEXT,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": RULE,
        "domainColor": FAINT,
        "tickColor": FAINT,
    }
    title = {"anchor": "start", "fontSize": 15, "subtitleFontSize": TEXT, "color": INK, "subtitleColor": FAINT}
    return {
        "background": "white",
        "font": FONT,
        "padding": 12,
        "view": {"stroke": None},
        "axis": axis,
        "title": {**title, "offset": 14, "subtitlePadding": 5},
        "text": {"fontSize": TEXT, "color": INK},
    }


def figure(value: float) -> str:
    """A number as readers of tables know it: three decimals, a true minus sign."""
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def counted(counts: set[int]) -> str:
    """A count that may differ between results."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def length_name(bucket: str) -> str:
    """The tokens of a length bucket as a chart prints them."""
    if bucket == "all":
        return "all lengths"
    return dict(zip(LENGTHS, LENGTH_NAMES, strict=True))[bucket].replace("<=", "≤").replace("-", "–")


def by_series(names: Sequence[str], *, mark: str = "line") -> dict[str, Any]:
    """The encodings that tell series apart: colour with dashes (line), with shapes (point), or alone (area).

    Raises:
        UsageError: there are more series than a reader can tell apart.
    """
    if len(names) > len(COLOURS):
        raise UsageError(
            f"{len(names)} results in one chart; expected {len(COLOURS)} at most, so that lines stay apart"
        )
    found = {"color": _scaled(names, COLOURS)}
    if mark == "line":
        found["strokeDash"] = _scaled(names, DASHES)
    if mark == "point":
        found["shape"] = _scaled(names, SHAPES)
    return found


def _scaled(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    scale = {"domain": list(names), "range": [list(v) if isinstance(v, tuple) else v for v in values[: len(names)]]}
    return {"field": "series", "type": "nominal", "scale": scale, "legend": None}


def measure_axis(title: str, top: float = 1.0) -> dict[str, Any]:
    """The y encoding of a measure: from 0 to 1, or to ``top`` where a measure goes beyond 1."""
    scale = {"domain": [0, max(1.0, top)], "nice": top > 1}
    return {"field": "mean", "type": "quantitative", "scale": scale, "title": title, "axis": {"tickCount": 6}}


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved apart, in their order, until neighbours are ``gap`` apart, within low..high where there is room."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    if moved and moved[-1] > high:
        moved[-1] = high
        for i in range(len(moved) - 2, -1, -1):
            moved[i] = min(moved[i], moved[i + 1] - gap)
    if moved and moved[0] < low:
        moved = [max(place, low + i * gap) for i, place in enumerate(moved)]
    found = [0.0] * len(places)
    for i, place in zip(order, moved, strict=True):
        found[i] = place
    return found


def end_labels(
    ends: Sequence[Mapping[str, Any]], x: Mapping[str, Any], y: Mapping[str, Any], *, width: float, height: float
) -> list[dict[str, Any]]:
    """A name at the end of each line in place of a legend, tied to it by a thin rule.

    Args:
        ends: of each line ``series``, ``label``, and x and mean of its last point.
        x: the chart's x encoding.
        y: its y encoding, with a scale domain.
        width: px of the plot.
        height: px of the plot.
    """
    low, high = y["scale"]["domain"]
    gap = _LINE * (high - low) / height
    at = spread([end["mean"] for end in ends], gap, low + gap / 2, high)
    rows = [{**end, "at": place} for end, place in zip(ends, at, strict=True)]
    names = [end["series"] for end in ends]
    lead = {
        "mark": {"type": "rule", "strokeWidth": 1},
        "encoding": {
            "x": x,
            "x2": {"value": width + 14},
            "y": y,
            "y2": {"field": "at"},
            **by_series(names, mark="area"),
        },
    }
    text = {
        "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 4, "fontSize": 13},
        "encoding": {"x": {"value": width + 14}, "y": {**y, "field": "at"}, "text": {"field": "label"}},
    }
    return [{"data": {"values": rows}, "layer": [lead, text]}]
