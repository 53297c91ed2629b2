"""The density ratio and greedy selection against dense restatements."""

from itertools import combinations

import numpy as np
import pytest

from posbench.dsir import featurise, logistic, noise
from posbench.dsir.features import FeatureSpec
from posbench.dsir.greedy import greedy
from posbench.dsir.logistic import Logistic
from posbench.errors import DataError, UsageError
from posbench.types import strings

SPEC = FeatureSpec(buckets=256)


def texts(count, seed, shift=0, words=(5, 40)):
    """Texts of words by Zipf's law; another shift prefers other words."""
    rng = np.random.default_rng([seed, shift])
    p = 1 / (1 + (np.arange(200) - shift) % 200)
    return [" ".join(f"w{i}" for i in rng.choice(200, rng.integers(*words), p=p / p.sum())) for _ in range(count)]


def features(*parts):
    return featurise([text for part in parts for text in part], SPEC)


def keys(count, seed=0):
    return noise.keys(strings([f"d{i}" for i in range(count)]), seed)


def dense(rows):
    """Counts by bucket: float64[N, B]."""
    found = np.zeros((len(rows), rows.size))
    for i in range(len(rows)):
        np.add.at(found[i], rows.buckets[rows.indptr[i] : rows.indptr[i + 1]].astype(int), 1)
    return found


def unit(rows):
    x = np.log1p(dense(rows))
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)


TARGET, RAW = features(texts(120, 1, 50)), features(texts(150, 2, 50), texts(450, 3))


def test_the_fit_is_where_the_gradient_vanishes():
    fitted = Logistic.fit(TARGET, RAW)
    gradient, hessian = np.zeros(257), np.zeros((257, 257))
    for rows, sign in ((TARGET, 1), (RAW, -1)):
        x = np.column_stack([unit(rows), np.ones(len(rows))])
        odds = 1 / (1 + np.exp(-x @ np.append(fitted.coefficients, fitted.intercept)))
        gradient += 0.5 * x.T @ (odds - (sign > 0)) / len(rows)
        hessian += 0.5 * (x * (odds * (1 - odds))[:, None]).T @ x / len(rows)
    penalty = fitted.strength * np.append(np.ones(256), 0)
    gradient[:256] += fitted.strength * fitted.coefficients
    distance = np.linalg.solve(hessian + np.diag(penalty), gradient)  # to the minimum, by one Newton step
    assert np.abs(distance).max() < 1e-4
    assert np.abs(fitted.coefficients).max() > 1


def test_the_objective_has_the_gradient_it_says():
    x, side = logistic._stack(logistic.scaled(TARGET), logistic.scaled(RAW))
    rng = np.random.default_rng(0)
    w, step = rng.normal(size=257), rng.normal(size=257) * 1e-5
    ends = [logistic.objective(w + sign * step, x, side, 0.1)[0] for sign in (1, -1)]
    assert np.isclose(ends[0] - ends[1], 2 * logistic.objective(w, x, side, 0.1)[1] @ step, rtol=1e-6)


def test_the_log_ratio_is_calibrated():
    fitted = Logistic.fit(TARGET, RAW)
    fresh = features(texts(500, 7, 50), texts(1500, 8))
    ratio = np.exp(fitted.log_ratio(fresh))
    assert 0.8 < ratio.mean() < 1.25  # the mean of p / q over q is 1
    assert ratio[:500].mean() > 5 * ratio[500:].mean()
    assert ratio.max() < 20  # a quarter of the raw texts is of the target: the true ratio is at most 4


def test_scores_are_the_linear_form_of_scaled_counts_in_blocks_too(monkeypatch):
    fitted = Logistic.fit(TARGET, RAW)
    rows = features(texts(30, 9), [""], texts(3, 10, 50, (3000, 4000)), [""])
    expected = unit(rows) @ fitted.coefficients + fitted.intercept
    assert np.allclose(fitted.log_ratio(rows), expected, rtol=0, atol=1e-9)
    monkeypatch.setattr(logistic, "_BLOCK", 200)
    assert np.allclose(fitted.log_ratio(rows), expected, rtol=0, atol=1e-9)
    assert fitted.log_ratio(rows.take([])).shape == (0,)
    assert fitted.log_ratio(rows.take([30])).tolist() == [fitted.intercept]


def test_the_order_of_texts_on_either_side_does_not_matter():
    first = Logistic.fit(TARGET, RAW, seed=5)
    turned = Logistic.fit(
        TARGET.take(np.arange(120)[::-1]), RAW.take(np.random.default_rng(0).permutation(600)), seed=5
    )
    assert np.array_equal(first.coefficients, turned.coefficients)
    assert (first.intercept, first.strength, first.loss) == (turned.intercept, turned.strength, turned.loss)
    assert Logistic.fit(TARGET, RAW, seed=6).loss != first.loss


