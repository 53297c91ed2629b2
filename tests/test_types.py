import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.errors import DataError
from posbench.types import Qrels, Run, byte_order, index_of, strings, texts_hash

ORDER = byte_order(strings(["b", "a", "é", "Z", "9", "10"]))


def test_byte_order_is_that_of_utf8():
    ids = ["b", "a", "é", "Z", "9", "10", "\U0001f41d", "￿"]
    assert byte_order(strings(ids)).tolist() == [sorted(ids, key=str.encode).index(i) for i in ids]


def test_equal_scores_rank_by_id_descending():
    run = Run.ranked([[0, 1, 4, 5]], [[1.0, 1.0, 1.0, 1.0]], ORDER)
    assert run.docs.tolist() == [[0, 1, 4, 5]]  # "b" > "a" > "9" > "10"


def test_minus_zero_equals_zero():
    assert Run.ranked([[1, 0]], [[0.0, -0.0]], ORDER).docs.tolist() == [[0, 1]]


def test_scores_that_differ_below_float32_are_ties():
    assert Run.ranked([[1, 0]], [[0.5 + 1e-9, 0.5]], ORDER).docs.tolist() == [[0, 1]]


def test_padding_goes_last_with_score_zero():
    run = Run.ranked([[-1, 2, -1, 1]], [[9.0, -3.0, np.nan, -2.0]], ORDER)
    assert run.docs.tolist() == [[1, 2, -1, -1]]
    assert run.scores.tolist() == [[-2.0, -3.0, 0.0, 0.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(DataError, match="not a finite number"):
        Run.ranked([[0, 1]], [[1.0, bad]], ORDER)


def test_duplicates_and_unknown_documents_are_refused():
    with pytest.raises(DataError, match="document 1 stands more than once in the ranking of query 1"):
        Run.ranked([[0, 1], [1, 1]], [[2, 1], [2, 1]], ORDER)
    with pytest.raises(DataError, match="names document 6"):
        Run.ranked([[6]], [[1]], ORDER)
    with pytest.raises(DataError, match="names document -2"):
        Run.ranked([[0, -2]], [[1, 2]], ORDER)
    with pytest.raises(DataError, match="one shape"):
        Run.ranked([[1, 2]], [[1]], ORDER)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_ranked_equals_a_plain_sort(data):
    n = data.draw(st.integers(1, 12))
    order = np.array(data.draw(st.permutations(range(n))), np.int32)
    rows = data.draw(st.integers(1, 4))
    docs = [data.draw(st.permutations(range(n))) for _ in range(rows)]
    scores = [data.draw(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.25, 3.0]), min_size=n, max_size=n)) for _ in docs]
    run = Run.ranked(docs, scores, order)
    for i in range(rows):
        expected = sorted(zip(scores[i], docs[i], strict=True), key=lambda pair: (-pair[0], -order[pair[1]]))
        assert run.docs[i].tolist() == [doc for _, doc in expected]


def test_large_runs_in_threads_equal_small_ones():
    rng = np.random.default_rng(1)
    order = rng.permutation(5000).astype(np.int32)
    docs = np.stack([rng.permutation(5000)[:600] for _ in range(2000)]).astype(np.int32)
    scores = rng.integers(0, 50, docs.shape).astype(np.float32)
    whole = Run.ranked(docs, scores, order)
    some = Run.ranked(docs[777:780], scores[777:780], order)
    assert (whole.docs[777:780] == some.docs).all()


def test_ordered_rows_among_others_are_left_as_they_are():
    """One row a kind: in order, rising, a tie the wrong way, a tie the right way, padded."""
    docs = [[0, 1, 4], [4, 1, 0], [4, 0, 1], [0, 4, 1], [2, -1, -1]]
    scores = [[3, 2, 1], [1, 2, 3], [2, 2, 1], [2, 2, 1], [1, 0, 0]]
    run = Run.ranked(docs, scores, ORDER)
    assert run.docs.tolist() == [[0, 1, 4], [0, 1, 4], [0, 4, 1], [0, 4, 1], [2, -1, -1]]
    assert run.scores.tolist() == [[3, 2, 1], [3, 2, 1], [2, 2, 1], [2, 2, 1], [1, 0, 0]]


def test_a_run_in_order_is_not_copied():
    docs, scores = np.array([[1, 0], [3, 2]], np.int32), np.array([[2, 1], [0.5, -1]], np.float32)
    run = Run.ranked(docs, scores, np.arange(4, dtype=np.int32))
    assert run.docs is docs
    assert run.scores is scores


@pytest.mark.parametrize("ends", [([np.inf, 1], 0), ([1, -np.inf], 1), ([np.nan], 0)])
def test_scores_that_fall_from_or_to_infinity_are_refused(ends):
    scores, place = ends
    with pytest.raises(DataError, match=f"of document {place} for query 0 is not a finite number"):
        Run.ranked([list(range(len(scores)))], [scores], ORDER)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_run_is_a_run(shape):
    assert Run.ranked(np.empty(shape), np.empty(shape), ORDER).docs.shape == shape


def test_qrels_from_pairs_sorts_and_counts():
    qrels = Qrels.from_pairs([2, 0, 2], [5, 1, 3], [1, 0, 2], 4)
    assert qrels.indptr.tolist() == [0, 1, 1, 3, 3]
    assert qrels.docs.tolist() == [1, 3, 5]
    assert qrels.relevant.tolist() == [0, 0, 2, 0]
    assert [part.tolist() for part in qrels.ideal] == [[2, 2], [0, 1], [2, 1]]


def test_index_of_marks_unknown_ids():
    assert index_of(strings(["x", "y"]), strings(["y", "z", "x"])).tolist() == [1, -1, 0]


def test_texts_hash_depends_on_content_order_and_boundaries_only():
    whole = strings(["ab", "c", "d"])
    assert texts_hash(whole.slice(1)) == texts_hash(strings(["c", "d"]))
    different = [["a", "bc", "d"], ["c", "ab", "d"], ["ab", "c"], ["ab", "c", "d", ""]]
    assert len({texts_hash(strings(texts)) for texts in different} | {texts_hash(whole)}) == 5


def test_fingerprint_ignores_the_name_and_notices_everything_else(tiny):
    from dataclasses import replace

    same = replace(tiny, name="other")
    assert same.fingerprint == tiny.fingerprint
    changed = [
        replace(tiny, docs=strings(["x", "y", "z"])),
        replace(tiny, evidence=None),
        replace(tiny, query_labels={}),
        replace(tiny, qrels=Qrels.from_pairs([0, 1], [0, 1], [1, 1], 3)),
    ]
    assert len({item.fingerprint for item in changed} | {tiny.fingerprint}) == 5
