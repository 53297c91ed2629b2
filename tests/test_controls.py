"""Controls against collections in which the document really is replaced, one query at a time."""

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench import controls, experiment, loaders, measures, rankers, recipe
from posbench.cli import main
from posbench.errors import UsageError
from posbench.evaluate import evaluate
from posbench.types import Evidence, Run, strings

NAMES = ("nDCG@10", "RR@10", "AP")


@pytest.fixture(scope="module")
def collection():
    (found,) = loaders.load("posir-mini/eng/aerospace")
    return found


def maker(name, cache, window="", tokens=0):
    if name != "bm25":
        pytest.importorskip("wordllama")
    _, chosen = rankers.windowed(name, recipe.ranker(name), window, tokens)
    return partial(rankers.build, chosen, cache=cache, name=name)


def controlled(collection, make, depth):
    ranker = make(depth=depth)
    run = ranker.rank(collection)
    report = evaluate(collection, run, NAMES)
    return report, controls.by_span(report, collection, run, ranker, make, depth)


def replaced(collection, query):
    """The collection with the evidence document of one query replaced by the bare span."""
    row = int(np.flatnonzero(collection.evidence.query == query)[0])
    doc, start, end = (int(getattr(collection.evidence, name)[row]) for name in ("doc", "start", "end"))
    texts = collection.docs.to_pylist()
    texts[doc] = texts[doc][start:end]
    return dataclasses.replace(collection, docs=strings(texts))


@pytest.mark.parametrize(("window", "tokens"), [("truncate", 0), ("average", 100), ("max", 100)])
@pytest.mark.parametrize("depth", [1000, 12])
def test_a_span_scores_as_if_it_were_the_document(collection, tmp_path, window, tokens, depth):
    make = maker("wordllama", tmp_path, window, tokens)
    _, report = controlled(collection, make, depth)
    for query in range(0, len(collection.queries), 16):
        run = make(depth=depth).rank(replaced(collection, query))
        for name in NAMES[:2] if depth < 1000 else NAMES:
            wanted = measures.score(run, collection.qrels, [name])[name][query]
            assert report.queries[f"{name}:span"][query].as_py() == wanted


def test_bm25_ranks_spans_among_documents(collection, tmp_path, monkeypatch):
    """Terms are counted with the spans in the collection, so the reference is that collection, filtered in Python."""
    make = maker("bm25", tmp_path)
    depth = 1000
    _, report = controlled(collection, make, depth)
    found = controls.spans(collection)
    union = controls._union(collection, found, np.arange(len(found.docs)))
    run = make(depth=10**6).rank(union)
    size = len(collection.docs)
    for query in range(len(collection.queries)):
        ranking = [
            (score, collection.doc_order[found.docs[query] if doc >= size else doc], doc)
            for doc, score in zip(run.docs[query].tolist(), run.scores[query].tolist(), strict=True)
            if doc == size + query or (0 <= doc < size and doc != found.docs[query])
        ]
        order = [doc for _, _, doc in sorted(ranking, reverse=True)]
        rank = order.index(size + query) + 1 if size + query in order else None
        assert report.queries["RR@10:span"][query].as_py() == (1 / rank if rank and rank <= 10 else 0.0)
    # Few at a time and to a small depth: the same order of documents and spans, up to the statistics of terms.
    monkeypatch.setattr(controls, "_ROWS", 50)
    _, parts = controlled(collection, make, 10)
    whole, part = (np.array(r.queries["RR@10:span"].to_pylist()) for r in (report, parts))
    assert np.abs(whole - part).mean() < 0.02


def test_a_span_that_is_the_whole_document_changes_nothing(collection, tmp_path):
    chars = np.array([len(text) for text in collection.docs.to_pylist()], np.int32)
    evidence = collection.evidence
    columns = [evidence.query, evidence.doc, np.zeros_like(evidence.start), chars[evidence.doc]]
    whole = dataclasses.replace(collection, evidence=Evidence(*columns, evidence.doc_chars, evidence.doc_tokens))
    report, both = controlled(whole, maker("wordllama", tmp_path), 1000)
    for name in NAMES:
        assert both.queries[f"{name}:span"].to_pylist() == report.queries[name].to_pylist()
    assert both.measures == NAMES


def test_queries_with_several_or_no_evidence_have_none(collection, tmp_path):
    columns = [np.concatenate([column[1:], column[1:2]]) for column in collection.evidence.columns()]
    columns[1][-1] += 1
    some = dataclasses.replace(collection, evidence=Evidence(*columns))
    first, second = collection.evidence.query[:2].tolist()
    _, report = controlled(some, maker("wordllama", tmp_path), 1000)
    values = report.queries["nDCG@10:span"].to_pylist()
    assert [i for i, value in enumerate(values) if value is None] == sorted({first, second})


class Shallow:
    """A ranker without ``pairs`` that always gives three results."""

    def rank(self, collection, candidates=None):
        docs = np.tile(np.arange(3, dtype=np.int32), (len(collection.queries), 1))
        return Run.ranked(docs, np.ones(docs.shape), collection.doc_order)

    def describe(self):
        return {"kind": "shallow"}


