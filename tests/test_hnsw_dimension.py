"""Intrinsic dimension against its definition, on vectors of known dimension, and where it is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.errors import DataError, UsageError
from posbench.hnsw import dimension, exact
from posbench.hnsw.dimension import Dimension, lid, lid_at, sampled, whole
from posbench.hnsw.synthetic import generate


def slowly(docs, k):
    """The formula, document by document, from all distances: LID, duplicates and r2 / r1."""
    points = docs.astype(np.float64)
    lids, zeros, ratios = [], [], []
    for i, point in enumerate(points):
        far = sorted(float(np.sqrt(((point - other) ** 2).sum())) for j, other in enumerate(points) if j != i)[:k]
        kept = [r for r in far if r > 0]
        logs = [np.log(r / kept[-1]) for r in kept]
        lids.append(-len(logs) / sum(logs) if sum(logs) < 0 else np.nan)
        zeros.append(len(far) - len(kept))
        ratios.append(kept[1] / kept[0] if len(kept) > 1 else np.nan)
    return np.array(lids), np.array(zeros), np.array(ratios)


def same(found, docs, k):
    lids, zeros, ratios = slowly(docs, k)
    np.testing.assert_allclose(found.lid, lids, rtol=1e-9)
    np.testing.assert_array_equal(found.duplicates, zeros)
    np.testing.assert_allclose(found.ratio, ratios, rtol=1e-12)


@pytest.mark.parametrize("k", [2, 5, 100, 199])
def test_lid_is_the_formula(k):
    docs = generate("subspaces", 200, 0, 0, width=16, low=2, high=8, number=4).docs
    same(lid(docs, k), docs, k)


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(2, 12), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_lid_is_the_formula_among_duplicates_and_zero_vectors(n, k, width, seed):
    rng = np.random.default_rng(seed)
    docs = rng.integers(-1, 2, size=(n, width)).astype(np.float32) * rng.integers(0, 2, size=(n, 1)).astype(np.float32)
    k = min(k, n - 1)
    same(lid(docs, k), docs, k)


def test_duplicates_are_dropped_and_counted():
    rng = np.random.default_rng(0)
    docs = rng.standard_normal((60, 4)).astype(np.float32)
    docs[[7, 8]] = docs[6]
    found = lid(docs, 10)
    assert np.flatnonzero(found.duplicates).tolist() == [6, 7, 8]
    assert found.duplicates[6] == 2
    same(found, docs, 10)


def test_equal_documents_have_no_dimension():
    found = lid(np.zeros((5, 3), np.float32), 3)
    assert np.isnan(found.lid).all()
    assert found.duplicates.tolist() == [3] * 5
    assert {(np.isnan(one.value), one.documents) for one in whole(found).values()} == {(True, 0)}
    corners = lid(np.eye(5, dtype=np.float32), 3)  # all equally far: the estimate is infinite
    assert np.isnan(corners.lid).all()
    assert not corners.duplicates.any()
    assert np.isnan(whole(corners)["two-nn"].value)


def test_bad_input_is_refused():
    docs = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    with pytest.raises(UsageError, match="k 10: found 9 possible neighbours of each; expected k from 2 to 9"):
        lid(docs, 10)
    with pytest.raises(UsageError, match="k 1: "):
        lid(docs, 1)
    with pytest.raises(UsageError, match="expected k from 2 to 10"):
        lid_at(docs, docs, 11)
    with pytest.raises(UsageError, match="sample of 11"):
        sampled(docs, 11, 5)
    with pytest.raises(UsageError, match="sample of 2"):
        sampled(docs, 2, 5)
    docs[4, 1] = np.nan
    with pytest.raises(DataError, match="row 4"):
        lid(docs, 5)
    with pytest.raises(DataError, match="width 2 and documents of 3"):
        lid_at(np.ones((1, 2), np.float32), np.ones((4, 3), np.float32), 2)


@pytest.mark.parametrize("true", [2, 4, 8])
def test_a_known_dimension_is_found(true):
    docs = generate("single-subspace", 3000, 0, 0, width=32, dimension=true).docs
    found = lid(docs, 20)
    figures = whole(found)
    assert figures["two-nn"].low <= true * 1.06
    assert figures["two-nn"].high >= true * 0.94
    assert figures["mle"].value == pytest.approx(true, rel=0.12)
    for one in figures.values():
        assert one.low < one.value < one.high
        assert one.documents == 3000


def test_documents_of_higher_dimension_have_higher_lid():
    made = generate("subspaces", 2000, 0, 0, low=2, high=40, number=3, spread=50.0)
    found = lid(made.docs, 50)
    low, middle, high = (np.median(found.lid[made.labels == label]) for label in range(3))
    assert low < 3
    assert low < middle < high < 40


def test_the_whole_set_is_the_published_estimates():
    rng = np.random.default_rng(1)
    lids, ratios = rng.uniform(2, 9, 400), 1 + rng.exponential(0.2, 400)
    found = whole(Dimension(lids, np.zeros(400, np.int64), ratios, 10), seed=3)
    assert found["mle"].value == pytest.approx(1 / np.mean(1 / lids))
    x = np.log(np.sort(ratios))[:360]
    y = -np.log(1 - np.arange(1, 361) / 400)
    assert found["two-nn"].value == pytest.approx((x * y).sum() / (x * x).sum(), rel=1e-6)
    again = whole(Dimension(lids[::-1], np.zeros(400, np.int64), ratios[::-1], 10), seed=3)
    assert again["two-nn"] == found["two-nn"]
    assert whole(Dimension(lids, np.zeros(400, np.int64), ratios, 10), seed=3) == found
    assert whole(Dimension(lids, np.zeros(400, np.int64), ratios, 10), seed=4) != found


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of independent values, as two-NN assumes them: Pareto ratios of dimension 5."""
    held = 0
    for seed in range(25):
        ratios = np.random.default_rng(seed).pareto(5, 300) + 1
        lids = np.full(300, np.nan)
        one = whole(Dimension(lids, np.zeros(300, np.int64), ratios, 10), seed)["two-nn"]
        held += one.low <= 5 <= one.high
    assert held >= 20


