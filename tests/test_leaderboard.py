"""Entries, boards and who can be told apart."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats as scipy_stats

from posbench import experiment
from posbench.errors import DataError
from posbench.leaderboard import boards, derive, entry, ranks
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import Data, Entry, Figure, Model
from posbench.store import Cache


def made(model, values, board="B", fingerprint="", **more):
    """An entry of nDCG@10 by setting."""
    figures = {"nDCG@10": {setting: {"all": Figure(value)} for setting, value in values.items()}}
    return Found(
        Entry(Model(model), Data(board, board, fingerprint), "published", figures, **more), Path(f"{model}.json")
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Three rankers on a part of the sample."""
    folder = tmp_path_factory.mktemp("results")
    settings = experiment.Settings(out=folder / "out", cache=folder / "cache")
    names = ("bm25", "wordllama", "hashed")
    recipe = folder / "hashed.toml"
    recipe.write_text('kind = "bm25"\ndescription = "no saturation"\nlicence = "Apache-2.0"\nk1 = 0.1\nb = 0.0\n')
    models = ("bm25", "wordllama", str(recipe))
    return {name: experiment.run("posir-mini/eng", m, settings) for name, m in zip(names, models, strict=True)}


@pytest.fixture(scope="module")
def found(results, tmp_path_factory):
    cache = Cache(tmp_path_factory.mktemp("cache"))
    return [derive.found(outcome.result, cache) for outcome in results.values()]


def test_an_entry_has_the_figures_of_its_result(results, found):
    for outcome, one in zip(results.values(), found, strict=True):
        for measure, mean in outcome.summary["measures"].items():
            figure = one.entry.figures[measure]["eng-eng"]["all"]
            assert figure.value == pytest.approx(mean, abs=1e-12)
            assert [figure.low, figure.high] == pytest.approx(outcome.summary["intervals"][measure], abs=1e-12)
            assert figure.queries == 480
        said = outcome.summary["bias"]
        assert one.entry.figures["PSI"]["eng-eng"]["Q3"].value == said["official"]["PSI(Q3)"]
        assert one.entry.figures["nDCG@10"]["eng-eng"]["Q4"].value == said["official"]["nDCG@10(Q4)"]
        assert one.entry.figures["signed index"]["eng-eng"]["all"].value == said["tests"]["signed"]["all"]["value"]


