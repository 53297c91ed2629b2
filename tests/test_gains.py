"""The gain of reranking: paired differences, intervals and p-values, restated; and how eval shows them."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from posbench import experiment
from posbench.cli import main
from posbench.compare import compare
from posbench.gains import gains
from posbench.reranking import Rerank
from posbench.types import Report


def pipeline_report(after, first, **labels):
    """A report of one measure whose ties leave nothing open."""
    columns = {name: pa.array(values) for name, values in labels.items()}
    columns |= {"AP": pa.array(after), "AP:first": pa.array(first)}
    columns |= {"AP:best_ties": pa.array(after), "AP:worst_ties": pa.array(after)}
    return Report({}, ("AP",), pa.table(columns))


def exact_p(differences, clusters):
    """The share of all sign flips of clusters whose sum is as far from 0 as the one seen."""
    sums = [differences[clusters == c].sum() for c in np.unique(clusters)]
    every = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=len(sums))]
    return np.mean([one >= abs(sum(sums)) - 1e-12 for one in every])


def test_difference_interval_and_p_are_those_of_clusters():
    rng = np.random.default_rng(3)
    first, after = rng.random(24), rng.random(24) + 0.2
    clusters = np.repeat(np.arange(12), 2)
    (row,) = gains(pipeline_report(after, first), clusters, seed=1)
    assert (row["queries"], row["count"], row["measure"]) == ("all", 24, "AP")
    assert row["difference"] == pytest.approx(np.mean(after - first))
    assert row["p"] == pytest.approx(exact_p(after - first, clusters), abs=0.02)
    # The spread of the mean, from the sums of clusters (they have one size).
    sums = np.array([(after - first)[clusters == c].mean() for c in range(12)])
    low, high = row["interval"]
    assert high - low == pytest.approx(2 * 1.96 * sums.std(ddof=1) / np.sqrt(12), rel=0.15)
    assert low < row["difference"] < high
    alone = gains(pipeline_report(after, first), np.arange(24), seed=1)[0]
    assert alone["interval"] != row["interval"]


def test_each_type_of_queries_has_its_own_row():
    first, after = np.array([0.0, 0.5, 0.5, 0.0, 0.2]), np.array([1.0, 0.5, 0.25, 1.0, 0.2])
    report = pipeline_report(after, first, type=["word", "why", "why", "word", "why"])
    rows = gains(report, np.arange(5))
    assert [(row["queries"], row["count"]) for row in rows] == [("all", 5), ("why", 3), ("word", 2)]
    why, word = rows[1:]
    assert (why["first"], why["reranked"]) == pytest.approx((0.4, 0.95 / 3))
    assert (word["difference"], word["interval"]) == (1.0, [1.0, 1.0])
    # Two queries, both better: of the four flips two are as far from 0.
    assert word["p"] == pytest.approx(0.5, abs=0.02)
    assert why["p"] == 1.0 or why["p"] == pytest.approx(exact_p((after - first)[[1, 2, 4]], np.arange(3)), abs=0.02)
    alone = gains(pipeline_report(after, first, query_type=["gpt4_reason"] * 5), np.arange(5))
    assert [row["queries"] for row in alone] == ["gpt4_reason"]


def test_no_change_is_no_gain():
    values = np.array([0.1, 0.9, 0.3])
    (row,) = gains(pipeline_report(values, values), np.arange(3))
    assert (row["difference"], row["interval"], row["p"]) == (0.0, [0.0, 0.0], 1.0)


@pytest.fixture
def typed(tmp_path):
    """A JSONL collection of ten documents whose queries have types."""
    folder = tmp_path / "typed"
    folder.mkdir()
    docs = [{"id": f"d{n}", "text": f"plain words and number {n} " + "word " * n} for n in range(10)]
    queries = [
        {"id": f"q{n}", "text": f"number {n} word", "positives": [f"d{n}"], "type": "odd" if n % 2 else "even"}
        for n in range(10)
    ]
    for name, rows in (("documents", docs), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "back.py").write_text(
        "import numpy as np\n"
        "from posbench.types import Run\n"
        "class Back:\n"
        "    def describe(self):\n"
        "        return {'kind': 'back'}\n"
        "    def rank(self, collection, candidates=None):\n"
        "        place = np.broadcast_to(np.arange(candidates.depth, dtype=float), candidates.docs.shape)\n"
        "        return Run.ranked(candidates.docs, place, collection.doc_order)\n"
    )
    return folder


def test_eval_shows_and_stores_the_gain(typed, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    places = ["--dataset", typed, "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    how = ["eval", "--model", "bm25", "--rerank", "back:Back", "--depth", "5", *places]
    assert main([str(one) for one in [*how, "--json"]]) == 0
    summary = json.loads(capsys.readouterr().out)
    rows = summary["rerank"]["gains"]
    assert [row["queries"] for row in rows[::4]] == ["all", "even", "odd"]
    assert {row["measure"]: row["reranked"] for row in rows[:4]} == summary["measures"]
    assert rows[0]["first"] == summary["rerank"]["measures"]["first"]["nDCG@10"]
    assert rows[0]["difference"] == pytest.approx(rows[0]["reranked"] - rows[0]["first"])
    assert main([str(one) for one in how]) == 0
    text = capsys.readouterr().out
    assert "even (5)" in text
    assert f"{rows[0]['difference']:+.4f}" in text


def test_the_gain_is_what_compare_says_of_the_two_results(typed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    how = experiment.Settings(out=tmp_path / "o", cache=tmp_path / "c")
    first = experiment.run(str(typed), "bm25", how)
    both = experiment.run(str(typed), "bm25", replace(how, rerank=Rerank("back:Back", depth=5)))
    found = compare({"reranked": both.report, "first": first.report}, ["nDCG@10"], seed=0)
    (pair,) = found["measures"][0]["pairs"]
    row = next(row for row in both.summary["rerank"]["gains"] if row["measure"] == "nDCG@10")
    assert (row["difference"], row["p"]) == pytest.approx((pair["difference"], pair["p"]))
    assert row["interval"] == pytest.approx(pair["interval"], abs=0.02)
