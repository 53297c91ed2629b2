"""Tidy tables hold every value, or the part that was asked for; LaTeX and Markdown say what `posbench compare` says."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from posbench import experiment, exports
from posbench.cli import main
from posbench.compare import compare
from posbench.leaderboard import boards, tables, tidy
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source, write
from posbench.store import Results
from posbench.types import Report

HOSTILE = '=HYPERLINK("x")|50% & #1_$^~\\{}<b>*`[a](b)'


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Results on two datasets, whose values are drawn: b is much better than a, and c cannot be told from b."""
    root = tmp_path_factory.mktemp("stored")
    settings = experiment.Settings(out=root, cache=root / ".cache")
    for spec in ("posir-mini/spa", "posir-mini/deu"):
        first = experiment.run(spec, "bm25", settings).result
        rng = np.random.default_rng(0)
        base = rng.random(len(first.report().queries))
        for name, values in (("a", base / 4), ("b", base), ("c", np.clip(base + rng.normal(0, 0.1, len(base)), 0, 1))):
            add(root, first, name, values)
    return root


def add(root, first, name, values):
    report = first.report()
    table = report.queries
    for measure in ("nDCG@10", "AP"):
        table = table.set_column(table.column_names.index(measure), measure, [values])
    table = table.set_column(1, "ranker", [[name] * len(table)])
    manifest = {key: value for key, value in first.manifest.items() if key not in {"format", "fingerprint", "files"}}
    header = {**manifest, "ranker": {**manifest["ranker"], "name": name}, "measures": ["nDCG@10", "AP"]}
    dataset = manifest["dataset"]["name"]
    Results(root).write(dataset, name, first.folder.name, Report(header, ("nDCG@10", "AP"), table), None)


def written(arguments, capsys):
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_schema_is_that_of_the_files(stored, tmp_path, capsys):
    told = json.loads(written(["export", "--schema", "--json"], capsys))
    table = exports.tidy(Results(stored).all())
    assert [one["column"] for one in told["results"]] == table.column_names
    for one in told["results"]:
        kind = table.schema.field(one["column"]).type
        assert str(getattr(kind, "value_type", kind)) == one["type"]
        assert one["meaning"]
    assert [(one["column"], one["type"]) for one in told["entries"]] == [
        (field.name, str(field.type)) for field in tidy.table([]).schema
    ]
    text = written(["export", "--schema"], capsys)
    assert all(one["meaning"] in text for kind in told.values() for one in kind)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_part_is_what_was_asked_for(form, stored, tmp_path, capsys):
    target = tmp_path / "out"
    asked = ["--dataset", "posir-mini/spa-Latn", "--model", "a,b", "--measure", "AP"]
    written(["export", "--format", form, "--to", target, "--out", stored, *asked], capsys)
    if form == "csv":
        with target.open() as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pq.read_table(target).to_pylist()
    expected = {
        (one.manifest["ranker"]["name"], query): value
        for one in Results(stored).all()
        if one.manifest["ranker"]["name"] in "ab" and one.manifest["dataset"]["name"].endswith("spa-Latn")
        for query, value in zip(
            one.report().queries["query_id"].to_pylist(), one.report().values("AP").tolist(), strict=True
        )
    }
    assert {(row["ranker"], row["query_id"]): float(row["value"]) for row in rows} == expected
    assert {row["measure"] for row in rows} == {"AP"}
    assert len(rows) == len(expected) == 240


