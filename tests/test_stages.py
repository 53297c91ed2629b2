"""What stands beside a reranked result: the first stage's position bias, score, depth, query types and fusion."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from posbench.cli import main
from posbench.cli.tables import curve, probability
from posbench.compare import compare
from posbench.staged import sentence
from posbench.store import result_in

HEADS = """
import numpy as np
from posbench.types import Run
class Heads:
    def describe(self):
        return {"kind": "heads"}
    def rank(self, collection, candidates=None):
        found = [set(text.lower().split()) for text in collection.queries.to_pylist()]
        heads = [set(text.lower().split()[:60]) for text in collection.docs.to_pylist()]
        shared = [[len(words & heads[doc]) for doc in row] for words, row in zip(found, candidates.docs)]
        return Run.ranked(candidates.docs, np.array(shared, float), collection.doc_order)
"""


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Runs a command and returns what it prints; ``heads:Heads`` reranks by the first 60 words of a document alone."""
    (tmp_path / "heads.py").write_text(HEADS)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments):
        places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache", "--quiet"]
        status = main([str(one) for one in [*arguments, *places]])
        assert status == 0
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("first", ["bm25", "wordllama"])
def test_eval_shows_the_first_stages_position_bias_and_the_change(call, first):
    if first == "wordllama":
        pytest.importorskip("wordllama")
    data = ["--model", first, "--dataset", "posir-mini/eng"]
    plain = json.loads(call("eval", *data, "--json"))
    how = ["eval", *data, "--rerank", "heads:Heads", "--depth", 10]
    summary = json.loads(call(*how, "--json"))
    said = summary["rerank"]["bias"]
    assert said["first"] == plain["bias"]  # the whole analysis, as if the first stage stood alone
    assert said["shapes"] == {"first": plain["bias"]["tests"]["shape"], "reranked": "primacy"}
    both = json.loads(call("compare", summary["result"], plain["result"], "--measures", "nDCG@10", "--json"))["bias"]
    change, pair = said["change"], both["pairs"][0]["index"]["all"]
    assert {key: change[key] for key in ("difference", "interval", "p")} == {
        key: pair[key] for key in ("difference", "interval", "p")
    }
    for kind, analysis in (("first", plain["bias"]), ("reranked", summary["bias"])):
        assert change[kind] == pytest.approx(analysis["tests"]["signed"]["all"]["value"])
    assert change["difference"] == pytest.approx(change["reranked"] - change["first"])
    assert change["interval"][1] < 0  # what reads heads alone adds primacy
    lines = call(*how).splitlines()
    cells = [cell for cell in plain["bias"]["cells"] if cell["length"] == "all" and not cell["whole"]]
    means = [cell["mean"] for cell in cells]
    row = ["all", "lengths", "first", "stage", *(f"{mean:.3f}" for mean in means), curve(means)]
    assert row in [line.split() for line in lines]
    low, high = change["interval"]
    row = ["change", f"{change['difference']:+.4f}", f"{low:+.4f}..{high:+.4f}", probability(change["p"])]
    assert row in [line.split() for line in lines]


@pytest.mark.parametrize(
    ("how", "places"),
    [
        (["--lengths", "128", "--queries", "60"], ["0%", "25%", "50%", "75%", "100%"]),
        (["--method", "mirror"], ["original", "mirrored"]),
    ],
)
def test_composed_collections_pair_the_stages_within_queries(call, tmp_path, how, places):
    pytest.importorskip("wordllama")
    folder = tmp_path / "set"
    call("compose", "--dataset", "posir-mini/eng", "--tokenizer", "wordllama", *how, "--to", folder)
    plain = json.loads(call("eval", "--model", "bm25", "--dataset", folder, "--json"))
    how = ["eval", "--model", "bm25", "--dataset", folder, "--rerank", "heads:Heads", "--depth", 10]
    said = json.loads(call(*how, "--json"))["rerank"]["bias"]
    assert said["first"] == plain["bias"]
    assert said["shapes"]["first"] == "flat"  # bm25 does not see where words stand
    text = call(*how)
    assert ["document", "tokens", "ranked", "by", *places, "curve"] in [line.split() for line in text.splitlines()]
    if "original" in places:
        assert said["change"] is None
        assert f"the change is withheld: {said['withheld']}" in text
    else:
        assert said["change"]["first"] == pytest.approx(0, abs=1e-9)
        assert said["change"]["interval"][1] < 0
        assert said["withheld"] == ""


