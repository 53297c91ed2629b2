"""Noise, weights and divergence against restatements by definition."""

from hashlib import blake2b
from itertools import permutations

import numpy as np
import pytest

from posbench.dsir import featurise, noise, weights
from posbench.dsir.divergence import kl, kl_reduction
from posbench.dsir.features import FeatureSpec
from posbench.errors import DataError, UsageError
from posbench.types import strings

IDS = [f"doc-{i}" for i in range(2000)]
TEXTS = ["the cat sat on the mat", "the dog", "", "a cat and a dog and a bird", "dog dog dog"]


def test_keys_are_mixed_from_the_hashes_of_id_and_seed():
    def first(data):
        return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")

    mask = (1 << 64) - 1
    z = (first(b"\xc3\xa9t\xc3\xa9") + first(b"seed -7")) & mask
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    assert noise.keys(["été"], -7).tolist() == [z ^ (z >> 31)]


def test_keys_belong_to_ids_whatever_their_order_and_shard():
    whole = noise.keys(strings(IDS), 3)
    turned = noise.keys(strings(IDS[::-1]), 3)[::-1]
    parts = np.concatenate([noise.keys(strings(IDS[a : a + 300]), 3) for a in range(0, 2000, 300)])
    assert np.array_equal(whole, turned)
    assert np.array_equal(whole, parts)
    assert len(np.unique(whole)) == len(IDS)


def test_seeds_and_streams_are_unrelated():
    base = noise.keys(strings(IDS), 3)
    others = [noise.keys(strings(IDS), 4), noise.stream(base, "a"), noise.stream(base, "b"), noise.stream(base, "")]
    numbers = np.array([noise.uniform(one) for one in [base, *others]])
    off_diagonal = np.corrcoef(numbers)[~np.eye(5, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4 / np.sqrt(len(IDS))
    assert np.abs(numbers.mean(axis=1) - 0.5).max() < 4 / np.sqrt(12 * len(IDS))


def test_gumbel_noise_is_standard_and_finite_at_both_ends():
    ends = noise.gumbel(np.array([0, 2**64 - 1], np.uint64))
    assert np.allclose(ends, [-np.log(53 * np.log(2)), 53 * np.log(2)], rtol=1e-12)
    many = noise.gumbel(noise.stream(np.arange(100_000, dtype=np.uint64), "x"))
    assert abs(many.mean() - np.euler_gamma) < 0.02
    assert abs(many.var() - np.pi**2 / 6) < 0.05


def inclusion(w, k):
    """The chance of each item to be among k drawn one after another in proportion to w, by enumeration."""
    chance = np.zeros(len(w))
    for order in permutations(range(len(w)), k):
        left, p = sum(w), 1.0
        for item in order:
            p, left = p * w[item] / left, left - w[item]
        chance[list(order)] += p
    return chance


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_largest_of_weights_with_noise_are_drawn_without_replacement(k):
    w, draws = np.array([0.5, 1.0, 2.0, 4.0, 8.0]), 20_000
    ids = strings([f"{seed}-{i}" for seed in range(draws) for i in range(5)])
    scores = np.log(w) + noise.gumbel(noise.keys(ids, 0)).reshape(draws, 5)
    seen = np.bincount(np.argsort(-scores, axis=1)[:, :k].ravel(), minlength=5) / draws
    expected = inclusion(w, k)
    assert np.allclose(expected.sum(), k)
    assert (np.abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / draws) + 1e-9).all()


def dense(features):
    rows = np.zeros((len(features), features.size))
    for i in range(len(features)):
        for bucket in features.buckets[features.indptr[i] : features.indptr[i + 1]]:
            rows[i, bucket] += 1
    return rows


def test_log_weights_are_the_published_sum():
    features, target = (featurise(texts, FeatureSpec(buckets=64)) for texts in (TEXTS, TEXTS[:2]))
    p, q = (weights.distribution(one.counts()) for one in (target, features))
    found = features.by_row(weights.log_ratio(p, q))
    tp, tq = (dense(one).sum(axis=0) / dense(one).sum() for one in (target, features))
    assert np.allclose(found, dense(features) @ (np.log(tp + 1e-8) - np.log(tq + 1e-8)), rtol=0, atol=1e-9)
    assert found[2] == 0


def test_smoothing_adds_counts_and_mixes_in_a_background():
    counts, background = np.array([3, 1, 0, 0]), np.array([0.1, 0.2, 0.3, 0.4])
    assert np.allclose(weights.distribution(counts), [0.75, 0.25, 0, 0])
    assert np.allclose(weights.distribution(counts, laplace=1), [0.5, 0.25, 0.125, 0.125])
    assert np.allclose(weights.distribution(counts, mix=0.5, background=background), [0.425, 0.225, 0.15, 0.2])
    assert np.allclose(weights.distribution(counts, background=background), [0.75, 0.25, 0, 0])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([0, 0],), DataError, "no n-gram"),
        (([1, 2], -1), UsageError, "laplace"),
        (([1, 2], 0, 2), UsageError, "mix"),
        (([1, 2], 0, 0.5), UsageError, "background"),
        (([1, 2], float("nan")), UsageError, "laplace"),
    ],
)
def test_what_has_no_distribution_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        weights.distribution(*arguments)


