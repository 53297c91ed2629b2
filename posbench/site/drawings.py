"""Charts and sentences as pages show them: the words of a chart as HTML, the rest for Vega."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posbench.plots import Chart

SCRIPTS = ("vega.js", "charts.js")
"""What a page with charts loads, in this order."""


@dataclass(frozen=True)
class Drawing:
    """A chart with an id that is unique on its page; ``label`` is what it is called where it cannot be seen."""

    key: str
    caption: str
    lines: tuple[str, ...]
    label: str
    spec: Chart


def drawn(key: str, chart: Chart, about: str) -> Drawing:
    """A chart for a page: its title becomes the caption, its marks stay silent, its ground is the page's.

    Figures that are not finite would be no JSON; they become None. ``about`` tells the chart from others of the page.
    """
    title = chart["title"]
    spec = {name: value for name, value in chart.items() if name not in ("title", "config")}
    spec["config"] = {**chart["config"], "background": None, "padding": 4, "aria": False}
    caption = str(title["text"])
    label = f"Chart: {caption}, {about}; the table beside it has its numbers"
    return Drawing(key, caption, tuple(title["subtitle"]), label, _finite(spec))


def _finite(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {name: _finite(value) for name, value in part.items()}
    if isinstance(part, list | tuple):
        return [_finite(value) for value in part]
    return None if isinstance(part, float) and not math.isfinite(part) else _rounded(part)


def _rounded(value: Any) -> Any:
    """Six significant digits are more than a chart can show."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def typeset(sentence: Any) -> str:
    """A sentence with true minus signs before its numbers."""
    return re.sub(r"(?<![\w.])-(?=\.?\d)", "\N{MINUS SIGN}", str(sentence))


def charts(*drawings: Drawing) -> dict[str, Chart]:
    """The data of a page with these charts."""
    return {one.key: one.spec for one in drawings}
