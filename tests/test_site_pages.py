"""Pages of models, comparisons, indexes, rerankers and methods: what stands on them is what was computed."""

import json
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from posbench.leaderboard.boards import LENGTHS, Found, boards
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source
from posbench.plots import differences, quality_by_cost
from posbench.plots.style import figure
from posbench.site import comparison, indexes, methods, models, reranking
from posbench.site.context import Site, model_path, slug
from posbench.site.drawings import typeset

MINUS = "\N{MINUS SIGN}"


class Reader(HTMLParser):
    """A page as tables of text, with its ids, links and elements."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.links, self.names, self.text, self.caption = {}, [], [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        if tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.tables.setdefault(self.caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self.caption][-1].append("")

    def handle_endtag(self, tag):
        if tag == "caption":
            self.caption = " ".join(self.caption.split())
            self.tables[self.caption] = self.tables.get(self.caption, [])
        elif tag == "table":
            self.caption = None

    def handle_data(self, data):
        self.text.append(data)
        rows = self.tables.get(self.caption)
        if self.caption is not None and rows is None:
            self.caption += data
        elif rows and rows[-1]:
            rows[-1][-1] += data.replace("\n", "")


def read(made, path):
    return Reader((made.folder / path).read_text(encoding="utf-8"))


def board(made, name):
    return next(one for one in made.site.boards if one.name == name)


def text_of(cell):
    if cell is None:
        return "–"
    ends = "" if cell.low is None else f" [{figure(cell.low)}, {figure(cell.high)}]"
    return figure(cell.value) + ends


def test_a_models_page_has_all_its_figures_with_intervals(site_pages):
    page, mini = read(site_pages, "models/wordllama.html"), board(site_pages, "posir-mini")
    assert page.tables["nDCG@10"][0] == ["setting", "all", "Q1", "Q2", "Q3", "Q4"]
    for row in page.tables["nDCG@10"][1:3]:
        cells = [mini.cell("nDCG@10", "wordllama", row[0], length) for length in LENGTHS]
        assert [cell.strip() for cell in row[1:]] == [text_of(cell) for cell in cells]
        assert all(cell.low is not None for cell in cells if cell)
    mean = mini.figures["nDCG@10"][mini.models.index("wordllama"), :, 0].mean(axis=0)
    assert page.tables["nDCG@10"][3][:2] == ["mean", f"{figure(mean[0])} [{figure(mean[1])}, {figure(mean[2])}]"]
    shown = {head for rows in page.tables.values() for head in rows[0]}
    assert {"AP", "R@100", "RR@10", "PSI debiased"} <= shown
    assert {"PSI", "signed index"} <= page.tables.keys() | shown


def test_cells_by_length_and_place_are_the_position_reports(site_pages):
    page = read(site_pages, "models/bm25.html")
    (rows,) = [rows for name, rows in page.tables.items() if name and "place of the evidence" in name]
    found = board(site_pages, "posir-mini").entries["bm25"]
    (report,) = [one.entry.details["bias"]["eng-eng"] for one in found if "eng-eng" in one.entry.settings()]
    start = next(i for i, row in enumerate(rows) if any(f"n {report['queries']}" in cell for cell in row))
    cells = [cell for row in rows[start : start + 5] for cell in row[1:]]
    assert len(cells) == len(report["cells"]) == 30
    for shown, cell in zip(cells, report["cells"], strict=True):
        assert f"n {cell['queries']}" in shown
        if cell["mean"] is None:
            assert shown.startswith("too few")
        else:
            assert shown.startswith(f"{cell['mean']:.3f}[{cell['interval'][0]:.3f}, {cell['interval'][1]:.3f}]")


def test_charts_are_those_of_plots_and_have_their_words_in_the_page(site_pages, rows_of):
    page = next(one for one in site_pages.pages if one.path == "models/wordllama.html")
    specs, html = page.data["charts"], (site_pages.folder / page.path).read_text()
    assert len(specs) == 3  # two languages and a saliency study
    assert page.scripts == ("vega.js", "charts.js")
    for key, spec in specs.items():
        assert f'data-chart="{key}"' in html
        assert spec["config"]["aria"] is False
        assert "title" not in spec
        assert list(rows_of(spec))
    assert html.count('role="region"') == html.count("tabindex") - html.count("<pre tabindex")
    assert "Chart: nDCG@10 by place of the evidence, posir-mini, eng-eng; the table beside it has its numbers" in html


def test_provenance_is_whole(site_pages):
    text = "".join(read(site_pages, "models/bm25.html").text)
    for found in board(site_pages, "posir-mini").entries["bm25"]:
        entry = found.entry
        for words in (entry.command, entry.model.weights, entry.data.fingerprint, *entry.details["result"]["files"]):
            assert words in text
        assert entry.details["versions"]["numpy"] in text


def test_a_published_models_page_is_small_marked_and_sourced(site_pages):
    page = read(site_pages, "models/first.html")
    text = "".join(page.text)
    assert "published, not reproduced here: A paper (table 1)" in text
    assert "https://example.org/paper" in page.links
    assert "script" not in page.names
    assert (site_pages.folder / "models/first.html").stat().st_size < 9_000


def test_a_published_page_of_posirs_size_is_below_nine_kilobytes(shared):
    found = posir(shared)
    site = Site(tuple(boards(found)))
    assert len(site.models) == 10
    for page in models.pages(site):
        assert page.data is None
        settings, lengths = 18, 5
        tables = page.values["scores"][0].tables
        assert [len(table.rows) for table in tables] == [settings + 1] * 2
        assert all(len(cells) == lengths for table in tables for _, cells in table.rows)


def posir(shared):
    """The published board of the PosIR paper."""
    found = []
    for name, settings in json.loads((shared / "posir" / "paper_metrics_10_models.json").read_text()).items():
        figures = {"nDCG@10": {}, "PSI": {}}
        for setting, values in settings.items():
            for column, value in values.items():
                measure, _, length = column.partition("(")
                figures[measure].setdefault(setting, {})[length.rstrip(")") or "all"] = Figure(value)
        source = Source("PosIR", "https://arxiv.org/abs/2601.08363")
        found.append(Found(Entry(Model(name), Data("PosIR", "PosIR"), "published", figures, source=source), Path(name)))
    return found


def test_differences_of_published_means_are_paired_t(shared):
    (one,) = boards(posir(shared))
    pairs = comparison.compared(one, one.models)
    assert len(pairs) == 45
    values = dict(zip(one.models, one.figures["nDCG@10"][:, :, 0, 0], strict=True))
    for pair in pairs:
        apart = values[pair.first] - values[pair.second]
        width = t.ppf(1 - 0.05 / 2 / 45, 17) * np.std(apart, ddof=1) / np.sqrt(18)
        assert pair.difference == pytest.approx(apart.mean())
        assert pair.half == pytest.approx(width)
        assert pair.told == (apart.mean() > width)
    assert 0 < sum(pair.told for pair in pairs) < 45
    assert comparison.compared(one, one.models[:2], one.settings[:2])[0].half is None


def test_differences_over_queries_are_means_of_the_boards_pairs(site_pages):
    mini = board(site_pages, "posir-mini")
    assert mini.by_queries
    (pair,) = comparison.compared(mini, ("bm25", "wordllama"))
    halves, apart = [], []
    for names, found in mini.pairs.values():
        a, b = names.index("bm25"), names.index("wordllama")
        halves.append(found.half[a, b])
        apart.append(found.difference[a, b])
    assert pair.difference == pytest.approx(abs(np.mean(apart)))
    assert pair.half == pytest.approx(np.mean(halves))
    means = mini.figures["nDCG@10"][:, :, 0, 0].mean(axis=1)
    best = max(("bm25", "wordllama"), key=lambda name: means[mini.models.index(name)])
    assert pair.first == best


def test_a_boards_script_holds_what_the_comparison_needs(site_pages):
    for one in site_pages.site.boards:
        text = (site_pages.folder / f"data/compare-{slug(one.name)}.js").read_text(encoding="utf-8")
        assert "<" not in text
        start = text.index("[") + len(json.dumps(slug(one.name))) + 2
        content = json.loads(text[text.index("=", start) + 1 :].strip().rstrip(";"))
        assert content["models"] == list(one.models)
        assert content["byQueries"] == one.by_queries
        values = np.array(content["values"], float)
        seen = [LENGTHS.index(length) for length in content["lengths"]]
        expected = one.figures[one.measure][:, :, seen, 0].transpose(0, 2, 1)
        np.testing.assert_allclose(values, expected, atol=1e-7)
        for name, found in content["pairs"].items():
            names, whole = one.pairs[name]
            means = np.array(found["means"])
            np.testing.assert_allclose(means[:, None] - means[None, :], whole.difference, atol=3e-7)
            upper = dict(zip(combinations(range(len(names)), 2), found["half"], strict=True))
            assert all(half == pytest.approx(whole.half[pair], abs=1e-7) for pair, half in upper.items())


def test_all_pairs_stand_on_the_page_without_a_script(site_pages):
    page = read(site_pages, "compare.html")
    for one in site_pages.site.boards:
        settings = f"{len(one.settings)} settings"
        (rows,) = [rows for name, rows in page.tables.items() if name and settings in name and one.measure in name]
        pairs = sorted(comparison.compared(one, one.models), key=lambda pair: -pair.difference)
        assert len(rows) == len(pairs) + 1
        for row, pair in zip(rows[1:], pairs, strict=True):
            ends = f"[{figure(pair.difference - pair.half)}, {figure(pair.difference + pair.half)}]"
            said = "real" if pair.told else "cannot be told"
            assert row == [pair.first, pair.second, figure(pair.difference), ends, said]


def test_the_page_of_indexes_shows_the_studys_figures(site_pages):
    page = read(site_pages, "hnsw.html")
    (found,) = [one.entry for one in site_pages.site.studies if one.entry.kind == "hnsw"]
    summary, text = found.details["summary"], "".join(page.text)
    arms = [arm for one in summary["sets"] for arm in one["arms"]]
    (rows,) = [rows for name, rows in page.tables.items() if name and name.startswith("recall@10")]
    shown = [row for row in rows if row[0] != "index"]
    assert len(shown) == len(arms) == 8
    for row, arm in zip(shown, arms, strict=True):
        recall = arm["recall"]
        assert row[1:3] == [str(arm["ef_search"]), arm["order"]]
        assert row[3].strip() == f"{figure(recall['value'])} [{figure(recall['low'])}, {figure(recall['high'])}]"
    assert "cheapest tried" in text or "no index tried reaches" in text
    (ranks,) = [rows for name, rows in page.tables.items() if name and name.startswith("Rank and mean")]
    assert len(ranks) - 1 == sum(len(shift["models"]) for shift in summary["shifts"]) == 8
    data = next(one for one in site_pages.pages if one.path == "hnsw.html").data
    assert data["charts"].keys() == {"recall-0", "ranks-0"}


def test_a_reranker_stands_beside_its_first_stage_and_its_cost(site_pages):
    page = read(site_pages, "rerankers.html")
    (rows,) = [rows for name, rows in page.tables.items() if name and name.startswith("Means with 95%")]
    mini = board(site_pages, "posir-mini")
    (name,) = [name for name in mini.models if name.startswith("bm25>")]
    (found,) = mini.entries[name]
    gain = next(one for one in found.entry.details["rerank"]["gains"] if one["measure"] == "nDCG@10")
    cost = found.entry.details["rerank"]["facts"]["cost"]
    row = rows[1]
    assert row[0] == name
    assert row[4] == figure(gain["first"])
    assert row[5].strip() == text_of(mini.cell("nDCG@10", name, "eng-eng"))
    assert row[6].startswith(figure(gain["difference"]))
    assert row[8] == f"{(cost['prompt_tokens'] + cost['answer_tokens']) / gain['count']:,.0f}"
    captions = [name or "" for name in page.tables]
    for measure in ("Quality by order", "Consistency", "Anchoring", "Exposure", "A relevant", "Malformed", "Bias to"):
        assert any(name.startswith(measure) for name in captions), measure
    assert any("change from the first strategy" in name for name in captions)


def test_methods_have_every_anchor_that_pages_link_to(site_pages):
    known = read(site_pages, "methods.html").ids
    assert len(known) == len(set(known))
    for page in site_pages.pages:
        if page.path.endswith(".html"):
            found = read(site_pages, page.path)
            assert len(found.ids) == len(set(found.ids)), page.path
            for link in found.links:
                if "methods.html#" in link:
                    assert link.partition("#")[2] in known, (page.path, link)
    for measure in ("nDCG@10", "RR@10", "AP", "R@100", "P@5", "Success@1", "p-MRR", "PSI", "PSI debiased", "ERR@9"):
        assert methods.anchor(measure) in known


def test_hostile_words_stay_words(site_pages):
    (name,) = [name for name in site_pages.site.models if "<script>" in name]
    for page in site_pages.pages:
        text = (site_pages.folder / page.path).read_text(encoding="utf-8")
        assert "<script>window" not in text
        assert "javascript:alert" not in "".join(Reader(text).links) if page.path.endswith(".html") else True
    text = (site_pages.folder / model_path(name)).read_text(encoding="utf-8")
    assert re.search(r"<h1><bdi>&lt;script&gt;window", text)


def test_damaged_details_are_left_out_and_said(site_pages):
    (study,) = [one for one in site_pages.site.studies if one.entry.kind == "hnsw"]
    entry = Entry(study.entry.model, study.entry.data, "submitted", kind="hnsw", details={"summary": {"sets": 3}})
    scores = Entry(
        Model("m"),
        Data("b", "b"),
        "submitted",
        {"nDCG@10": {"all": {"all": Figure(0.5)}}},
        details={"bias": {"all": {"cells": [{}]}}, "rerank": [], "seconds": 3, "truncation": 1, "versions": "x"},
    )
    site = Site(tuple(boards([Found(scores, Path("m"))])), (Found(entry, Path("x")),))
    (page,) = indexes.pages(site)
    assert page.values["studies"] == []
    assert page.values["unread"] == [f"{entry.model.name} on {entry.data.name}"]
    (page,) = reranking.pages(site)
    assert page.values["unread"] == ["m on b"]
    assert [page.values["positions"] for page in models.pages(site)] == [[]]


def test_pages_of_nothing_say_so():
    for part in (indexes, reranking, comparison, methods):
        (page,) = part.pages(Site(()))
        assert page.values
    assert not list(models.pages(Site(())))


def test_charts_of_pages_are_valid(check_chart):
    rows = [
        {"pair": f"a {MINUS} b", "difference": 0.1, "low": 0.02, "high": 0.18, "told": True},
        {"pair": f"a {MINUS} c", "difference": 0.01, "told": False},
    ]
    check_chart(differences(rows, "nDCG@10"))
    costs = [{"name": f"m{i}", "cost": 10.0**i, "value": 0.5, "low": 0.4, "high": 0.6, "first": 0.45} for i in range(9)]
    check_chart(quality_by_cost(costs, "tokens", "nDCG@10", "mini"))
    check_chart(quality_by_cost(costs[:1], "seconds", "nDCG@10", "mini"))


def test_sentences_get_true_minus_signs():
    assert typeset("index -0.043, -.129 to +0.042, e5-base, 2-3") == (
        f"index {MINUS}0.043, {MINUS}.129 to +0.042, e5-base, 2-3"
    )
