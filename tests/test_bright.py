"""BRIGHT: the published layout, and excluded documents that count neither as found nor as places."""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import experiment
from posbench.cli import main
from posbench.dsir import folder as selections
from posbench.dsir.subset import subset
from posbench.errors import DataError, MissingPartError, RecipeError
from posbench.evaluate import allowed, evaluate, most_excluded
from posbench.loaders import LoadOptions, load
from posbench.rankers.pipeline import Pipeline
from posbench.recipe import PipelineRecipe, PythonRecipe
from posbench.reranking import Rerank
from posbench.studies.listed import stages
from posbench.types import Run, pairs

DOCS = {
    "b/1.txt": "frogs breathe through the skin",
    "b/2.txt": "frogs and toads and frogs",
    "b/3.txt": "owls turn their heads",
    "b/4.txt": "",
}
EXAMPLES = [
    {
        "id": "0",
        "query": "how do frogs breathe",
        "gold": ["b/1.txt"],
        "long": ["b1"],
        "excluded": ["b/2.txt", "b/9.txt"],
    },
    {"id": "1", "query": "why do owls turn heads", "gold": ["b/3.txt"], "long": ["b2"], "excluded": ["N/A"]},
]


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def write(folder, examples=EXAMPLES, docs=DOCS, task="biology"):
    name = f"{task}-00000-of-00001.parquet"
    texts = [{"id": key, "content": text or "blank"} for key, text in docs.items()]
    table(folder / "documents" / name, texts)
    table(folder / "long_documents" / name, [{"id": f"b{n}", "content": f"a long page {n}"} for n in (1, 2, 3)])
    for kind, more in (("examples", ""), ("gpt4_reason", " because of reasons")):
        rows = [
            {
                "query": row["query"] + more,
                "reasoning": "r",
                "id": row["id"],
                "excluded_ids": row["excluded"],
                "gold_ids_long": row["long"],
                "gold_ids": row["gold"],
            }
            for row in examples
        ]
        table(folder / kind / name, rows)
    return folder


def recipe(folder):
    text = 'kind = "bright"\ndescription = "mine"\nlicence = "none"\n[subsets]\nbiology = "biology"\n'
    (folder / "mine.toml").write_text(text + '[[source]]\npath = "files"\n')
    return str(folder / "mine.toml")


def test_a_task_in_the_published_layout(tmp_path):
    (found,) = load(str(write(tmp_path / "bright")))
    assert found.name == "bright/biology"
    assert found.doc_ids.to_pylist() == list(DOCS)
    assert found.queries.to_pylist() == [row["query"] for row in EXAMPLES]
    assert found.query_labels["query_type"].to_pylist() == ["original"] * 2
    assert (found.qrels.queries.tolist(), found.qrels.docs.tolist()) == ([0, 1], [0, 2])
    assert found.excluded.tolist() == [[0, 1]]
    assert found.notes == {"excluded_documents_that_are_not_there": 1}


def test_long_documents_and_expanded_queries(tmp_path):
    write(tmp_path / "files")
    own = recipe(tmp_path)
    (long,) = load(f"{own}/biology/long")
    assert (long.name, long.doc_ids.to_pylist(), long.qrels.docs.tolist()) == (
        "mine/biology/long",
        ["b1", "b2", "b3"],
        [0, 1],
    )
    assert long.excluded.tolist() == []
    (reasoned,) = load(f"{own}/biology/gpt4_reason")
    assert reasoned.queries[0].as_py() == "how do frogs breathe because of reasons"
    assert set(reasoned.query_labels["query_type"].to_pylist()) == {"gpt4_reason"}
    (both,) = load(f"{own}/biology/long/gpt4_reason")
    assert (both.docs, both.queries) == (long.docs, reasoned.queries)
    with pytest.raises(DataError, match=r"no biology-\*.parquet; found documents, examples, gpt4_reason"):
        load(f"{own}/biology/gpt5_reason")
    with pytest.raises(RecipeError, match=r"expected mine/biology\[/long\]\[/QUERIES\]"):
        load(f"{own}/biology/a/b")
    with pytest.raises(RecipeError, match="no subset of mine 'chemistry'"):
        load(f"{own}/chemistry")