def test_a_ranker_that_stops_too_early_is_refused(collection):
    with pytest.raises(UsageError, match=r"needs \d+ results a query; this ranker gives 3"):
        controlled(collection, lambda depth: Shallow(), 1000)


@pytest.mark.parametrize("dataset", ["posir-mini/deu-eng", "beir"])
def test_controls_need_evidence_in_what_is_searched(dataset, tmp_path, capsys):
    if dataset == "beir":
        (tmp_path / "beir" / "qrels").mkdir(parents=True)
        (tmp_path / "beir" / "corpus.jsonl").write_text('{"_id": "a", "text": "bees"}\n')
        (tmp_path / "beir" / "queries.jsonl").write_text('{"_id": "1", "text": "bees"}\n')
        (tmp_path / "beir" / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
        dataset = str(tmp_path / "beir")
    arguments = ["eval", "--model", "bm25", "--dataset", dataset, "--controls", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 2
    assert "controls need evidence in the documents that are searched" in capsys.readouterr().err


def test_controls_are_added_to_a_finished_result(tmp_path, capsys, monkeypatch):
    pytest.importorskip("wordllama")
    places = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command = ["eval", "--model", "wordllama", "--dataset", "posir-mini/eng/aerospace", *places]

    def call(*arguments):
        assert main(list(arguments)) == 0
        return capsys.readouterr().out

    first = json.loads(call(*command, "--json"))
    assert first["bias"]["controlled"] is None
    ranked = experiment._ranked
    with monkeypatch.context() as patch:
        # Only bm25 is ranked now.
        patch.setattr(experiment, "_ranked", lambda job, part, ranker: ranked(job, part, _bm25_only(ranker)))
        second = json.loads(call(*command, "--json", "--controls"))
    assert second["result"] == first["result"]
    assert second["measures"] == first["measures"]
    assert second["bias"]["controlled"]["controls"] == ["span", "bm25"]
    folder = Path(second["result"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["controls"]["bm25"]["used"]["kind"] == "bm25"
    assert "bare evidence span" in manifest["controls"]["span"]["what"]
    assert manifest["measures"] == list(measures.DEFAULT)
    table = pq.read_table(folder / "queries.parquet")
    bm25 = json.loads(call("eval", "--model", "bm25", *command[3:], "--json", "--controls"))
    assert np.mean(table["nDCG@10:bm25"].to_pylist()) == pytest.approx(bm25["measures"]["nDCG@10"])
    assert bm25["bias"]["controlled"]["controls"] == ["span"]
    # Kept and extended when measures are added; read when nothing is asked; the same when computed at once.
    call(*command, "--json", "--measures", "P@1,nDCG@10")
    again = pq.read_table(folder / "queries.parquet")
    assert again["nDCG@10:span"].equals(table["nDCG@10:span"])
    assert {"P@1:span", "P@1:bm25"} <= set(again.column_names)
    shown = call(*command)
    for part in (
        "nDCG@10 of the controls",
        "bare evidence span",
        "with difficulty by span (instrument: bm25) taken out",
    ):
        assert part in shown
    call(*command, "--json", "--controls", "--again")
    assert pq.read_table(folder / "queries.parquet").equals(table)
    assert len(json.loads(call("runs", "--json", *places[:2]))["runs"]) == 2
    for form in ("csv", "parquet", "mteb-json"):
        call("export", "--format", form, "--to", str(tmp_path / form), *places)
    rows = pq.read_table(tmp_path / "parquet")
    assert set(rows["measure"].to_pylist()) == set(measures.DEFAULT)


def _bm25_only(ranker):
    assert ranker.describe()["kind"] == "bm25"
    return ranker


def test_windows_are_results_of_their_own(tmp_path, capsys):
    pytest.importorskip("wordllama")
    places = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    command = ["eval", "--model", "wordllama", "--dataset", "posir-mini/eng/aerospace", *places]
    assert main([*command, "--window", "max", "--window-tokens", "100", "--controls", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["ranker"] == "wordllama+max-100"
    assert summary["truncation"]["windows"] > summary["counts"]["documents"]
    assert summary["bias"]["controlled"]["controls"] == ["span", "bm25"]
    assert main([*command, "--window", "max", "--window-tokens", "100"]) == 0
    assert "nothing is cut off" in capsys.readouterr().out
    assert main([*command, "--window-tokens", "100"]) == 2
    assert "need window average or max" in capsys.readouterr().err


def test_span_ids_never_meet_document_ids(tiny):
    named = dataclasses.replace(tiny, doc_ids=strings(["span:1", "span:2", "c"]), doc_labels={"language": tiny.doc_ids})
    found = controls.spans(named)
    assert found.docs.tolist() == [0, 1, -1]
    assert found.texts.to_pylist() == ["honey in the comb", "the beam", ""]
    union = controls._union(named, found, np.array([0, 1]))
    assert len(set(union.doc_ids.to_pylist())) == 5
    assert union.doc_labels["language"].to_pylist() == ["a", "b", "c", "a", "b"]
    assert union.docs.slice(3).equals(pa.array(["honey in the comb", "the beam"], pa.large_string()))
