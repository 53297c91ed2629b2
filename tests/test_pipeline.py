"""A first stage and a reranker: order, ties, fusion, and what the tables say beside the reranked score."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import experiment, recipe, reranked, reranking, stored
from posbench.cli import main
from posbench.errors import DataError, RecipeError, UsageError
from posbench.evaluate import evaluate
from posbench.rankers import reranks
from posbench.rankers.pipeline import Pipeline, aligned, composed, fused, normalised, ties_of
from posbench.rankers.reranks import reranked as reranked_recipe
from posbench.recipe import PipelineRecipe, PythonRecipe
from posbench.reranking import Rerank
from posbench.store import Results
from posbench.types import Run, strings

NAN = float("nan")


class Fixed:
    """A ranker whose run is known."""

    def __init__(self, run):
        self.run, self.given = run, None

    def describe(self):
        return {"kind": "fixed"}

    def rank(self, collection, candidates=None):
        self.given = candidates
        return self.run


def naive(found, values, depth_scored, ties, names):
    """The order of one row, restated: a list of documents."""
    docs = [doc for doc in found if doc >= 0]
    scored = [
        (doc, value, place) for place, (doc, value) in enumerate(zip(docs, values, strict=False)) if value == value
    ]
    by_id = {doc: names[doc] for doc in docs}
    if ties == "first":
        scored.sort(key=lambda one: (-np.float32(one[1]), one[2]))
    else:
        scored.sort(key=lambda one: by_id[one[0]], reverse=True)
        scored.sort(key=lambda one: -np.float32(one[1]))
    head = [doc for doc, _, _ in scored]
    return head + [doc for doc in docs if doc not in head]


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_scored_documents_lead_and_the_others_keep_their_order(data):
    size = data.draw(st.integers(1, 12))
    order = np.array(data.draw(st.permutations(range(size))), np.int32)
    length = data.draw(st.integers(0, size))
    docs = np.where(np.arange(size) < length, order, -1).astype(np.int32)[None]
    found = Run(docs, np.where(docs >= 0, np.arange(size, 0, -1), 0).astype(np.float32))
    width = data.draw(st.integers(0, size))
    pool = st.sampled_from([NAN, 0.0, 1.0, 1.0 + 2**-23, 7.0, -1e30, 1e30, 0.1])
    values = np.array(data.draw(st.lists(pool, min_size=width, max_size=width)), np.float64).reshape(1, width)
    values = np.where(docs[:, :width] >= 0, values, np.nan)
    ties = data.draw(st.sampled_from(["first", "docid"]))
    run = composed(found, values, ties, np.arange(size, dtype=np.int32))
    wanted = naive(docs[0], values[0].tolist(), width, ties, list(range(size)))
    assert run.docs[0, :length].tolist() == wanted
    assert (run.docs[0, length:] == -1).all()
    scored = int((~np.isnan(values)).sum())
    tail = run.scores[0, max(0, scored - 1) : length]
    assert (np.diff(tail) < 0).all()
    if ties == "first":
        assert (np.diff(run.scores[0, :length]) < 0).all()


def test_ties_are_read_back_from_the_scores():
    found = Run(np.array([[4, 3, 2, 1, 0]], np.int32), np.array([[5, 4, 3, 2, 1]], np.float32))
    for ties in ("first", "docid"):
        run = composed(found, np.array([[7.0, 7.0, 3.0, 7.0]]), ties, np.arange(5, dtype=np.int32))
        assert ties_of(run)[0].tolist() == [0, 0, 0, 1, 2]
        assert reranked.tied(run).tolist() == [3 / 5]
    assert run.docs[0].tolist() == [4, 3, 1, 2, 0]


def test_scores_are_put_on_one_scale_row_by_row():
    values = np.array([[1.0, 2.0, 6.0, NAN], [3.0, 3.0, 3.0, 3.0], [NAN] * 4, [0.1 + 0.2, 0.3, 0.3, NAN]])
    z = normalised(values, "zscore")
    row = values[0, :3]
    np.testing.assert_allclose(z[0, :3], (row - row.mean()) / row.std())
    assert z[1].tolist() == [0] * 4  # a constant has no spread: not NaN, as a division by it would be
    assert np.isnan(z[2]).all()
    assert z[3, :3].tolist() == [0] * 3
    assert np.isnan(z[[0, 3], 3]).all()
    np.testing.assert_allclose(normalised(values, "minmax")[0, :3], [0, 0.2, 1])


def test_fusion_weighs_both_scores():
    top = Run(np.array([[0, 1, 2]], np.int32), np.array([[9, 6, 3]], np.float32))
    mixed = fused(top, np.array([[0.0, 0.0, 3.0]]), 0.2, "zscore")

    def z(x):
        return (np.array(x) - np.mean(x)) / np.std(x)  # as published

    np.testing.assert_allclose(mixed[0], 0.2 * z([9, 6, 3]) + 0.8 * z([0, 0, 3]))


def test_scores_are_matched_by_document():
    docs = np.array([[5, 3, -1], [0, 1, 2]], np.int32)
    scored = Run(np.array([[3, 5], [2, -1]], np.int32), np.array([[0.5, 0.25], [1, 0]], np.float32))
    found = aligned(docs, scored, 6)
    np.testing.assert_array_equal(found, [[0.25, 0.5, NAN], [NAN, NAN, 1]])
    with pytest.raises(UsageError, match="1 documents that were not candidates"):
        aligned(docs, Run(np.array([[4], [-1]], np.int32), np.zeros((2, 1), np.float32)), 6)
    assert np.isnan(aligned(docs, Run(np.full((2, 0), -1, np.int32), np.zeros((2, 0), np.float32)), 6)).all()


def test_the_reranker_gets_the_top_and_the_rest_follows(tiny):
    order = np.array([[0, 1, 2], [2, 1, 0], [1, 2, -1]], np.int32)
    first = Fixed(Run(order, np.where(order >= 0, [[3, 2, 1]] * 3, 0).astype(np.float32)))
    own = Fixed(Run.ranked([[0, 1], [2, 1], [1, 2]], [[1, 2], [1, 2], [1, 2]], tiny.doc_order))
    made = PipelineRecipe("d", first=PythonRecipe("d", "a:b"), rerank=PythonRecipe("d", "a:b"), depth=2)
    run = Pipeline(made, first, own).rank(tiny)
    assert own.given.depth == 2
    assert run.docs.tolist() == [[1, 0, 2], [1, 2, 0], [2, 1, -1]]


def test_the_best_and_worst_of_ties_bound_every_order(tiny):
    rng = np.random.default_rng(0)
    docs = np.array([rng.permutation(3) for _ in range(3)], np.int32)
    run = Run.ranked(docs, np.zeros((3, 3)), tiny.doc_order)
    values = {sign: evaluate(tiny, reranked.in_ties(run, tiny, sign), ("nDCG@10", "RR@10")) for sign in (-1, 1)}
    for name, worst in (("nDCG@10", 0.5), ("RR@10", 1 / 3)):
        assert values[-1].values(name).tolist() == [1, 1]
        assert values[1].values(name).tolist() == pytest.approx([worst] * 2)


def call(capsys, *arguments):
    status = main([str(one) for one in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_eval_shows_the_first_stage_beside_what_is_reranked(capsys, tmp_path, same):
    places = ["--dataset", "posir-mini/spa", "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    plain = json.loads(call(capsys, "eval", "--model", "bm25", *places, "--json")[1])
    status, out, _ = call(capsys, "eval", "--model", "bm25", "--rerank", same, "--depth", 20, *places, "--json")
    summary = json.loads(out)
    said = summary["rerank"]
    assert status == 0
    assert summary["ranker"] == "bm25>same@20"
    assert said["measures"]["first"] == plain["measures"]
    # All scores are equal, so the first stage decides: nothing changes, and nothing is sure.
    assert summary["measures"] == plain["measures"]
    assert (
        said["measures"]["worst_ties"]["nDCG@10"]
        < plain["measures"]["nDCG@10"]
        < said["measures"]["best_ties"]["nDCG@10"]
    )
    assert 0.3 < said["tied"] <= 1
    assert (said["depth"], said["weight"]) == (20, 0)
    assert said["facts"]["answers"]["ok"] == said["facts"]["cost"]["calls"] > 0
    text = call(capsys, "eval", "--model", "bm25", "--rerank", same, "--depth", 20, *places)[1]
    assert "bm25 alone" in text
    assert "scores not fused" in text
    assert "stand in a tie" in text


def test_other_measures_are_added_without_reranking(tmp_path, same):
    how = experiment.Settings(out=tmp_path / "o", cache=tmp_path / "c", rerank=Rerank(str(same), depth=5))
    first = experiment.run("posir-mini/spa", "bm25", how)
    second = experiment.run("posir-mini/spa", "bm25", replace(how, measures=("nDCG@10", "P@5")))
    assert second.result.folder == first.result.folder
    assert {"P@5:first", "P@5:best_ties"} <= set(second.report.queries.column_names)
    assert second.summary["rerank"]["facts"] == first.summary["rerank"]["facts"]


def test_a_run_file_and_a_stored_result_are_first_stages(capsys, tmp_path, same):
    places = ["--dataset", "posir-mini/spa", "--out", tmp_path / "o", "--cache", tmp_path / "c", "--json"]
    plain = json.loads(call(capsys, "eval", "--model", "bm25", *places)[1])
    call(capsys, "export", "--out", tmp_path / "o", "--format", "trec", "--to", tmp_path / "runs")
    file = next((tmp_path / "runs").iterdir())
    wanted = call(capsys, "eval", "--model", "bm25", "--rerank", same, *places)[1]
    for first in (file, plain["result"]):
        found = json.loads(call(capsys, "eval", "--model", first, "--rerank", same, *places)[1])
        assert found["measures"] == json.loads(wanted)["measures"]
        assert found["rerank"]["measures"]["first"] == plain["measures"]
        assert json.loads(call(capsys, "eval", "--model", first, *places)[1])["measures"] == plain["measures"]


def test_a_run_of_other_documents_is_refused(tmp_path, tiny):
    file = tmp_path / "x.run"
    file.write_text("1 Q0 a 1 2.0 t\n1 Q0 zz 2 1.0 t\n9 Q0 b 1 1.0 t\n")
    ranker = stored.StoredRanker(stored.resolve(str(file))[1])
    with pytest.raises(DataError, match="1 lines name documents that tiny lacks, the first 'zz'"):
        ranker.rank(tiny)
    file.write_text("9 Q0 b 1 1.0 t\n")
    with pytest.raises(DataError, match="none of the 3 queries of tiny"):
        stored.StoredRanker(stored.resolve(str(file))[1]).rank(tiny)
    file.write_text("9 Q0 b 1 1.0 t\n2 Q0 b 1 2.0 t\n2 Q0 a 2 1.5 t\n2 Q0 b 3 1.0 t\n")
    with pytest.raises(DataError, match=r"x\.run: line 4: document 'b' stands more than once for query '2'"):
        stored.StoredRanker(stored.resolve(str(file))[1]).rank(tiny)
    file.write_text("2 Q0 b 1 1.0 t\n2 Q0 a 1 1.0 t\n")
    assert stored.StoredRanker(stored.resolve(str(file))[1]).rank(tiny).docs.tolist() == [[-1, -1], [1, 0], [-1, -1]]


def test_a_stored_run_of_more_queries_leaves_them_out_and_of_other_documents_is_refused(tiny):
    run = Run.ranked(np.array([[0, 1], [1, 2], [2, 0]]), np.array([[2.0, 1.0]] * 3), tiny.doc_order)
    table = stored.run_table(tiny, run)
    fewer = replace(tiny, query_ids=tiny.query_ids[:2], queries=tiny.queries[:2])
    np.testing.assert_array_equal(stored.stored_run(table, fewer).docs, run.docs[:2])
    with pytest.raises(DataError, match="lines name documents that tiny lacks"):
        stored.stored_run(table, replace(tiny, doc_ids=strings(["a", "b", "other"])))


def test_a_pipeline_can_be_a_recipe(tmp_path, same, capsys):
    path = tmp_path / "two.toml"
    path.write_text(
        'kind = "pipeline"\ndescription = "d"\nfirst = "bm25"\nrerank = "same.toml"\ndepth = 7\nweight = 0.5\n'
    )
    read = recipe.read(path, "rankers")
    assert read.rerank == str(same)
    places = ["--dataset", "posir-mini/spa", "--out", tmp_path / "o", "--cache", tmp_path / "c", "--json"]
    found = json.loads(call(capsys, "eval", "--model", path, *places)[1])
    assert (found["rerank"]["first"]["name"], found["rerank"]["reranker"]["name"]) == ("bm25", "same")
    assert found["ranker"] == "two"
    assert Results(tmp_path / "o").all()[0].manifest["ranker"]["recipe"]["weight"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "bm25", "--fuse", "0.2"], "--fuse is for a reranker"),
        (["--model", "bm25", "--ties", "docid"], "--ties is for a reranker"),
        (["--model", "bm25", "--normalise", "minmax"], "--normalise is for a reranker"),
        (["--model", "bm25", "--rerank", "e5"], "e5 is no reranker"),
        (["--model", "erank-4b", "--rerank", "erank-4b"], "needs a first stage"),
        (["--model", "bm25", "--rerank", "erank-5b"], "did you mean erank-4b"),
        (["--model", "bm25", "--rerank", "erank-4b", "--fuse", "2"], "weight 2.0; expected"),
        (["--model", "bm25", "--rerank", "erank-4b", "--score", "margin"], "graded has published"),
        (["--model", "bm25", "--rerank", "SAME", "--controls"], "controls are of the ranker, not of a pipeline"),
        (["--model", "SAME"], "is a reranker and needs candidates: --model bm25 --rerank"),
        (["--model", "bm25", "--rerank", "SAME", "--prompt", "none.txt"], "no prompt 'none.txt'"),
        (["--model", "bm25", "--rerank", "SAME", "--server", "http://h/v1"], "a server needs url and model"),
        (["--model", "bm25", "--rerank", "erank-4b", "--server", "http://u:secret@h/v1"], "no user, password or query"),
    ],
)
def test_what_does_not_fit_together_is_refused(capsys, tmp_path, same, arguments, message):
    arguments = [str(same) if one == "SAME" else one for one in arguments]
    places = ["--dataset", "posir-mini/spa", "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    status, _, err = call(capsys, "eval", *arguments, *places)
    assert (status, message in err) == (2, True), err
    assert "secret" not in err


def test_a_server_takes_the_place_of_the_recipes_backend(capsys, tmp_path, same, server, monkeypatch):
    monkeypatch.setenv("SECRET", "sk-very-secret-0123456789")
    prompt = tmp_path / "mine.txt"
    prompt.write_text("Is {document} of use for {query}? <answer>0 to 10</answer>")
    arguments = ["--model", "bm25", "--rerank", same, "--depth", 3, "--server", server.url, "--key-env", "SECRET"]
    arguments += ["--server-model", "m", "--prompt", prompt, "--dataset", "posir-mini/spa", "--json"]
    status, out, err = call(capsys, "eval", *arguments, "--out", tmp_path / "o", "--cache", tmp_path / "c")
    assert status == 0, err
    found = json.loads(out)
    assert found["ranker"] == "bm25>same+mine@3"
    assert len(server.calls) == found["rerank"]["facts"]["cost"]["calls"] - found["rerank"]["facts"]["cost"]["cached"]
    assert server.calls[0][1]["messages"][0]["content"].startswith("Is ")
    assert "max_tokens" in server.calls[0][1]
    again = [*arguments, "--dialect", "openai", "--out", tmp_path / "o", "--cache", tmp_path / "c"]
    assert call(capsys, "eval", *again)[0] == 0
    assert "max_completion_tokens" in server.calls[-1][1]
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + (out + err).encode()
    assert b"sk-very-secret" not in kept


def test_a_missing_recipe_is_named():
    with pytest.raises(RecipeError):
        reranked.resolve("no-such-ranker")


@pytest.mark.parametrize(
    ("name", "wish", "said"),
    [
        ("ms-marco-minilm", {"server": "http://h/v1"}, "engine cross-encoder runs in this process alone"),
        ("monot5-base", {"server": "http://h/v1"}, "engine seq2seq runs in this process alone"),
        ("erank-4b", {"server_model": "m"}, "say --server URL too"),
        ("fullrank-7b", {"key_env": "KEY"}, "say --server URL too"),
        ("fullrank-7b", {"dialect": "openai"}, "say --server URL too"),
        ("mine:Class", {"server": "http://h/v1", "score": "integer"}, "--score, --server: mine:Class is Python"),
    ],
)
def test_a_server_that_cannot_be_meant_is_refused(name, wish, said):
    with pytest.raises(UsageError, match=said):
        reranked_recipe("bm25", recipe.ranker("bm25"), Rerank(name, **wish))


def test_a_server_in_place_of_a_recipes_own_keeps_the_rest_of_it():
    how = {"dialect": "openai", "concurrency": 3, "timeout": 7.0, "retries": 1}
    own = reranking.Backend("openai", url="http://a/v1", model="m", key_env="KEY_OF_A", identity="a", **how)
    usual = recipe.ranker("erank-4b")
    served = msgspec.structs.replace(usual, backend=own)
    moved = reranks.changed_as(served, reranking.Rerank("r", server="http://b:1/v1")).backend
    assert moved == reranking.Backend("openai", url="http://b:1/v1", model="m", **how)  # a's key is not b's
    local = reranks.changed_as(usual, reranking.Rerank("r", server="http://b:1/v1")).backend
    assert (local.engine, local.dialect, local.url) == ("openai", "vllm", "http://b:1/v1")
    assert local.source == usual.backend.source
