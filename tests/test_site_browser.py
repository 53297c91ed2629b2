"""The leaderboard's table in a browser: what a reader sees after sorting, filtering, choosing and pinning."""

import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from posbench.leaderboard import boards
from posbench.leaderboard.entry import Data, Entry, Figure, Model
from posbench.site import build, tables
from posbench.site.context import Site, board_path, slug
from posbench.site.render import figure, interval
from posbench.site.serve import server
from posbench.studies.published import GROUPS, read_posir

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
ROWS = """() => [...document.querySelectorAll("#board tbody tr")].map(
    (row) => [...row.cells].slice(1).map((cell) => cell.textContent.trim().replace(/\\s+/g, " ")))"""


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("jinja2")
    pytest.importorskip("itables")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium found: apt-get install chromium")
    with playwright.sync_playwright() as playing:
        launched = playing.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def varied(browser, site_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("varied")
    site = site_data.varied(folder)
    build.build(site, folder / "site")
    return site, folder / "site"


@contextmanager
def opened(browser, root, **how):
    """A page of the browser; at the end, that it asked for nothing outside the site and had no error."""
    context = browser.new_context(**how)
    page, faults = context.new_page(), []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: None if request.url.startswith(root) else faults.append(request.url))
    page.set_default_timeout(20_000)
    yield page
    context.close()
    assert faults == []


def go(page, address):
    """Opens an address, and waits until its table can be worked with."""
    page.goto(address)
    page.wait_for_function("!document.getElementById('controls') || !document.getElementById('controls').hidden")


@pytest.fixture(params=["file", "http"])
def root(request, varied):
    """The address of the site, from a file and from a host."""
    _, folder = varied
    if request.param == "file":
        yield folder.as_uri()
        return
    with server(folder) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def of(site, name):
    return next(board for board in site.boards if board.name == name)


def column(page, key):
    """The texts of a visible column, from the top."""
    place = page.evaluate(
        """(key) => [...document.querySelectorAll("#board thead th")].findIndex(
            (th) => th.querySelector(`[data-sort='${key}']`))""",
        key,
    )
    return [row[place - 1] for row in page.evaluate(ROWS)]


def numbers(texts):
    return [float(text.split()[0].replace("−", "-")) for text in texts if text != "–"]


def expected(board, settings, site):
    """The rows of the table over some settings, from boards.table: rank, model, every figure."""
    others = tables.make(board, site.boards).columns
    written = {line.model: i for i, line in enumerate(boards.table(board))}
    lines = boards.table(board, settings)
    rows = []
    for line in lines:
        cells = [
            line.figures[one.measure][one.length] if one.measure else one.figures[written[line.model]] for one in others
        ]
        texts = [f"{figure(value)} {interval(low, high)}".strip() for value, low, high in cells]
        rows.append([str(line.rank) if line.rank else "–", line.model, *texts])
    return rows


def shown(page):
    """The same from the page, with the model's name alone."""
    rows = page.evaluate(ROWS)
    names = page.evaluate(
        "() => [...document.querySelectorAll('#board tbody th > :first-child')].map((one) => one.textContent)"
    )
    return [[row[0], name, *row[2:]] for row, name in zip(rows, names, strict=True)]


