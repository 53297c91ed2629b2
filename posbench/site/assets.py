"""The files that pages load: our own, and libraries taken from their installed packages, with their licences."""

import re
import zlib
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from posbench.errors import MissingPartError, UsageError, missing_extra
from posbench.plots import render as charts
from posbench.site.render import FOLDER

TABLE, CHARTS = "datatables.js", "vega.js"
_EXPORT = re.compile(r"export\s*\{([^}]*)\};?")
_TABLES = re.compile(r"([\w$]+) as default\b")


@dataclass(frozen=True)
class Licence:
    """A part that is shipped with the site, and under what."""

    name: str
    version: str
    use: str
    url: str
    text: str


def script(module: str) -> str:
    """DataTables' bundle, an ES module, as a classic script, since a page that opens from a file loads no modules.

    Raises:
        MissingPartError: the bundle does not export DataTables.
    """
    exports = list(_EXPORT.finditer(module))
    name = _TABLES.search(exports[-1][1]) if exports else None
    if name is None:
        raise MissingPartError(
            "the bundle of itables does not export DataTables as its default; "
            "expected that of itables 2.9.1: pip install 'posbench[site]'"
        )
    before, after = module[: exports[-1].start()], module[exports[-1].end() :]
    return f'(function(){{"use strict";{before}window.DataTable={name[1]};{after}}})();\n'


def _bundle() -> str:
    try:
        return (resources.files("itables") / "html" / "dt_bundle.js").read_text(encoding="utf-8")
    except (ImportError, OSError) as error:
        raise missing_extra("making the leaderboard's tables", "site") from error


def _packed(text: str, what: str, then: str) -> str:
    """A script that holds another one compressed, less than half as large: ``unpack()`` runs it, and is a promise."""
    held = b64encode(zlib.compress(text.encode(), 9)).decode()
    return f"""/* {what}: as licences.html says; zlib, in base64. */
{{
  const unpack = async () => {{
    const bytes = Uint8Array.from(atob("{held}"), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const script = document.createElement("script");
    script.text = await new Response(stream).text();
    document.head.append(script);
  }};
  {then}
}}
"""


def styles() -> list[str]:
    """The style sheets, which every page may load."""
    return sorted(path.name for path in FOLDER.glob("*.css"))


def load(name: str) -> bytes:
    """An asset by its name under ``assets/``.

    Raises:
        MissingPartError: the package that brings it is not installed.
        UsageError: there is none of that name.
    """
    if name == TABLE:
        return _packed(script(_bundle()), "DataTables and jQuery", "window.posbenchUnpacked = unpack();").encode()
    if name == CHARTS:
        # Until the first chart is drawn, its function stands for the bundle, which sets it anew.
        waits = "window.vegaEmbed = (...chart) => (ready ??= unpack()).then(() => window.vegaEmbed(...chart));"
        return _packed(charts.script(), "Vega, Vega-Lite and Vega-Embed", f"let ready; {waits}").encode()
    path = FOLDER / name
    if Path(name).name != name or not path.is_file():
        raise UsageError(f"{path}: found no such asset; expected one of leaderboard/site/ or {TABLE}, {CHARTS}")
    return path.read_bytes()


def licences(used: Iterable[str]) -> list[Licence]:
    """The licences of the assets that are used."""
    found = []
    if TABLE in used:
        notices = re.search(r"/\*! Bundled license information:(.*?)\n\*/", _bundle(), re.DOTALL)
        text = _text("itables") + "\n\n" + (notices[1].strip() if notices else "")
        found.append(_licence("itables", "DataTables, jQuery and JSZip in one bundle", "https://datatables.net", text))
    if CHARTS in used:
        url = "https://vega.github.io"
        found.append(_licence("vl-convert-python", "Vega, Vega-Lite and Vega-Embed", url, _text("vl-convert-python")))
    return found


def _licence(package: str, use: str, url: str, text: str) -> Licence:
    return Licence(package, metadata.version(package), use, url, text)


def _text(package: str) -> str:
    """The licence that a package carries."""
    files = metadata.files(package) or []
    texts = [path.read_text(encoding="utf-8") for path in files if path.name.upper().startswith("LICENSE")]
    return "\n\n".join(text.strip() for text in texts)
