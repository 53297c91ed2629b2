"""The study of input orders: rankers of known bias prove every measure; and figures restated by other means."""

import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from posbench import cli
from posbench.errors import UsageError
from posbench.rankers.listwise import known
from posbench.stats import Bootstrap
from posbench.studies.input_order import orders, ranks, rows, summary
from posbench.studies.input_order.orders import Plan, arrangements

RNG = np.random.default_rng(1)


def test_agreements_are_those_of_other_code():
    rankings = np.stack([RNG.permutation(12) for _ in range(4)])
    places = np.argsort(rankings, axis=1)
    taus, overlaps = ranks.taus(rankings), ranks.overlaps(rankings, 5)
    for a, b in itertools.product(range(4), repeat=2):
        assert taus[a, b] == pytest.approx(kendalltau(places[a], places[b]).statistic)
        assert overlaps[a, b] == len(set(rankings[a, :5]) & set(rankings[b, :5])) / 5
    assert ranks.tau([3, 9, 5]) == pytest.approx(1 / 3)
    assert math.isnan(ranks.tau([1]))
    assert ranks.mean_of_pairs(taus) == pytest.approx(
        np.mean([taus[a, b] for a, b in itertools.combinations(range(4), 2)])
    )


def rbo_of(first, second, p):
    """Equation 32 of the paper, depth by depth."""
    n, total = len(first), 0.0
    for depth in range(1, n + 1):
        total += len(set(first[:depth]) & set(second[:depth])) / depth * p**depth
    return (1 - p) / p * total + p**n


def test_rank_biased_overlap_is_the_papers():
    rankings = np.stack([RNG.permutation(9) for _ in range(3)])
    found = ranks.rbo(rankings, 0.8)
    for a, b in itertools.product(range(3), repeat=2):
        assert found[a, b] == pytest.approx(rbo_of(rankings[a].tolist(), rankings[b].tolist(), 0.8))
    assert found[0, 0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("places", "run", "tail"), [([], 0, 0), ([4], 1, 1), ([2, 0, 1, 5, 6, 7], 3, 3), ([1, 2, 0], 2, 1)]
)
def test_runs_of_what_is_only_counted_up(places, run, tail):
    assert (ranks.longest_run(places), ranks.tail(places)) == (run, tail)


def test_orders_are_permutations_and_rotations_cover_the_list():
    found = arrangements(20, 7, Plan(), (0, 3))
    assert all(sorted(one.items.tolist()) == list(range(20)) for one in found)
    assert [one.name for one in found[:2]] == ["original", "reversed"]
    assert len(found) == 1 + 1 + 5 + 4 + 2 + 5 + 2
    rotated = [one.items[0] for one in found if one.name.startswith("rotation")]
    assert rotated == [4, 8, 12, 16]
    put = [int(np.flatnonzero(one.items == 7)[0]) for one in found if one.name.startswith("place")]
    assert put == [0, 5, 10, 14, 19]
    same = arrangements(20, 7, Plan(), (0, 3))
    assert all((a.items == b.items).all() for a, b in zip(found, same, strict=True))
    assert any((a.items != b.items).any() for a, b in zip(found, arrangements(20, 7, Plan(), (1, 3)), strict=True))
    for n in (0, 1, 2):
        assert all(len(one.items) == n for one in arrangements(n, n - 1, Plan(), (0, 0)))
    with pytest.raises(UsageError, match="2 shuffles or more"):
        Plan(shuffles=1).check()


def test_exposure_of_a_fair_draw_is_one_and_its_null_is_exact():
    curve = ranks.exposure(list(range(40)), 40, 40)
    np.testing.assert_allclose(curve, 1)
    np.testing.assert_allclose(ranks.unevenness(curve), [0, 0, 0, 1], atol=1e-12)
    first = ranks.exposure([0, 1, 2, 3], 40, 4)
    assert first.tolist() == [10.0] + [0.0] * 9
    assert ranks.unevenness(first)[0] == pytest.approx(0.9)
    assert ranks.unevenness(first)[3] == pytest.approx(0)
    line = 1 + np.linspace(-0.5, 0.5, 10)
    assert ranks.unevenness(line)[1] == pytest.approx(1)
    null = ranks.null_curves([(40, 4, 3)] * 5, 400, 0)
    assert null.mean(axis=0) == pytest.approx(np.ones(10), abs=0.1)
    share = 0.1  # of places in a tenth: variance of a hypergeometric count, averaged over 15 lists
    variance = 4 * share * (1 - share) * (36 / 39) / 0.4**2 / 15
    assert null.var(axis=0).mean() == pytest.approx(variance, rel=0.15)


def worth(query, text):
    """Every document says what it is worth to its query; others are worth nothing."""
    return float(text.split()[-1]) if text.startswith(query + " ") else -1.0


N, QUERIES = 40, 12


@pytest.fixture
def folder(lists):
    """A collection of twelve queries with forty documents each."""
    return lists(QUERIES, N)


