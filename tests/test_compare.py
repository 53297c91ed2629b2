"""Comparison: tests against enumeration and scipy, size and coverage by simulation, and the command on real results."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats as scipy_stats

from posbench import paired
from posbench.bias import inference
from posbench.cli import main
from posbench.compare import align, choose, compare, places
from posbench.errors import DataError, UsageError
from posbench.store import Results
from posbench.studies.rivals import Rival, rivals
from posbench.types import Report


def report(values, *, ids=None, docs=None, place=None, dataset="d", name="nDCG@10"):
    n = len(values)
    ids = ids or [str(i) for i in range(n)]
    columns = {"dataset": [dataset] * n, "ranker": ["r"] * n, "query_id": ids, "domain": ["x"] * n}
    if docs is not None:
        start = (np.asarray(place) * 1000).astype(int)
        columns |= {"doc_id": docs, "span_start": start, "span_end": start}
        columns |= {"doc_chars": [1000] * n, "doc_tokens": [600] * n}
    return Report({}, (name,), pa.table(columns | {name: np.asarray(values, float)}))


def test_flips_of_few_clusters_agree_with_all_of_them():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(9), 3)
    differences = rng.normal(0.4, 1, 27)
    sums = np.bincount(clusters, differences)
    every = np.array([np.dot(signs, sums) for signs in product((-1, 1), repeat=9)])
    exact = np.mean(np.abs(every) >= abs(sums.sum()) - 1e-9)
    assert paired.flip_test(differences[:, None], clusters, 40_000, 1)[0] == pytest.approx(exact, abs=0.01)


def test_flips_without_clusters_agree_with_scipy():
    differences = np.random.default_rng(3).normal(0.15, 1, 80)
    theirs = scipy_stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=40_000, rng=np.random.default_rng(0)
    )
    ours = paired.flip_test(differences[:, None], np.arange(80), 40_000, 0)[0]
    assert ours == pytest.approx(theirs.pvalue, abs=0.01)


def test_no_difference_at_all_has_p_1():
    assert paired.flip_test(np.zeros((50, 1)), np.arange(50), 999)[0] == 1.0


def test_ranks_count_those_that_are_significantly_better():
    better = np.zeros((4, 4), bool)
    better[0, 3] = better[1, 3] = better[2, 3] = better[0, 2] = True
    means = np.array([0.9, 0.8, 0.7, 0.6])
    assert paired.upper_bound_ranks(means, better | better.T).tolist() == [1, 1, 2, 4]
    assert paired.upper_bound_ranks(np.array([np.nan, 0.5]), np.zeros((2, 2), bool)).tolist() == [0, 1]


def test_many_pairs_get_enough_flips_for_holm():
    pairs = 780
    assert pairs / (paired.flips_for(pairs) + 1) < 0.01


@pytest.fixture(scope="module")
def null():
    """200 collections without a true difference, queries clustered in documents: p-values of each test."""
    rows = []
    for seed in range(200):
        queries, scores = rivals(800, Rival(slope=0.3), Rival(slope=0.3), seed)
        differences = scores[:, :1] - scores[:, 1:]
        index = places.signed_index(queries, scores, seed=seed, flips=499, replicates=300)
        resampled = index.resampled[:, 0, 0] - index.resampled[:, 1, 0]
        low, high = np.quantile(resampled, [0.025, 0.975])
        psi = places.psi(queries, scores, np.full((2, 5), 0.3), seed=seed, flips=299, replicates=2)
        rows.append(
            [
                paired.flip_test(differences, queries.cluster, 499, seed)[0],
                paired.flip_test(differences, np.arange(len(scores)), 499, seed)[0],
                index.p[0, 1, 0],
                psi.p[0, 1, 0],
                low <= 0 <= high,
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("column", [0, 2, 3])
def test_tests_hold_their_size_on_clustered_queries(null, column):
    """5% of 200 is 10; 99.8% of binomial draws lie in 2..21."""
    assert 2 <= (null[:, column] < 0.05).sum() <= 21


def test_flipping_queries_one_by_one_would_not(null):
    assert (null[:, 1] < 0.05).sum() > 21


def test_intervals_of_index_differences_cover_the_truth(null):
    assert null[:, 4].mean() > 0.9


def test_unequal_means_are_no_difference_of_bias_and_a_true_one_is_found():
    found = {"means": [], "bias": []}
    for seed in range(60):
        for name, pair in (
            ("means", (Rival(level=0.8, slope=0.4), Rival(level=-0.8, slope=0.4))),
            ("bias", (Rival(slope=0.4), Rival())),
        ):
            queries, scores = rivals(1000, *pair, seed)
            figures = places.signed_index(queries, scores, seed=seed, flips=299, replicates=2)
            found[name].append((figures.p[0, 1, 0], figures.values[0, 0] - figures.values[1, 0]))
    p, difference = np.array(found["means"]).T
    assert (p < 0.05).sum() <= 9
    p, difference = np.array(found["bias"]).T
    assert (p < 0.05).mean() > 0.9
    assert difference.mean() == pytest.approx(-0.25, abs=0.03)


def test_figures_are_those_of_the_bias_analysis():
    queries, scores = rivals(3000, Rival(slope=0.3), Rival(), 0)
    analyses = [inference.analyse(replace(queries, score=score), shuffles=50) for score in scores.T]
    index = places.signed_index(queries, scores, flips=99, replicates=50)
    for r, analysis in enumerate(analyses):
        expected = [analysis["signed"][group]["value"] for group in places.GROUPS]
        assert index.values[r] == pytest.approx(expected)
        spread = np.quantile(index.resampled[:, r, 0], [0.025, 0.975])
        assert spread == pytest.approx(analysis["signed"]["all"]["interval"])
    psi = places.psi(queries, scores, np.zeros((2, 5)), flips=99, replicates=50)
    assert psi.values == pytest.approx(
        np.array([[analysis["psi"][group]["value"] for group in places.GROUPS] for analysis in analyses])
    )


def several(n=240, seed=0):
    rng = np.random.default_rng(seed)
    place, docs = rng.random(n), [f"doc{i // 3}" for i in range(n)]
    base = rng.random(n)
    return {
        "good": report(np.clip(base + 0.3, 0, 1), docs=docs, place=place),
        "same": report(np.clip(base + 0.3, 0, 1), docs=docs, place=place),
        "poor": report(base * (1 - 0.8 * place), docs=docs, place=place),
    }


def test_compare_ranks_counts_and_names():
    found = compare(several(), flips=999)
    (part,) = found["measures"]
    assert {row["name"]: row["rank"] for row in part["rankers"]} == {"good": 1, "same": 1, "poor": 3}
    same, worse, _ = part["pairs"]
    assert (same["wins"], same["ties"], same["losses"], same["p"]) == (0, 240, 0, 1.0)
    assert worse["wins"] == 240
    assert worse["interval"][0] < worse["difference"] < worse["interval"][1]
    assert worse["p_holm"] >= worse["p"]
    assert found["clusters"] == 80
    bias = {(pair["first"], pair["second"]): pair["index"]["all"] for pair in found["bias"]["pairs"]}
    assert bias["good", "same"]["difference"] == 0
    assert bias["good", "poor"]["p_holm"] < 0.01
    assert bias["good", "poor"]["difference"] > 0.2


def test_the_order_of_rows_and_the_seed():
    reports = several()
    shuffled = pa.array(np.random.default_rng(1).permutation(240))
    turned = {**reports, "poor": Report({}, ("nDCG@10",), reports["poor"].queries.take(shuffled))}
    assert compare(turned, flips=999) == compare(reports, flips=999)
    assert compare(reports, flips=999, seed=1) != compare(reports, flips=999)


def test_detectable_differences_are_found_in_about_four_of_five_cases():
    rng = np.random.default_rng(0)
    found, n = 0, 200
    for seed in range(150):
        noise = rng.normal(0, 0.2, n)
        size = paired.POWER_FACTOR * 0.2 / np.sqrt(n)
        found += paired.flip_test((noise + size)[:, None], np.arange(n), 499, seed)[0] < 0.05
    assert 0.7 < found / 150 < 0.9


def test_results_that_share_few_queries_are_refused_or_cut_down():
    reports = {"a": report([1, 0, 1, 0]), "b": report([0, 1, 1], ids=["3", "1", "9"])}
    with pytest.raises(UsageError, match=r"a 4, b 3; 2 shared by all\); --common"):
        align(reports)
    aligned = align(reports, common=True)
    assert aligned.values[:, :, 0].tolist() == [[0, 1], [0, 0]]
    assert aligned.left_out == {"a": 2, "b": 1}
    with pytest.raises(UsageError, match="0 shared by all"):
        align({"a": report([1]), "b": report([1], dataset="e")}, common=True)


@pytest.mark.parametrize(
    ("reports", "measures", "error", "message"),
    [
        ({"a": report([1])}, (), UsageError, "found 1 result to compare"),
        ({"a": report([1]), "b": report([1])}, ("AP",), UsageError, "a has no measure 'AP'"),
        ({"a": report([1]), "b": report([1], name="AP")}, (), UsageError, "share no measure"),
        ({"a": report([1, 1], ids=["x", "x"]), "b": report([1])}, (), DataError, "1 of 2 queries stand twice"),
        ({"a": report([1]), "b": report([np.nan])}, (), DataError, "b: nDCG@10 of query '0' is nan"),
    ],
)
def test_bad_input_gives_one_clear_error(reports, measures, error, message):
    with pytest.raises(error, match=message):
        align(reports, measures)


def test_bias_is_withheld_where_places_differ_or_are_unknown():
    reports = several()
    moved = report(reports["poor"].values("nDCG@10"), docs=[f"doc{i // 3}" for i in range(240)], place=np.zeros(240))
    assert "differ in where" in compare({"good": reports["good"], "poor": moved}, flips=99)["bias_withheld"]
    found = compare({"a": report(np.r_[0.0, 1, 1]), "b": report(np.r_[1.0, 1, 0])}, flips=99)
    assert found["bias"] is None
    assert found["resampled"] == "query"


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_command_on_real_results(capsys, tmp_path):
    pytest.importorskip("wordllama")
    places_ = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    summaries = {}
    for model, dataset in (("bm25", "posir-mini/spa"), ("wordllama", "posir-mini/spa"), ("bm25", "posir-mini/deu")):
        _, out, _ = call(capsys, "eval", "--model", model, "--dataset", dataset, "--json", *places_)
        summaries[model, dataset] = json.loads(out)
    status, out, err = call(capsys, "compare", *places_)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "choose one with --dataset" in err
    status, out, _ = call(capsys, "compare", "--dataset", "posir-mini/spa-Latn", "--json", *places_)
    assert status == 0
    found = json.loads(out)
    part = next(part for part in found["measures"] if part["measure"] == "nDCG@10")
    for row in part["rankers"]:
        summary = summaries[row["name"], "posir-mini/spa"]
        assert row["mean"] == pytest.approx(summary["measures"]["nDCG@10"])
        assert row["interval"] == pytest.approx(summary["intervals"]["nDCG@10"])
    folders = [summaries[model, "posir-mini/spa"]["result"] for model in ("bm25", "wordllama")]
    _, out, _ = call(capsys, "compare", *folders, "--json", *places_)
    assert json.loads(out) == found
    _, out, _ = call(capsys, "compare", "bm25", "wordllama", "--dataset", "posir-mini/spa-Latn", *places_)
    for text in ("bm25 - wordllama", "signed index", "p (Holm)", "found at 80%", "rank"):
        assert text in out
    chosen = choose(Results(tmp_path / "out"), [folders[0], summaries["bm25", "posir-mini/deu"]["result"]])
    with pytest.raises(UsageError, match="differ in their queries"):
        compare({name: result.report() for name, result in chosen.items()})
    status, _, err = call(capsys, "compare", "bm52", "bm25", "--dataset", "posir-mini/spa-Latn", *places_)
    assert status == 2
    assert "did you mean bm25" in err