def test_few_queries_have_no_change_and_none_without_places(call, tmp_path):
    rows = [{"id": f"d{n}", "text": f"number {n} " + "word " * n} for n in range(10)]
    asked = [{"id": f"q{n}", "text": f"number {n}", "positives": [f"d{n}"]} for n in range(10)]
    folder = tmp_path / "plain"
    folder.mkdir()
    for name, content in (("documents", rows), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    how = ["--model", "bm25", "--rerank", "heads:Heads", "--depth", 5, "--json"]
    assert json.loads(call("eval", "--dataset", folder, *how))["rerank"]["bias"] is None
    for one in asked:
        one["evidence"] = {"doc": one["positives"][0], "start": 0, "end": 6}
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    said = json.loads(call("eval", "--dataset", folder, *how))["rerank"]["bias"]
    assert said["change"] is None
    assert "fewer than 10 queries" in said["withheld"]


@pytest.fixture
def typed(call, tmp_path):
    """A collection of ten queries of two types and evidence, ranked by bm25 alone and reranked with fused scores."""
    folder = tmp_path / "typed"
    folder.mkdir()
    docs = [{"id": f"d{n}", "text": "plain words " * 10 * n + f"on number {n % 3}"} for n in range(10)]
    queries = [
        {
            "id": f"q{n}",
            "text": f"number {n % 3}",
            "type": "odd" if n % 2 else "even",
            "evidence": {"doc": f"d{n}", "start": 0, "end": 8},
        }
        for n in range(10)
    ]
    for name, rows in (("documents", docs), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    how = ["eval", "--model", "bm25", "--dataset", folder, "--json"]
    plain = json.loads(call(*how))
    both = json.loads(call(*how, "--rerank", "heads:Heads", "--depth", 5, "--fuse", 0.25, "--normalise", "minmax"))
    assert 0 < both["measures"]["AP"] != plain["measures"]["AP"] < 1
    return plain, both


FUSED = "fused: 0.25 first stage + 0.75 reranker (minmax); query types even (5), odd (5)"


def test_runs_list_the_stages_of_a_pipeline(call, typed):
    plain, both = typed
    rows = {row["ranker"]: row["rerank"] for row in json.loads(call("runs", "--json"))["runs"]}
    assert rows["bm25"] is None
    said = rows[both["ranker"]]
    assert said["measures"] == plain["measures"]
    assert (said["first"]["name"], said["reranker"]["name"]) == ("bm25", "heads:Heads")
    assert (said["depth"], said["weight"], said["normalise"]) == (5, 0.25, "minmax")
    for row in both["rerank"]["gains"]:
        if row["queries"] != "all":
            kind = said["query_types"][row["queries"]]
            assert kind["queries"] == row["count"] == 5
            for stage in ("first", "reranked"):
                assert kind[stage][row["measure"]] == pytest.approx(row[stage])
    (line,) = [line for line in call("runs").splitlines() if both["ranker"] in line]
    assert f"(first stage bm25 nDCG@10 {plain['measures']['nDCG@10']:.4f}, top 5; {FUSED})" in line


def test_compare_has_the_first_stage_beside_each_pipeline(call, typed):
    plain, both = typed
    found = json.loads(call("compare", "--json"))
    assert list(found["rerank"]) == [both["ranker"]]
    assert found["rerank"][both["ranker"]]["measures"] == plain["measures"]
    for part in found["measures"]:
        beside = {row["name"]: row["first_stage"] for row in part["rankers"]}
        assert beside == {"bm25": None, both["ranker"]: plain["measures"][part["measure"]]}
    text = call("compare", "--measures", "RR@10")
    assert f"{both['ranker']}: first stage bm25 RR@10 {plain['measures']['RR@10']:.4f}, top 5; {FUSED}" in text
    cells = [line.split() for line in text.splitlines()]
    assert [row[3] for row in cells if row[-1:] == [both["ranker"]]] == [f"{plain['measures']['RR@10']:.4f}"]
    assert [row[3] for row in cells if row[-1:] == ["bm25"] and row[0].isdigit()] == ["-"]


def test_only_the_queries_that_are_compared_count(call, typed):
    plain, both = typed
    reports = {one["ranker"]: result_in(Path(one["result"])).report() for one in (plain, both)}
    few = replace(reports["bm25"], queries=reports["bm25"].queries.slice(0, 4))
    found = compare({"bm25": few, "both": reports[both["ranker"]]}, ["AP"], common=True)
    beside = {row["name"]: row for row in found["measures"][0]["rankers"]}
    assert beside["both"]["first_stage"] == beside["bm25"]["mean"]
    assert {kind: one["queries"] for kind, one in found["rerank"]["both"]["query_types"].items()} == {
        "even": 2,
        "odd": 2,
    }


def test_bias_and_plots_say_the_stages(call, typed, tmp_path):
    plain, both = typed
    score = plain["measures"]["AP"]
    assert f"first stage bm25 AP {score:.4f}, top 5; {FUSED}" in call("bias", both["result"], "--measure", "AP")
    for results, kind in (([both], "curves"), ([plain, both], "forest")):
        folders = [one["result"] for one in results]
        call("plot", *folders, "--kind", kind, "--measure", "AP", "--to", tmp_path / "chart.json")
        about = json.loads((tmp_path / "chart.json").read_text())["title"]["subtitle"]
        said = f"{both['ranker']}: AP {both['measures']['AP']:.4f}; first stage bm25 AP {score:.4f}, top 5; {FUSED}"
        assert said in " ".join(line.strip() for line in about)
        assert max(map(len, about)) <= 100


def test_many_types_of_queries_are_counted():
    kinds = {str(n): {"queries": 1} for n in range(9)}
    said = {"measures": {"AP": 0.5}, "first": {"name": "bm25"}, "depth": 1000, "weight": 0, "query_types": kinds}
    assert sentence(said) == "first stage bm25 AP 0.5000, top 1,000; scores not fused; query types 9"