def test_lid_at_queries_does_not_leave_out_documents():
    made = generate("single-subspace", 300, 20, 0, width=12, dimension=4)
    found = lid_at(made.queries, made.docs, 30)
    for query, value in zip(made.queries.astype(np.float64), found.lid, strict=True):
        far = np.sort(np.linalg.norm(made.docs - query, axis=1))[:30]
        assert value == pytest.approx(-1 / np.log(far / far[-1]).mean())
    assert lid_at(made.docs[:3], made.docs, 30).duplicates.tolist() == [1, 1, 1]


def test_a_sample_of_all_is_exact():
    docs = generate("subspaces", 300, 0, 0, width=16, low=2, high=12, number=4).docs
    whole_sample = sampled(docs, 300, k=dimension.SAMPLED_K)
    np.testing.assert_array_equal(whole_sample.lid, lid(docs, dimension.SAMPLED_K).lid)
    assert whole_sample.error.documents == 300
    assert whole_sample.error.spearman == pytest.approx(1)
    assert whole_sample.error.relative == 0


def test_a_sample_says_how_far_it_is_off():
    docs = generate("subspaces", 2500, 0, 0, width=32, low=2, high=30, number=6, spread=8.0).docs
    found = sampled(docs, 700, k=50, seed=4, audit=300)
    exactly = lid(docs, 50).lid
    assert (found.k, found.sample, found.error.documents) == (dimension.SAMPLED_K, 700, 300)
    low, high = found.error.interval
    assert low < found.error.spearman < high
    over_all = np.corrcoef(np.argsort(np.argsort(found.lid)), np.argsort(np.argsort(exactly)))[0, 1]
    assert low - 0.05 < over_all < high + 0.05
    assert over_all > 0.7
    assert found.error.relative == pytest.approx(np.median(np.abs(found.lid / exactly - 1)), abs=0.05)
    again, other = sampled(docs, 700, k=50, seed=4, audit=300), sampled(docs, 700, k=50, seed=5, audit=300)
    np.testing.assert_array_equal(again.lid, found.lid)
    assert again.error == found.error
    assert other.error != found.error


def test_a_sample_leaves_each_document_out_of_its_own_neighbours():
    docs = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    assert not sampled(docs, 25, k=5).duplicates.any()


def test_progress_counts_documents(monkeypatch):
    monkeypatch.setattr(exact, "_BATCH", 64)
    steps = []
    lid(generate("mixture", 200, 0, 0, width=8).docs, 10, progress=lambda title, total: steps.append)
    assert steps == [64, 64, 64, 8]