def test_sorting_searching_and_pinning(browser, root):
    with opened(browser, root) as page:
        go(page, f"{root}/index.html")
        assert (
            page.locator("#said").text_content()
            == "9 of 9 models; sorted by nDCG@10, highest first; mean of all 7 settings."
        )
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
        page.click("button[data-sort='PSI']")
        psi = numbers(column(page, "PSI"))
        assert psi == sorted(psi, reverse=True)
        page.click("button[data-sort='PSI']")
        assert numbers(column(page, "PSI")) == sorted(psi)
        assert page.locator("[aria-sort]").count() == 1
        assert page.locator("th:has([data-sort='PSI'])").get_attribute("aria-sort") == "ascending"
        assert "sorted by PSI, lowest first" in page.locator("#said").text_content()
        page.click("button[data-sort='rank']")
        ranks = list(map(int, column(page, "rank")))
        assert ranks == sorted(ranks)
        page.focus("button[data-sort='model']")
        page.keyboard.press("Enter")
        names = [name.split()[0] for name in column(page, "model")]
        assert names == [f"model-{i}" for i in range(9)]
        page.get_by_label("Pin model-7").check()
        page.get_by_label("Pin model-4").check()
        assert [name.split()[0] for name in column(page, "model")][:3] == ["model-4", "model-7", "model-0"]
        assert "2 pinned" in page.locator("#said").text_content()
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Pin model-4"
        page.fill("#search", "model-7")
        assert [name.split()[0] for name in column(page, "model")] == ["model-7"]
        assert page.locator("#said").text_content().startswith("1 of 9 models")
        assert parse_qs(urlsplit(page.url).query) == {
            "sort": ["model"],
            "q": ["model-7"],
            "pin": ["model-7", "model-4"],
        }
        page.click("#reset")
        assert urlsplit(page.url).query == ""
        assert len(page.evaluate(ROWS)) == 9


def test_the_address_brings_the_same_table_back(browser, root, varied):
    with opened(browser, root) as page:
        go(page, f"{root}/{board_path('PosIR')}")
        page.click("#columns summary")
        page.get_by_label("Q4 >1536").first.uncheck()
        page.get_by_label("RR@10").check()
        page.keyboard.press("Escape")
        assert not page.locator("#columns").evaluate("(one) => one.open")
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        page.click("#settings summary")
        page.click("[data-choose='cross-lingual']")
        page.click("body", position={"x": 5, "y": 5})
        page.click("button[data-sort='RR@10']")
        page.get_by_label("Pin model-3").check()
        before, address = shown(page), page.url
        assert parse_qs(urlsplit(address).query)["setting"] == ["cross-lingual"]
        heads = page.locator("#board thead th").all_text_contents()
        assert "RR@10" in heads
        assert "nDCG@10 Q4 >1536" not in heads
        with opened(browser, root) as other:
            go(other, address)
            other.wait_for_function("document.getElementById('mean-of').textContent === '2 of 7'")
            assert shown(other) == before
            assert other.locator("#board thead th").all_text_contents() == heads
            assert other.url == address
            go(other, f"{address}&sort=none-such&pin=no&setting=no&column=constructor")
            assert len(shown(other)) == 9
            other.goto(f"{address.split('?')[0]}?setting=no&column=constructor")  # as of an old link: the whole board
            assert other.inner_text("#mean-of") == "all 7"
            assert other.locator("#board thead th").all_text_contents() != ["Pin", "Rank", "Model"]


@pytest.mark.parametrize("name", ["PosIR", "plain", "PosIR by queries"])
def test_figures_over_chosen_settings_are_pythons(browser, varied, name):
    site, folder = varied
    board = of(site, name)
    rng = np.random.default_rng(1)
    subsets = [list(board.settings[:1]), list(board.settings[2:4]), list(board.settings)]
    subsets += [sorted(rng.choice(board.settings, n, replace=False), key=board.settings.index) for n in (3, 4, 5, 6)]
    with opened(browser, folder.as_uri()) as page:
        go(page, f"{folder.as_uri()}/{board_path(name)}")
        written = shown(page)
        page.click("#columns summary")
        page.click("[data-columns='all']")
        ranks = set()
        for chosen in subsets:
            page.evaluate(
                """(chosen) => {
                  const boxes = [...document.querySelectorAll("input[name=setting]")];
                  for (const box of boxes) box.checked = chosen.includes(box.value);
                  boxes[0].dispatchEvent(new Event("input", {bubbles: true}));
                }""",
                chosen,
            )
            what = (
                f"all {len(chosen)}"
                if len(chosen) == len(board.settings)
                else f"{len(chosen)} of {len(board.settings)}"
            )
            page.wait_for_function("(text) => document.getElementById('mean-of').textContent === text", arg=what)
            assert shown(page) == expected(board, chosen, site), chosen
            ranks.add(tuple(row[0] for row in shown(page)))
        assert len(ranks) > 2
        page.click("[data-columns='default']")
        assert sorted(row[:3] for row in shown(page)) == sorted(
            [*row[:3]] for row in expected(board, subsets[-1], site)
        ) or subsets[-1] != list(board.settings)
        page.click("#settings summary")
        page.click("[data-choose='none']")
        assert {row[0] for row in shown(page)} == {row[2] for row in shown(page)} == {"–"}
        assert "no settings chosen" in page.locator("#said").text_content()
        assert "without a mean" not in page.locator("#said").text_content()
        page.click("[data-choose='all']")
        assert shown(page) == written


