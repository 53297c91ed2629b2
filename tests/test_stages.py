"""What stands beside a reranked result: the first stage's position bias, score, depth, query types and fusion."""

import json

import pytest

from posbench.cli import main
from posbench.cli.tables import curve, probability

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
