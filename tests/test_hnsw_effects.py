"""Statistics of HNSW studies: intervals over builds, queries and sets by simulation, rank shifts, advice in words."""

from dataclasses import asdict

import numpy as np
import pytest

from posbench import stats
from posbench.studies.hnsw import effects
from posbench.studies.hnsw.advice import advice
from posbench.studies.hnsw.shifts import RESAMPLES, shifts

REPEATS = 2000


def arm(rng, builds, clusters, shared, build=0.0, own=0.0, rest=0.0):
    """float64[builds, Q]: .5, what a build adds, what queries add in all arms and in this one, and the rest."""
    by_query = shared + own * rng.standard_normal(clusters.max() + 1)[clusters]
    return (
        0.5 + by_query + build * rng.standard_normal((builds, 1)) + rest * rng.standard_normal((builds, len(clusters)))
    )


# name: build, shared, own, rest, and within what the coverage of a difference must lie. The nominal 95% lies 2.5 points
# from the ends, but for what is conservative: rest alone is judged by the larger of two estimates of it.
MODELS = {
    "builds dominate": (0.05, 0.05, 0.0, 0.05, 0.93, 0.98),
    "queries dominate": (0.0005, 0.3, 0.3, 0.01, 0.925, 0.975),
    "queries dominate, the same in both arms": (0.0005, 0.3, 0.0, 0.01, 0.94, 0.985),
    "rest alone": (0.0, 0.0, 0.0, 0.2, 0.95, 0.985),
    "all alike": (0.02, 0.2, 0.2, 0.2, 0.925, 0.975),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_differences_of_one_set_cover_the_truth(model):
    *parts, low, high = model
    build, shared, own, rest = parts
    rng, clusters, covered = np.random.default_rng(1), np.arange(200), 0
    for _ in range(REPEATS):
        base = shared * rng.standard_normal(200)
        one, other = (arm(rng, 5, clusters, base, build, own, rest) for _ in range(2))
        found = effects.difference([one + 0.1], [other], clusters)
        inside = found.low <= 0.1 <= found.high
        covered += inside
        assert found.low < found.value < found.high
    assert low <= covered / REPEATS <= high


def test_false_positives_are_one_in_twenty_and_p_agrees_with_the_interval():
    rng, clusters, found = np.random.default_rng(2), np.arange(100), []
    for _ in range(REPEATS):
        one, other = (arm(rng, 5, clusters, 0.0, 0.02, 0.1, 0.05) for _ in range(2))
        found.append(effects.difference([one], [other], clusters))
    assert 0.035 <= np.mean([one.p <= 0.05 for one in found]) <= 0.065
    assert all((one.p <= 0.05) == (one.low > 0 or one.high < 0) for one in found)


def test_queries_that_move_together_count_as_one():
    rng, clusters = np.random.default_rng(3), np.repeat(np.arange(30), 6)
    covered = np.zeros(2)
    for _ in range(REPEATS // 2):
        one, other = (arm(rng, 5, clusters, 0.0, 0.002, 0.2, 0.02) for _ in range(2))
        for i, some in enumerate((clusters, np.arange(len(clusters)))):
            found = effects.difference([one], [other], some)
            covered[i] += found.low <= 0 <= found.high
    assert 0.92 <= covered[0] / (REPEATS // 2) <= 0.98
    assert covered[1] / (REPEATS // 2) < 0.7  # what clusters are for


def test_means_cover_the_truth():
    rng, clusters, covered = np.random.default_rng(4), np.arange(200), 0
    for _ in range(REPEATS // 2):
        found = effects.mean([arm(rng, 5, clusters, 0.2 * rng.standard_normal(200), 0.01, 0.0, 0.1)], clusters)
        covered += found.low <= 0.5 <= found.high
    assert 0.92 <= covered / (REPEATS // 2) <= 0.98


def test_several_sets_are_a_sample_of_sets():
    rng, covered = np.random.default_rng(5), 0
    for _ in range(REPEATS):
        sets = 0.03 * rng.standard_normal(4)  # what an order does differs from set to set
        one = [0.5 + of_set + 0.05 * rng.standard_normal((3, 20)) for of_set in sets]
        other = [0.5 + 0.05 * rng.standard_normal((3, 20)) for _ in sets]
        found = effects.difference(one, other, np.arange(20))
        covered += found.low <= 0 <= found.high
    assert 0.925 <= covered / REPEATS <= 0.975


def test_of_sets_is_students_interval():
    from scipy import stats as peer

    values = np.array([0.1, -0.02, 0.07, 0.05])
    test = peer.ttest_1samp(values, 0)
    found, interval = effects.of_sets(values), test.confidence_interval(0.95)
    np.testing.assert_allclose([found.value, found.p], [values.mean(), test.pvalue])
    np.testing.assert_allclose([found.low, found.high], [interval.low, interval.high])


def test_one_query_is_given_and_its_builds_vary():
    from scipy import stats as peer

    one, other = np.array([[0.3], [0.5], [0.4]]), np.array([[0.9], [0.8], [1.0]])
    found = effects.difference([one], [other], np.zeros(1, np.int64))
    welch = peer.ttest_ind(one[:, 0], other[:, 0], equal_var=False)
    np.testing.assert_allclose([found.value, found.p], [-0.5, welch.pvalue])


def test_what_does_not_vary_has_no_width():
    same = np.full((4, 6), 0.7)
    clusters = np.arange(6)
    assert effects.difference([same], [same.copy()], clusters) == effects.Estimate(0.0, 0.0, 0.0, 1.0)
    found = effects.difference([np.ones((4, 6))], [np.full((4, 6), 0.5)], clusters)
    assert found == effects.Estimate(0.5, 0.5, 0.5, 0.0)


def test_identical_arms_do_not_differ():
    one = np.random.default_rng(6).random((5, 30))
    found = effects.difference([one], [one.copy()], np.arange(30))
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_undefined_figures_stay_undefined():
    found = effects.over_builds([np.array([np.nan, np.nan])])
    assert all(np.isnan(value) for value in asdict(found).values())


def test_tails_are_quantiles_of_each_build():
    recall = np.stack([np.arange(101) / 100, np.ones(101)])
    np.testing.assert_allclose(effects.tail(recall), [0.05, 1.0])


# shifts


def by_hand(exact, found, clusters, seed):
    """Swap probabilities by loops over builds and resamples."""
    (first, second), builds, drawn = exact, [], []
    sign = np.sign(exact[first].mean() - exact[second].mean())

    def against(sign, difference):
        return 0.5 if sign * difference == 0 else float(sign * difference < 0)

    for one in found[first]:
        for other in found[second]:
            builds.append(against(sign, one.mean() - other.mean()))
    blocks = np.concatenate(list(stats.resamples(clusters, replicates=RESAMPLES, seed=seed)))
    for counts in blocks.astype(np.float64):
        weight = counts[clusters]
        sign = np.sign(weight @ (exact[first] - exact[second]))
        for one in found[first]:
            for other in found[second]:
                difference = weight @ one - weight @ other
                drawn.append(against(sign, difference if abs(difference) > 1e-12 else 0.0))
    return np.mean(builds), np.mean(drawn)


def test_swaps_are_what_loops_count():
    rng, clusters = np.random.default_rng(7), np.array([0, 0, 1, 2, 3, 3, 4, 5])
    exact = {"a": rng.random(8) + 0.02, "b": rng.random(8)}
    if exact["a"].mean() < exact["b"].mean():
        exact = {"a": exact["b"], "b": exact["a"]}
    found = {name: values + 0.2 * rng.standard_normal((3, 8)) for name, values in exact.items()}
    answer = shifts(exact, found, clusters, seed=3)
    (swap,) = answer["swaps"]
    expected = by_hand(exact, found, clusters, 3)
    assert (swap["first"], swap["second"]) == ("a", "b")
    np.testing.assert_allclose([swap["builds"], swap["resampled"]], expected)
    assert 0 < swap["resampled"] < 1
    np.testing.assert_allclose(swap["exact"], exact["a"].mean() - exact["b"].mean())
    np.testing.assert_allclose(swap["index"], found["a"].mean() - found["b"].mean())


def test_a_model_far_ahead_keeps_its_place():
    rng, queries = np.random.default_rng(8), np.arange(50)
    exact = {"ahead": 0.8 + 0.01 * rng.random(50), "behind": 0.3 + 0.01 * rng.random(50)}
    found = {name: values + 0.05 * rng.standard_normal((4, 50)) for name, values in exact.items()}
    answer = shifts(exact, found, queries)
    assert (answer["swaps"][0]["builds"], answer["swaps"][0]["resampled"], answer["largest"]) == (0.0, 0.0, 0)
    assert [model["ranker"] for model in answer["models"]] == ["ahead", "behind"]


def test_models_that_are_alike_swap_as_a_coin_falls():
    rng = np.random.default_rng(9)
    exact = {"a": 0.5 + 1e-4 * rng.standard_normal(400), "b": 0.5 + 1e-4 * rng.standard_normal(400)}
    found = {name: values + 0.2 * rng.standard_normal((30, 400)) for name, values in exact.items()}
    (swap,) = shifts(exact, found, np.arange(400))["swaps"]
    assert 0.35 < swap["builds"] < 0.65
    assert 0.35 < swap["resampled"] < 0.65


def test_ties_count_half_and_are_ranked_by_name():
    values = np.array([0.2, 0.8])
    answer = shifts({"b": values, "a": values}, {"b": values[None], "a": values[None]}, np.arange(2))
    assert (answer["swaps"][0]["builds"], answer["swaps"][0]["resampled"]) == (0.5, 0.5)
    assert [(model["ranker"], model["exact_rank"], model["index_rank"]) for model in answer["models"]] == [
        ("a", 1, 1),
        ("b", 2, 2),
    ]


def test_a_change_of_ranks_is_seen():
    rng = np.random.default_rng(10)
    exact = {name: np.full(20, value) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.7))}
    found = {name: values + 0.001 * rng.standard_normal((3, 20)) for name, values in exact.items()}
    found["a"] = found["a"] - 0.5
    answer = shifts(exact, found, np.arange(20))
    assert answer["largest"] == 2
    assert [model["index_rank"] for model in answer["models"]] == [3, 1, 2]
    assert [swap["builds"] for swap in answer["swaps"]] == [1.0, 1.0, 0.0]


# advice


def estimate(value, half=0.01, **more):
    return {"value": value, "low": value - half, "high": value + half, "p": 0.5, **more}


def made(ef, recall, milliseconds=1.0, order="random", **more):
    head = {"library": "faiss", "m": 16, "ef_construction": 128, "ef_search": ef, "order": order}
    costs = {"milliseconds": estimate(milliseconds, 0.25), "build_seconds": estimate(4.0, 0.5), "bytes": 3 * 2**20}
    return {**head, "recall": estimate(recall), **costs, **more}


def changed(ef, points, p=0.001, half=1.0):
    return made(ef, 0.0, order="category") | {"recall": estimate(points / 100, half / 100, p_holm=p)}


def test_the_cheapest_index_that_surely_reaches_the_target():
    arms = [made(10, 0.93, 1.0), made(32, 0.965, 2.0), made(64, 0.955, 1.5), made(128, 0.99, 8.0)]
    arms.append(made(8, 1.0, 0.1, order="given"))
    (sentence,) = advice({"arms": arms, "effects": []}, 0.95, 10)
    assert sentence == (
        "cheapest tried with a recall@10 of 0.95 or more, documents shuffled: faiss M 16 efConstruction 128 efSearch "
        "32, recall 0.965 (0.955 to 0.975), 2 (1.75 to 2.25) ms a query in one thread, 4 (3.5 to 4.5) s to build, "
        "3.0 MiB"
    )


def test_what_is_left_of_ndcg_is_said_where_it_is_known():
    arms = [made(32, 0.99, ndcg=estimate(0.7, 0.02), ndcg_exact=0.703, ndcg_loss=estimate(0.003, 0.001))]
    (sentence,) = advice({"arms": arms, "effects": []}, 0.95, 10)
    assert sentence.endswith(
        "; nDCG@10 0.7000 (0.6800 to 0.7200) against 0.7030 by exact search, a loss of 0.0030 (0.0020 to 0.0040)"
    )


def test_a_target_out_of_reach():
    arms = [made(10, 0.8), made(32, 0.955)]
    (sentence,) = advice({"arms": arms, "effects": []}, 0.95, 10)
    assert sentence.startswith("no index tried reaches a recall@10 of 0.95 for sure: the best, faiss M 16")
    assert "efSearch 32, has 0.955 (0.945 to 0.965)" in sentence


WORDS = {
    "a larger ef mends": (
        [changed(10, -8.0), changed(64, -0.5, 0.4)],
        "order category: shuffling pays: -8.0 points (-9.0 to -7.0) at faiss M 16 efConstruction 128 efSearch 10; "
        "-0.5 points (-1.5 to +0.5) left at ef 64",
    ),
    "a larger ef does not mend": (
        [changed(10, -4.0), changed(64, -9.0)],
        "order category: shuffling pays: -9.0 points (-10.0 to -8.0) at faiss M 16 efConstruction 128 efSearch 64, "
        "the largest ef tried: more of it does not mend this",
    ),
    "one ef": (
        [changed(10, -4.0)],
        "order category: shuffling pays: -4.0 points (-5.0 to -3.0) at faiss M 16 efConstruction 128 efSearch 10",
    ),
    "hardly": (
        [changed(10, -0.5)],
        "order category: shuffling hardly pays: -0.5 points (-1.5 to +0.5) at faiss M 16 efConstruction 128 "
        "efSearch 10",
    ),
    "better": (
        [changed(10, 3.0), changed(64, 1.5)],
        "order category: better than a shuffle by +3.0 points (+2.0 to +4.0) at faiss M 16 efConstruction 128 "
        "efSearch 10",
    ),
    "a larger ef mends some, though the small one is not told from chance": (
        [changed(10, -4.0, 0.2), changed(64, -2.0)],
        "order category: shuffling pays: -2.0 points (-3.0 to -1.0) at faiss M 16 efConstruction 128 efSearch 64",
    ),
    "undecided": (
        [changed(10, -3.0, 0.2), changed(64, -0.5, 0.9)],
        "order category: undecided: -3.0 points (-4.0 to -2.0) at faiss M 16 efConstruction 128 efSearch 10, which the "
        "correction for 2 comparisons does not tell from chance",
    ),
    "nothing": (
        [changed(10, -0.8, 0.2), changed(64, 0.5, 0.9)],
        "order category: no difference from a shuffle that can be told from none; the largest seen is -0.8 points "
        "(-1.8 to +0.2) at faiss M 16 efConstruction 128 efSearch 10",
    ),
}


@pytest.mark.parametrize(("found", "sentence"), WORDS.values(), ids=WORDS)
def test_whether_shuffling_pays(found, sentence):
    assert advice({"arms": [made(10, 0.99)], "effects": found}, 0.95, 10)[1:] == [sentence]