def test_the_papers_figures_over_its_languages(browser, shared, tmp_path):
    paper = read_posir(shared / "posir" / "paper_metrics_10_models.json")
    entries = []
    for m, model in enumerate(paper.models):
        figures = {
            name: {
                setting: {group: Figure(float(values[m, s, g])) for g, group in enumerate(GROUPS)}
                for s, setting in enumerate(paper.settings)
            }
            for name, values in (("nDCG@10", paper.scores), ("PSI", paper.psi))
        }
        entries.append(
            boards.Found(Entry(Model(model), Data("PosIR", "PosIR"), "published", figures), tmp_path / model)
        )
    site = Site(tuple(boards.boards(entries)))
    build.build(site, tmp_path / "site")
    root = (tmp_path / "site").as_uri()
    (board,) = site.boards
    groups = {kind: [paper.settings[s] for s in paper.mean_of(kind)] for kind in ("monolingual", "cross-lingual")}
    with opened(browser, root) as page:
        for kind, settings in {**groups, "eng-eng": ["eng-eng"]}.items():
            go(page, f"{root}/index.html?setting={kind}")
            page.wait_for_function(
                "(text) => document.getElementById('mean-of').textContent === text", arg=f"{len(settings)} of 18"
            )
            means = paper.scores[:, [paper.settings.index(one) for one in settings], 0].mean(axis=1)
            order = np.argsort(-means)
            assert [row[1] for row in shown(page)] == [paper.models[m] for m in order]
            assert [row[2].split()[0] for row in shown(page)] == [figure(means[m]) for m in order]
            page.click("#columns summary")
            page.click("[data-columns='all']")
            assert shown(page) == expected(board, settings, site)


def test_hostile_names_are_text_in_every_control(browser, root, varied, site_data):
    with opened(browser, root) as page:
        go(page, f"{root}/{board_path(site_data.HOSTILE)}")
        assert {row[1] for row in shown(page)} == set(of(varied[0], site_data.HOSTILE).models)
        page.click("#settings summary")
        page.get_by_role("checkbox", name="a-b").uncheck()
        page.wait_for_function("document.getElementById('mean-of').textContent === '2 of 3'")
        assert parse_qs(urlsplit(page.url).query)["setting"] == [site_data.HOSTILE, "c,d&e=f"]
        page.reload()
        page.wait_for_function("document.getElementById('mean-of').textContent === '2 of 3'")
        page.get_by_label("Pin __proto__").check()
        page.fill("#search", "<script>")
        assert shown(page)[0][1] == site_data.HOSTILE
        assert page.locator("img").count() == 0
        page.fill("#search", "nothing of the kind")
        assert page.locator("#board tbody").text_content() == "No model has these words in its name."


def test_without_javascript_the_whole_table_is_there(browser, varied):
    site, folder = varied
    board = of(site, "PosIR")
    with opened(browser, folder.as_uri(), java_script_enabled=False) as page:
        page.goto(f"{folder.as_uri()}/index.html")
        assert page.locator("#board").is_visible()
        assert not page.locator("#controls").is_visible()
        assert page.locator("#board tbody td").count() == 9 * (1 + len(tables.make(board, site.boards).columns))


