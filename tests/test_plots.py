import copy
import itertools
import json
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import bias, experiment, plots
from posbench.cli import main, plot
from posbench.compare import compare
from posbench.errors import MissingPartError, UsageError
from posbench.plots import stored, style
from posbench.store import Results
from posbench.studies import curves
from posbench.studies import saliency as study
from posbench.studies.pairs import Selection

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    settings = experiment.Settings(out=folder / "out", cache=folder / "cache")
    return {name: experiment.run("posir-mini", name, settings).result for name in ("bm25", "wordllama")}


@pytest.fixture(scope="module")
def reports(results):
    return {name: bias.position_report(result.report(), "nDCG@10", shuffles=100) for name, result in results.items()}


@pytest.fixture(scope="module")
def few(results):
    """A report of so few queries that most cells are withheld."""
    whole = results["bm25"].report()
    return {"bm25": bias.position_report(replace(whole, queries=whole.queries.slice(0, 55)), "nDCG@10", shuffles=100)}


def saliency(seed):
    curve = np.random.default_rng(seed).random(100)
    even = {"points": np.linspace(0, 1, 100).tolist(), "mean": curve.tolist(), "low": None, "high": None}
    mass = curve.reshape(5, 20).sum(1) / curve.sum()
    return {**even, "mass": mass.tolist(), "centroid": {"mean": 0.47, "interval": [0.4, 0.5]}}


def paired(level):
    means = [level, level - 0.1, level - 0.2]
    edges = {"low": [m - 0.05 for m in means], "high": [m + 0.05 for m in means]}
    return {"positions": [0.0, 0.5, 1.0], "mean": means, **edges, "queries": 300, "sample": [[1.0, 0.5, 0.0]]}


DIFFERENCES = [
    {"a": "bm25", "b": "e5", "difference": 0.0634, "interval": [0.021, 0.104], "p_holm": 0.0002},
    {"a": "e5", "b": "wordllama", "difference": -0.021, "interval": [-0.06, 0.014], "p_holm": 0.21},
]


@pytest.fixture(scope="module")
def charts(reports, few):
    null = np.random.default_rng(0).normal(0.3, 0.05, 500)
    pairs = {str(i): (i / 10, 1 - i / 20) for i in range(10)}
    return {
        "curves": plots.position_curves(reports, "posir-mini"),
        "gaps": plots.position_curves(few, "posir-mini"),
        "offsets": plots.offset_curves(reports, "posir-mini"),
        "heatmap": plots.heatmap(reports, "posir-mini"),
        "null": plots.null_distribution({"a": (0.4, null), "b": (0.25, null)}, "nDCG@10", "posir-mini"),
        "saliency": plots.saliency_curves({"e5": saliency(1), "minilm": saliency(2)}, "posir-mini"),
        "slopes": plots.slopes(pairs, (0.45, 0.775), ("original", "mirrored"), "nDCG@10", "posir-mini"),
        "queries": plots.slopes(pairs, (0.45, 0.775), ("bm25", "e5"), "nDCG@10", "posir-mini", labels=False),
        "paired": plots.paired_curves({"e5": paired(0.7), "bm25": paired(0.6)}, "nDCG@10", "composed"),
        "forest": plots.forest(DIFFERENCES, "nDCG@10", "posir-mini"),
    }


KINDS = ["curves", "gaps", "offsets", "heatmap", "null", "saliency", "slopes", "queries", "paired", "forest"]


@pytest.mark.parametrize("kind", KINDS)
def test_charts_are_valid_vega_lite_and_draw_the_same_bytes_twice(charts, kind, check_chart):
    chart = charts[kind]
    check_chart(chart)


def test_png_is_the_same_twice_at_two_pixels_a_px(charts):
    first = plots.png(charts["forest"])
    assert first.startswith(b"\x89PNG")
    assert plots.png(charts["forest"]) == first
    width = float(ElementTree.fromstring(plots.svg(charts["forest"])).get("width"))
    assert int.from_bytes(first[16:20], "big") == pytest.approx(2 * width, abs=2)


