"""Selection as a whole: every selector, strata, several targets, and what cannot be selected."""

import numpy as np
import pytest

from posbench.dsir import Features, featurise, noise, selectors, weights
from posbench.dsir.divergence import kl
from posbench.dsir.features import FeatureSpec
from posbench.dsir.quotas import Strata, bands, strata
from posbench.dsir.scorers import SELECTORS, Settings, sample_rows, scorer, target_distribution
from posbench.dsir.selectors import DEFAULT, choose, draw, noisy, pooled, top
from posbench.errors import DataError, RecipeError, UsageError
from posbench.types import strings

SPEC = FeatureSpec(buckets=512)


def texts(count, seed, shift=0, words=(5, 40)):
    """Texts of words by Zipf's law; another shift prefers other words."""
    rng = np.random.default_rng([seed, shift])
    p = 1 / (1 + (np.arange(200) - shift) % 200)
    return [" ".join(f"w{i}" for i in rng.choice(200, rng.integers(*words), p=p / p.sum())) for _ in range(count)]


TARGET = featurise(texts(150, 1, 60), SPEC)
HELD_OUT = featurise(texts(300, 2, 60), SPEC)
RAW = featurise([*texts(250, 3, 60), *texts(400, 4), *texts(350, 5, 120, (20, 90)), "", " "], SPEC)
IDS = strings([f"d{i}" for i in range(len(RAW))])
KEYS = noise.keys(IDS, 0)


def to_held_out(rows):
    counts = RAW.take(rows).counts()
    return kl(weights.distribution(HELD_OUT.counts()), weights.distribution(counts))


def test_the_largest_come_first_and_ties_go_to_the_larger_key():
    scores, ids = np.array([1.0, 3.0, 3.0, -2.0, 3.0]), np.array([9, 1, 5, 2, 3], np.uint64)
    assert top(scores, ids, 2).tolist() == [2, 4]
    assert top(scores, ids, 5).tolist() == [2, 4, 1, 0, 3]
    assert top(scores, ids, 0).tolist() == []
    for k in (-1, 6):
        with pytest.raises(UsageError, match="asked for"):
            top(scores, ids, k)
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(DataError, match="finite"):
            top(np.array([1.0, bad]), ids[:2], 1)


@pytest.mark.parametrize("name", SELECTORS)
def test_the_same_texts_are_selected_in_whatever_order_they_come(name):
    turned = np.random.default_rng(2).permutation(len(RAW))
    first = choose(name, RAW, TARGET, 60, KEYS)
    again = choose(name, RAW.take(turned), TARGET.take(np.arange(150)[::-1]), 60, KEYS[turned])
    assert turned[again.rows].tolist() == first.rows.tolist()
    assert len(set(first.rows.tolist())) == 60
    other = choose(name, RAW, TARGET, 60, noise.keys(IDS, 1), seed=1)
    assert (set(other.rows.tolist()) != set(first.rows.tolist())) == (name != "top-k")


@pytest.mark.parametrize("name", SELECTORS)
def test_all_texts_or_none_can_be_selected_but_none_that_is_empty(name):
    assert choose(name, RAW, TARGET, 0, KEYS).rows.tolist() == []
    assert sorted(choose(name, RAW, TARGET, 1000, KEYS).rows.tolist()) == list(range(1000))
    for k in (1001, -1):
        with pytest.raises(UsageError, match="1000 of 1002 raw texts hold an n-gram"):
            choose(name, RAW, TARGET, k, KEYS)


@pytest.mark.parametrize("name", SELECTORS)
def test_texts_that_are_all_alike_are_drawn_by_their_noise(name):
    same = featurise(["one text"] * 30, SPEC)
    found = choose(name, same, TARGET, 10, KEYS[:30])
    assert len(set(found.rows.tolist())) == 10
    assert np.isclose(found.parts[""].plain, 30)


@pytest.mark.parametrize("name", SELECTORS)
def test_a_target_without_words_and_raw_texts_without_words_are_refused(name):
    for nothing in (featurise(["", "  "], SPEC), RAW.take([])):
        with pytest.raises(DataError, match="the target has no n-gram"):
            choose(name, RAW, nothing, 3, KEYS)
    with pytest.raises(UsageError, match="0 of 2 raw texts"):
        choose(name, featurise(["", ""], SPEC), TARGET, 1, KEYS[:2])