@pytest.fixture
def measured(folder, answering, capsys):
    """The summary of a study whose reranker gives a known answer."""

    def measure(reply, *arguments, name="known"):
        with answering(reply, name):
            typed = ["input-order", "--dataset", str(folder / "data"), "--model", str(folder / "first.run")]
            typed += ["--rerank", str(folder / "listwise.toml"), "--depth", str(N), "--out", str(folder / "out")]
            typed += ["--cache", str(folder / "cache"), "--json", *arguments]
            assert cli.main(typed) == 0
        return json.loads(capsys.readouterr().out)

    return measure


def test_an_oracle_is_blind_to_order(measured):
    found = measured(known.Knowing(worth))
    assert all(one["value"] == 1 for one in found["quality"]["orders"])
    assert all(one["p"] in (None, 1) for one in found["quality"]["orders"])
    assert found["quality"]["first_stage"]["value"] < 0.6
    assert found["quality"]["of_the_mean"] == {"sd": 0, "range": 0}
    assert found["quality"]["gates"]["sd"]["held"]
    for one in found["consistency"].values():
        assert [one[kind]["value"] for kind in ("shuffles", "repeats")] == pytest.approx([1, 1])
        assert one["lost_to_order"]["value"] == pytest.approx(0)
    anchoring = found["anchoring"]["anchoring"]
    assert anchoring["interval"][0] < 0 < anchoring["interval"][1]
    assert found["exposure"]["repaired"]["total_variation"]["p"] > 0.01
    assert [one["rank"]["value"] for one in found["places"]] == [found["places"][0]["rank"]["value"]] * 5
    assert found["malformed"]["answers"] == {"ok": {"value": 1, "interval": [1, 1], "queries": QUERIES}}
    assert found["malformed"]["unnamed_by_tenth"] == [0] * 10
    assert abs(found["names"]["name"]["value"]) < 0.15


def test_a_copier_has_no_order_of_its_own(measured):
    found = measured(known.copying)
    assert found["quality"]["orders"][0]["value"] == found["quality"]["first_stage"]["value"]
    assert found["consistency"]["tau"]["repeats"]["value"] == pytest.approx(1)
    assert abs(found["consistency"]["tau"]["shuffles"]["value"]) < 0.05
    assert found["consistency"]["tau"]["reversed"]["value"] == pytest.approx(-1)
    assert found["anchoring"]["anchoring"]["value"] == pytest.approx(1)
    assert found["anchoring"]["anchoring:top10"]["value"] == pytest.approx(1)
    assert found["exposure"]["repaired"]["curve"] == pytest.approx([4, 4, 2, 0, 0, 0, 0, 0, 0, 0])
    assert found["exposure"]["repaired"]["total_variation"]["p"] < 0.01
    assert [one["rank"]["value"] for one in found["places"]] == [1 + round(p * (N - 1)) for p in orders.PLACES]
    assert found["malformed"]["longest_run"]["value"] == 1
    assert found["names"] == {
        "slot": {"value": pytest.approx(1), "interval": pytest.approx([1, 1]), "queries": QUERIES},
        "name": found["names"]["name"],
    }
    assert abs(found["names"]["name"]["value"]) < 0.15


def test_more_primacy_is_more_of_everything(measured):
    found = [measured(known.Knowing(worth, strength), name=f"primacy {strength}") for strength in (0.0, 0.5, 2.0)]
    anchoring = [one["anchoring"]["anchoring"]["value"] for one in found]
    # Worth and place are uniform and independent: tau of place with worth + s * place, by simulation.
    rng = np.random.default_rng(0)
    for strength, value in zip((0.5, 2.0), anchoring[1:], strict=True):
        place, own = rng.random((2, 1500))
        wanted = kendalltau(place, strength * place - own).statistic
        assert value == pytest.approx(wanted, abs=0.05)
    slopes = [one["exposure"]["repaired"]["slope"]["value"] for one in found]
    assert anchoring == sorted(anchoring)
    assert slopes == sorted(slopes, reverse=True)
    assert [one["exposure"]["repaired"]["total_variation"]["p"] < 0.05 for one in found] == [False, True, True]
    ranked = [one["rank"]["value"] for one in found[1]["places"]]
    assert ranked == sorted(ranked)
    assert ranked[0] < ranked[-1]


def test_a_taste_for_identifiers_is_told_from_one_for_places(measured):
    found = measured(known.Knowing(worth, naming=2.0))
    assert found["names"]["name"]["value"] > 0.6
    assert abs(found["names"]["slot"]["value"]) < 0.2
    place = measured(known.Knowing(worth, primacy=2.0), name="places")
    assert place["names"]["slot"]["value"] > 0.6
    assert abs(place["names"]["name"]["value"]) < 0.2


