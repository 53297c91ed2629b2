"""Vector sets and their files, exact neighbours, insertion orders, synthetic vectors."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posbench.errors import DataError, MissingPartError, RecipeError, UsageError
from posbench.hnsw import exact, orders, synthetic
from posbench.hnsw.orders import ORDERS, Facts, insertion_order, read_order
from posbench.hnsw.synthetic import generate
from posbench.hnsw.vectors import VectorSet, read_vectors


def slowly(queries, docs, metric="l2"):
    """All distances in float64, one pair at a time: the definition."""
    q, d = queries.astype(np.float64), docs.astype(np.float64)
    if metric == "ip":
        return np.array([[-np.vecdot(x, a) for x in d] for a in q])
    return np.array([[np.sqrt(np.vecdot(x - a, x - a)) for x in d] for a in q])


def nearest(distances, k):
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


# vectors


def fvecs(path, rows):
    head = np.full((len(rows), 1), rows.shape[1], "<i4")
    np.concatenate([head, rows.astype("<f4").view("<i4")], axis=1).tofile(path)


def hdf5(path, distance="euclidean", **parts):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        if distance is not None:
            file.attrs["distance"] = distance
        for name, part in parts.items():
            file[name] = part


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)


def test_npy_and_fvecs_hold_the_same(tmp_path, rows):
    np.save(tmp_path / "a.npy", rows.astype(np.float64))
    np.save(tmp_path / "labels.npy", np.arange(30, dtype=np.uint8))
    fvecs(tmp_path / "q.fvecs", rows[:4])
    found = read_vectors(tmp_path / "a.npy", tmp_path / "q.fvecs", labels=tmp_path / "labels.npy", metric="ip")
    np.testing.assert_array_equal(found.docs, rows)
    np.testing.assert_array_equal(found.queries, rows[:4])
    np.testing.assert_array_equal(found.labels, np.arange(30))
    assert (found.name, found.metric, found.docs.dtype) == ("a", "ip", np.float32)
    assert json.loads(json.dumps(found.source))["path"].endswith("a.npy")
    assert read_vectors(tmp_path / "a.npy").queries.shape == (0, 5)


def test_hdf5_says_its_own_distance(tmp_path, rows):
    hdf5(tmp_path / "e.hdf5", train=rows, test=rows[:3])
    plain = read_vectors(tmp_path / "e.hdf5", metric="ip")
    np.testing.assert_array_equal(plain.docs, rows)
    assert plain.metric == "l2"
    assert "normalised" not in plain.source
    hdf5(tmp_path / "a.hdf5", "angular", train=rows, test=rows[:3])
    unit = read_vectors(tmp_path / "a.hdf5")
    np.testing.assert_allclose(np.linalg.norm(unit.docs, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(unit.queries, unit.docs[:3])
    assert unit.source["normalised"] is True
    assert unit.source["distance"] == "angular"


def test_hdf5_without_h5py_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "a.hdf5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPartError, match=r"posbench\[hnsw\]"):
        read_vectors(tmp_path / "a.hdf5")


def test_broken_files_are_named(tmp_path, rows):
    def refused(name, message, **more):
        with pytest.raises(DataError, match=message) as caught:
            read_vectors(tmp_path / name, **more)
        assert name in str(caught.value) or "labels.npy" in str(caught.value)

    refused("none.npy", "no such file")
    (tmp_path / "a.csv").write_text("1,2")
    refused("a.csv", r"kind '.csv'")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    refused("cut.npy", "not a readable .npy")
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    refused("words.npy", "real numbers")
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    refused("objects.npy", "not a readable .npy")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    refused("flat.npy", "two dimensions")
    np.save(tmp_path / "large.npy", np.array([[0.0, 1.0], [0.0, 1e300]]))
    refused("large.npy", "row 1 .*not finite")
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    with pytest.raises(DataError, match="no document"):
        read_vectors(tmp_path / "empty.npy")
    fvecs(tmp_path / "cut.fvecs", rows)
    whole = (tmp_path / "cut.fvecs").read_bytes()
    (tmp_path / "cut.fvecs").write_bytes(whole[:-3])
    refused("cut.fvecs", "rows of 4")
    damaged = np.frombuffer(whole, "<i4").copy()
    damaged[6] = 9
    damaged.tofile(tmp_path / "odd.fvecs")
    refused("odd.fvecs", "row 1 says width 9; expected 5")
    (tmp_path / "void.fvecs").write_bytes(b"")
    refused("void.fvecs", "0 bytes")
    np.save(tmp_path / "good.npy", rows)
    np.save(tmp_path / "labels.npy", rows)
    refused("good.npy", "row of integers", labels=tmp_path / "labels.npy")
    np.save(tmp_path / "labels.npy", np.arange(3))
    with pytest.raises(DataError, match="labels of shape"):
        read_vectors(tmp_path / "good.npy", labels=tmp_path / "labels.npy")
    np.save(tmp_path / "narrow.npy", rows[:, :2])
    with pytest.raises(DataError, match="width 2 and documents of width 5"):
        read_vectors(tmp_path / "good.npy", tmp_path / "narrow.npy")


def test_broken_hdf5_is_named(tmp_path, rows):
    def refused(name, message):
        with pytest.raises(DataError, match=message) as caught:
            read_vectors(tmp_path / name)
        assert name in str(caught.value)

    hdf5(tmp_path / "a.hdf5", "jaccard", train=rows, test=rows)
    refused("a.hdf5", "distance 'jaccard'")
    hdf5(tmp_path / "b.hdf5", None, train=rows, test=rows)
    refused("b.hdf5", "distance None")
    hdf5(tmp_path / "c.hdf5", train=rows)
    refused("c.hdf5", "no 'test' among train")
    (tmp_path / "d.hdf5").write_text("no hdf5")
    refused("d.hdf5", "not a readable")
    hdf5(tmp_path / "e.hdf5", "angular", train=np.zeros((2, 3)), test=rows[:, :3])
    refused("e.hdf5", "zero vector, of 2")


def test_the_fingerprint_is_of_the_content(rows):
    made = VectorSet("a", rows, rows[:2], "l2", np.arange(30)).check()
    assert made.fingerprint == VectorSet("b", rows.copy(), rows[:2].copy(), "l2", np.arange(30)).fingerprint
    others = [
        VectorSet("a", rows, rows[:2], "ip", np.arange(30)),
        VectorSet("a", rows, rows[:2], "l2"),
        VectorSet("a", rows[::-1], rows[:2], "l2", np.arange(30)),
        VectorSet("a", rows, rows[:3], "l2", np.arange(30)),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 5


def test_held_out_queries_are_no_documents(rows):
    made = VectorSet("a", rows, rows[:0], "l2", np.arange(30)).hold_out(8, seed=1)
    assert (len(made.docs), len(made.queries), len(made.labels)) == (22, 8, 22)
    np.testing.assert_array_equal(made.docs, rows[made.labels])
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in np.concatenate([made.docs, made.queries])}
    assert made.check().source["held_out"] == 8
    with pytest.raises(UsageError, match="30 queries"):
        made.hold_out(30, 0)


# exact neighbours


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("kind", ["gauss", "far", "clustered", "equal", "grid", "outlier"])
def test_neighbours_are_those_of_the_definition(metric, kind):
    rng = np.random.default_rng(3)
    docs = rng.standard_normal((300, 12)).astype(np.float32)
    if kind == "far":
        docs += np.float32(1000)
    elif kind == "clustered":
        docs = (docs[rng.integers(5, size=300)] + 1e-4 * docs).astype(np.float32)
    elif kind == "equal":
        docs = np.ascontiguousarray(docs[rng.integers(4, size=300)])
    elif kind == "grid":
        docs = np.ascontiguousarray(np.rint(docs[:, :3]))
    elif kind == "outlier":
        docs[7] *= 1e6
    queries = docs[::20] + np.float32(0 if kind in ("equal", "grid") else 0.01)
    order, distances = nearest(slowly(queries, docs, metric), 11)
    found = exact.neighbours(queries, docs, 10, metric)
    np.testing.assert_array_equal(found.docs, order[:, :10])
    np.testing.assert_allclose(found.distances, distances[:, :10], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.beyond, distances[:, 10], rtol=1e-12, atol=1e-300)


def test_a_document_is_left_out_of_its_own_neighbours_but_its_duplicates_are_not():
    rng = np.random.default_rng(0)
    docs = rng.standard_normal((80, 6)).astype(np.float32)
    docs[10] = docs[70] = docs[3]
    distances = slowly(docs, docs)
    np.fill_diagonal(distances, np.inf)
    order, _ = nearest(distances, 7)
    found = exact.neighbours(docs, docs, 7, leave_out_self=True)
    np.testing.assert_array_equal(found.docs, order)
    assert found.docs[10, :2].tolist() == [3, 70]
    assert not found.distances[10, :2].any()
    some = np.array([10, 40])
    np.testing.assert_array_equal(exact.neighbours(docs[some], docs, 7, own=some).docs, order[some])


def test_as_many_neighbours_as_there_are():
    docs = np.eye(4, dtype=np.float32)
    found = exact.neighbours(docs, docs, 10)
    assert found.docs.tolist() == [[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3], [3, 0, 1, 2]]
    assert np.isinf(found.beyond).all()
    assert exact.neighbours(docs, docs, 10, leave_out_self=True).docs[1].tolist() == [0, 2, 3]


def test_batches_do_not_show(monkeypatch):
    made = generate("subspaces", 400, 30, 0, width=16, low=1, high=8, number=4)
    whole = exact.neighbours(made.queries, made.docs, 5)
    steps = []
    monkeypatch.setattr(exact, "_BATCH", 7)
    monkeypatch.setattr(exact, "_BLOCK", 64)
    small = exact.neighbours(made.queries, made.docs, 5, progress=lambda title, total: steps.append)
    np.testing.assert_array_equal(small.docs, whole.docs)
    np.testing.assert_array_equal(small.distances, whole.distances)
    assert steps == [7, 7, 7, 7, 2]


def test_neighbours_of_bad_input_are_refused():
    docs = np.ones((3, 2), np.float32)
    broken = docs.copy()
    broken[1, 0] = np.nan
    with pytest.raises(DataError, match="documents: row 1"):
        exact.neighbours(docs, broken, 1)
    with pytest.raises(DataError, match="width 3 and documents of 2"):
        exact.neighbours(np.ones((1, 3), np.float32), docs, 1)
    with pytest.raises(DataError, match="squares that fit float32"):
        exact.neighbours(docs, docs * np.float32([[1e30], [-1e30], [0]]), 1)
    with pytest.raises(UsageError, match="0 neighbours"):
        exact.neighbours(docs, docs, 0)
    with pytest.raises(UsageError, match="1 neighbours among 0"):
        exact.neighbours(docs[:1], docs[:1], 1, leave_out_self=True)
    with pytest.raises(UsageError, match="the documents as queries"):
        exact.neighbours(docs[:2], docs, 1, leave_out_self=True)


def test_recall_counts_by_distance():
    docs = np.array([[0], [1], [1], [-1], [5]], np.float32)
    query = np.zeros((1, 1), np.float32)
    known = exact.neighbours(query, docs, 2)
    assert known.docs.tolist() == [[0, 1]]

    def share(*found):
        return exact.recall(np.array([found], np.int32), known, query, docs)

    assert share(0, 1)[0].tolist() == [1.0]
    assert share(3, 0)[0].tolist() == [1.0]  # as near as the second
    assert share(0, 4)[0].tolist() == [0.5]
    assert share(0, 0)[0].tolist() == [0.5]
    assert share(-1, -1)[0].tolist() == [0.0]
    assert share(0, 1)[1] == 1
    assert share(0)[1] == 0
    assert exact.recall(np.array([[0, 1, 2, 3, 4, -1]], np.int32), exact.neighbours(query, docs, 5), query, docs) == (
        np.ones(1),
        0,
    )
    with pytest.raises(UsageError, match="as deep"):
        share(0, 1, 2)


# orders


def facts(n, seed=0):
    rng = np.random.default_rng(seed)
    return Facts(
        docs=rng.standard_normal((n, 3)).astype(np.float32),
        lid=np.where(rng.random(n) < 0.2, np.nan, rng.integers(5, size=n)),
        labels=rng.integers(4, size=n),
        lengths=rng.integers(6, size=n),
        positions=np.where(rng.random(n) < 0.3, np.nan, rng.random(n).round(1)),
    )


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ORDERS), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_order_is_a_permutation_and_repeats(name, n, seed):
    known = facts(n, seed)
    order = insertion_order(name, known, seed)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, insertion_order(name, known, seed))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("given", lambda f: np.arange(50)),
        ("lid-ascending", lambda f: f.lid),
        ("lid-descending", lambda f: -f.lid),
        ("category", lambda f: f.labels),
        ("norm", lambda f: np.linalg.norm(f.docs.astype(float), axis=1)),
        ("norm-descending", lambda f: -np.linalg.norm(f.docs.astype(float), axis=1)),
        ("near-first", lambda f: np.linalg.norm(f.docs - f.docs.astype(float).mean(0), axis=1)),
        ("far-first", lambda f: -np.linalg.norm(f.docs - f.docs.astype(float).mean(0), axis=1)),
        ("length", lambda f: f.lengths),
        ("length-descending", lambda f: -f.lengths),
    ],
)
def test_orders_go_by_their_key_and_then_by_index(name, key):
    known = facts(50)
    values = np.asarray(key(known), float).tolist()
    expected = sorted(range(50), key=lambda i: (np.isnan(values[i]), 0 if np.isnan(values[i]) else values[i], i))
    assert insertion_order(name, known, 5).tolist() == expected


@pytest.mark.parametrize(("name", "sign"), [("evidence-position", 1), ("evidence-position-descending", -1)])
def test_documents_without_evidence_stand_last_and_shuffled(name, sign):
    known = facts(50)
    held = np.flatnonzero(~np.isnan(known.positions))
    expected = sorted(held.tolist(), key=lambda i: (sign * known.positions[i], i))
    order, other = insertion_order(name, known, 0).tolist(), insertion_order(name, known, 1).tolist()
    assert order[: len(held)] == other[: len(held)] == expected
    assert order[len(held) :] != other[len(held) :]


def test_blocks_of_the_category_order_are_shuffled_within():
    labels = np.repeat(np.arange(20), 50)
    known = Facts(np.zeros((1000, 1), np.float32), labels=labels)
    order = insertion_order("category-shuffled-blocks", known, 0)
    category = insertion_order("category", known, 0)
    for first in range(0, 1000, 100):
        block = slice(first, first + 100)
        assert set(order[block]) == set(category[block])
        assert order[block].tolist() != category[block].tolist()


def test_seeds_matter_where_they_should():
    known = facts(60)
    for name in ORDERS:
        same = (insertion_order(name, known, 0) == insertion_order(name, known, 1)).all()
        assert same != orders.seeded(name), name


def test_a_missing_fact_is_named():
    bare = Facts(np.zeros((3, 2), np.float32))
    for name in ORDERS:
        needed = orders.needs(name)
        if needed not in (None, "docs"):
            with pytest.raises(UsageError, match=f"order '{name}' needs the"):
                insertion_order(name, bare)
    with pytest.raises(DataError, match="of 2 documents; expected 3"):
        insertion_order("length", Facts(np.zeros((3, 2), np.float32), lengths=np.ones(2, np.int64)))
    with pytest.raises(RecipeError, match="did you mean"):
        insertion_order("lid-ascendin", bare)


def test_a_users_order_is_read_and_checked(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("2\n0\n1\n")
    assert read_order(path, 3).tolist() == [2, 0, 1]
    np.save(tmp_path / "order.npy", np.array([1, 0], np.uint16))
    assert read_order(tmp_path / "order.npy", 2).tolist() == [1, 0]
    for text, message in [
        ("0\n1\n", "found 2 indices; expected 3"),
        ("0\n1\n3\n", r"index 3; expected 0\.\.2"),
        ("0\n-1\n2\n", "index -1"),
        ("0\n1\n1\n", "index 1 2 times"),
        ("a\n", "not a readable order"),
        ("1.5\n", "not a readable order"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_order(path, 3)
    np.save(tmp_path / "order.npy", np.eye(2))
    with pytest.raises(DataError, match="one row of integers"):
        read_order(tmp_path / "order.npy", 2)
    with pytest.raises(DataError, match="absent"):
        read_order(tmp_path / "absent.txt", 2)


@settings(max_examples=30, deadline=None)
@given(arrays(np.int64, st.integers(1, 8), elements=st.integers(-2, 9)))
def test_only_permutations_are_read(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("orders") / "order.npy"
    np.save(path, order)
    if sorted(order.tolist()) == list(range(len(order))):
        assert read_order(path, len(order)).tolist() == order.tolist()
    else:
        with pytest.raises(DataError, match=str(path)):
            read_order(path, len(order))


# synthetic vectors


def test_a_subspace_has_its_dimension():
    made = generate("single-subspace", 200, 20, 0, width=32, dimension=5)
    assert np.linalg.matrix_rank(np.concatenate([made.docs, made.queries]), tol=1e-3) == 5
    assert made.labels is None
    assert np.var(made.docs) * 32 == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("unit", [False, True])
def test_subspaces_rise_in_dimension(unit):
    made = generate("subspaces", 900, 50, 1, width=48, number=3, low=2, high=20, spread=30.0, unit=unit)
    for label, dimension in enumerate([2, 11, 20]):
        rows = made.docs[made.labels == label].astype(np.float64)
        assert np.linalg.matrix_rank(rows, tol=1e-3) == dimension + 1  # and the centre
        if not unit:
            assert np.linalg.norm(rows.mean(axis=0)) == pytest.approx(30, rel=0.05)
    if unit:
        np.testing.assert_allclose(np.linalg.norm(made.docs, axis=1), 1, rtol=1e-6)


def test_tight_clusters_are_apart_and_a_mixture_overlaps():
    tight = generate("tight-clusters", 2000, 100, 0)
    mixed = generate("mixture", 2000, 100, 0)
    assert (tight.labels.max(), mixed.labels.max()) == (199, 19)
    for made, least, most in ((tight, 0.99, 1.0), (mixed, 0.05, 0.9)):
        near = exact.neighbours(made.docs, made.docs, 1, leave_out_self=True).docs[:, 0]
        assert least <= np.mean(made.labels[near] == made.labels) <= most


@pytest.mark.parametrize("kind", synthetic.KINDS)
def test_the_seed_makes_the_vectors(kind):
    made, again, other = (generate(kind, 100, 10, seed) for seed in (7, 7, 8))
    assert made.fingerprint == again.fingerprint != other.fingerprint
    assert made.source == {**other.source, "seed": 7}


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("single-subspace", {"dimension": 200}, "dimensions 200 to 200; expected 1 to the width, which is 128"),
        ("single-subspace", {"dimension": 0}, "dimensions 0 to 0"),
        ("single-subspace", {"spread": 1.0}, "no parameter 'spread'; it has width, dimension"),
        ("subspaces", {"number": 0}, "0 clusters"),
        ("subspaces", {"unit": 1}, "unit 1; expected bool"),
        ("subspaces", {"spread": float("nan")}, "spread nan; expected float"),
        ("subspaces", {"number": 2.5}, "number 2.5; expected int"),
        ("tight-clusters", {"spread": -1}, "expected 1, and 0, or more"),
    ],
)
def test_parameters_out_of_range_are_refused(kind, given, message):
    with pytest.raises(UsageError, match=message):
        generate(kind, 10, 1, 0, **given)


def test_unknown_kinds_and_empty_sets_are_refused():
    with pytest.raises(RecipeError, match="no kind of vectors"):
        generate("mixtures", 10, 1, 0)
    with pytest.raises(UsageError, match="0 documents"):
        generate("mixture", 0, 1, 0)