def test_a_family_of_datasets_is_all_of_them(stored):
    results = Results(stored).all()
    assert exports.chosen(results, ["posir-mini"]) == results
    assert len(exports.chosen(results, ["posir-mini/deu-Latn"], ["a", "bm25"])) == 2
    assert len(exports.chosen(results, measures=["R@100"])) == 2  # bm25's own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv", "--to", "x", "--model", "bm52"], "did you mean bm25"),
        (["--format", "csv", "--to", "x", "--dataset", "posir"], "no result of dataset 'posir'"),
        (["--format", "csv", "--to", "x", "--measure", "nope"], "no result of measure 'nope'"),
        (["--format", "csv", "--to", "x", "--model", "a", "--measure", "R@100"], "--model a --measure R@100 together"),
        (["--format", "csv"], "--to PATH"),
        (["--to", "x"], "no --format"),
        (["--format", "latex", "--baseline", "d"], "of ranker 'd'"),
        (["--format", "latex", "--measure", "R@100", "--baseline", "a"], "no result"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, stored, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--out", str(stored), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_tables_say_what_compare_says(stored):
    results = [one for one in Results(stored).all() if one.manifest["dataset"]["name"] == "posir-mini/deu-Latn"]
    [table] = tables.of_results(results)
    reports = {one.manifest["ranker"]["name"]: one.report() for one in results}
    found = compare(reports, bias_too=False)
    assert table.columns == tuple(part["measure"] for part in found["measures"]) == ("nDCG@10", "AP")
    rows = dict(table.rows)
    for column, part in enumerate(found["measures"]):
        best = max(part["rankers"], key=lambda row: row["mean"])["name"]
        worse = {
            pair["second"] if pair["first"] == best else pair["first"]
            for pair in part["pairs"]
            if best in (pair["first"], pair["second"]) and pair["p_holm"] < 0.05
        }
        assert "a" in worse
        for row in part["rankers"]:
            cell = rows[row["name"]][column]
            assert (cell.value, list(cell.interval), cell.rank) == (row["mean"], row["interval"], row["rank"])
            assert cell.best == (row["name"] == best)
            assert (cell.mark == tables.WORSE) == (row["name"] in worse)
    values = [cells[0].value for _, cells in table.rows]
    assert values == sorted(values, reverse=True)
    assert sorted(cells[0].rank for _, cells in table.rows)[:2] == [1, 1]  # b and c share a rank


def test_marks_against_a_baseline(stored):
    results = [one for one in Results(stored).all() if one.manifest["dataset"]["name"] == "posir-mini/deu-Latn"]
    [table] = tables.of_results(results, ["AP"], baseline="b")
    marks = {name: cells[0].mark for name, cells in table.rows}
    assert marks["a"] == tables.BELOW
    assert marks["b"] == marks["c"] == ""
    [table] = tables.of_results(results, ["AP"], baseline="a")
    marks = {name: cells[0].mark for name, cells in table.rows}
    assert marks["b"] == marks["c"] == tables.BETTER


def test_the_same_tables_are_the_same_bytes_and_one_stands_a_dataset(stored, tmp_path, capsys):
    for form in ("latex", "markdown"):
        shown = written(["export", "--format", form, "--out", stored], capsys)
        written(["export", "--format", form, "--out", stored, "--to", tmp_path / form], capsys)
        assert (tmp_path / form).read_text() == shown
        assert shown.count("posir-mini/") == 2
    text = (tmp_path / "latex").read_text()
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\toprule") == 2
    for line in text.splitlines():
        if line.endswith(r"\\") and "multicolumn" not in line:
            assert line.replace(r"\&", "").count("&") == 4  # model, and mean and rank of two measures
    head, rule, *rows = [line for line in (tmp_path / "markdown").read_text().splitlines() if line.startswith("|")][:6]
    assert {line.count("|") for line in (head, rule, *rows)} == {6}


def entries(root):
    figures = {"nDCG@10": {s: {"all": Figure(0.5 + i / 50), "Q1": Figure(0.25)} for i, s in enumerate("wxyz")}}
    others = {"nDCG@10": {s: {"all": Figure(0.3 + i / 50)} for i, s in enumerate("wxyz")}}
    source = Source("=1+1", "https://example.org")
    write(Entry(Model(HOSTILE), Data("B_1", "d"), "published", figures, source=source), root / "b" / "m" / "one.json")
    write(Entry(Model("plain"), Data("B_1", "d"), "published", others), root / "b" / "n" / "one.json")
    return root


def test_entries_are_exported_with_every_figure(tmp_path, capsys):
    root = entries(tmp_path / "entries")
    for form in ("csv", "parquet"):
        written(["export", "--entries", root, "--format", form, "--to", tmp_path / form], capsys)
    table = pq.read_table(tmp_path / "parquet")
    assert table.schema.equals(tidy.SCHEMA)
    assert len(table) == 12
    assert table.to_pylist()[0] == {
        "board": "B_1", "dataset": "d", "model": HOSTILE, "setting": "w", "length": "all", "measure": "nDCG@10",
        "value": 0.5, "low": None, "high": None, "queries": None, "origin": "published",
        "source": "=1+1, https://example.org",
    }  # fmt: skip
    with (tmp_path / "csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == table["value"].to_pylist()
    assert rows[0]["model"] == "'" + HOSTILE
    assert rows[0]["source"].startswith("'=1")
    assert not any(text[:1] in ("=", "+", "@", "-") for row in rows for text in row.values())
    written(["export", "--entries", root, "--format", "csv", "--to", tmp_path / "p", "--model", "plain"], capsys)
    assert len((tmp_path / "p").read_text().splitlines()) == 5


def test_a_board_as_a_table_and_every_sign_escaped(tmp_path, capsys):
    root = entries(tmp_path / "entries")
    latex = written(["export", "--entries", root, "--format", "latex"], capsys)
    markdown = written(["export", "--entries", root, "--format", "markdown"], capsys)
    [board] = boards.boards(tidy.read(root))
    assert boards.better(board, range(4)).tolist() == [[False, True], [False, False]]
    assert r"plain (published) & 0.3300$^{\dagger}$" in latex
    row = next(line for line in latex.splitlines() if "HYPERLINK" in line)
    assert not re.search(r"(?<!\\)[%#]", row)
    assert not re.search(r"(?<!\\)_", row)
    assert r"\textbackslash{}\{\}" in row
    row = next(line for line in markdown.splitlines() if "HYPERLINK" in line)
    assert "<b>" not in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 4
    assert r"\*\`\[a\](b)" in row
    with_baseline = written(["export", "--entries", root, "--format", "markdown", "--baseline", "plain"], capsys)
    assert "0.5300**+" in with_baseline


def test_a_board_of_too_few_settings_has_no_marks(tmp_path):
    figures = {"nDCG@10": {"x": {"all": Figure(0.5)}}}
    found = [
        Found(Entry(Model(name), Data("b", "d"), "here", {"nDCG@10": {"x": {"all": Figure(value)}}}), tmp_path / name)
        for name, value in (("m", 0.5), ("n", 0.1))
    ]
    [board] = boards.boards(found)
    table = tables.of_board(board)
    assert [cells[0].mark for _, cells in table.rows] == ["", ""]
    assert figures["nDCG@10"]["x"]["all"].value == table.rows[0][1][0].value


def test_wrong_asks_of_entries(tmp_path, capsys):
    root = entries(tmp_path / "entries")
    for more, message in (
        (["--format", "trec", "--to", "x"], "entries hold no runs"),
        (["--format", "csv", "--to", "x", "--dataset", "nope"], "found the boards B_1"),
        (["--format", "latex", "--measure", "nope"], "has no measure 'nope'"),
        (["--format", "latex", "--baseline", "nope"], "of ranker 'nope'"),
        (["some", "--format", "csv", "--to", "x"], "instead of results"),
    ):
        assert main(["export", "--entries", str(root), *more]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("read", ["parquet", "csv"])
def test_pandas_reads_what_is_exported(read, stored, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    written(["export", "--format", read, "--to", tmp_path / "x", "--out", stored, "--measure", "nDCG@10"], capsys)
    frame = getattr(pandas, f"read_{read}")(tmp_path / "x")
    means = frame.groupby(["dataset", "ranker"], observed=True)["value"].mean()
    for one in Results(stored).all():
        key = (one.manifest["dataset"]["name"], one.manifest["ranker"]["name"])
        assert means[key] == pytest.approx(one.report().values("nDCG@10").mean())
