"""Templates and what they print with: every text is escaped, every figure is set alike."""

import json
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posbench import recipe
from posbench.errors import missing_extra
from posbench.site.context import board_path, model_path, slug

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = recipe.ROOT / "leaderboard" / "site"
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
ORIGINS = {
    "published": "published, not reproduced here",
    "here": "run here",
    "submitted": "submitted, measures recomputed from its run",
    "mixed": "partly published, partly run here",
}


def figure(value: float | None, decimals: int = 3) -> str:
    """A number with three decimals and a true minus sign; a dash where there is none."""
    if value is None or not isfinite(value):
        return NONE
    return f"{value:.{decimals}f}".replace("-", MINUS)


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval; nothing where there is none."""
    if low is None or high is None or not (isfinite(low) and isfinite(high)):
        return ""
    return f"{figure(low)} to {figure(high)}"


def embedded(content: Any) -> str:
    """JSON that cannot end the script element that it stands in; a value that is no number is refused."""
    from markupsafe import Markup

    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def link(url: str, text: str = "") -> str:
    """A link where ``url`` is an address of the web, else the text alone; ``text`` defaults to the address."""
    from markupsafe import Markup, escape

    shown = text or url
    if not url.strip().lower().startswith(("https://", "http://")):
        return escape(shown)
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(url.strip(), shown)


def origin(kind: str) -> str:
    """Where figures come from, in words."""
    return ORIGINS.get(kind, kind)


@cache
def environment(folder: Path = FOLDER) -> "Environment":
    """Jinja2 with our templates, filters and functions.

    Raises:
        MissingPartError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise missing_extra("making the leaderboard's pages", "site") from error
    made = Environment(
        loader=FileSystemLoader(folder / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(figure=figure, interval=interval, embedded=embedded, link=link, origin=origin, slug=slug)
    made.globals.update(model_path=model_path, board_path=board_path, interval_of=interval)
    return made