def test_all_tasks_and_the_mean_of_their_means(tmp_path, capsys):
    folder = tmp_path / "files"
    write(folder)
    write(folder, [{**EXAMPLES[0], "id": "7", "gold": ["b/2.txt"], "excluded": ["N/A"]}], task="pony")
    (folder / "long_documents" / "pony-00000-of-00001.parquet").unlink()
    own = recipe(tmp_path)
    file = tmp_path / "mine.toml"
    file.write_text(file.read_text().replace("[subsets]", '[subsets]\npony = "pony"'))
    assert [part.name for part in load(f"{own}/all/gpt4_reason")] == [
        "mine/pony/gpt4_reason",
        "mine/biology/gpt4_reason",
    ]
    assert [part.name for part in load(f"{own}/all/long")] == ["mine/biology/long"]
    how = ["eval", "--model", "bm25", "--dataset", f"{own}/all", "--measures", "RR@10"]
    how += ["--out", str(tmp_path / "o"), "--cache", str(tmp_path / "c")]
    assert main([*how, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    # biology: two queries at 1; pony: one, whose relevant document comes second.
    assert summary["measures"]["RR@10"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert summary["macro"]["RR@10"] == pytest.approx((1 + 0.5) / 2)
    assert main(how) == 0
    assert "mean of collections' means" in capsys.readouterr().out


def test_a_folder_of_several_tasks(tmp_path):
    folder = write(write(tmp_path / "b"), task="theoremqa_questions")
    assert [part.name for part in load(str(folder))] == ["b/biology", "b/theoremqa_questions"]
    (one,) = load(str(folder), LoadOptions(split="biology"))
    assert one.name == "b/biology"
    with pytest.raises(DataError, match="no task 'pony'; found biology, theoremqa_questions"):
        load(str(folder), LoadOptions(split="pony"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"excluded": ["b/1.txt"]}, r"row 1, column excluded_ids: 'b/1.txt' is relevant and excluded"),
        ({"gold": ["b/8.txt"]}, r"row 1, column gold_ids: no document has the id 'b/8.txt'"),
    ],
)
def test_broken_examples(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load(str(write(tmp_path / "b", [{**EXAMPLES[0], **change}])))


def test_ids_that_are_no_lists(tmp_path):
    write(tmp_path / "b")
    file = tmp_path / "b" / "examples" / "biology-00000-of-00001.parquet"
    rows = pq.read_table(file).to_pylist()
    table(file, [{**row, "excluded_ids": "N/A"} for row in rows])
    with pytest.raises(DataError, match="column excluded_ids holds string; expected lists of ids"):
        load(str(tmp_path / "b"))


def test_the_hub_path_up_to_the_download():
    with pytest.raises(MissingPartError, match=r"bright/biology/long: no files: .*xlangai/BRIGHT"):
        load("bright/biology/long")


@given(st.data())
def test_removal_is_that_of_a_dictionary_before_ranking(data):
    """The official order of things: drop excluded ids from the scores, sort, cut, measure."""
    docs, queries = 6, 2
    scores = np.array(data.draw(st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=2, max_size=2)))
    barred = data.draw(st.sets(st.tuples(st.integers(0, 1), st.integers(1, 5))))
    made = collection(docs, queries, barred)
    run = Run.ranked(np.tile(np.arange(docs), (queries, 1)), scores.astype(float), made.doc_order)
    found = evaluate(made, run, ("nDCG@3",)).values("nDCG@3")
    for query in range(queries):
        kept = {f"d{doc}": scores[query, doc] for doc in range(docs) if (query, doc) not in barred}
        ranked = sorted(kept, key=lambda doc: (kept[doc], doc), reverse=True)
        assert allowed(made, run).docs[query].tolist() == [int(doc[1:]) for doc in ranked] + [-1] * (docs - len(ranked))
        place = ranked.index("d0")
        assert found[query] == pytest.approx(1 / math.log2(place + 2) if place < 3 else 0)
    assert most_excluded(made) == max((sum(one == q for one, _ in barred) for q in range(queries)), default=0)


def collection(docs, queries, barred):
    from posbench.types import Collection, Qrels, strings

    return Collection(
        name="made",
        doc_ids=strings([f"d{n}" for n in range(docs)]),
        docs=strings([f"text {n}" for n in range(docs)]),
        query_ids=strings([f"q{n}" for n in range(queries)]),
        queries=strings([f"query {n}" for n in range(queries)]),
        qrels=Qrels.from_pairs(range(queries), [0] * queries, [1] * queries, queries),
        excluded=pairs(*zip(*barred, strict=True)) if barred else None,
    )


def test_exclusions_are_part_of_the_content():
    assert len({collection(3, 1, barred).fingerprint for barred in ((), {(0, 1)}, {(0, 2)}, {(0, 1), (0, 2)})}) == 4


def test_excluded_documents_are_no_candidates():
    """A pipeline's top K are K documents that count."""

    class Fixed:
        def rank(self, made, candidates=None):
            if candidates is not None:
                self.given = candidates.docs.tolist()
                return candidates
            return Run.ranked([[0, 1, 2, 3]], [[1, 4, 3, 2]], made.doc_order)

    made, reranker = collection(4, 1, {(0, 1), (0, 3)}), Fixed()
    wanted = PipelineRecipe("d", first=PythonRecipe("d", "a:b"), rerank=PythonRecipe("d", "a:b"), depth=2)
    run = Pipeline(wanted, Fixed(), reranker).rank(made)
    assert reranker.given == [[2, 0]]
    assert run.docs.tolist() == [[2, 0, -1, -1]]


def test_eval_ranks_as_many_as_wanted_without_excluded_documents(tmp_path, capsys):
    folder = write(tmp_path / "bright")
    how = ["eval", "--model", "bm25", "--dataset", folder, "--depth", "1", "--measures", "RR@10", "--json"]
    assert main([str(one) for one in [*how, "--out", tmp_path / "o", "--cache", tmp_path / "c"]]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["measures"] == {"RR@10": 1.0}
    # bm25 puts the excluded document first where nothing is excluded.
    plain = write(tmp_path / "plain", [{**row, "excluded": ["N/A"]} for row in EXAMPLES])
    found = experiment.run(str(plain), "bm25", experiment.Settings(depth=2, out=tmp_path / "p", cache=tmp_path / "c"))
    by_query = {}
    for row in found.result.run().to_pylist():
        by_query.setdefault(str(row["query_id"]), []).append(str(row["doc_id"]))
    assert set(by_query["0"]) == {"b/1.txt", "b/2.txt"}


def test_what_expanded_queries_find_is_reranked_for_the_original_ones(tmp_path, capsys, monkeypatch):
    (tmp_path / "asked.py").write_text(
        "from posbench.types import Run\n"
        "import numpy as np\n"
        "class Asked:\n"
        "    def describe(self):\n"
        "        return {'kind': 'asked'}\n"
        "    def rank(self, collection, candidates=None):\n"
        "        assert 'because' not in ''.join(collection.queries.to_pylist())\n"
        "        return Run.ranked(candidates.docs, candidates.docs, collection.doc_order)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path / "files")
    places = ["--out", tmp_path / "o", "--cache", tmp_path / "c"]
    own = recipe(tmp_path)

    def call(*arguments):
        assert main([str(one) for one in arguments]) == 0
        return capsys.readouterr().out

    found = json.loads(call("eval", "--model", "bm25", "--dataset", f"{own}/biology/gpt4_reason", *places, "--json"))
    call("export", "--out", tmp_path / "o", "--format", "trec", "--to", tmp_path / "runs")
    run = next((tmp_path / "runs").iterdir())
    how = ["--model", run, "--rerank", "asked:Asked", "--dataset", f"{own}/biology", *places, "--json"]
    said = json.loads(call("eval", *how))["rerank"]
    assert said["measures"]["first"] == found["measures"]
    assert {row["queries"] for row in said["gains"]} == {"original"}


def test_a_selection_keeps_its_exclusions(tmp_path):
    (full,) = load(str(write(tmp_path / "bright")))
    part = subset(full, [0, 1], [1])
    assert part.doc_ids.take(pa.array(part.excluded[:, 1])).to_pylist() == ["b/2.txt"]
    selections.write(tmp_path / "s", [part], {})
    (again,) = load(str(tmp_path / "s"))
    assert again.fingerprint == part.fingerprint


def test_studies_of_lists_leave_out_excluded_documents_and_find_as_many_others(tmp_path):
    examples = [{**EXAMPLES[0], "query": "frogs and toads"}, EXAMPLES[1]]  # the excluded document is found first
    write(tmp_path / "bright", examples)
    settings = experiment.Settings(cache=tmp_path / "cache")
    work = stages(str(tmp_path / "bright"), "bm25", Rerank("smollm2-listwise", 1), settings)
    (part,) = work.parts(0, 0)
    assert [part.ids(row)[1] for row in range(2)] == [["b/1.txt"], ["b/3.txt"]]