def test_colours_come_from_the_one_palette(charts):
    allowed = {*plots.COLOURS, style.INK, style.FAINT, style.RULE, style.EMPTY, style.BARS}
    assert set(re.findall(r"#[0-9A-Fa-f]{3,8}\b", json.dumps(charts))) <= allowed
    assert len(set(style.DASHES)) == len(set(style.SHAPES)) == len(set(plots.COLOURS)) == 7
    with pytest.raises(UsageError, match="8 results in one chart; expected 7"):
        style.by_series([str(i) for i in range(8)])


def test_curves_hold_the_reports_figures(charts, reports, rows_of, texts):
    drawn = {
        (r["series"], r["cell"], r["queries"], r["mean"], r["low"], r["high"])
        for r in _cells(rows_of(charts["curves"]))
    }
    expected = {
        (name, f"{c['low']:.0%} to {c['high']:.0%}", c["queries"], c["mean"], *c["interval"])
        for name, report in reports.items()
        for c in report["cells"]
        if not c["whole"]
    }
    assert drawn == expected
    words = texts(plots.svg(charts["curves"]))
    assert {"bm25", "wordllama", "n = 120", "≤512 tokens", "nDCG@10"} <= set(words)


def _cells(rows):
    return [row for row in rows if "cell" in row]


def test_withheld_cells_leave_gaps(charts, few, rows_of, texts):
    assert {c["mean"] is None for c in few["bm25"]["cells"]} == {True, False}
    assert len(_cells(rows_of(charts["gaps"]))) == sum(
        c["mean"] is not None for c in few["bm25"]["cells"] if not c["whole"]
    )
    assert "Gaps: fewer than 10 queries" in texts(plots.svg(charts["gaps"]))
    holed = copy.deepcopy(few["bm25"])
    top = [c for c in holed["cells"] if not c["whole"] and c["length"] == "all"]
    for cell, known in zip(top, (True, True, False, True, False), strict=True):
        cell |= {"mean": 0.5, "interval": [0.4, 0.6]} if known else {"mean": None, "interval": None}
    holed["cells"] = top
    chart = plots.position_curves({"bm25": holed}, "x")
    assert [(row["piece"], row["alone"]) for row in _cells(rows_of(chart))] == [(0, False), (0, False), (1, True)]
    lines = [g for g in ElementTree.fromstring(plots.svg(chart)).iter(f"{SVG}g") if "mark-line" in g.get("class", "")]
    drawn = [path.get("d") for group in lines for path in group.iter(f"{SVG}path")]
    assert [d.count("L") for d in drawn] == [1, 0]  # a line between the first two cells, none across the gap


def test_offsets_mark_a_cut_and_an_open_end(charts, reports, rows_of, texts):
    drawn = {(r["series"], r["cell"], r["mean"]) for r in _cells(rows_of(charts["offsets"]))}
    expected = set()
    for name, report in reports.items():
        for c in report["offsets"]["cells"]:
            if c["mean"] is not None:
                expected.add((name, f"{c['low']:,} to {c['high']:,}", c["mean"]))
    assert drawn == expected
    cut = copy.deepcopy(reports)
    cut["bm25"]["offsets"]["cut"] |= {"called": "truncation", "tokens": 512}
    cut["bm25"]["offsets"]["cells"][-1]["high"] = None
    words = texts(plots.svg(plots.offset_curves(cut, "x")))
    assert "bm25 cut at about 512" in words
    assert "bm25 cut at about 512" not in texts(plots.svg(charts["offsets"]))
    assert {"0", "128", "1,024"} <= set(words)
    assert "2,048" in texts(plots.svg(charts["offsets"]))
    assert "2,048" not in words


def test_heatmap_prints_means_and_counts_and_withholds(few, texts):
    words = texts(plots.svg(plots.heatmap(few, "x")))
    for cell in few["bm25"]["cells"]:
        assert f"n = {cell['queries']:,}" in words
        assert ("n < 10" if cell["mean"] is None else f"{cell['mean']:.2f}") in words


