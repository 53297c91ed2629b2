"""Charts of HNSW studies hold the studies' figures."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from posbench import experiment, plots, recipe
from posbench.cli import main
from posbench.errors import UsageError
from posbench.hnsw import graphs
from posbench.plots import hnsw, ranks, stored, style
from posbench.studies.hnsw import study
from posbench.studies.hnsw.grid import Grid, Index, Vectors
from posbench.studies.hnsw.lid import by_lid
from posbench.studies.hnsw.summary import summary

INDEX = Index(m=(4, 8), ef_construction=(10,), ef_search=(10, 20, 40))
MADE = {"synthetic": "subspaces", "parameters": {"number": 8, "low": 2, "high": 32}, "documents": 400, "queries": 60}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hnsw")
    return experiment.Settings(out=folder / "out", cache=folder / "cache")


@pytest.fixture(scope="module")
def models(settings, tmp_path_factory):
    """A study of two models, the second of which reads the first four tokens of a text, and of vectors twice made."""
    short = tmp_path_factory.mktemp("recipes") / "short.toml"
    text = (recipe.ROOT / "rankers" / "wordllama.toml").read_text(encoding="utf-8")
    short.write_text(text.replace("max_tokens = 1000000", "max_tokens = 4"), encoding="utf-8")
    texts_ = Vectors(models=("wordllama", str(short)), dataset="posir-mini/eng")
    made = Vectors(name="made", null=True, **MADE)
    grid = Grid(
        (texts_, made), (INDEX,), orders=("random", "lid-ascending"), data_seeds=2, level_seeds=2, probe=0, lid_k=20
    )
    return study.run("both", grid, settings, jobs=1).result


@pytest.fixture(scope="module")
def few(settings):
    """A study of vectors alone with one ef and few queries."""
    vectors = Vectors(**{**MADE, "queries": 15})
    index = Index(m=(4,), ef_construction=(10,), ef_search=(10,))
    grid = Grid((vectors,), (index,), orders=("random", "category"), data_seeds=1, level_seeds=2, probe=0, lid_k=20)
    return study.run("few", grid, settings, jobs=1).result


@pytest.fixture(scope="module")
def told(models):
    return summary(models.report())


@pytest.fixture(scope="module")
def charts(models):
    return {kind: plots.draw([models], kind) for kind in ("recall", "lid", "ranks")}


@pytest.mark.parametrize("kind", ["recall", "lid", "ranks"])
def test_charts_are_whole(charts, kind, check_chart):
    check_chart(charts[kind])
    assert plots.png(charts[kind]).startswith(b"\x89PNG")
    found = set(re.findall(r"#[0-9A-Fa-f]{6}\b", json.dumps(charts[kind])))
    assert found <= {*plots.COLOURS, style.INK, style.FAINT, style.RULE}


def recalls(rows):
    return [row for row in rows if "ef" in row]


def test_recall_holds_the_arms_of_each_set_and_build(charts, told, rows_of, texts):
    panels = charts["recall"]["concat"]
    assert [panel["title"]["text"] for panel in panels] == ["wordllama"] * 2 + ["short"] * 2 + ["made"] * 2
    for number, panel in enumerate(panels):
        one, m = told["sets"][number // 2], (4, 8)[number % 2]
        expected = {
            (a["order"], a["ef_search"], a["recall"]["value"], a["recall"]["low"], a["recall"]["high"], a["builds"])
            for a in one["arms"]
            if a["m"] == m
        }
        assert {
            tuple(r[c] for c in ("order", "ef", "mean", "low", "high", "builds")) for r in recalls(rows_of(panel))
        } == (expected)
        assert len(expected) == 6
        assert any(f" M {m} " in line for line in panel["title"]["subtitle"])
        assert ("no order should matter" in panel["title"]["subtitle"]) == (number > 3)
    assert charts["recall"]["columns"] == 2
    assert {"random", "lid-ascending", "efSearch", "10", "20", "40"} <= set(texts(plots.svg(charts["recall"])))


def test_recall_axes_hold_their_intervals_and_say_where_they_begin(charts, rows_of, texts):
    words = texts(plots.svg(charts["recall"]))
    for panel in charts["recall"]["concat"]:
        rows = recalls(rows_of(panel))
        y = next(layer["encoding"]["y"] for layer in panel["layer"] if layer["mark"]["type"] == "line")
        low, high = y["scale"]["domain"]
        assert low <= min(row["low"] for row in rows)
        assert min(1, max(row["high"] for row in rows)) <= high <= 1
        assert low == 0 or y["title"] == f"recall@10, from {low:g}"
        assert y["title"] in words
        x = panel["layer"][1]["encoding"]["x"]
        assert (x["scale"]["type"], x["scale"]["base"], x["scale"]["domain"]) == ("log", 2, [10, 40])


@given(st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(0, 0.3)), min_size=1, max_size=5))
def test_an_axis_is_round_and_no_longer_than_needed(bounds):
    rows = [{"low": min(low, 1.0), "high": max(min(low, 1.0) + more, 0.0)} for low, more in bounds]
    low, high = hnsw.recall_domain(rows)
    lowest, highest = max(0.0, min(r["low"] for r in rows)), min(1.0, max(r["high"] for r in rows))
    assert 0 <= low <= lowest + 1e-9
    assert highest - 1e-9 <= high <= 1
    assert low < high
    assert high - low <= 2 * max(highest - lowest, 0.005) + 0.0200001


def arm(order, ef, value):
    recall = {"value": value, "low": value - 0.01, "high": value + 0.01}
    index = {"library": "hnswlib", "m": 4, "ef_construction": 10, "ef_search": ef}
    return {**index, "order": order, "builds": 5, "recall": recall}


def many_orders(number):
    orders = ["random", "file:/far/away/mine.npy", *(f"order-{i}" for i in range(number - 2))]
    arms = [arm(order, ef, 0.9 - 0.01 * i) for i, order in enumerate(orders) for ef in (10, 20)]
    effects = [{"order": order, "recall": {"value": -0.01 * i}} for i, order in enumerate(orders) if i]
    return [{"vectors": "a", "null": False, "arms": arms, "effects": effects}]


def test_random_is_the_reference_line_and_files_stand_without_their_folders(texts, check_chart):
    chart = plots.recall_curves(many_orders(7), 10, "x")
    check_chart(chart)
    (panel,) = chart["concat"]
    line = next(layer["encoding"] for layer in panel["layer"] if layer["mark"]["type"] == "line")
    first = [line[channel]["scale"]["range"][0] for channel in ("color", "strokeDash")]
    assert line["color"]["scale"]["domain"][0] == "random"
    assert first == ["#000000", [1, 0]]
    assert len(set(line["color"]["scale"]["range"])) == 7
    assert "file:mine.npy" in texts(plots.svg(chart))
    assert not any("Left out" in line for line in chart["title"]["subtitle"])
    assert not any("differ" in line for line in chart["title"]["subtitle"])


def test_too_many_orders_leave_out_those_that_matter_least(rows_of, texts):
    chart = plots.recall_curves(many_orders(9), 10, "x")
    assert {row["order"] for row in rows_of(chart)} == {"random", *(f"order-{i}" for i in range(1, 7))}
    assert "Left out, for they change recall least: file:mine.npy, order-0" in texts(plots.svg(chart))


def test_one_ef_is_drawn_with_bars(few, check_chart, rows_of):
    chart = plots.draw([few], "recall")
    check_chart(chart)
    (panel,) = chart["concat"]
    assert [layer["mark"]["type"] for layer in panel["layer"]] == ["rule", "line", "point"]
    assert panel["layer"][0]["encoding"]["x"]["scale"]["domain"] == [5, 20]
    places = [row["at"] for row in rows_of(panel) if "at" in row]
    assert places[0] < 10 < places[1]


def of_rows(report, vectors):
    """LID and mean recall of each query of a kind under the random order and the smallest index, from the rows."""
    table = report.queries.to_pandas()
    mine = table[(table.vectors == vectors) & (table.order == "random") & (table.m == 4) & (table.ef_search == 10)]
    return mine.groupby(["data_seed", "query_id"], observed=True)[["lid", "recall@10"]].mean()


def test_lid_holds_every_query_and_means_of_parts(models, told):
    report = models.report()
    sets = by_lid(report, told["sets"])
    assert [len(one["parts"]) for one in sets] == [10, 10, 6]  # of 480, 480 and twice 60 queries
    for one in sets:
        found = of_rows(report, one["vectors"])
        pairs = sorted(zip(found["lid"], found["recall@10"], strict=True))
        np.testing.assert_allclose(sorted(zip(one["lid"], one["recall"], strict=True)), pairs)
        assert sum(part["queries"] for part in one["parts"]) == len(pairs)
        assert all(part["low"] <= part["mean"] <= part["high"] for part in one["parts"])
        rho = found.groupby("data_seed").apply(lambda some: spearmanr(some["lid"], some["recall@10"]).statistic)
        assert one["spearman"]["rho"] == pytest.approx(rho.mean())
    lid, recall = np.array(sorted(zip(sets[0]["lid"], sets[0]["recall"], strict=True))).T
    tenths = np.array_split(np.arange(480), 10)
    np.testing.assert_allclose([part["mean"] for part in sets[0]["parts"]], [recall[some].mean() for some in tenths])
    np.testing.assert_allclose([part["lid"] for part in sets[0]["parts"]], [np.median(lid[some]) for some in tenths])


def test_lid_draws_points_of_queries_and_prints_their_correlation(charts, models, told, rows_of):
    sets = by_lid(models.report(), told["sets"])
    for panel, one in zip(charts["lid"]["concat"], sets, strict=True):
        points = [(row["lid"], row["mean"]) for row in rows_of(panel) if "low" not in row]
        assert set(points) <= set(zip(one["lid"], one["recall"], strict=True))
        assert len(points) == min(400, len(one["lid"]))
        assert [row for row in rows_of(panel) if "low" in row] == one["parts"]
        s = one["spearman"]
        words = f"Spearman {s['rho']:.2f} [{s['low']:.2f}, {s['high']:.2f}]".replace("-", "−")
        assert words in panel["title"]["subtitle"]
        assert f"{s['queries']:,} queries" in panel["title"]["subtitle"]
        assert panel["layer"][0]["encoding"]["x"]["scale"]["type"] == "log"
    other = plots.draw([models], "lid", seed=1)
    assert list(rows_of(other["concat"][0])) != list(rows_of(charts["lid"]["concat"][0]))


def test_lid_of_few_queries_has_no_line_and_a_constant_no_correlation(few, texts, check_chart):
    report = few.report()
    (one,) = by_lid(report, summary(report)["sets"])
    assert one["parts"] == []
    one = {**one, "recall": [1.0] * 15, "spearman": None}
    chart = plots.lid_recall([one], 10, "x")
    check_chart(chart)
    assert "no correlation: recall or LID is constant" in texts(plots.svg(chart))


@given(st.floats(0.1, 100), st.floats(1.02, 1000))
def test_ticks_are_few_and_within(low, ratio):
    found = hnsw.ticks(low, low * ratio)
    assert found == sorted(set(found))
    assert all(low <= tick <= low * ratio * (1 + 1e-9) for tick in found)
    assert 2 <= len(found) <= 14


def test_ranks_hold_the_shifts_and_name_both_ends(charts, told, rows_of, texts):
    shifts = told["shifts"]
    rows = [row for row in rows_of(charts["ranks"]) if "ndcg" in row]
    drawn = {(row["model"], row["at"], row["rank"], row["ndcg"]) for row in rows}
    expected = {(m["ranker"], "exact search", m["exact_rank"], m["exact"]) for m in shifts[0]["models"]}
    for row in shifts:
        at = f"efSearch {row['ef_search']}, {row['order']}"
        expected |= {(m["ranker"], at, m["index_rank"], m["index"]) for m in row["models"]}
    assert drawn == expected
    words = texts(plots.svg(charts["ranks"]))
    panels = charts["ranks"]["vconcat"]
    assert [panel["title"]["subtitle"] for panel in panels] == [
        [f"{graphs.chosen('auto')} M {m} efConstruction 10"] for m in (4, 8)
    ]
    for model in shifts[0]["models"]:
        assert f"{model['exact_rank']}  {model['ranker']}  {model['exact']:.4f}" in words
    for last in (row for row in shifts if (row["ef_search"], row["order"]) == (40, "lid-ascending")):
        assert {f"{model['index']:.4f}  {model['ranker']}" for model in last["models"]} <= set(words)


def shift(order, ef, names, swaps):
    index = {"dataset": "d", "library": "hnswlib", "m": 4, "ef_construction": 10, "ef_search": ef, "order": order}
    models = [
        {"ranker": name, "exact": 0.9 - 0.01 * i, "exact_rank": i + 1, "index": 0.5, "index_rank": len(names) - i}
        for i, name in enumerate(names)
    ]
    return {**index, "models": models, "swaps": swaps, "largest": len(names) - 1}


def swap(first, second, builds, resampled):
    return {"first": first, "second": second, "builds": builds, "resampled": resampled}


def test_pairs_that_change_places_are_noted_from_a_twentieth_on(rows_of, texts, check_chart):
    swaps = [swap("a", "b", 0.0, 0.049), swap("a", "c", 0.0, 0.05), swap("b", "c", 0.8, 0.4)]
    chart = plots.rank_shifts([shift("random", 10, "abc", swaps), shift("given", 10, "abc", swaps[:1])], 10, "x")
    check_chart(chart)
    noted = [(row["x"], row["y"], row["label"]) for row in rows_of(chart) if "swap" in row]
    assert [label for _, _, label in noted] == ["2 and 3: 80%", "1 and 3: 5%"]
    assert noted[0][0] == noted[1][0]  # in the column of the first order, one below the other
    assert noted[0][1] < noted[1][1]
    assert {"2 and 3: 80%", "1 and 3: 5%", "change places"} <= set(texts(plots.svg(chart)))
    calm = plots.rank_shifts([shift("random", 10, "abc", swaps[:1])], 10, "x")
    assert "change places" not in texts(plots.svg(calm))
    crowd = [swap("a", letter, 0.5, 0.5) for letter in "bcdefg"]
    many = plots.rank_shifts([shift("random", 10, "abcdefg", crowd)], 10, "x")
    assert [row["label"] for row in rows_of(many) if "swap" in row][-1] == "2 more"
    assert sum("swap" in row for row in rows_of(many)) == 5


def test_many_columns_are_broken_at_an_ef_and_many_models_stay_apart(rows_of, check_chart):
    names = [f"model-{i:02}" for i in range(16)]
    orders = ("random", "given", "category-shuffled-blocks")
    shifts = [shift(order, ef, names, []) for ef in (10, 20, 40) for order in orders]
    chart = plots.rank_shifts(shifts, 10, "x")
    check_chart(chart)
    columns = [{row["at"] for row in rows_of(panel) if "at" in row} for panel in chart["vconcat"]]
    assert [len(some) for some in columns] == [7, 4]
    assert columns[0] & columns[1] == {"exact search"}
    lines = chart["vconcat"][0]["layer"][3]["layer"][0]["encoding"]
    looks = zip(lines["color"]["scale"]["range"], map(tuple, lines["strokeDash"]["scale"]["range"]), strict=True)
    assert len(set(looks)) == 16
    wide = [shift(f"order-{i}", 10, "ab", []) for i in range(11)]
    assert [len(part) for part in ranks._parts(wide)] == [8, 3]


def test_results_of_another_kind_and_lone_models_are_refused(models, few, settings, tmp_path, capsys):
    other = experiment.run("posir-mini/spa", "bm25", settings).result
    for kind in ("recall", "lid", "ranks"):
        with pytest.raises(UsageError, match=f"is of `posbench eval`; --kind {kind} draws results of `posbench hnsw`"):
            plots.draw([other], kind)
        with pytest.raises(UsageError, match="a study of HNSW builds is drawn alone; found 2 results"):
            plots.draw([models, few], kind)
    for kind in sorted(set(stored.KINDS) - {"recall", "lid", "ranks"}):
        with pytest.raises(UsageError, match="is of `posbench hnsw`"):
            plots.draw([few], kind)
    assert main(["plot", str(few.folder), "--kind", "ranks", "--to", str(tmp_path / "x.svg")]) == 2
    error = capsys.readouterr().err
    assert "few: ranks need two or more models on one dataset" in error
    assert error.count("\n") == 1


def test_the_command_draws_a_study(models, tmp_path, texts):
    target = Path(tmp_path / "x.svg")
    assert main(["plot", str(models.folder), "--kind", "recall", "--to", str(target), "--json"]) == 0
    assert "recall@10 by efSearch and order of insertion" in texts(target.read_text(encoding="utf-8"))


def test_changed_figures_change_the_chart(told):
    before = plots.recall_curves(told["sets"], 10, "x")
    changed = copy.deepcopy(told["sets"])
    changed[0]["arms"][0]["recall"]["value"] += 0.001
    assert plots.svg(plots.recall_curves(changed, 10, "x")) != plots.svg(before)
