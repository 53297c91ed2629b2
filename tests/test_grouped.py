"""Search by the best window against brute force, where ties are many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.rankers import grouped
from posbench.types import Run


def brute(queries, vectors, bounds, k, doc_order):
    scores = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    best = np.stack([scores[:, a:b].max(axis=1) for a, b in zip(bounds[:-1], bounds[1:], strict=True)], axis=1)
    docs = np.tile(np.arange(best.shape[1], dtype=np.int32), (len(queries), 1))
    return Run.ranked(docs, best, doc_order).top(k)


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, draw(st.integers(2, 30)), draw(st.integers(1, 40)))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    high = draw(st.sampled_from([2, 5, 1000]))  # few distinct values: many equal scores
    vectors = rng.integers(0, high, (bounds[-1], 3)).astype(np.float32)
    queries = rng.integers(0, high, (draw(st.integers(1, 9)), 3)).astype(np.float32)
    return queries, vectors, bounds, draw(st.integers(1, 45)), rng.permutation(len(sizes)).astype(np.int32)


@settings(deadline=None)
@given(problems())
def test_it_equals_brute_force_at_every_depth(problem):
    found, wanted = grouped.search(*problem), brute(*problem)
    assert np.array_equal(found.docs, wanted.docs)
    assert np.array_equal(found.scores, wanted.scores)


@pytest.mark.parametrize("cells", [1, 50, 1000])
def test_blocks_of_queries_do_not_change_a_byte(monkeypatch, cells):
    rng = np.random.default_rng(1)
    # One document holds the first 400 windows of every query: the search has to go deeper.
    sizes = np.array([400, *rng.integers(1, 4, 300)])
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    vectors = rng.normal(size=(bounds[-1], 16)).astype(np.float32)
    vectors[:400] = 3 + rng.normal(size=(400, 16)).astype(np.float32) / 10
    queries = 1 + rng.normal(size=(20, 16)).astype(np.float32) / 10
    order = rng.permutation(len(sizes)).astype(np.int32)
    whole = grouped.search(queries, vectors, bounds, 10, order)
    monkeypatch.setattr(grouped, "_CELLS", cells)
    parts = grouped.search(queries, vectors, bounds, 10, order)
    assert np.array_equal(whole.docs, parts.docs)
    assert np.array_equal(whole.scores, parts.scores)
    assert (whole.docs[:, 0] == 0).all()
    assert np.array_equal(whole.docs, brute(queries, vectors, bounds, 10, order).docs)


def test_no_documents_and_no_queries():
    none = np.empty((0, 4), np.float32)
    one = np.ones((1, 4), np.float32)
    assert grouped.search(one, none, np.zeros(1, np.int64), 5, np.empty(0, np.int32)).docs.shape == (1, 0)
    assert grouped.search(none, one, np.array([0, 1]), 5, np.zeros(1, np.int32)).docs.shape == (0, 1)