def _luminance(colour):
    if colour.startswith("rgb"):
        parts = np.array([int(x) for x in re.findall(r"\d+", colour)]) / 255
    else:
        parts = np.array({"white": [1.0] * 3, "black": [0.0] * 3}[colour])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_heatmap_text_has_contrast_everywhere():
    cell = {"length": "all", "queries": 50, "interval": [0.0, 1.0], "whole": False}
    means = np.linspace(0, 1, 41).tolist()
    cells = [{**cell, "low": mean, "high": mean + 1, "mean": mean} for mean in means]
    root = ElementTree.fromstring(plots.svg(plots.heatmap({"x": {"measure": "AP", "cells": cells}}, "x")))
    fills = [path.get("fill", "") for path in root.iter(f"{SVG}path")]
    inks = [text.get("fill") for text in root.iter(f"{SVG}text") if text.text == "n = 50"]
    for mean, box, ink in zip(means, [fill for fill in fills if fill.startswith("rgb")], inks, strict=True):
        light, dark = sorted([_luminance(box), _luminance(ink)], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, mean


def test_null_shows_what_the_report_tests(results, tmp_path, rows_of, texts):
    report = results["bm25"].report()
    tests = bias.position_report(report, "nDCG@10", seed=3)["tests"]["psi"]["all"]
    seen, null = stored.psi_sample("bm25", bias.placed(report, "nDCG@10"), seed=3)
    assert (seen, null.mean(), np.quantile(null, 0.95)) == (tests["value"], tests["null_mean"], tests["null_95"])
    chart = plots.draw([results["bm25"]], "null", seed=3)
    bars = [row for row in rows_of(chart) if "shuffles" in row]
    assert sum(row["shuffles"] for row in bars) == len(null) == 2000
    rules = {row["kind"]: row["at"] for row in rows_of(chart) if "kind" in row}
    assert rules == {"observed": seen, "mean": tests["null_mean"], "95%": tests["null_95"]}
    assert f"observed {seen:.3f} (p {tests['p']:.3f})" in texts(plots.svg(chart))


def test_the_other_charts_print_their_figures(charts, rows_of, texts):
    forest = texts(plots.svg(charts["forest"]))
    assert {"bm25 − e5", "0.063 [0.021, 0.104]", "p < 0.001", "−0.021 [−0.060, 0.014]", "p 0.210"} <= set(forest)
    shares = texts(plots.svg(charts["saliency"]))
    assert {f"{mass:.0%}" for one in (1, 2) for mass in saliency(one)["mass"]} <= set(shares)
    assert "e5 (centroid 0.47)" in shares
    slopes = set(texts(plots.svg(charts["slopes"])))
    assert {"original", "mirrored", "mean 0.450", "0.775 mean", "9 0.900", "0.550 9"} <= slopes
    faint = [row for row in rows_of(charts["paired"]) if "query" in row]
    assert [row["mean"] for row in faint if row["series"] == "e5"] == [1.0, 0.5, 0.0]


def test_slope_pairs_the_two_results(results, reports, rows_of):
    chart = plots.draw(list(results.values()), "slope")
    drawn = {(row["name"], row["mean"]) for row in rows_of(chart) if "name" in row}
    cells = [c for report in reports.values() for c in report["cells"] if c["length"] == "all"]
    names = ["mean" if c["whole"] else f"{100 * c['low']:.0f}–{c['high']:.0%}" for c in cells]
    assert drawn == {(name, cell["mean"]) for name, cell in zip(names, cells, strict=True)}


def test_forest_draws_the_comparison(results, rows_of):
    chart = plots.draw(list(results.values()), "forest")
    found = compare({name: result.report() for name, result in results.items()}, ("nDCG@10",), bias_too=False)
    (pair,) = found["measures"][0]["pairs"]
    (row,) = [row for row in rows_of(chart) if "sure" in row]
    assert (row["mean"], [row["low"], row["high"]]) == (pair["difference"], pair["interval"])


def test_saliency_is_drawn_from_its_result(results, tmp_path, rows_of):
    settings = experiment.Settings(out=tmp_path / "out", cache=tmp_path / "cache")
    method, pairs = study.Method("occlusion", segments=5), Selection(min_tokens=0, evidence=(0.0, 1.0), pairs=12)
    outcome = study.run("posir-mini/spa", "wordllama", method, pairs, settings)
    chart = plots.draw([outcome.result], "saliency")
    drawn = [row["mean"] for row in rows_of(chart) if "low" in row]
    assert drawn == curves.summary(outcome.report)["mean"]
    with pytest.raises(UsageError, match="is of `posbench saliency`"):
        plots.draw([outcome.result], "curves")
    with pytest.raises(UsageError, match="is of `posbench eval`"):
        plots.draw([results["bm25"]], "saliency")


def test_a_page_loads_nothing_and_holds_the_script_once(charts):
    evil = copy.deepcopy(charts["forest"])
    evil["title"]["text"] = "</script><script>alert(1)</script>"
    page = plots.page({"one": charts["slopes"], "two": evil}, "<b>")
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", page.replace(plots.script(), ""))
    assert not re.findall(r"\bimport\s*\(\s*[\"']https?:|<link|<script[^>]+src", page)
    assert page.count(plots.script()) == 1
    assert page.count("<script") == page.count("</script>") == 4 + plots.script().count("<script")
    assert "<title>&lt;b&gt;</title>" in page
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page, re.DOTALL)
    assert {key: json.loads(text) for key, text in found} == {"one": charts["slopes"], "two": evil}
    assert page == plots.page({"one": charts["slopes"], "two": evil}, "<b>")


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.2))
def test_labels_keep_apart_and_in_order(places, gap):
    moved = style.spread(places, gap, 0.0, 1.0)
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(sorted(moved)))
    assert sorted(range(len(places)), key=lambda i: (places[i], i)) == sorted(
        range(len(places)), key=lambda i: moved[i]
    )
    if gap * len(places) <= 1:
        assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)


