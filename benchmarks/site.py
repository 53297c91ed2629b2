"""What the leaderboard costs: sizes, the time to open, sort and filter in a browser, and to build from stored results.

Usage: python benchmarks/site.py [results, default 1000; 0 for none] [opened so often, default 7]

The table has 100 models, 18 settings and every column. Times are medians in headless Chromium from the click to the
frame that shows its effect, once with the columns that are shown unasked and once with all. Results are copies, with
other values, of one that is run first; their entries are in the cache, as they are after they were first read.
"""

import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from posbench import experiment
from posbench.leaderboard import derive
from posbench.site.build import build
from posbench.site.collect import collect
from posbench.store import Cache

FIRST_PAGE, FOLDER = 800_000, 3_000_000  # bytes
OPEN, ACT = 1000.0, 100.0  # ms
BUILD = 20.0  # s

ACTED = """(selector) => new Promise((resolve) => {
  const start = performance.now();
  document.querySelector(selector).click();
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
})"""
TYPED = """(text) => new Promise((resolve) => {
  const start = performance.now(), field = document.getElementById("search");
  field.value = text;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start)));
})"""
READY = "!document.getElementById('controls').hidden && !document.querySelector('.waiting')"


def made_up() -> Any:
    """What makes up entries: tests/site_data.py."""
    path = Path(__file__).parents[1] / "tests" / "site_data.py"
    spec = importlib.util.spec_from_file_location("site_data", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is not there: run from a checkout")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(what: str, value: float, bar: float, unit: str) -> None:
    """One figure beside its bar."""
    print(f"  {what:<44}{value:>10,.2f} {unit:<3} (bar {bar:,.2f}) {'' if value <= bar else 'ABOVE'}", flush=True)


def sizes(folder: Path) -> None:
    """Bytes of the folder without downloads, and of what the first page loads as it opens."""
    files = {path.relative_to(folder): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    kept = sum(size for path, size in files.items() if path.parts[0] != "downloads")
    text = (folder / "index.html").read_text(encoding="utf-8")
    loaded = [path for path in files if path.parts[0] == "assets" and f'"{path}"' in text]
    first = files[Path("index.html")] + sum(files[path] for path in loaded)
    line("first page with what it loads", first / 1e6, FIRST_PAGE / 1e6, "MB")
    line("folder without downloads", kept / 1e6, FOLDER / 1e6, "MB")


def in_browser(folder: Path, times: int) -> None:
    """Opens the first page and acts on its table."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto((folder / "index.html").as_uri())
            page.wait_for_function(READY)
            # From the start of the navigation to the first frame with the table that can be sorted.
            opened = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
            found.setdefault("open", []).append(float(page.evaluate(opened)))
            page.evaluate(ACTED, "[data-choose=monolingual]")
            page.wait_for_function("document.getElementById('mean-of').textContent !== 'all 18'")
            for columns in ("default", "all"):
                page.evaluate(ACTED, f"[data-columns={columns}]")
                act(page, columns, found)
            page.close()
        browser.close()
    for what, values in found.items():
        line(what, statistics.median(values), OPEN if what == "open" else ACT, "ms")


def act(page: Any, columns: str, found: dict[str, list[float]]) -> None:
    """Sorts, filters and searches."""
    for key in ("PSI", "model", "rank", "nDCG@10"):
        found.setdefault(f"sort, {columns} columns", []).append(page.evaluate(ACTED, f"button[data-sort='{key}']"))
    for key in ("cross-lingual", "monolingual", "all"):
        found.setdefault(f"choose settings, {columns} columns", []).append(page.evaluate(ACTED, f"[data-choose={key}]"))
    for text in ("model-01", "9", ""):
        found.setdefault(f"search, {columns} columns", []).append(page.evaluate(TYPED, text))


def from_results(count: int, folder: Path, site_data: Any) -> None:
    """Builds from so many stored results."""
    settings = experiment.Settings(out=folder / "one", cache=folder / "cache")
    base = experiment.run("posir-mini/spa", "bm25", settings).result
    start = time.perf_counter()
    derive.derive(base)
    print(f"  the entry of one result, when it is first read: {time.perf_counter() - start:.2f} s")
    cache, models = Cache(folder / "cache"), -(-count // len(site_data.SETTINGS))
    site_data.results(base, folder / "many", cache, models)
    number = len(derive.paths(folder / "many"))
    start = time.perf_counter()
    site = collect([], [folder / "many"], cache)
    read = time.perf_counter() - start
    build(site, folder / "built")
    assert not site.remarks, site.remarks[:3]
    print(f"  {number:,} results, {number * 1200:,} queries; read in {read:.1f} s")
    line(f"build from {number:,} results", time.perf_counter() - start, BUILD, "s")


def main(results: int, times: int) -> None:
    """Prints every figure beside its bar."""
    site_data = made_up()
    with tempfile.TemporaryDirectory(prefix="posbench-site-") as name:
        folder = Path(name)
        print("100 models, 18 settings, every column")
        build(site_data.site(folder), folder / "site")
        sizes(folder / "site")
        in_browser(folder / "site", times)
        if results:
            from_results(results, folder, site_data)


if __name__ == "__main__":
    main(*(int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((1, 1000), (2, 7))))
