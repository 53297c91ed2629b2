"""Selections of collections: what is kept, what survives the disk, and the mark wherever their scores are shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import loaders
from posbench.cli import main
from posbench.dsir.folder import finished, write
from posbench.dsir.subset import judged_documents, pool, subset, texts_of_queries
from posbench.errors import DataError, UsageError
from posbench.types import Collection, Evidence, Qrels, Run, strings


def made(seed, n_docs=30, n_queries=12, absent=3):
    """A collection with graded, negative and absent judgements, several evidence entries a query, and labels."""
    rng = np.random.default_rng(seed)
    pairs = {(int(rng.integers(n_queries)), int(rng.integers(n_docs + absent))) for _ in range(40)}
    query, doc = np.array(sorted(pairs)).T
    qrels = Qrels.from_pairs(query, doc, rng.integers(-1, 3, len(query)), n_queries)
    spans = np.array(sorted({(int(rng.integers(n_queries)), int(rng.integers(n_docs))) for _ in range(15)}), np.int32)
    n = len(spans)
    foreign = rng.integers(100, 200, n).astype(np.int32)  # lengths of documents in the query's language
    evidence = Evidence(spans[:, 0], spans[:, 1], np.full(n, 3, np.int32), np.full(n, 90, np.int32), foreign, -foreign)
    return Collection(
        name="made/xx",
        doc_ids=strings([f"d{i}" for i in range(n_docs)]),
        docs=strings([f"text {i} é" if i % 7 else "" for i in range(n_docs)]),
        query_ids=strings([f"q{i}" for i in range(n_queries)]),
        queries=strings([f"query {i}" for i in range(n_queries)]),
        qrels=qrels,
        evidence=evidence,
        query_labels={"domain": strings([f"m{i % 3}" for i in range(n_queries)])},
        doc_labels={"language": strings(["en", None, "de"] * (n_docs // 3))},
        notes={"bad_spans": 2},
        source={"licence": "none"},
    )


def run_of(collection, seed, depth=6):
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(len(collection.doc_ids))[:depth] for _ in range(len(collection.query_ids))]
    scores = np.tile(np.arange(depth, 0, -1.0), (len(rows), 1))
    docs = np.array(rows)
    docs[0, 3:] = -1
    return Run.ranked(docs, scores, collection.doc_order)


def judged_names(collection):
    """{query id: {document id or "?": sorted grades}}, where "?" is any document that the collection lacks."""
    found = {}
    for q, doc, grade in zip(*map(np.ndarray.tolist, _qrels(collection)), strict=True):
        name = collection.doc_ids[doc].as_py() if doc < len(collection.doc_ids) else "?"
        found.setdefault(collection.query_ids[q].as_py(), []).append((name, grade))
    return {query: sorted(rows) for query, rows in found.items()}


def _qrels(collection):
    return collection.qrels.queries, collection.qrels.docs, collection.qrels.grades


def evidence_names(collection):
    rows = zip(*(column.tolist() for column in collection.evidence.columns()), strict=True)
    return [(collection.query_ids[q].as_py(), collection.doc_ids[d].as_py(), *rest) for q, d, *rest in rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 11), min_size=1), st.lists(st.integers(0, 29)), st.integers(1, 6))
def test_everything_of_the_chosen_queries_stays(seed, queries, distractors, depth):
    whole = made(seed)
    runs = [run_of(whole, seed + 1), run_of(whole, seed + 2)]
    part = subset(whole, queries, distractors, runs=runs, pool_depth=depth)
    asked = {f"q{i}" for i in queries}
    assert part.query_ids.to_pylist() == [f"q{i}" for i in range(12) if f"q{i}" in asked]
    judged = judged_names(whole)
    assert judged_names(part) == {query: judged[query] for query in judged if query in asked}
    assert evidence_names(part) == [row for row in evidence_names(whole) if row[0] in asked]
    # The documents, restated with sets and loops.
    wanted = {doc for query in asked for doc, _ in judged.get(query, [])} | {row[1] for row in evidence_names(part)}
    entry = part.source["selection"]
    assert entry["judged"] == len(wanted - {"?"})
    hard = {f"d{d}" for run in runs for q in set(queries) for d in run.docs[q, :depth].tolist() if d >= 0}
    wanted = (wanted - {"?"}) | hard | {f"d{i}" for i in distractors}
    assert part.doc_ids.to_pylist() == [f"d{i}" for i in range(30) if f"d{i}" in wanted]
    assert entry["judged"] + entry["pooled"] + entry["distractors"] == len(wanted) == entry["documents"]
    texts = dict(zip(whole.doc_ids.to_pylist(), whole.docs.to_pylist(), strict=True))
    assert part.docs.to_pylist() == [texts[doc] for doc in part.doc_ids.to_pylist()]
    assert part.query_labels["domain"].to_pylist() == [f"m{int(q[1:]) % 3}" for q in part.query_ids.to_pylist()]
    assert part.doc_labels["language"].to_pylist() == [
        ["en", "", "de"][int(d[1:]) % 3] for d in part.doc_ids.to_pylist()
    ]
    assert entry["of"]["name"] == "made/xx"
    assert entry["of"]["fingerprint"] == whole.fingerprint
    assert (entry["of"]["queries"], entry["of"]["documents"], entry["of"]["notes"]) == (12, 30, {"bad_spans": 2})
    assert sum(part.notes.values()) == 12 - len(asked) + 30 - len(wanted)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 11), min_size=1))
def test_a_selection_survives_the_disk(tmp_path_factory, seed, queries):
    folder = tmp_path_factory.mktemp("selections") / "mine"
    part = subset(made(seed), queries, range(0, 30, 2), made={"selector": "random", "seed": 3})
    again = subset(part, range(len(part.query_ids)), range(len(part.doc_ids)))
    assert again.fingerprint == part.fingerprint
    write(folder, [part], {"seed": 3})
    (read,) = loaders.load(str(folder))
    assert read.fingerprint == part.fingerprint
    assert read.name == "mine/made/xx"
    assert read.notes == part.notes
    assert read.source["selection"] == part.source["selection"]
    assert read.source["licence"] == "none"


def test_a_selection_of_all_is_the_collection_but_for_its_mark():
    whole = made(5, absent=0)
    part = subset(whole, range(12), range(30))
    assert part.doc_labels["language"].to_pylist()[1] == ""
    assert replace(part, doc_labels=whole.doc_labels).fingerprint == whole.fingerprint
    assert not part.notes
    assert "selection" in part.source


def test_absent_documents_get_names_that_no_document_has(tmp_path):
    ids = strings([f"absent-{i}" for i in range(30)])
    part = subset(replace(made(1), doc_ids=ids), range(12))
    assert (part.qrels.docs >= len(part.doc_ids)).any()
    write(tmp_path / "a", [part], {})
    assert loaders.load(str(tmp_path / "a"))[0].fingerprint == part.fingerprint


def test_impossible_selections_are_refused(tiny, tmp_path):
    with pytest.raises(UsageError, match="no query of tiny"):
        subset(tiny, [])
    with pytest.raises(UsageError, match=r"query row 3; the collection has 0\.\.2"):
        subset(tiny, [0, 3])
    with pytest.raises(UsageError, match="document row -1"):
        subset(tiny, [0], [-1])
    run = Run.ranked([[0, 1]], [[2.0, 1.0]], tiny.doc_order)
    with pytest.raises(UsageError, match="ranks 1 queries; tiny has 3"):
        pool(tiny, np.array([0]), [run], 5)
    with pytest.raises(UsageError, match="pool depth 0"):
        pool(tiny, np.array([0]), [run], 0)
    with pytest.raises(UsageError, match="is no selection"):
        write(tmp_path / "x", [tiny], {})
    assert not (tmp_path / "x").exists()


def test_texts_of_queries():
    whole = made(7)
    texts = whole.docs.to_pylist()
    expected = []
    for q, query in enumerate(whole.queries.to_pylist()):
        rows = zip(*map(np.ndarray.tolist, _qrels(whole)), strict=True)
        mine = [texts[doc] for row, doc, grade in rows if row == q and grade > 0 and doc < 30]
        expected.append("\n".join(mine) if mine else query)
    assert texts_of_queries(whole).to_pylist() == expected
    assert len(set(expected) & set(whole.queries.to_pylist())) > 0  # some have no relevant document here
    assert texts_of_queries(whole, "queries").to_pylist() == whole.queries.to_pylist()
    with pytest.raises(UsageError, match="expected documents or queries"):
        texts_of_queries(whole, "titles")


def test_judged_documents_include_where_evidence_stands():
    whole = made(3)
    bare = replace(whole, evidence=None)
    more = set(judged_documents(whole, np.arange(12))) - set(judged_documents(bare, np.arange(12)))
    assert more == set(whole.evidence.doc.tolist()) - set(whole.qrels.docs.tolist())


# On disk


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_selection_has_the_same_bytes(tmp_path):
    parts = [subset(made(seed), [1, 2, 5]) for seed in (1, 2)]
    parts = [replace(part, name=name) for part, name in zip(parts, ("a/b", "A--b"), strict=True)]
    for name in ("one", "two"):
        write(tmp_path / name, parts, {"k": 1}, {"v": "2"})
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [part.name for part in loaders.load(str(tmp_path / "one"))] == ["one/a/b", "one/A--b"]


def test_a_finished_selection_is_found_and_another_one_refused(tmp_path):
    folder = tmp_path / "s"
    assert finished(folder, {"k": 1}) is None
    write(folder, [subset(made(1), [1])], {"k": 1})
    assert finished(folder, {"k": 1})["parts"][0]["queries"] == 1
    with pytest.raises(UsageError, match="holds another selection"):
        finished(folder, {"k": 2})
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="holds something else"):
        finished(tmp_path / "other", {"k": 1})


def test_damage_is_found(tmp_path):
    folder = tmp_path / "s"
    write(folder, [subset(made(1), range(12))], {})
    corpus = folder / "made--xx" / "corpus.parquet"
    table = pq.read_table(corpus)
    pq.write_table(table.slice(1), corpus)
    with pytest.raises(DataError, match=r"not what .*selection.json says"):
        loaders.load(str(folder))
    corpus.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="not a readable parquet file"):
        loaders.load(str(folder))
    (folder / "selection.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="selection of format 9; this version reads format 1"):
        loaders.load(str(folder))


# Where its scores are shown


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """posir-mini/spa in full and a selection of it, each evaluated with bm25 and wordllama."""
    root = tmp_path_factory.mktemp("evaluated")
    (whole,) = loaders.load("posir-mini/spa-Latn")
    queries = np.arange(0, len(whole.query_ids), 2)
    write(root / "half", [subset(whole, queries, range(0, len(whole.doc_ids), 3))], {})
    for dataset in (str(root / "half"), "posir-mini/spa-Latn"):
        for model in ("bm25", "wordllama"):
            places = ["--out", str(root / "out"), "--cache", str(root / "cache"), "--json"]
            assert main(["eval", "--dataset", dataset, "--model", model, *places]) == 0
    return root, whole, queries


def folders(root, part, model="*"):
    return sorted(str(path.parent) for path in (root / "out").glob(f"{part}/{model}/*/manifest.json"))


HALF, FULL = "half--posir-mini--spa-Latn", "posir-mini--spa-Latn"


def test_eval_says_that_it_is_a_selection_and_keeps_the_bias_tables(evaluated, capsys):
    root, whole, queries = evaluated
    capsys.readouterr()
    arguments = ["eval", "--dataset", str(root / "half"), "--model", "bm25", "--out", str(root / "out")]
    assert main([*arguments, "--cache", str(root / "cache")]) == 0
    shown = capsys.readouterr().out
    line = f"a selection of posir-mini/spa-Latn: {len(queries):,} of {len(whole.query_ids):,} queries, "
    assert line in shown
    assert "its scores do not stand beside those of the full collection" in shown
    assert "bias told from noise" in shown
    assert main([*arguments, "--cache", str(root / "cache"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["selection"]["of"] == "posir-mini/spa-Latn"
    assert summary["selection"]["queries"] == [len(queries), len(whole.query_ids)]
    assert summary["bias"]["queries"] == len(queries)
    manifest = json.loads((Path(summary["result"]) / "manifest.json").read_text())
    assert manifest["dataset"]["selection"] == summary["selection"]
    assert "selection" not in json.loads((Path(folders(root, FULL)[0]) / "manifest.json").read_text())["dataset"]


def test_runs_bias_and_exports_mark_it(evaluated, capsys, tmp_path):
    root = evaluated[0]
    capsys.readouterr()
    assert main(["runs", "--out", str(root / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [("(a selection of posir-mini/spa-Latn: " in line) for line in lines] == [True, True, False, False]
    assert main(["bias", *folders(root, HALF), *folders(root, FULL, "bm25")]) == 0
    shown = capsys.readouterr().out
    assert shown.count("a selection of posir-mini/spa-Latn") == 2
    assert shown.count(" on selection half/") == 2
    results = [*folders(root, HALF, "bm25"), *folders(root, FULL, "bm25")]
    assert main(["export", *results, "--format", "parquet", "--to", str(tmp_path / "all.parquet")]) == 0
    rows = pq.read_table(tmp_path / "all.parquet", columns=["dataset", "selection"]).to_pylist()
    assert {(row["dataset"], bool(row["selection"])) for row in rows} == {
        ("half/posir-mini/spa-Latn", True),
        ("posir-mini/spa-Latn", False),
    }
    for form in ("trec", "mteb-json"):
        assert main(["export", *results, "--format", form, "--to", str(tmp_path / form)]) == 0
        names = [path.name for path in (tmp_path / form).iterdir()]
        assert sorted(".selection." in name for name in names) == [False, True]


def test_compare_never_mixes_a_selection_and_the_whole(evaluated, capsys):
    root = evaluated[0]
    capsys.readouterr()
    mixed = [*folders(root, HALF, "bm25"), *folders(root, FULL, "wordllama")]
    for more in ([], ["--common"]):
        assert main(["compare", *mixed, *more]) == 2
        assert "scores on a selection do not compare with scores on anything else" in capsys.readouterr().err
    assert main(["compare", *folders(root, HALF)]) == 0
    assert "a selection of posir-mini/spa-Latn: " in capsys.readouterr().out
    assert main(["compare", *folders(root, FULL)]) == 0
    assert "selection" not in capsys.readouterr().out


def test_charts_say_so_beneath_their_title(evaluated, tmp_path):
    root = evaluated[0]

    def drawn(*results):
        assert main(["plot", *results, "--kind", "curves", "--to", str(tmp_path / "c.json")]) == 0
        return json.loads((tmp_path / "c.json").read_text())

    alone = drawn(*folders(root, HALF))["title"]["subtitle"]
    assert alone[-1].startswith("a selection of posir-mini/spa-Latn: ")
    both = drawn(*folders(root, HALF, "bm25"), *folders(root, FULL, "wordllama"))
    assert both["title"]["subtitle"][-1].startswith("half/posir-mini/spa-Latn: a selection of posir-mini/spa-Latn: ")
    assert "bm25 on half/posir-mini/spa-Latn" in json.dumps(both)
    assert "selection" not in json.dumps(drawn(*folders(root, FULL)))


def test_a_selection_of_a_selection_is_one_of_the_whole(evaluated, tmp_path, capsys):
    root, whole, _ = evaluated
    (half,) = loaders.load(str(root / "half"))
    write(tmp_path / "quarter", [subset(half, range(0, len(half.query_ids), 2))], {})
    arguments = ["--out", str(tmp_path / "out"), "--cache", str(root / "cache"), "--json"]
    capsys.readouterr()
    assert main(["eval", "--dataset", str(tmp_path / "quarter"), "--model", "bm25", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)["selection"]
    assert found["of"] == "posir-mini/spa-Latn"
    assert found["documents"][1] == len(whole.doc_ids)