def test_a_page_whose_scripts_are_lost_still_shows_its_table(browser, varied, tmp_path):
    shutil.copytree(varied[1], tmp_path / "site")
    (tmp_path / "site" / "assets" / "table.js").unlink()
    page = browser.new_page()
    page.goto(f"{(tmp_path / 'site').as_uri()}/index.html")
    assert page.locator("#board tbody tr").count() == 9
    assert page.locator("#board").is_visible()
    page.close()


def test_figures_by_setting_that_are_lost_are_said(browser, varied, tmp_path):
    shutil.copytree(varied[1], tmp_path / "site")
    (tmp_path / "site" / "data" / f"{slug('PosIR')}.js").unlink()
    page = browser.new_page()
    page.goto(f"{(tmp_path / 'site').as_uri()}/index.html?setting=eng-eng")
    page.wait_for_function("document.getElementById('said').textContent.includes('did not load')")
    assert page.locator("#board").is_visible()
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1600), ("dark", 390)])
def test_no_page_violates_wcag(browser, varied, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    _, folder = varied
    how = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    for path in [
        *sorted(folder.glob("*.html")),
        *sorted(folder.glob("boards/*.html")),
    ]:  # models: test_site_pages_browser
        with opened(browser, folder.as_uri(), **how) as page:
            go(page, path.as_uri())
            for opener in page.locator("details > summary").all():
                if opener.is_visible():
                    opener.evaluate("(one) => { one.parentElement.open = true; }")
            found = axe.run(page, options={"runOnly": WCAG, "preload": False}).response["violations"]
            told = [(one["id"], [node["html"][:120] for node in one["nodes"][:2]]) for one in found]
            assert told == [], (path.name, json.dumps(told, indent=1))
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (path.name, wide)


def test_print_shows_the_table_and_no_controls(browser, varied):
    _, folder = varied
    with opened(browser, folder.as_uri()) as page:
        go(page, f"{folder.as_uri()}/index.html")
        page.emulate_media(media="print")
        assert not page.locator("#controls").is_visible()
        assert not page.locator("nav").is_visible()
        assert page.locator("#board tbody tr").last.is_visible()
        assert page.locator("#scroll").evaluate("(one) => one.scrollHeight <= one.clientHeight + 1")


def test_ties_that_round_to_even_are_printed_as_python_does(browser, varied, tmp_path):
    values = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    entries = []
    for i, value in enumerate(values):
        figures = {"nDCG@10": {"a": {"all": Figure(value)}, "b": {"all": Figure(0.0)}}}
        figures["signed index"] = {"a": {"all": Figure(-value)}, "b": {"all": Figure(0.0)}}
        entries.append(boards.Found(Entry(Model(f"m{i}"), Data("ties", "ties"), "here", figures), tmp_path / str(i)))
    site = Site(tuple(boards.boards(entries)))
    build.build(site, tmp_path / "site")
    root = (tmp_path / "site").as_uri()
    with opened(browser, root) as page:
        go(page, f"{root}/index.html?setting=a")
        page.wait_for_function("document.getElementById('mean-of').textContent === '1 of 2'")
        page.click("#columns summary")
        page.click("[data-columns='all']")
        assert shown(page) == expected(site.boards[0], ["a"], replace(site))


def test_a_printed_table_cuts_nothing(browser, varied):
    _, folder = varied
    with opened(browser, folder.as_uri()) as page:
        page.goto(f"{folder.as_uri()}/index.html")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 760, "height": 1000})
        cells = "[...document.querySelectorAll('#board th, #board td')]"
        assert page.evaluate(f"{cells}.filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length") == 0
        assert not page.locator("#board .pin >> visible=true").count()


def test_models_without_a_mean_are_said(browser, varied):
    site, folder = varied
    lacking = int(np.isnan(of(site, "plain").figures["nDCG@10"][:, :, 0, 0]).any(axis=1).sum())
    assert lacking
    with opened(browser, folder.as_uri()) as page:
        page.goto(f"{folder.as_uri()}/{board_path('plain')}")
        assert f"{lacking} without a mean" in page.locator("#said").text_content()