def test_an_unknown_selector_is_named():
    with pytest.raises(RecipeError, match="did you mean tempered"):
        choose("temperd", RAW, TARGET, 3, KEYS)


def test_selectors_rank_by_what_they_say():
    p, q = (weights.distribution(one.counts()) for one in (TARGET, RAW))
    log_w = RAW.by_row(weights.log_ratio(p, q))
    gumbel = noise.gumbel(noise.stream(KEYS, "gumbel"))
    full = np.diff(RAW.indptr) > 0
    degree = weights.temperature(lambda: [log_w[full]], 80)
    scores = {"top-k": log_w, "dsir": log_w + gumbel, "tempered": log_w / degree + gumbel, "random": gumbel}
    for name, by in scores.items():
        found = choose(name, RAW, TARGET, 80, KEYS)
        assert found.rows.tolist() == np.argsort(-np.where(full, by, -np.inf))[:80].tolist(), name
    part = choose("tempered", RAW, TARGET, 80, KEYS).parts[""]
    assert np.isclose(part.effective, 80, rtol=1e-3)
    assert part.temperature == degree
    assert np.array_equal(part.log_w, log_w)


def test_the_default_is_near_the_true_source_where_the_published_method_collapses():
    true = np.random.default_rng(0).permutation(250)[:80]
    found = {name: choose(name, RAW, TARGET, 80, KEYS) for name in SELECTORS}
    far = {name: to_held_out(one.rows) for name, one in found.items()}
    assert far[DEFAULT] < 1.1 * to_held_out(true)
    assert far[DEFAULT] <= far["logistic"] < far["random"] / 2
    assert far["dsir"] > 1.5 * far[DEFAULT]
    assert found["dsir"].parts[""].collapsed
    assert not found["logistic"].parts[""].collapsed


def test_the_default_keeps_the_targets_lengths_unless_told_otherwise():
    def drift(settings):
        rows = choose("greedy", RAW, TARGET, 60, KEYS, settings=settings).rows
        return RAW.tokens[rows].mean() / TARGET.tokens.mean() - 1

    assert abs(drift(Settings())) < 0.1
    assert drift(Settings(lengths=1)) > abs(drift(Settings())) + 0.1
    codes, shares = bands(RAW.tokens, TARGET.tokens, 8)
    rows = choose("greedy", RAW, TARGET, 60, KEYS).rows
    assert np.abs(np.bincount(codes[rows], minlength=8) - 60 * shares / 150).max() <= 2


def test_smoothing_reaches_the_weights():
    raw = RAW.counts()
    few = TARGET.take([0])
    plain, laplace, mixed = (
        target_distribution(few, raw, settings) for settings in (Settings(), Settings(laplace=1), Settings(mix=0.5))
    )
    assert (plain == 0).any()
    assert np.allclose(laplace, (few.counts() + 1) / (few.counts().sum() + 512))
    assert np.allclose(mixed, plain / 2 + raw / raw.sum() / 2)
    found = scorer("dsir", few, raw, RAW, 0, Settings(mix=0.5)).log_ratio(RAW)
    assert np.allclose(found, RAW.by_row(weights.log_ratio(mixed, raw / raw.sum())))
    assert found.min() >= -np.log(2) * np.diff(RAW.indptr).max() - 1e-6


