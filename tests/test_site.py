"""The leaderboard's overview and dataset pages as files: every figure, every name, every fault of what is read."""

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zlib
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.stats import t

from posbench import experiment
from posbench.cli import main
from posbench.errors import MissingPartError, UsageError
from posbench.leaderboard import boards, entry
from posbench.leaderboard.derive import PSI, SIGNED
from posbench.site import assets, boarddata, build, comparison, overview, render, tables
from posbench.site.collect import SHIPPED, collect
from posbench.site.context import Site, board_path
from posbench.site.serve import server
from posbench.store import Cache


@pytest.fixture(autouse=True, scope="module")
def packages():
    pytest.importorskip("jinja2")
    pytest.importorskip("itables")


class Reader(HTMLParser):
    """A page: its tables by caption as rows of text, its elements and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.elements, self.rows, self.open, self.data, self.caption = {}, [], [], "", "", ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open = tag if tag in ("script", "caption") else self.open
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.open = "" if tag in ("script", "caption") else self.open
        if tag == "table":
            self.tables[self.caption] = [[" ".join(cell.split()) for cell in row] for row in self.rows]
            self.rows = []

    def handle_data(self, data):
        if self.open == "caption":
            self.caption += data
        elif self.open == "script":
            self.data += data
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def of(self, name, attribute):
        return [found[attribute] for tag, found in self.elements if tag == name and found.get(attribute) is not None]

    def table(self, start):
        (found,) = [rows for caption, rows in self.tables.items() if caption.startswith(start)]
        return found


def read(folder, path):
    return Reader((folder / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def varied(site_data, tmp_path_factory):
    """The varied site, and the folder that it is built in."""
    folder = tmp_path_factory.mktemp("varied")
    site = site_data.varied(folder)
    build.build(site, folder / "site")
    return site, folder / "site"


def shown(value, low, high):
    """A cell as the page is to say it."""
    if np.isnan(value):
        return "–"
    ends = "" if np.isnan(low) else f" {low:.3f} to {high:.3f}"
    return f"{value:.3f}{ends}".replace("-", "−")


def mean(board, model, measure, length):
    """The mean over all settings and its interval, from the entries themselves."""
    cells = [board.cell(measure, model, setting, length) for setting in board.settings]
    if None in cells:
        return np.nan, np.nan, np.nan
    values = np.array([cell.value for cell in cells])
    if cells[0].low is not None:
        return values.mean(), np.mean([cell.low for cell in cells]), np.mean([cell.high for cell in cells])
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 2 else np.nan
    low, high = values.mean() - half, values.mean() + half
    if measure not in ("PSI debiased", "signed index"):  # the others run from 0 to 1
        low, high = np.maximum(low, 0), np.minimum(high, 1)
    return values.mean(), low, high


def test_every_figure_of_a_table_is_the_stored_one(varied, site_data):
    site, folder = varied
    checked = 0
    for board in site.boards:
        page = read(folder, board_path(board.name))
        head, *rows = page.table(f"{board.name}: ")
        assert len(rows) == len(board.models)
        assert len({len(row) for row in (head, *rows)}) == 1
        columns = tables.make(board, site.boards).columns
        assert len(columns) == len(head) - 2
        for row in rows:
            model = next(name for name in board.models if " ".join(row[1].split()).startswith(" ".join(name.split())))
            for column, text in zip(columns, row[2:], strict=True):
                if column.measure:
                    expected = mean(board, model, column.measure, boards.LENGTHS[column.length])
                elif column.key.startswith("in "):
                    cell = board.cell(board.measure, model, column.key[3:])
                    ends = (np.nan, np.nan) if cell is None or cell.low is None else (cell.low, cell.high)
                    expected = (np.nan if cell is None else cell.value, *ends)
                else:
                    other = next(one for one in site.boards if one.name == column.key[3:])
                    known = model in other.models
                    expected = mean(other, model, other.measure, "all") if known else (np.nan,) * 3
                assert text == shown(*expected), (board.name, model, column.key)
                checked += 1
    assert checked > 700


def test_ranks_and_order_are_the_boards(varied):
    site, folder = varied
    for board in site.boards:
        rows = read(folder, board_path(board.name)).table(f"{board.name}: ")[1:]
        assert [row[0] for row in rows] == [str(line.rank) if line.rank else "–" for line in boards.table(board)]
        assert sorted(row[0] for row in rows if row[0] != "–")[:1] == ["1"]
    plain = next(board for board in site.boards if board.name == "plain")
    last = read(folder, board_path("plain")).table("plain: ")[-1]
    assert last[0] == "–"
    assert last[1].startswith("part ")
    assert plain.origin("part") == "published"
    assert "published, not reproduced here" in last[1]


def test_the_first_page_shows_posir_and_leads_to_every_board(varied):
    site, folder = varied
    page = read(folder, "index.html")
    assert page.table("PosIR: 9 models, mean of all 7 settings")[0][:4] == [
        "Rank",
        "Model",
        "nDCG@10",
        "nDCG@10 Q1 ≤512",
    ]
    assert {board_path(board.name) for board in site.boards} <= set(page.of("a", "href"))
    assert overview.flagship(replace(site, boards=site.boards[2:])) == site.boards[2]


def test_columns_are_named_and_hidden_by_kind(varied):
    site, _ = varied
    found = {one.key: one for one in tables.make(site.boards[1], site.boards).columns}
    assert site.boards[1].name == "PosIR"
    hidden = {key for key, one in found.items() if not one.shown}
    assert {"nDCG@10", "nDCG@10 Q4", PSI, SIGNED} <= found.keys() - hidden
    assert {f"{PSI} Q1", "AP", "in ara-ara", "on single"} <= hidden
    single = tables.make(next(one for one in site.boards if one.name == "single"), ())
    assert not [one for one in single.columns if one.key.startswith(("in ", "on "))]


def test_hostile_texts_are_text(varied, site_data):
    site, folder = varied
    pages = sorted(path for path in folder.rglob("*.html"))
    assert len(pages) >= len(site.boards) + len(site.models) + 2
    seen = 0
    for path in pages:
        page = Reader(text := path.read_text(encoding="utf-8"))
        assert "<script>alert" not in text
        assert "img" not in {tag for tag, _ in page.elements}
        assert not [one for _, one in page.elements if any(name.startswith("on") for name in one)]
        assert not [url for url in page.of("a", "href") if re.match(r"(?!https?:)\w+:", url.strip())]
        seen += text.count("&lt;script&gt;alert(1)")
        embedded = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
        assert all(json.loads(content) for content in embedded)
    assert seen > 20
    for path in folder.rglob("*"):
        assert re.fullmatch(r"[\w./-]+", str(path.relative_to(folder))), path


def test_filters_refuse_what_is_no_figure_and_no_address():
    assert render.figure(float("nan")) == render.figure(None) == render.figure(float("inf")) == "–"
    assert render.figure(-0.1234) == "−0.123"
    assert render.interval(-0.1, 0.25) == "−0.100 to 0.250"
    assert render.interval(None, 1.0) == render.interval(float("nan"), 1.0) == ""
    assert str(render.link("javascript:alert(1)", "<b>")) == "&lt;b&gt;"
    assert str(render.link(' HTTPS://a/"x', "t")) == '<a href="HTTPS://a/&#34;x" rel="noreferrer">t</a>'
    assert json.loads(render.embedded({"a": "</script>&"})) == {"a": "</script>&"}
    assert "<" not in render.embedded("</script>")
    with pytest.raises(ValueError, match="JSON"):
        render.embedded(float("nan"))


def test_a_site_is_the_same_to_the_byte(site_data, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        one = site_data.entry(rng, f"model-{i}", site_data.SETTINGS[:4])
        entry.write(one, tmp_path / "entries" / "PosIR" / f"model-{i}" / "published.json")
    arguments = ["site", "build", "--entries", str(tmp_path / "entries"), "--cache", str(tmp_path / "cache"), "--json"]
    told = []
    for seed in "12":
        command = [sys.executable, "-m", "posbench", *arguments, "--to", str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        told.append(json.loads(done.stdout))
    contents = [
        {
            path.relative_to(tmp_path / seed): path.read_bytes()
            for path in (tmp_path / seed).rglob("*")
            if path.is_file()
        }
        for seed in "12"
    ]
    assert contents[0] == contents[1]
    assert told[0]["files"] == len(contents[0])
    assert told[0]["bytes"] == sum(map(len, contents[0].values()))
    assert told[0]["remarks"] == []


def test_what_is_damaged_is_said_and_left_out(site_data, tmp_path, capsys):
    rng, entries, results = np.random.default_rng(0), tmp_path / "entries", tmp_path / "results"
    good = site_data.entry(rng, "good", site_data.SETTINGS[:3])
    entry.write(good, entries / "good.json")
    (entries / "broken.json").write_text("{")
    text = (entries / "good.json").read_text()
    (entries / "nan.json").write_text(re.sub(r"\[\s*0\.\d+", "[NaN", text, count=1))
    (entries / "format.json").write_text(text.replace('"format": 1', '"format": 7'))
    lost = replace_queries(good, "lost.parquet")
    (entries / "lost.json").write_text(json.dumps(lost))
    settings = experiment.Settings(out=results, cache=tmp_path / "cache")
    kept = experiment.run("posir-mini/spa", "bm25", settings).result.folder
    for name, content in {"one": "{", "two": '{"format": 99}', "three": '{"format": 1}'}.items():
        folder = kept.parents[1] / name / "x"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(content)
    status = main(
        ["site", "build", "--entries", str(entries), "--results", str(results), "--cache", str(tmp_path / "cache")]
        + ["--to", str(tmp_path / "site")]
    )
    said = capsys.readouterr()
    assert status == 0
    built = [entry.read(path) for path in entry.files([SHIPPED])]
    named = {one.model.name for one in built if one.kind != "hnsw"} | {"good", "bm25"}
    assert f" {len(named)} models, " in said.out
    assert (tmp_path / "site" / board_path("posir-mini")).is_file()
    page = (tmp_path / "site" / "index.html").read_text()
    for name in ("broken.json", "nan.json", "format.json", "lost.parquet", "one/x", "two/x", "three/x"):
        assert name in said.err, name
        assert name in page, name
    assert said.err.count("left out") == 7
    assert str(tmp_path) not in page  # others need not know where it was made
    assert len(json.loads((tmp_path / "site" / build.MARK).read_text())["remarks"]) == 7


def replace_queries(one, file):
    """An entry that names a file of per-query values that is not there."""
    return msgspec.to_builtins(one) | {"queries": {"file": file, "sha256": "0" * 64}}


def test_folders_that_are_not_there_or_are_no_site_are_refused(tmp_path, capsys):
    with pytest.raises(UsageError, match="no such folder"):
        collect([tmp_path / "none"], [], Cache(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["site", "build", "--to", str(tmp_path / "mine")]) == 2
    assert "no site" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert main(["site", "serve", "--to", str(tmp_path / "mine")]) == 2
    assert "posbench site build --to" in capsys.readouterr().err


def test_building_again_leaves_no_old_page_and_a_failure_leaves_the_old_site(varied, tmp_path):
    site, _ = varied
    (tmp_path / "site").mkdir()  # an empty folder will do
    build.build(site, tmp_path / "site")
    files = build.build(replace(site, boards=site.boards[1:2]), tmp_path / "site")
    assert sorted(str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.*")) == files
    assert len([path for path in files if path.startswith("boards/")]) == 1
    before = (tmp_path / "site" / "index.html").read_bytes()
    board = site.boards[1]
    broken = replace(board, figures={board.measure: board.figures[board.measure][:1]})
    with pytest.raises(IndexError):
        build.build(replace(site, boards=(broken,)), tmp_path / "site")
    assert (tmp_path / "site" / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_site_without_results_says_how_to_make_one(tmp_path):
    build.build(Site(()), tmp_path / "site")
    assert "posbench eval --model e5" in (tmp_path / "site" / "index.html").read_text()
    assert not (tmp_path / "site" / "assets" / assets.TABLE).exists()


def test_the_bundle_becomes_a_classic_script_or_is_refused():
    made = assets.script("var a$=1,b=2;export{b as jQuery,a$ as default};\n/* notices */")
    assert made == '(function(){"use strict";var a$=1,b=2;window.DataTable=a$;\n/* notices */})();\n'
    for module in ("var a=1;", "export{a as DataTable};", "export default a;"):
        with pytest.raises(MissingPartError, match=r"itables 2\.9\.1"):
            assets.script(module)
    with pytest.raises(UsageError, match="no such asset"):
        assets.load("../secret.js")


def test_what_is_packed_unpacks_to_itself():
    text = assets.load(assets.TABLE).decode()
    held = re.search(r'atob\("([^"]+)"\)', text)[1]
    assert zlib.decompress(b64decode(held)).decode() == assets.script(assets._bundle())
    assert len(text) < 300_000


def test_licences_of_all_that_is_shipped_are_listed(varied):
    _, folder = varied
    page = (folder / "licences.html").read_text()
    for words in ("Marc Wouts", "OpenJS Foundation", "SpryMedia", "JSZip", "MIT License", "Apache License 2.0"):
        assert words in page
    assert [one.name for one in assets.licences([assets.TABLE, assets.CHARTS])] == ["itables", "vl-convert-python"]
    assert "Redistribution and use" in assets.licences([assets.CHARTS])[0].text
    shipped = {path.name for path in (folder / "assets").iterdir()}
    assert {*assets.styles(), *tables.SCRIPTS, assets.CHARTS} <= shipped


def test_a_large_site_is_small(site_data, tmp_path):
    files = build.build(site_data.site(tmp_path), tmp_path / "site")
    size = {path: (tmp_path / "site" / path).stat().st_size for path in files}
    page = read(tmp_path / "site", "index.html")
    loaded = [*page.of("script", "src"), *page.of("link", "href")]
    assert sum(size[path] for path in ("index.html", *loaded) if path != "data:,") <= 800_000
    assert sum(n for path, n in size.items() if not path.startswith("downloads/")) <= 3_000_000


def test_every_link_leads_somewhere_and_nothing_comes_from_elsewhere(varied):
    _, folder = varied
    for path in folder.rglob("*.html"):
        page = read(folder, path.relative_to(folder))
        loaded = [*page.of("script", "src"), *page.of("img", "src")]
        loaded += [url for url in page.of("link", "href") if url != "data:,"]
        for url in [*loaded, *(url for url in page.of("a", "href") if not url.startswith(("http", "#")))]:
            assert (path.parent / re.split("[#?]", url)[0]).is_file(), (path, url)
        ids = [one["id"] for _, one in page.elements if "id" in one]
        assert len(ids) == len(set(ids))


def test_figures_for_the_script_hold_nine_digits(varied):
    site, folder = varied
    board = next(one for one in site.boards if one.name == "plain")
    text = next(folder.glob("data/plain*.js")).read_text()
    data = json.loads(re.fullmatch(r"posbenchData\((.*)\);\n", text)[1])
    order = [board.models.index(line.model) for line in boards.table(board)]
    for measure, lengths in data["figures"].items():
        for k, parts in lengths.items():
            assert len(parts) == 1  # no intervals of single settings
            whole = np.frombuffer(b64decode(parts[0]["values"]), "<i4").reshape(len(order), -1)
            values = np.where(whole == -(2**31), np.nan, whole / parts[0]["scale"])
            np.testing.assert_allclose(values, board.figures[measure][order, :, int(k), 0], rtol=0, atol=6e-10)
    assert data["margins"] is None
    assert data["critical"][7][4] == pytest.approx(t.ppf(1 - 0.025 / 21, 4), abs=1e-8)
    packed = boarddata.packed(np.array([1234.5, -np.pi, np.nan]))
    assert packed["scale"] == 10**6
    assert not [path for path in folder.glob("data/*") if path.name.startswith("single")]


def test_a_board_of_stored_results_has_pairs_settings_and_commands(tmp_path):
    settings = experiment.Settings(out=tmp_path / "out", cache=tmp_path / "cache", command="posbench eval ...")
    for model in ("bm25", "wordllama"):
        pytest.importorskip("wordllama")
        for language in ("spa", "deu"):
            experiment.run(f"posir-mini/{language}", model, settings)
    site = collect([], [tmp_path / "out"], Cache(tmp_path / "cache"))
    (board,) = site.boards
    assert board.by_queries
    files = build.build(site, tmp_path / "site")
    assert board_path("posir-mini") in files
    page = read(tmp_path / "site", board_path("posir-mini"))
    (pair,) = comparison.compared(board, board.models)
    differences = [one.difference[0, 1] for _, one in board.pairs.values()]
    halves = [one.half[0, 1] for _, one in board.pairs.values()]
    row = page.table("Differences of nDCG@10")[1]
    assert row[:3] == [pair.first, pair.second, f"{abs(np.mean(differences)):.3f}"]
    assert pair.half == pytest.approx(np.mean(halves))
    assert row[4] == ("yes" if abs(np.mean(differences)) > np.mean(halves) else "not told apart")
    counts = [row[:4] for row in page.table("What each setting holds")[1:]]
    assert counts == [["deu-deu", "2", "120", "48"], ["spa-spa", "2", "120", "48"]]
    assert "posbench eval ..." in page.table("Sources, weights and commands")[1][3]


def test_the_server_is_for_this_machine_alone(varied):
    _, folder = varied
    with server(folder) as serving:
        assert serving.server_address[0] == "127.0.0.1"
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{serving.server_port}"
        with urllib.request.urlopen(f"{base}/") as answer:
            assert answer.read() == (folder / "index.html").read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            urllib.request.urlopen(f"{base}/../../etc/passwd")
        refused.value.close()
        with pytest.raises(UsageError, match="--port"):
            server(folder, serving.server_port)
        serving.shutdown()
