"""Pages in a browser, opened from files: charts, the comparison, its address, and accessibility."""

import itertools
import shutil
from urllib.parse import quote

import pytest

from posbench.plots.style import figure
from posbench.site import comparison
from posbench.site.context import model_path, slug

PAGES = ("models/wordllama.html", "models/first.html", "compare.html", "hnsw.html", "rerankers.html", "methods.html")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser is installed: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser, site_pages):
    """Opens a page; at the end nothing was said on the console and nothing was asked for outside the folder."""
    said, asked, contexts = [], [], []

    def open_page(path, **how):
        contexts.append(browser.new_context(**how))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"file://{site_pages.folder}/{path}")
        if page.locator("script[src]").count():
            page.wait_for_selector("html[data-drawn]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((f"file://{site_pages.folder}/", "data:"))] == []


def board(made, name):
    return next(one for one in made.site.boards if one.name == name)


def rows_of(page, place):
    return page.eval_on_selector_all(
        f"{place} tr", "rows => rows.map(r => [...r.cells].map(c => c.textContent.trim()))"
    )


@pytest.mark.parametrize("path", ["models/wordllama.html", "hnsw.html", "rerankers.html"])
def test_every_chart_is_drawn(opened, site_pages, path):
    page = opened(path)
    expected = len(next(one for one in site_pages.pages if one.path == path).data["charts"])
    assert page.locator("[data-chart] svg").count() == expected > 0
    assert page.locator("[data-chart] svg path").count() > 3 * expected


def words(pair):
    ends = f"[{figure(pair.difference - pair.half)}, {figure(pair.difference + pair.half)}]"
    if pair.told:
        return f"{pair.first} is better than {pair.second} by {figure(pair.difference)} {ends}: a real difference."
    return f"{pair.first} and {pair.second} cannot be told apart: {figure(pair.difference)} {ends}."


def address(name, models, settings=()):
    query = "".join(f"&model={quote(one)}" for one in models) + "".join(f"&setting={quote(one)}" for one in settings)
    return f"compare.html?board={slug(name)}{query}"


def test_every_pair_of_every_board_is_compared_as_in_python(opened, site_pages):
    for one in site_pages.site.boards:
        for models in itertools.combinations(one.models, min(3, len(one.models))):
            for settings in ((), one.settings[:1]):
                page = opened(address(one.name, models, settings))
                page.wait_for_selector("#pairs table, #compared[hidden]", state="attached")
                pairs = comparison.compared(one, models, settings)
                said = page.locator("#verdict li").all_text_contents()
                told = {words(pair) for pair in pairs if pair.half is not None}
                assert told <= set(said)
                shown = rows_of(page, "#pairs")[1:]
                assert [row[2] for row in shown] == [figure(pair.difference) for pair in pairs]
                if pairs and pairs[0].half is None:
                    assert "over fewer than three settings nothing can be told" in said[0]


def test_settings_and_lengths_are_those_of_python(opened, site_pages):
    mini = board(site_pages, "posir-mini")
    page = opened(address("posir-mini", ("bm25", "wordllama")))
    page.wait_for_selector("#by-setting table")
    for row in rows_of(page, "#by-setting")[1:]:
        (pair,) = comparison.compared(mini, ("bm25", "wordllama"), (row[0],))
        sign = 1 if pair.first == "bm25" else -1
        ends = sorted((sign * (pair.difference - pair.half), sign * (pair.difference + pair.half)))
        mark = " *" if pair.told else ""
        assert row[1:3] == [figure(mini.cell("nDCG@10", name, row[0]).value) for name in ("bm25", "wordllama")]
        assert row[3] == f"{figure(sign * pair.difference)} [{figure(ends[0])}, {figure(ends[1])}]{mark}"
    values = mini.figures["nDCG@10"]
    for k, row in enumerate(rows_of(page, "#lengths")[1:]):
        means = [values[mini.models.index(name), :, k, 0].mean() for name in ("bm25", "wordllama")]
        assert row[1:3] == [figure(mean) for mean in means]
    assert page.locator("#chart svg").count() == 1


def test_a_choice_is_kept_in_the_address_and_comes_back(opened):
    page = opened("compare.html?board=posir-mini&model=nobody")
    page.wait_for_selector("#pairs table")
    selects = page.locator("#models select")
    for at, name in enumerate(("wordllama", "bm25", "")):
        selects.nth(at).select_option(label=name or "none")
    page.locator("#chosen-settings summary").click()
    page.locator("#settings label", has_text="deu-deu").click()
    assert "model=wordllama&model=bm25&setting=eng-eng" in page.url
    verdict = page.locator("#verdict").inner_text()
    again = opened(page.url.rpartition("/")[2])
    again.wait_for_selector("#pairs table")
    assert again.locator("#verdict").inner_text() == verdict
    assert again.locator("#settings-summary").inner_text() == "Settings: 1 of 2"
    page.locator("#no-setting").click()
    assert page.locator("#compared").is_hidden()
    page.locator("#every-setting").click()
    assert "setting=" not in page.url
    page.locator("#board").select_option(label="means (3 models)")
    page.wait_for_function("document.querySelector('#pairs').textContent.includes('first')")
    assert "board=means" in page.url


def test_the_comparison_works_by_keyboard(opened):
    page = opened("compare.html?board=posir-mini")
    page.wait_for_selector("#pairs table")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.closest('[id]')?.id"))
    assert {"board", "models", "settings-summary", "pairs"} <= reached


def test_hostile_words_do_nothing(opened, site_pages):
    (name,) = [name for name in site_pages.site.models if "<script>" in name]
    for path in (model_path(name), address("posir-mini", (name, "bm25"))):
        page = opened(path)
        assert page.evaluate("window.bad") is None
        assert page.locator("body").evaluate("body => body.scrollWidth <= innerWidth")


@pytest.mark.parametrize("path", [*PAGES, "hostile"])
@pytest.mark.parametrize("width", [360, 1900])
def test_no_page_scrolls_sideways(opened, site_pages, path, width):
    if path == "hostile":
        path = model_path(next(name for name in site_pages.site.models if "<script>" in name))
    page = opened(path, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened, path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(path, color_scheme=scheme)
    if path == "compare.html":
        page.wait_for_selector("#pairs table")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    options = {"runOnly": {"type": "tag", "values": tags}, "preload": False}  # files may not be fetched
    found = axe.Axe().run(page, options=options).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found] == []


def test_charts_follow_the_readers_scheme_and_print_light(opened):
    page = opened("hnsw.html", color_scheme="dark")
    ink = "getComputedStyle(document.querySelector('[data-chart] svg text[fill=\"#222222\"]')).fill"
    assert page.evaluate(ink) == "rgb(227, 230, 234)"
    page.emulate_media(color_scheme="light")
    assert page.evaluate(ink) == "rgb(34, 34, 34)"
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(ink) == "rgb(34, 34, 34)"
