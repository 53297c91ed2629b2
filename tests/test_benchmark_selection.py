"""A benchmark that looks like a target: what is offered to choosers, quotas, pools from runs, the command's part."""

import json
from dataclasses import replace

import numpy as np
import pytest

from posbench import experiment, loaders
from posbench.cli import main
from posbench.dsir import featurise
from posbench.dsir.features import FeatureSpec
from posbench.dsir.scorers import Settings
from posbench.dsir.subset import judged_documents, texts_of_queries
from posbench.errors import UsageError
from posbench.studies import benchmark_selection as study
from posbench.studies.benchmark_selection import Wanted, chooser, read_runs
from posbench.types import Qrels, Run

SPEC = FeatureSpec(buckets=2000)


@pytest.fixture(scope="module")
def parts():
    """Two parts: posir-mini in Spanish and English."""
    return [loaders.load(f"posir-mini/{language}")[0] for language in ("spa", "eng")]


def first(candidates, k):
    """A chooser that takes the first of its candidates."""
    return np.arange(k)


class Offered:
    """A chooser that takes the last ones and keeps what it was offered."""

    def __call__(self, candidates, k):
        self.candidates = candidates
        return np.arange(len(candidates.ids) - k, len(candidates.ids))


def test_choosers_see_all_parts_and_the_rest_is_what_subset_keeps(parts):
    queries, docs = Offered(), Offered()
    found = study.select_benchmark(parts, queries, docs, Wanted(queries=490, distractors=20))
    assert queries.candidates.texts.to_pylist() == [t for part in parts for t in texts_of_queries(part).to_pylist()]
    ids = queries.candidates.ids.to_pylist()
    assert ids[0] == f"posir-mini/spa-Latn\x1f{parts[0].query_ids[0]}"
    assert len(set(ids)) == 600
    assert [len(part.query_ids) for part in found] == [10, 480]
    assert found[0].query_ids.to_pylist() == parts[0].query_ids.to_pylist()[-10:]
    # Distractors come from what is not kept anyhow.
    judged = [
        judged_documents(part, np.arange(len(part.query_ids))[-n:]) for part, n in zip(parts, (10, 480), strict=True)
    ]
    free = sum(len(part.doc_ids) for part in parts) - sum(map(len, judged))
    assert len(docs.candidates.ids) == free
    assert sum(part.source["selection"]["distractors"] for part in found) == 20
    assert sum(len(part.doc_ids) for part in found) == sum(map(len, judged)) + 20


def test_a_part_without_a_chosen_query_is_left_out(parts):
    (only,) = study.select_benchmark(parts, first, first, Wanted(queries=5, distractors=10**6))
    assert only.name == "posir-mini/spa-Latn"
    assert len(only.doc_ids) == len(parts[0].doc_ids)  # all that there are, none of the other part
    (bare,) = study.select_benchmark(parts, first, first, Wanted(queries=5))
    assert bare.source["selection"]["distractors"] == 0


def test_queries_without_judgement_are_not_offered(tiny):
    queries = Offered()
    (found,) = study.select_benchmark([tiny], queries, first, Wanted(queries=2))
    assert queries.candidates.ids.to_pylist() == ["tiny\x1f1", "tiny\x1f2"]
    assert found.query_ids.to_pylist() == ["1", "2"]
    with pytest.raises(UsageError, match="3 queries were asked for; 2 are judged"):
        study.select_benchmark([tiny], first, first, Wanted(queries=3))


def test_strata_keep_their_shares(parts):
    for name, of in (("domain", 8), ("length", 5), ("position", 5)):
        queries = Offered()
        study.select_benchmark(parts, queries, first, Wanted(queries=3, strata=name))
        labels = queries.candidates.strata
        assert len(labels) == 600
        assert 1 < len(set(labels)) <= of
    pick = chooser("random", featurise(["a b"], SPEC), SPEC, Settings(), 1)
    found = study.select_benchmark(parts, pick, pick, Wanted(queries=80, strata="domain"))
    names = [label for part in found for label in part.query_labels["domain"].to_pylist()]
    whole = [label for part in parts for label in part.query_labels["domain"].to_pylist()]
    assert all(abs(names.count(name) - 80 * whole.count(name) / 600) < 1 for name in set(whole))
    with pytest.raises(UsageError, match="no stratum 'colour'; these queries have domain, language, length, position"):
        study.select_benchmark(parts, first, first, Wanted(queries=3, strata="colour"))


def test_strata_by_position_need_evidence(tiny):
    bare = loaders.load("posir-mini/spa")[0]
    places = study.places_of(bare)
    evidence = bare.evidence
    row = int(np.flatnonzero(evidence.query == 7)[0])
    middle = (evidence.start[row] + evidence.end[row]) / 2 / evidence.doc_chars[row]
    assert places[7] == pytest.approx(middle)
    assert np.isnan(study.places_of(tiny)[2])  # its query has none


def test_the_selectors_find_what_is_like_the_target(parts):
    """The target is the text of two domains: most queries chosen are of them, by random choice a quarter."""
    spa = parts[0]
    wanted = ("aerospace", "biomedicine")
    domains = spa.query_labels["domain"].to_pylist()
    texts = texts_of_queries(spa).to_pylist()
    target = featurise([text for text, domain in zip(texts, domains, strict=True) if domain in wanted], SPEC)
    shares = {}
    for name in ("random", "dsir", "logistic", "greedy"):
        pick = chooser(name, target, SPEC, Settings(), 0)
        (found,) = study.select_benchmark([spa], pick, pick, Wanted(queries=20))
        chosen = found.query_labels["domain"].to_pylist()
        shares[name] = sum(domain in wanted for domain in chosen) / 20
    assert shares["random"] < 0.5
    assert all(shares[name] > 0.5 for name in ("dsir", "logistic", "greedy")), shares