def test_an_entry_survives_its_file(found, tmp_path):
    path = tmp_path / "entry.json"
    entry.write(found[0].entry, path)
    first = path.read_bytes()
    again = entry.read(path)
    entry.write(again, path)
    assert path.read_bytes() == first
    assert again == found[0].entry


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2"),
        ({"kind": "opinion"}, "opinion"),
        ({"origin": "rumour"}, "origin"),
        ({"surplus": 1}, "surplus"),
        ({"model": {"name": " "}}, "model.name"),
        ({"figures": {"nDCG@10": {"all": {"all": [float("nan")]}}}}, "nDCG@10"),
        ({"figures": {"nDCG@10": {"all": {"all": [0.5, 0.6, 0.4]}}}}, "low end first"),
        ({"figures": {"nDCG@10": {"all": {"all": [0.5, 0.4]}}}}, "both ends"),
        ({"figures": {"nDCG@10": {"all": {"all": ["much"]}}}}, "figures"),
        ({"figures": {"nDCG@10": {"all": {"all": [1e300]}}}}, "within 1,000,000"),
        ({"figures": {"nDCG@10": {"all": {"all": [0.5, None, None, -5]}}}}, "negative count"),
        ({"figures": {}}, "key figures: found no figure"),
        ({"figures": {"nDCG@10": {"all": {}}}}, "key figures: found no figure"),
        ({"details": {"truncation": 3}}, "details.truncation"),
        ({"details": {"counts": {"documents": "many"}}}, "details.counts.documents"),
        ({"details": {"result": {"files": 3}}}, "details.result.files"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(change, said, tmp_path):
    path = tmp_path / "entry.json"
    path.write_text(json.dumps(msgspec.to_builtins(made("m", {"a": 0.5}).entry) | change))
    with pytest.raises(DataError, match=said):
        entry.read(path)


def test_per_query_values_must_be_those_that_the_entry_names(tmp_path):
    path = tmp_path / "e.json"
    (tmp_path / "q.parquet").write_bytes(b"what was measured")
    sha = entry.sha256_of(tmp_path / "q.parquet")
    one = made("m", {"a": 0.5}, queries=entry.Queries("../elsewhere/q.parquet", sha)).entry
    assert entry.per_query(one, path) == tmp_path / "q.parquet"
    (tmp_path / "q.parquet").write_bytes(b"what was wished")
    with pytest.raises(DataError, match="hash"):
        entry.per_query(one, path)


def test_a_board_ranks_by_what_all_settings_say():
    found = [made("a", {"x": 0.9, "y": 0.1}), made("b", {"x": 0.6, "y": 0.6}), made("c", {"x": 0.99})]
    (board,) = boards.boards(found)
    whole, one = boards.table(board), boards.table(board, ["x"])
    assert [(line.model, line.rank) for line in whole] == [("b", 1), ("a", 2), ("c", 0)]
    assert [(line.model, line.rank) for line in one] == [("c", 1), ("a", 2), ("b", 3)]
    assert whole[0].figures["nDCG@10"][0, 0] == pytest.approx(0.6)
    assert np.isnan(whole[2].figures["nDCG@10"]).all()


def test_the_first_of_two_entries_of_one_cell_counts():
    (board,) = boards.boards([made("a", {"x": 0.9}), made("a", {"x": 0.1, "y": 0.2})])
    assert board.figures["nDCG@10"][0, :, 0, 0].tolist() == [0.9, 0.2]
    (remark,) = board.remarks
    assert "not shown: nDCG@10 0.1000 of a on x" in remark


def test_an_entry_that_says_the_same_again_needs_no_remark():
    (board,) = boards.boards([made("a", {"x": 0.9}), made("a", {"x": 0.9})])
    assert not board.remarks


def test_intervals_of_fractions_end_at_0_and_1():
    values = {"x": 0.02, "y": 0.98, "z": 0.97}
    (board,) = boards.boards([made("a", values)])
    assert boards.table(board)[0].figures["nDCG@10"][0, 1:].tolist() == [0.0, 1.0]
    signed = msgspec.structs.replace(
        made("a", values).entry, figures={"signed index": made("a", values).entry.figures["nDCG@10"]}
    )
    (board,) = boards.boards([Found(signed, Path("a.json"))])
    low, high = boards.table(board)[0].figures["signed index"][0, 1:]
    assert low < 0 < 1 < high


def test_a_setting_that_few_models_have_takes_no_rank_from_the_others():
    found = [
        made("a", {"x": 0.9, "y": 0.1}),
        made("b", {"x": 0.6, "y": 0.6}),
        made("c", {"x": 0.1, "y": 0.1, "z": 1.0}),
    ]
    found.append(made("d", {"z": 0.5}))
    main, few = boards.boards([*found, made("e", {"x": 0.2, "y": 0.2}), made("f", {"x": 0.1, "y": 0.3})])
    assert (main.settings, few.settings) == (("x", "y"), ("z",))
    assert [line.rank for line in boards.table(main)] == [1, 2, 3, 3, 5]
    assert [(line.model, line.rank) for line in boards.table(few)] == [("c", 1), ("d", 2)]


def test_other_content_under_the_same_name_is_left_out():
    found = [made(m, {"x": v}, fingerprint=f) for m, v, f in (("a", 0.1, "1"), ("b", 0.2, "2"), ("c", 0.3, "1"))]
    (board,) = boards.boards(found)
    assert board.models == ("a", "c")
    assert ["b.json" in remark for remark in board.remarks] == [True]


def test_results_are_compared_over_queries(found):
    (board,) = boards.boards(found)
    assert board.by_queries
    names, compared = board.pairs["eng-eng"]
    values = {o.entry.model.name: o.entry.figures["nDCG@10"]["eng-eng"]["all"].value for o in found}
    a, b = names.index("bm25"), names.index("wordllama")
    assert compared.difference[a, b] == pytest.approx(values["bm25"] - values["wordllama"])
    assert (compared.margin[:, None] + compared.margin[None, :] >= compared.half - 1e-15).all()
    rank = {line.model: line.rank for line in boards.table(board)}
    assert rank == {"wordllama": 1, "bm25": 1, "hashed": 2}  # only wordllama is clearly better


def test_simultaneous_intervals_hold_for_all_pairs_at_once():
    rng, misses = np.random.default_rng(5), 0
    for seed in range(200):
        scores = rng.normal(size=(60, 1)) + rng.normal(size=(60, 5)) * np.array([1, 0.5, 2, 1, 1])
        compared = ranks.compare(scores, np.arange(60), np.zeros(60, np.int64), seed=seed)
        misses += bool((np.abs(compared.difference) > compared.half).any())
    assert 2 <= misses <= 22  # 95%: 10 expected; 22 is beyond 99.9% of Binomial(200, .05)


def test_margins_find_a_real_difference():
    rng = np.random.default_rng(2)
    hard = rng.normal(size=(200, 1))
    scores = hard + rng.normal(size=(200, 3)) * 0.1 + np.array([0.2, 0.2, 0])
    compared = ranks.compare(scores, np.arange(200), np.zeros(200, np.int64))
    assert ranks.by_margins(scores.mean(axis=0), compared.margin).tolist() == [1, 1, 3]


def test_a_model_alone_is_first():
    compared = ranks.compare(np.ones((4, 1)), np.arange(4), np.zeros(4, np.int64))
    assert ranks.by_margins(np.ones(1), compared.margin).tolist() == [1]


def test_ranks_over_settings_are_those_of_corrected_paired_t_tests():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(6, 9)) * 0.05 + rng.normal(size=(6, 1)) * 0.05 + rng.normal(size=9)
    found = ranks.by_settings(values)
    for b in range(6):
        p = [scipy_stats.ttest_rel(values[a], values[b], alternative="two-sided") for a in range(6) if a != b]
        assert found[b] == 1 + sum(test.pvalue * 15 < 0.05 and test.statistic > 0 for test in p)
    assert len(set(found.tolist())) > 1
    assert ranks.by_settings(values[:, :2]).tolist() == scipy_stats.rankdata(-values[:, :2].mean(axis=1)).tolist()


def test_interval_over_settings_is_that_of_t():
    values = np.array([0.3, 0.5, 0.45, 0.2])
    oracle = scipy_stats.t.interval(0.95, 3, values.mean(), scipy_stats.sem(values))
    assert ranks.interval_over_settings(values) == pytest.approx(oracle)
    assert ranks.interval_over_settings(values[:2]) is None