def test_held_out_texts_choose_a_strong_penalty_where_there_is_nothing_to_tell():
    alike = Logistic.fit(features(texts(60, 11)), features(texts(400, 12)))
    assert alike.loss > 0.68
    assert np.abs(alike.log_ratio(features(texts(100, 13)))).max() < 0.5
    assert Logistic.fit(TARGET, RAW).strength < alike.strength


def test_one_text_a_side_is_enough_and_none_is_not():
    one = Logistic.fit(features(["a b c"]), features(["x y z", "a x"]))
    assert one.log_ratio(features(["a b"]))[0] > one.log_ratio(features(["y z"]))[0]
    assert np.isnan(one.loss)
    with pytest.raises(DataError, match="0 of the target and 1 raw"):
        Logistic.fit(features(["", " "]), features(["a"]))


def smoothed_kl(p, counts, added=0.01):
    q = (counts + added) / (counts + added).sum()
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def test_greedy_takes_the_best_text_at_each_step():
    pool, p = features(texts(25, 20)), TARGET.counts() / TARGET.counts().sum()
    counts, chosen = dense(pool), []
    for _ in range(8):
        rest = [i for i in range(25) if i not in chosen]
        chosen.append(min(rest, key=lambda i: smoothed_kl(p, counts[[*chosen, i]].sum(axis=0))))
    assert greedy(pool, p, 8, keys(25), missed=1e-9).tolist() == chosen
    assert greedy(pool, p, 3, keys(25), missed=1e-9).tolist() == chosen[:3]


def test_greedy_is_near_the_best_of_all_subsets():
    pool, p = features(texts(14, 21, 40)), TARGET.counts() / TARGET.counts().sum()
    counts = dense(pool)
    all_subsets = np.array([smoothed_kl(p, counts[list(rows)].sum(axis=0)) for rows in combinations(range(14), 5)])
    found = smoothed_kl(p, counts[greedy(pool, p, 5, keys(14), missed=1e-9)].sum(axis=0))
    assert found < np.quantile(all_subsets, 0.05)
    assert found >= all_subsets.min() - 1e-12


@pytest.mark.parametrize("missed", [0.5, 0.01, 1e-9])
@pytest.mark.parametrize("strata", [1, 3])
def test_greedy_picks_the_same_texts_in_whatever_order_they_come(missed, strata):
    p, ids = TARGET.counts() / TARGET.counts().sum(), keys(600)
    codes = (ids % np.uint64(strata)).astype(np.int64)
    quotas = np.array([40, 17, 3][:strata])
    k = int(quotas.sum())
    chosen = greedy(RAW, p, k, ids, codes, quotas, missed=missed)
    turned = np.random.default_rng(1).permutation(600)
    again = greedy(RAW.take(turned), p, k, ids[turned], codes[turned], quotas, missed=missed)
    assert turned[again].tolist() == chosen.tolist()
    assert len(set(chosen.tolist())) == k
    assert np.bincount(codes[chosen], minlength=strata).tolist() == quotas.tolist()


def test_greedy_of_all_and_of_none():
    p, ids = TARGET.counts() / TARGET.counts().sum(), keys(600)
    assert sorted(greedy(RAW, p, 600, ids).tolist()) == list(range(600))
    assert greedy(RAW, p, 0, ids).tolist() == []
    assert greedy(RAW.take([]), p, 0, ids[:0]).tolist() == []
    few = features(["", "a b", ""])
    assert greedy(few, few.counts() / 3, 3, keys(3)).tolist()[0] == 1


def test_blocks_miss_little():
    p = TARGET.counts() / TARGET.counts().sum()
    counts = dense(RAW)
    by = {
        missed: smoothed_kl(p, counts[greedy(RAW, p, 30, keys(600), missed=missed)].sum(axis=0))
        for missed in (0.9, 0.01, 1e-9)
    }
    assert by[0.01] < by[1e-9] + 0.1 * (by[0.9] - by[1e-9]) + 0.02


@pytest.mark.parametrize(
    ("k", "settings"), [(5, {}), (-1, {}), (2, {"quotas": np.array([1, 2])}), (1, {"added": 0}), (1, {"missed": 1})]
)
def test_greedy_refuses_what_cannot_be(k, settings):
    with pytest.raises(UsageError, match="greedy selection"):
        greedy(features(["a", "b", "c"]), np.full(256, 1 / 256), k, keys(3), **settings)