# Runs


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    settings = experiment.Settings(out=root / "out", cache=root / "cache")
    outcome = experiment.run("posir-mini/spa", "bm25", settings)
    assert main(["export", str(outcome.result.folder), "--format", "trec", "--to", str(root / "trec"), "--quiet"]) == 0
    return outcome.result.folder, next((root / "trec").iterdir()), root


def test_results_and_run_files_give_the_same_pool(parts, evaluated):
    folder, file, _ = evaluated
    (of_result,), (of_file,) = read_runs([str(folder), str(file)], parts[:1])
    assert np.array_equal(of_result.docs, of_file.docs)
    (both,) = study.select_benchmark(
        parts[:1], first, first, Wanted(queries=2, pool_depth=5), runs=[[of_result], [of_file]]
    )
    entry = both.source["selection"]
    assert (entry["runs"], entry["pool_depth"]) == (2, 5)
    found = {parts[0].doc_ids[int(doc)].as_py() for doc in of_result.docs[:2, :5].ravel()}
    assert found <= set(both.doc_ids.to_pylist())
    assert entry["judged"] + entry["pooled"] == len(both.doc_ids)
    assert [run.docs.shape[0] for run in read_runs([str(file)], parts)[0]] == [120, 480]  # the other part's is empty


def test_runs_of_something_else_are_refused(parts, evaluated, tmp_path):
    folder, _, _ = evaluated
    with pytest.raises(UsageError, match="in other content"):
        read_runs([str(folder)], parts[1:])
    with pytest.raises(UsageError, match="no result folder and no run file"):
        read_runs([str(tmp_path / "none")], parts)
    (tmp_path / "x.run").write_text("q Q0 d 1 2.0 t\n")
    with pytest.raises(UsageError, match="none of its 1 lines names a query and a document"):
        read_runs([str(tmp_path / "x.run")], parts)
    short = Run(np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32))
    with pytest.raises(UsageError, match="ranks 1 queries"):
        study.select_benchmark(parts[:1], first, first, Wanted(queries=1), runs=[[short]])


def test_impossible_wishes_are_refused():
    for wrong in ({"queries": 0}, {"queries": 1, "distractors": -1}, {"queries": 1, "pool_depth": 0}):
        with pytest.raises(UsageError, match="expected 1 or more"):
            Wanted(**wrong)


# The command's part


def call(tmp_path, *arguments):
    target = tmp_path / "target.jsonl"
    texts = ["una nave espacial", "un satélite", "la órbita de un satélite", "una nave y su cohete"]
    target.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    where = ["--out", tmp_path / "results", "--cache", tmp_path / "cache", "--held-out", "0"]
    return main(["select", *map(str, [*arguments, "--target", target, "--selector", "dsir", *where])])


def test_the_command_writes_what_eval_runs_and_finds_it_again(evaluated, capsys, tmp_path):
    folder, file, root = evaluated
    asked = ("--collection", "posir-mini/spa", "--queries", 8, "--distractors", 4, "--runs", folder, file)
    capsys.readouterr()
    assert call(tmp_path, *asked, "--pool-depth", 2, "--to", tmp_path / "s") == 0
    shown = capsys.readouterr().out
    assert "posir-mini/spa-Latn: 8 of 120 queries, " in shown
    assert "4 distractors" in shown
    assert "its scores do not stand beside those of the full collection" in shown
    assert call(tmp_path, *asked, "--pool-depth", 2, "--to", tmp_path / "s", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["fresh"]
    assert found["recipe"]["target"]["documents"] == 4
    near = found["nearness"]
    assert near["selection"]["size"] == 8
    assert near["raw"]["documents"] == 120
    assert any("the weights collapse" in text for text in near["warnings"])
    assert call(tmp_path, *asked, "--pool-depth", 3, "--to", tmp_path / "s") == 2
    assert "holds another selection" in capsys.readouterr().err
    assert call(tmp_path, *asked, "--pool-depth", 2, "--to", tmp_path / "t", "--quiet") == 0
    assert (tmp_path / "s/selection.json").read_bytes() == (tmp_path / "t/selection.json").read_bytes()
    capsys.readouterr()
    places = ("--out", str(tmp_path / "out"), "--cache", str(root / "cache"), "--json")
    assert main(["eval", "--dataset", str(tmp_path / "s"), "--model", "bm25", *places]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["selection"]["queries"] == [8, 120]
    assert summary["bias"]["queries"] == 8
    assert call(tmp_path, "--collection", "posir-mini/spa", "--to", tmp_path / "u") == 2
    assert "--collection needs --queries" in capsys.readouterr().err


def test_the_whole_of_a_collection_can_be_asked_for(tiny):
    more = Qrels.from_pairs([0, 1, 1], [0, 1, 5], [1, 1, 1], 3)  # a judged document that the collection lacks
    whole = replace(tiny, qrels=more)
    (found,) = study.select_benchmark([whole], first, first, Wanted(queries=2, distractors=100))
    assert found.doc_ids.equals(tiny.doc_ids)
    assert found.qrels.docs.tolist() == [0, 1, 3]