def test_repair_is_told_from_what_was_said(measured):
    def half(request):
        """An oracle that stops half way."""
        return " > ".join(known.Knowing(worth)(request).split(" > ")[: N // 2])

    found = measured(half)
    assert found["malformed"]["answers"] == {
        "ok": {"value": 0, "interval": [0, 0], "queries": QUERIES},
        "missing": {"value": 1, "interval": [1, 1], "queries": QUERIES},
    }
    assert found["anchoring"]["anchoring"]["interval"][0] > 0.05  # the tail is in input order
    assert found["anchoring"]["anchoring:said"]["interval"][0] < 0.05
    assert found["malformed"]["named"]["value"] == 0.5
    assert sum(found["malformed"]["unnamed_by_tenth"]) == pytest.approx(5)


def test_noise_is_not_taken_for_order(measured):
    def noisy(request):
        """Ranks at random, another way each time it is asked the same."""
        n = len(known.shown(request)[1])
        seed = [request.sample, *request.messages[1].content.encode()]
        return " > ".join(f"[{place + 1}]" for place in np.random.default_rng(seed).permutation(n))

    found = measured(noisy)
    lost = found["consistency"]["tau"]["lost_to_order"]
    assert lost["interval"][0] < 0.05
    assert abs(found["consistency"]["tau"]["repeats"]["value"]) < 0.1
    assert abs(found["anchoring"]["anchoring"]["value"]) < 0.06


def test_windows_are_measured_as_whole_lists_are(measured, folder):
    recipe = folder / "listwise.toml"
    recipe.write_text('strategy = "sliding"\nwindow = 10\nstep = 5\n' + recipe.read_text())
    found = measured(known.Knowing(worth))
    assert found["strategy"] == "sliding"
    assert all(one["value"] == 1 for one in found["quality"]["orders"])
    assert found["names"]["name"]["value"] is None
    assert abs(found["names"]["slot"]["value"]) < 1
    copied = measured(known.copying, name="copying")
    assert copied["anchoring"]["anchoring"]["value"] == pytest.approx(1)
    assert found["facts"]["cost"]["calls"] == QUERIES * 20 * 7


def test_a_finished_study_is_read_and_calls_are_not_made_twice(measured, folder):
    first = measured(known.Knowing(worth, 0.5))
    assert measured(known.Knowing(worth, 0.5)) == first
    again = measured(known.Knowing(worth, 0.5), "--again")
    cost = again["facts"]["cost"]
    assert cost["cached"] == cost["calls"] == first["facts"]["cost"]["calls"] == QUERIES * 20
    some = measured(known.Knowing(worth, 0.5), "--queries", "3", "--no-places", "--names", "0")
    assert (some["queries"], some["places"], some["names"]["slot"]["value"]) == (3, [], None)
    assert some["facts"]["cost"]["calls"] == 3 * 13


def test_the_command_prints_all_seven_measures(folder, capsys):
    typed = ["input-order", "--dataset", str(folder / "data"), "--model", str(folder / "first.run"), "--depth", "12"]
    typed += ["--rerank", str(folder / "listwise.toml"), "--out", str(folder / "out"), "--cache", str(folder / "c")]
    assert cli.main(typed) == 0
    said = capsys.readouterr().out
    for text in ("reversed", "shuffle-5", "rotation-4", "repeats (noise)", "input order, whole list", "1 is fair"):
        assert text in said
    for text in ("put at", "answers: ok 0.000", "missing 1.000", "identifier, identifiers shuffled", "never named"):
        assert text in said
    assert cli.main(["runs", "--out", str(folder / "out")]) == 0
    assert "input-order" in capsys.readouterr().out


def test_a_pointwise_reranker_is_refused(folder, capsys):
    typed = ["input-order", "--dataset", str(folder / "data"), "--model", str(folder / "first.run")]
    recipe = folder / "point.toml"
    recipe.write_text(
        'kind = "pointwise"\ndescription = "d"\nlicence = "l"\nmethod = "graded"\nprompt = "erank"\n'
        '[backend]\nengine = "instant"\n'
    )
    assert cli.main([*typed, "--rerank", str(recipe)]) == 2
    assert "expected a reranker of kind listwise" in capsys.readouterr().err


def test_short_lists_have_figures_where_they_can(folder, capsys):
    typed = ["input-order", "--dataset", str(folder / "data"), "--model", str(folder / "first.run"), "--json"]
    typed += ["--rerank", str(folder / "listwise.toml"), "--out", str(folder / "o"), "--cache", str(folder / "c")]
    for depth in ("1", "2", "5"):
        assert cli.main([*typed, "--depth", depth]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["exposure"]["repaired"]["curve"] is None
        assert (found["consistency"]["tau"]["shuffles"]["value"] is None) == (depth == "1")


def test_intervals_are_those_of_the_cluster_bootstrap():
    values, clusters = RNG.random((30, 1)), np.arange(30) // 2
    low, high = Bootstrap(clusters, seed=3).intervals(values)
    assert low[0] < values.mean() < high[0]
    assert summary.GATES["sd"] < summary.GATES["range"]
    assert rows.quality_name("nDCG@10", "original") == "nDCG@10"