@pytest.mark.parametrize(
    ("suffix", "begin"), [("svg", b"<svg"), ("HTML", b"<!DOCTYPE html>"), ("json", b"{"), ("png", b"\x89PNG")]
)
def test_a_chart_is_saved_in_the_form_that_its_name_asks_for(charts, tmp_path, suffix, begin):
    target = tmp_path / "new" / f"chart.{suffix}"
    plots.save(charts["forest"], target)
    assert target.read_bytes().startswith(begin)


def test_the_command_writes_a_chart_and_says_where(results, tmp_path, capsys, texts):
    target = tmp_path / "chart.svg"
    assert main(["plot", str(results["bm25"].folder), "--to", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": [str(target)]}
    assert {"bm25", "nDCG@10 by place of the evidence"} <= set(texts(target.read_text(encoding="utf-8")))


def test_the_command_knows_every_kind():
    assert set(plot.KINDS) == set(stored.KINDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "x.pdf"], "x.pdf ends in '.pdf'; expected one of .png .svg .html .json"),
        (["--to", "x"], "x has no ending; expected one of"),
        (["--to", "x.svg", "--kind", "slope"], "--kind slope compares two results; found 1"),
        (["--to", "x.svg", "--measure", "AP@7"], "the report has no measure 'AP@7'"),
    ],
)
def test_bad_calls_give_one_line(results, capsys, arguments, message):
    assert main(["plot", str(results["bm25"].folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_results_that_cannot_be_drawn_say_so(results, tmp_path, capsys):
    one = results["bm25"]
    assert main(["plot", str(tmp_path), "--to", "x.svg"]) == 2
    assert "holds no result: found no manifest.json" in capsys.readouterr().err
    assert main(["plot", str(one.folder), str(one.folder), "--to", "x.svg"]) == 2
    assert "the same result stands twice" in capsys.readouterr().err
    whole = one.report()
    bare = replace(whole, queries=whole.queries.drop_columns(["span_start", "span_end", "doc_chars", "doc_tokens"]))
    plain = Results(tmp_path).write("plain", "bm25", "0" * 16, replace(bare, header=one.manifest), one.run())
    short = replace(whole, queries=whole.queries.slice(0, 100), header=one.manifest)
    small = Results(tmp_path).write("small", "bm25", "0" * 16, short, one.run())
    for kind in sorted(set(stored.KINDS) - {"forest", *stored.STUDIES}):  # which need no place
        arguments = [str(plain.folder), *([str(one.folder)] if kind == "slope" else [])]
        assert main(["plot", *arguments, "--kind", kind, "--to", "x.svg"]) == 2
        assert "no query has evidence at a known place" in capsys.readouterr().err
    assert main(["plot", str(small.folder), "--kind", "null", "--to", "x.svg"]) == 2
    assert "PSI's smallest position bin holds" in capsys.readouterr().err


def test_a_missing_package_names_its_extra(charts, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingPartError, match=r"pip install 'posbench\[plots\]'"):
        plots.svg(charts["forest"])
    plots.save(charts["forest"], tmp_path / "chart.json")
    assert json.loads((tmp_path / "chart.json").read_text()) == charts["forest"]