def test_the_effective_size_is_kishs_whatever_the_scale_and_the_blocks():
    log_w = np.random.default_rng(0).normal(0, 2, 999)
    w = np.exp(log_w)
    expected = w.sum() ** 2 / (w**2).sum()
    assert np.isclose(weights.effective_size(log_w), expected, rtol=1e-12)
    assert np.isclose(weights.effective_size(log_w - 1e5), expected, rtol=1e-9)
    blocks = [log_w[a : a + 100] for a in range(0, 999, 100)]
    assert np.isclose(weights.effective_size(iter([*blocks, np.zeros(0)])), expected, rtol=1e-12)
    assert np.isclose(weights.effective_size(np.full(7, -3e4)), 7)
    assert weights.effective_size(np.array([0.0, -1e4, 900.0])) == 1


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([1.0, np.nan]), np.array([np.inf]), np.array([-np.inf, 0.0])])
def test_weights_that_are_no_numbers_are_refused(bad):
    with pytest.raises(DataError):
        weights.effective_size(bad)
    with pytest.raises(DataError):
        weights.temperature(lambda: [bad], 2)


@pytest.mark.parametrize("wanted", [20, 50, 900, 999])
@pytest.mark.parametrize("spread", [3, 400])
def test_the_temperature_reaches_the_wanted_effective_size(wanted, spread):
    log_w = np.random.default_rng(1).normal(0, spread, 1000)
    degree = weights.temperature(lambda: [log_w], wanted)
    assert degree > 1
    assert np.isclose(weights.effective_size(log_w / degree), wanted, rtol=1e-4)
    blocks = [log_w[a : a + 77] for a in range(0, 1000, 77)][::-1]
    assert weights.temperature(lambda: iter(blocks), wanted) == degree


def test_the_temperature_at_its_ends():
    log_w = np.random.default_rng(1).normal(0, 0.1, 100)
    assert weights.temperature(lambda: [log_w], 50) == 1
    assert weights.temperature(lambda: [log_w], 100) == float("inf")
    assert weights.temperature(lambda: [np.zeros(5)], 5) == 1
    with pytest.raises(UsageError, match="above 0"):
        weights.temperature(lambda: [log_w], 0)


def test_the_divergence_by_definition():
    p, q = np.array([0.5, 0.5, 0]), np.array([0.25, 0.5, 0.25])
    assert np.isclose(kl(p, q), 0.5 * np.log(2), atol=1e-7)
    assert kl(p, p) == 0
    assert np.isclose(kl(q, p), 0.25 * np.log(0.5) + 0.25 * np.log(0.25 / 1e-8), atol=1e-6)
    assert np.isclose(kl(q, p, 1e-3), 0.25 * np.log(0.251 / 0.501) + 0.25 * np.log(0.251 / 1e-3))
    assert np.isclose(kl_reduction(p, q, p), 0.5 * np.log(2), atol=1e-7)
