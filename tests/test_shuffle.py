"""Shuffles keep documents together and stay within lengths; every admissible one is as likely as the next."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.bias.placed import Placed
from posbench.bias.shuffle import Shuffler, one_sided, two_sided


def clustered(docs, seed):
    rng = np.random.default_rng(seed)
    doc = np.repeat(np.arange(docs), rng.integers(1, 5, docs))
    doc = doc[rng.permutation(len(doc))]
    tokens = rng.choice([-1, 100, 800, 3000], docs)[doc]
    return Placed(rng.random(len(doc)), rng.random(len(doc)), tokens, doc, doc % 3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000))
def test_a_shuffle_moves_whole_documents_within_a_length(docs, seed):
    queries = clustered(docs, seed)
    shuffler = Shuffler.of(queries)
    some = queries.take(shuffler.rows)

    def check(source):
        assert sorted(source) == list(range(len(source)))
        assert (some.length[source] == some.length).all()
        for document in np.unique(some.cluster):
            met = some.cluster[source[some.cluster == document]]
            assert len(set(met.tolist())) == 1
        return np.zeros(())

    shuffler.map(check, 5, seed)
    ordered = Shuffler.ordered(queries)
    assert (Shuffler.of(ordered).rows == np.arange(len(ordered.score))).all()


def test_within_documents_only_turns():
    queries = clustered(40, 3)
    shuffler = Shuffler.within_documents(queries)
    cluster = queries.cluster[shuffler.rows]

    def check(source):
        assert (cluster[source] == cluster).all()
        for document in np.unique(cluster):
            step = np.diff(source[cluster == document])
            assert ((step == 1) | (step == 1 - (cluster == document).sum())).all()
        return np.zeros(())

    shuffler.map(check, 20)


def test_every_pattern_is_as_likely():
    """Four documents of two queries in one length: 4! exchanges x 2^4 turns; each query meets each place 1 in 8."""
    doc = np.repeat(np.arange(4), 2)
    queries = Placed(np.zeros(8), np.zeros(8), np.full(8, 100), doc, np.zeros(8, np.int64))
    met = Shuffler.of(queries).map(lambda source: source.astype(float), 8000, seed=1)
    counts = np.stack([np.bincount(column.astype(int), minlength=8) for column in met.T])
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
    assert len({tuple(row) for row in met}) == 24 * 16


def test_queries_that_cannot_move_are_said():
    doc = np.array([0, 1, 1, 2])
    queries = Placed(np.zeros(4), np.zeros(4), np.array([100, 800, 800, 3000]), doc, np.zeros(4, np.int64))
    assert Shuffler.of(queries).movable == 0.5


def test_p_values_count_what_was_seen():
    null = np.array([-3.0, -1.0, 0.5, 2.0])
    assert two_sided(2.0, null) == pytest.approx(3 / 5)
    assert two_sided(-4.0, null) == pytest.approx(1 / 5)
    assert one_sided(0.5, null) == pytest.approx(3 / 5)
    assert one_sided(9.0, null) == pytest.approx(1 / 5)