@pytest.mark.parametrize(
    "wrong", [{"effective": 0}, {"pool": 0.5}, {"lengths": 0}, {"epsilon": 0}, {"effective": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="effective > 0"):
        Settings(**wrong)


@pytest.mark.parametrize("name", SELECTORS)
def test_strata_give_their_quotas(name):
    labels = ["short" if n < 20 else "long" for n in RAW.tokens]
    wanted = strata(labels, 60, {"short": 1, "long": 3})
    found = choose(name, RAW, TARGET, 60, KEYS, strata=wanted)
    assert [labels[i] for i in found.rows].count("short") == 15
    assert len(set(found.rows.tolist())) == 60
    with pytest.raises(UsageError, match="do not make 61 texts"):
        choose(name, RAW, TARGET, 61, KEYS, strata=wanted)
    none = Strata(("", " "), (np.diff(RAW.indptr) == 0).astype(np.int64), np.array([58, 2]))
    with pytest.raises(UsageError, match="do not make 60 texts"):
        choose(name, RAW, TARGET, 60, KEYS, strata=none)


def test_the_pool_is_bounded_and_a_selection_as_large_is_the_pool(monkeypatch):
    codes = np.arange(100) % 2
    wanted = Strata(("a", "b"), codes, np.array([10, 30]))
    assert pooled(wanted, 2).quotas.tolist() == [20, 50]
    monkeypatch.setattr(selectors, "POOL", 60)
    assert pooled(wanted, 4).quotas.tolist() == [15, 45]
    monkeypatch.setattr(selectors, "POOL", 30)
    assert pooled(wanted, 4).quotas.tolist() == [10, 30]
    greedily, drawn = (choose(name, RAW, TARGET, 200, KEYS).rows for name in ("greedy", "logistic"))
    assert greedily.tolist() == drawn.tolist()


def test_a_stratified_draw_is_the_best_of_each_stratum():
    scores, codes = np.array([5.0, 4, 3, 2, 1, 9]), np.array([0, 0, 0, 1, 1, -1])
    found = draw(scores, KEYS[:6], Strata(("a", "b"), codes, np.array([1, 1])))
    assert found.tolist() == [0, 3]
    assert noisy("top-k", scores, KEYS[:6]) is scores


OTHER = featurise(texts(60, 6, 120, (20, 90)), SPEC)


@pytest.mark.parametrize("name", SELECTORS)
def test_separate_targets_have_their_shares_in_whatever_order_they_come(name):
    targets = {"one": TARGET, "two": OTHER}
    found = choose(name, RAW, targets, 81, KEYS, proportions={"one": 3, "two": 1})
    assert {one: len(part.rows) for one, part in found.parts.items()} == {"one": 61, "two": 20}
    assert len(set(found.rows.tolist())) == 81
    turned = choose(name, RAW, dict(reversed(targets.items())), 81, KEYS, proportions={"two": 0.25, "one": 0.75})
    for one in targets:
        assert turned.parts[one].rows.tolist() == found.parts[one].rows.tolist()
    if name != "random":
        assert np.mean(found.parts["one"].rows < 250) > 0.7
        assert np.mean(found.parts["two"].rows >= 650) > 0.7


def test_separate_targets_with_strata_and_by_their_size():
    targets = {"one": TARGET, "two": OTHER}
    labels = [str(i % 3) for i in range(len(RAW))]
    found = choose("logistic", RAW, targets, 60, KEYS, strata=strata(labels, 60, "equal"))
    assert [sum(labels[i] == label for i in found.rows) for label in "012"] == [20, 20, 20]
    share = len(TARGET.buckets) / (len(TARGET.buckets) + len(OTHER.buckets))
    assert abs(len(found.parts["one"].rows) - 60 * share) < 3
    same = choose("dsir", RAW, {"a": TARGET, "b": TARGET}, 1000, KEYS)
    assert sorted(same.rows.tolist()) == list(range(1000))
    with pytest.raises(UsageError, match="proportions are given for one; the targets are one, two"):
        choose("dsir", RAW, targets, 5, KEYS, proportions={"one": 1})


def test_a_joint_target_is_all_their_counts_added():
    joint = Features.concat([TARGET, OTHER])
    assert np.array_equal(joint.counts(), TARGET.counts() + OTHER.counts())
    found = choose("logistic", RAW, joint, 200, KEYS).rows
    assert np.mean((found < 250) | (found >= 650)) > 0.7


def test_the_fit_sees_a_sample_that_parts_can_be_merged_into():
    ids = noise.keys(strings([f"x{i}" for i in range(20_000)]), 0)
    whole = sample_rows(ids, 100)
    assert len(whole) == 5000
    parts = [np.arange(a, a + 4000) for a in range(0, 20_000, 4000)]
    merged = np.concatenate([part[sample_rows(ids[part], 100)] for part in parts])
    assert np.array_equal(np.sort(merged[sample_rows(ids[merged], 100)]), whole)
    assert len(sample_rows(ids, 10**9)) == 20_000
