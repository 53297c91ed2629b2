"""A stored result becomes an entry when it holds, and is refused with what is wrong when it does not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench import experiment, loaders
from posbench.cli import main
from posbench.leaderboard import boards, derive, entry, submit
from posbench.leaderboard.private import cleaned
from posbench.reranking import Rerank
from posbench.store import result_in, sha256_of

SPEC = "posir-mini/spa"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A stored result on a dataset with evidence."""
    root = tmp_path_factory.mktemp("made")
    settings = experiment.Settings(out=root / "out", cache=root / "cache", command=f"posbench eval --out {root}/out")
    return experiment.run(SPEC, "bm25", settings).result


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the result, to tamper with."""
    return Path(shutil.copytree(made.folder, tmp_path / "result"))


def rewrite(folder, name, change, *, hashed=True):
    """Changes a table of a result, and the manifest's hash of it."""
    path = folder / name
    pq.write_table(change(pq.read_table(path)), path, compression="zstd")
    if hashed:
        edit(folder, lambda manifest: manifest["files"].update({name: sha256_of(path)}))


def edit(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def column(table, name, change):
    place = table.column_names.index(name)
    values = np.array(table[name].to_pylist(), object)
    return table.set_column(place, name, pa.array(change(values).tolist(), table[name].type))


def set_first(value):
    def change(values):
        values[0] = value
        return values

    return change


def test_a_result_that_holds_is_entered_as_it_is(made, copy, tmp_path, capsys):
    assert main(["submit", str(copy), "--to", str(tmp_path / "to")]) == 0
    said = capsys.readouterr()
    paths = [Path(line) for line in said.out.splitlines()]
    assert [path.name for path in paths] == ["posir-mini--spa-Latn.json", "posir-mini--spa-Latn.queries.parquet"]
    assert "git add" in said.err
    one = entry.read(paths[0])
    own = derive.derive(made, "submitted")
    assert one.figures == own.figures
    assert one.data == own.data
    assert one.origin == "submitted"
    assert one.details["checked"] == {"recomputed": ["nDCG@10", "RR@10", "AP", "R@100"], "as_stored": []}
    table = pq.read_table(entry.per_query(one, paths[0]))
    kept = made.report().queries.select(table.column_names)
    assert table.to_pylist() == kept.to_pylist()
    assert {"dataset", "query_id", "domain", "doc_id", "span_start", "nDCG@10", "AP"} <= set(table.column_names)
    assert all(pa.types.is_dictionary(table[name].type) for name in ("dataset", "query_id", "domain", "doc_id"))
    [board] = boards.boards([boards.Found(one, paths[0], paths[1])])
    assert board.by_queries


def test_options_name_board_setting_and_origin(copy, tmp_path):
    arguments = ["submit", str(copy), "--to", str(tmp_path / "to"), "--here", "--board", "My board", "--setting", "es"]
    assert main([*arguments, "--name", "first"]) == 0
    one = entry.read(tmp_path / "to" / "My_board" / "bm25" / "first.json")
    assert (one.data.board, one.origin, one.settings()) == ("My board", "here", ["es"])


def test_submitting_twice_gives_the_same_bytes(copy, tmp_path):
    for name in ("a", "b"):
        assert main(["submit", str(copy), "--to", str(tmp_path / name), "--quiet"]) == 0
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 2
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def other_scores(table):
    return column(table, "score", lambda values: values * 2)  # the same ranks


def nudged(table):
    return column(table, "AP", lambda values: set_first(values[0] + 1e-6)(values))


def exchanged(table):
    """The first and the sixth document of the first query change places."""
    return column(table, "doc_id", lambda ids: np.concatenate([ids[5:6], ids[1:5], ids[0:1], ids[6:]]))


def in_queries(name, value):
    return lambda folder: rewrite(folder, "queries.parquet", lambda table: column(table, name, set_first(value)))


def in_run(change):
    return lambda folder: rewrite(folder, "run.parquet", change)


def in_manifest(change):
    return lambda folder: edit(folder, change)


def with_other_rows(table):
    return pa.concat_tables([table, column(table.slice(0, 1), "dataset", set_first("x"))])


REFUSED = {
    "a value of a query": (in_queries("nDCG@10", 0.123), "1 values of nDCG@10"),
    "a little of a value": (lambda f: rewrite(f, "queries.parquet", nudged), "1 values of AP"),
    "a place of evidence": (in_queries("span_start", 1), "1 values of span_start"),
    "a domain": (in_queries("domain", "x"), "1 values of domain"),
    "a query's name": (in_queries("query_id", "x"), "1 values of query_id"),
    "a query left out": (lambda f: rewrite(f, "queries.parquet", lambda t: t.slice(1)), "stored are 119 queries"),
    "a column left out": (
        lambda f: rewrite(f, "queries.parquet", lambda t: t.drop_columns(["doc_id"])),
        "lacks the column doc_id",
    ),
    "a run with other documents": (in_run(exchanged), "stored otherwise"),
    "a run in another order": (in_run(lambda t: column(t, "score", lambda s: -s)), "ranks of"),
    "a document that is unknown": (in_run(lambda t: column(t, "doc_id", set_first("no"))), "'no'"),
    "a query that is unknown": (in_run(lambda t: column(t, "query_id", set_first("no"))), "ranks of"),
    "a rank that is missing": (in_run(lambda t: t.slice(1)), "ranks of"),
    "a row twice": (in_run(lambda t: pa.concat_tables([t, t.slice(0, 1)])), "ranks of"),
    "another dataset's rows": (in_run(with_other_rows), "1 rows of other datasets"),
    "a changed run": (lambda f: rewrite(f, "run.parquet", other_scores, hashed=False), "run.parquet: its content"),
    "a file gone": (lambda f: (f / "run.parquet").unlink(), "run.parquet: no such file"),
    "a file cut off": (lambda f: (f / "queries.parquet").write_bytes(b""), "queries.parquet: its content"),
    "no hashes": (in_manifest(lambda m: m.pop("files")), "missing required field `files`"),
    "no ranker": (in_manifest(lambda m: m["ranker"].pop("used")), "missing required field `used` - at `$.ranker`"),
    "no depth": (in_manifest(lambda m: m.pop("depth")), "missing required field `depth`"),
    "a part that is none": (in_manifest(lambda m: m["dataset"].update(parts=["x"])), "at `$.dataset.parts[0]`"),
    "no part": (in_manifest(lambda m: m["dataset"].update(parts=[])), "holds no part"),
    "no measure": (in_manifest(lambda m: m.update(measures=[])), "at `$.measures`"),
    "a measure that is none": (in_manifest(lambda m: m.update(measures=["x"])), "x"),
    "a hash left out": (in_manifest(lambda m: m["files"].pop("run.parquet")), "run.parquet more or less"),
    "a file more": (in_manifest(lambda m: m["files"].update({"../x": "0"})), "../x more or less"),
    "another collection": (
        in_manifest(lambda m: m["dataset"]["parts"][0].update(fingerprint="0" * 32)),
        "it was computed on posir-mini/spa-Latn of content 000",
    ),
    "other counts": (in_manifest(lambda m: m["dataset"]["counts"].update(queries=9)), "manifest says counts"),
    "a selection that is none": (in_manifest(lambda m: m["dataset"].update(selection={"of": "x"})), "says selection"),
    "another ranker": (in_manifest(lambda m: m["ranker"]["used"].update(k1=2.0)), "its fingerprint"),
    "another depth": (in_manifest(lambda m: m.update(depth=10)), "its fingerprint"),
    "a run without ranks": (in_run(lambda t: t.drop_columns(["rank"])), "lacks or misplaces"),
    "queries without their dataset": (
        lambda f: rewrite(f, "queries.parquet", lambda t: t.drop_columns(["dataset"])),
        "lacks the column dataset",
    ),
    "a reranker that is none": (in_manifest(lambda m: m.update(rerank={})), "lacks or misplaces"),
    "a kind of entries": (in_manifest(lambda m: m.update(kind="scores")), "of `posbench scores`"),
    "another kind": (in_manifest(lambda m: m.update(kind="mini")), "of `posbench mini`"),
    "not a manifest": (lambda f: (f / "manifest.json").write_text("{"), "not a readable JSON file"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "holds no result"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_changed_is_refused_and_named(case, copy, tmp_path, capsys):
    tamper, message = REFUSED[case]
    tamper(copy)
    assert main(["submit", str(copy), "--to", str(tmp_path / "to"), "--quiet"]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_the_wrong_collection_is_refused(copy, tmp_path, capsys):
    assert main(["submit", str(copy), "--to", str(tmp_path / "to"), "--dataset", "posir-mini/deu"]) == 2
    assert "it was computed on posir-mini/spa-Latn" in capsys.readouterr().err


def test_a_collection_that_is_gone_can_be_given(shared, tmp_path, capsys):
    data = tmp_path / "home" / "someone" / "xquad.es.json"
    data.parent.mkdir(parents=True)
    shutil.copy(shared / "xquad" / "xquad.es.json", data)
    common = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--quiet"]
    assert main(["eval", "--model", "bm25", "--dataset", str(data), "--documents", "article", *common]) == 0
    [folder] = {path.parent for path in (tmp_path / "out").rglob("manifest.json")}
    data.rename(data.with_name("moved.json"))
    assert main(["submit", str(folder), "--to", str(tmp_path / "to")]) == 2
    assert "say --dataset PATH" in capsys.readouterr().err
    arguments = ["submit", str(folder), "--to", str(tmp_path / "to"), "--dataset", str(data.with_name("moved.json"))]
    assert main(arguments) == 0  # --documents as the command had it, and under the name that the result has
    text = (tmp_path / "to" / "xquad.es" / "bm25" / "xquad.es.json").read_text()
    assert str(tmp_path) not in text
    assert "someone" not in text
    assert "--dataset xquad.es.json --documents article" in text


def test_a_selection_stays_one(tmp_path, capsys):
    places = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--quiet"]
    assert main(["eval", "--model", "bm25", "--dataset", SPEC, *places]) == 0
    [whole] = {path.parent for path in (tmp_path / "out").rglob("manifest.json")}
    (tmp_path / "target.jsonl").write_text('{"text": "una nave espacial"}\n' * 4)
    chosen = ["--collection", SPEC, "--target", str(tmp_path / "target.jsonl"), "--selector", "dsir"]
    chosen += ["--queries", "20", "--distractors", "4", "--runs", str(whole), "--held-out", "0"]
    assert main(["select", *chosen, "--to", str(tmp_path / "part"), *places]) == 0
    assert main(["eval", "--model", "bm25", "--dataset", str(tmp_path / "part"), *places]) == 0
    [folder] = [path.parent for path in (tmp_path / "out").glob("part--*/bm25/*/manifest.json")]
    assert main(["submit", str(folder), "--to", str(tmp_path / "to"), "--quiet"]) == 0
    one = entry.read(next((tmp_path / "to").rglob("*.json")))
    assert one.data.selection.startswith("a selection of")
    edit(folder, lambda manifest: manifest["dataset"].pop("selection"))
    capsys.readouterr()
    assert main(["submit", str(folder), "--to", str(tmp_path / "other"), "--quiet"]) == 2
    assert "manifest says selection None" in capsys.readouterr().err


def test_controls_are_kept_and_named_as_not_computed_again(tmp_path):
    settings = experiment.Settings(out=tmp_path / "out", cache=tmp_path / "cache", controls=True)
    result = experiment.run(SPEC, "wordllama", settings).result
    new = submit.new(result, loaders.load(SPEC))
    assert "nDCG@10:span" in new.entry.details["checked"]["as_stored"]
    assert new.entry.details["bias"]["spa-spa"]["controlled"] is not None


def test_a_pipeline_holds_too(lists, answering, tmp_path):
    root = lists(4, 12)
    settings = experiment.Settings(
        out=tmp_path / "out", cache=tmp_path / "cache", depth=100, rerank=Rerank(str(root / "listwise.toml"), depth=5)
    )
    result = experiment.run(str(root / "data"), str(root / "first.run"), settings).result
    new = submit.new(result_in(result.folder), loaders.load(str(root / "data")))
    assert "nDCG@10:first" in new.table.column_names
    assert "nDCG@10 of the first stage" in new.entry.figures
    assert str(tmp_path) not in json.dumps(cleaned(new.entry.details))
    assert str(root) not in json.dumps(new.entry.details)


def test_a_study_is_entered_by_its_hashes_and_summary(lists, tmp_path, capsys):
    root = lists(4, 12)
    command = ["rerank-strategies", "--dataset", str(root / "data"), "--model", str(root / "first.run"), "--depth", "9"]
    command += ["--rerank", str(root / "listwise.toml"), "--out", str(tmp_path / "out"), "--json"]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0
    told = json.loads(capsys.readouterr().out)
    folder = Path(told["result"])
    assert main(["submit", str(folder), "--to", str(tmp_path / "to"), "--here"]) == 0
    [path] = [one for one in (tmp_path / "to").rglob("*") if one.is_file()]
    one = entry.read(path)
    assert one.kind == "rerank-strategies"
    assert path.name == "data.rerank-strategies.json"
    assert str(tmp_path) not in path.read_text()
    summary = one.details["summary"]
    assert [arm["arm"] for arm in summary["arms"]] == [arm["arm"] for arm in told["arms"]]
    assert summary["budget"] == told["budget"]
    rewrite(folder, "queries.parquet", lambda table: table.slice(1), hashed=False)
    capsys.readouterr()
    assert main(["submit", str(folder), "--to", str(tmp_path / "other")]) == 2
    assert "queries.parquet: its content" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("posbench eval --dataset /home/me/data/x.json --out=/tmp/a/out", "posbench eval --dataset x.json --out=out"),
        ("posbench eval --dataset data/x.json --model ../e5", "posbench eval --dataset data/x.json --model ../e5"),
        ("~/models/e5 and ~me/models/e5/", "e5 and e5"),
        ("/home/me /Users/me/ /root", "~ ~ ~"),
        (r"C:\Users\me\x.json D:/data/y", "x.json y"),
        ("--server http://127.0.0.1:8000/v1 https://a.b/c/d", "--server http://127.0.0.1:8000/v1 https://a.b/c/d"),
        ("and/or, 1 / 2, BAAI/bge-m3", "and/or, 1 / 2, BAAI/bge-m3"),
        ("file:/home/me/order.txt,/x/y;'/a/b c'", "file:order.txt,y;'b c'"),
        ("hnsw:m=16,ef_search=40", "hnsw:m=16,ef_search=40"),
    ],
)
def test_folders_of_the_machine_are_left_out(text, kept):
    assert cleaned(text) == kept
    assert cleaned({"a": [text, 1, None]}) == {"a": [kept, 1, None]}
