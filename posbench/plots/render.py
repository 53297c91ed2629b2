"""Charts as SVG, PNG and web pages, by vl-convert: no browser, no network, the same bytes each time.

vl-convert brings its own Liberation Sans, so that type is set alike on every machine.
"""

import html
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from posbench.errors import UsageError, missing_extra
from posbench.plots.style import FONT, Chart
from posbench.store import written

SUFFIXES = (".png", ".svg", ".html", ".json")
_VERSION = "6.4"  # of Vega-Lite
_SCALE = 2.0  # PNG pixels a px


def _convert() -> Any:
    try:
        import vl_convert
    except ImportError as error:
        raise missing_extra("drawing charts", "plots") from error
    return vl_convert


def svg(chart: Chart) -> str:
    """The chart as SVG.

    Raises:
        MissingPartError: vl-convert is not installed.
    """
    return str(_convert().vegalite_to_svg(chart, vl_version=_VERSION, allowed_base_urls=[]))


def png(chart: Chart) -> bytes:
    """The chart as PNG, two pixels a px."""
    return bytes(_convert().vegalite_to_png(chart, vl_version=_VERSION, scale=_SCALE, allowed_base_urls=[]))


@cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script of about 900 kB that sets ``window.vegaEmbed``; it loads nothing."""
    return str(_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VERSION))


_DRAW = """for (const place of document.querySelectorAll("figure[data-chart]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  const actions = {export: true, source: false, compiled: false, editor: false};
  vegaEmbed(place, spec, {renderer: "svg", actions}).catch(console.error);
}"""


def page(charts: Mapping[str, Chart], title: str) -> str:
    """A web page with interactive charts that opens from a file without a network; the script is in it once.

    Args:
        charts: by an id that is unique on the page.
        title: of the page.
    """
    figures = "\n".join(
        f'<figure data-chart="{html.escape(key)}"></figure>\n'
        f'<script type="application/json" id="{html.escape(key)}">{_safe_json(chart)}</script>'
        for key, chart in charts.items()
    )
    style = f"body {{ font-family: {FONT}; margin: 2rem auto; max-width: 760px }} figure {{ margin: 0 0 3rem }}"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{style}</style>\n</head>\n<body>\n{figures}\n<script>{script()}</script>\n<script>\n{_DRAW}\n</script>\n"
        "</body>\n</html>\n"
    )


def _safe_json(chart: Chart) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(chart, ensure_ascii=False).replace("<", "\\u003c")


def save(chart: Chart, path: Path) -> None:
    """Writes the chart in the form that the file's suffix names.

    Raises:
        UsageError: another suffix.
        MissingPartError: vl-convert is not installed and the form is not JSON.
    """
    suffix = check_suffix(path)
    if suffix == ".png":
        content = png(chart)
    elif suffix == ".svg":
        content = svg(chart).encode()
    elif suffix == ".html":
        content = page({"chart": chart}, chart["title"]["text"]).encode()
    else:
        content = (json.dumps(chart, ensure_ascii=False, indent=1) + "\n").encode()
    with written(path) as part:
        part.write_bytes(content)


def check_suffix(path: Path) -> str:
    """The suffix of a chart's file, in lower case.

    Raises:
        UsageError: it names no form that a chart can have.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise UsageError(f"{path} {found}; expected one of {' '.join(SUFFIXES)}")
    return suffix
