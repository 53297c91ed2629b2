"""FollowIR: the published layout, and p-MRR restated as the official evaluation computes it, ties included."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import measures
from posbench.cli import main
from posbench.errors import DataError, MissingPartError, UsageError
from posbench.evaluate import evaluate
from posbench.loaders import load
from posbench.pmrr import by_query, fallen, p_mrr
from posbench.types import Collection, Qrels, Run, strings

DOCS = {"d1": "dams of the gorge", "d2": "the cost of the gorge dam", "d3": "gorge travel", "d4": "unrelated"}
QUERIES = [
    {"_id": "300", "text": "gorge dam", "instruction_og": "Any dam.", "instruction_changed": "The cost of the dam."},
    {"_id": "301", "text": "travel", "instruction_og": "Any travel.", "instruction_changed": "No gorge travel."},
]
OG = {"300": {"d1": 1, "d2": 1, "d4": 0}, "301": {"d3": 1, "d4": 1}}
CHANGED = {"300": {"d1": 0, "d2": 1, "d4": 0}, "301": {"d3": 0, "d4": 1}}
TOP = {"300": ["d1", "d2", "d4"], "301": ["d3", "d4"]}


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write(folder, og=OG, changed=CHANGED, top=TOP, queries=QUERIES):
    lines(folder / "corpus.jsonl", [{"_id": key, "title": "", "text": text} for key, text in DOCS.items()])
    lines(folder / "queries.jsonl", queries)
    for kind, qrels in (("og", og), ("changed", changed)):
        path = folder / f"qrels_{kind}" / "test.tsv"
        path.parent.mkdir()
        rows = [f"{query}\t{doc}\t{grade}" for query, own in qrels.items() for doc, grade in own.items()]
        path.write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    if top:
        lines(folder / "top_ranked.jsonl", [{"qid": qid, "pid": pid} for qid, own in top.items() for pid in own])
    return folder


def test_each_topic_becomes_two_queries(tmp_path):
    (found,) = load(str(write(tmp_path / "f")))
    assert found.query_ids.to_pylist() == ["300-og", "301-og", "300-changed", "301-changed"]
    assert found.queries.to_pylist() == [
        "gorge dam Any dam.",
        "travel Any travel.",
        "gorge dam The cost of the dam.",
        "travel No gorge travel.",
    ]
    assert found.query_labels["topic"].to_pylist() == ["300", "301", "300", "301"]
    assert found.query_labels["query_type"].to_pylist() == ["original", "original", "changed", "changed"]
    assert found.qrels.indptr.tolist() == [0, 3, 5, 8, 10]
    assert [fallen(found.qrels, 0, 2).tolist(), fallen(found.qrels, 1, 3).tolist()] == [[0], [2]]
    # All but the candidates are excluded, for both queries of a topic.
    assert found.excluded.tolist() == [[0, 2], [1, 0], [1, 1], [2, 2], [3, 0], [3, 1]]


def test_without_candidates_the_collection_is_searched(tmp_path):
    (found,) = load(str(write(tmp_path / "f", top=None)))
    assert found.excluded is None


def test_parquet_folders_read_alike(tmp_path):
    plain = write(tmp_path / "f")
    packed = tmp_path / "p"
    tables = {
        "corpus/corpus-0": [{"_id": key, "title": "", "text": text} for key, text in DOCS.items()],
        "queries/queries-0": QUERIES,
        "top_ranked/top_ranked-0": [{"qid": qid, "pid": pid} for qid, own in TOP.items() for pid in own],
    }
    for kind, qrels in (("og", OG), ("changed", CHANGED)):
        rows = [(query, doc, float(grade)) for query, own in qrels.items() for doc, grade in own.items()]
        names = ("query-id", "corpus-id", "score")
        tables[f"qrels_{kind}/test-0"] = [dict(zip(names, row, strict=True)) for row in rows]
    for name, rows in tables.items():
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), packed / f"{name}.parquet")
    assert load(str(packed))[0].fingerprint == load(str(plain))[0].fingerprint


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"changed": {"300": CHANGED["300"]}}, "topic '301' is judged for one of its two instructions only"),
        ({"top": {"300": ["d1"]}}, "top_ranked has no candidate for topic '301'"),
        ({"og": {**OG, "999": {"d1": 1}}}, "no query has the id '999-og'"),
        ({"queries": [{"_id": "300", "text": "x", "instruction_og": "y"}]}, "line 1: .*instruction_changed"),
    ],
)
def test_broken_followir(tmp_path, how, message):
    with pytest.raises(DataError, match=message):
        load(str(write(tmp_path / "f", **how)))


@pytest.mark.parametrize("subset", ["core17", "news21", "robust04"])
def test_the_hub_path_up_to_the_download(subset):
    with pytest.raises(MissingPartError, match=rf"jhu-clsp/{subset}-instructions \(revision [0-9a-f]{{40}}\)"):
        load(f"followir/{subset}")


@pytest.mark.parametrize(("before", "after", "value"), [(1, 10, 0.9), (10, 1, -0.9), (4, 4, 0.0), (1, None, 0.95)])
def test_known_moves(before, after, value):
    """One document at known places in two runs of 20; None: it is not found, and stands behind the last of 19."""
    others = np.arange(1, 20)
    rows = []
    for place in (before, after):
        row = others.tolist()
        row.insert(place - 1, 0) if place else row.append(-1)
        rows.append(row)
    run = Run(np.array(rows, np.int32), np.zeros((2, 20), np.float32))
    qrels = Qrels.from_pairs([0, 1], [0, 0], [1, 0], 2)
    assert p_mrr(run, qrels, np.array([0]), np.array([1])) == pytest.approx([value])


def official(scores_og, scores_new, docs):
    """The official computation from two dictionaries of scores, with its rule for ties: (score, id) descending."""

    def rank(scores, doc):
        ordered = sorted(scores.items(), key=lambda one: (one[1], one[0]), reverse=True)
        return next((place for place, (own, _) in enumerate(ordered, 1) if own == doc), len(ordered) + 1)

    moved = []
    for doc in docs:
        old, new = rank(scores_og, doc), rank(scores_new, doc)
        moved.append(new / old - 1 if old >= new else 1 - old / new)
    return sum(moved) / len(moved)


score = st.one_of(st.none(), st.integers(0, 3))


@given(st.lists(st.tuples(score, score, score, score), min_size=5, max_size=12), st.randoms())
def test_p_mrr_is_the_official_one_whatever_the_order_of_ties(rows, random):
    n = len(rows)
    grades = np.array([[1, 0], [2, 1], [1, 1], [0, 0]])  # of documents 0..3 before and after; 0 and 1 fall
    names = [f"d{number}" for number in range(n)]
    queries, docs = np.repeat([0, 1, 2, 3], 4), np.tile(np.arange(4), 4)
    made = Collection(
        name="made",
        doc_ids=strings(names),
        docs=strings(names),
        query_ids=strings(["1-og", "1-changed", "2-changed", "2-og"]),
        queries=strings(["q"] * 4),
        qrels=Qrels.from_pairs(queries, docs, grades[:, [0, 1, 1, 0]].T.ravel(), 4),
        query_labels={
            "topic": strings(["1", "1", "2", "2"]),
            "query_type": strings(["original", "changed", "changed", "original"]),
        },
    )
    order = list(range(n))
    random.shuffle(order)
    given_docs = np.array([[doc if rows[doc][q] is not None else -1 for doc in order] for q in range(4)])
    given_scores = np.array([[rows[doc][q] or 0 for doc in order] for q in range(4)], float)
    run = Run.ranked(given_docs, given_scores, made.doc_order)
    scores = [{names[doc]: rows[doc][q] for doc in range(n) if rows[doc][q] is not None} for q in range(4)]
    wanted = [official(scores[0], scores[1], ["d0", "d1"]), official(scores[3], scores[2], ["d0", "d1"])]
    np.testing.assert_allclose(by_query(made, run), [wanted[0], wanted[0], wanted[1], wanted[1]])
    report = evaluate(made, run, ("p-MRR", "AP"))
    assert report.values("p-MRR").mean() == pytest.approx(np.mean(wanted))


def test_p_mrr_needs_pairs(tiny):
    run = Run.ranked([[0, 1, 2]] * 3, np.ones((3, 3)), tiny.doc_order)
    assert measures.parse("p-mrr,AP") == ("p-MRR", "AP")
    with pytest.raises(UsageError, match="p-MRR needs pairs of queries, as FollowIR has them; tiny has none"):
        evaluate(tiny, run, ("p-MRR",))
    with pytest.raises(UsageError, match="leave it out here"):
        measures.score(run, tiny.qrels, ["p-MRR"])


def test_eval_of_both_instructions(tmp_path, capsys, monkeypatch):
    """A ranker that reads the instruction moves a document down; one that does not leaves p-MRR at 0."""
    (tmp_path / "minds.py").write_text(
        "import numpy as np\n"
        "from posbench.types import Run\n"
        "class Minds:\n"
        "    def describe(self):\n"
        "        return {'kind': 'minds'}\n"
        "    def rank(self, collection, candidates=None):\n"
        "        texts = collection.queries.to_pylist()\n"
        "        docs = np.tile(np.arange(4), (4, 1)) if candidates is None else candidates.docs\n"
        "        cost = np.array([['cost' in q or 'No' in q] for q in texts])\n"
        "        scores = np.where(cost, docs, 4 - docs)\n"
        "        return Run.ranked(docs, scores, collection.doc_order)\n"
        "class Ignores:\n"
        "    def describe(self):\n"
        "        return {'kind': 'ignores'}\n"
        "    def rank(self, collection, candidates=None):\n"
        "        docs = np.tile(np.arange(4), (4, 1))\n"
        "        return Run.ranked(docs, np.zeros((4, 4)), collection.doc_order)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = write(tmp_path / "f")
    how = ["--dataset", folder, "--measures", "p-MRR,nDCG@5", "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    assert main([str(one) for one in ["eval", "--model", "minds:Minds", *how, "--json"]]) == 0
    # Of the candidates d1 falls from 1 to 3 of three, and d3 from 1 to 2 of two.
    assert json.loads(capsys.readouterr().out)["measures"]["p-MRR"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert (
        main([str(one) for one in ["eval", "--model", "minds:Ignores", "--rerank", "minds:Minds", *how, "--json"]]) == 0
    )
    summary = json.loads(capsys.readouterr().out)
    rows = {row["queries"]: row for row in summary["rerank"]["gains"] if row["measure"] == "p-MRR"}
    assert rows["all"]["first"] == 0
    # Both queries of a topic carry its value, and count once: two topics have four sign flips.
    assert {name: row["count"] for name, row in rows.items()} == {"all": 4, "changed": 2, "original": 2}
    assert len({row["difference"] for row in rows.values()}) == 1
    assert rows["all"]["p"] == rows["changed"]["p"] == pytest.approx(0.5, abs=0.02)
    assert main([str(one) for one in ["eval", "--model", "minds:Ignores", "--rerank", "minds:Minds", *how]]) == 0
    assert "topics resampled" in capsys.readouterr().out
