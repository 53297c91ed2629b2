"""Graphs by hnswlib and faiss against brute force in numpy, their repeatability, and what they refuse."""

from hashlib import md5
from importlib.util import find_spec

import numpy as np
import pytest

from posbench.errors import DataError, MissingPartError, UsageError
from posbench.hnsw import by_faiss, by_hnswlib, graphs
from posbench.hnsw.graphs import Build

hnswlib = pytest.param(
    "hnswlib", marks=pytest.mark.skipif(find_spec("hnswlib") is None, reason="hnswlib is not installed: posbench[hnsw]")
)
LIBRARIES = [hnswlib, "faiss", "faiss-once"]


def vectors(n=400, d=12, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def brute(queries, docs, k, metric="l2"):
    """The k nearest by float64 arithmetic of its own: int[Q, k]."""
    q, x = queries.astype(np.float64), docs.astype(np.float64)
    distances = ((q[:, None] - x[None]) ** 2).sum(-1) if metric == "l2" else -(q @ x.T)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def recall(found, exact):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), exact.tolist(), strict=True)])


def content(graph, folder):
    """The md5 of what a graph is saved as, the seconds of its build left out."""
    graph.save(folder)
    return md5((folder / next(folder.glob("graph.*")).name).read_bytes()).hexdigest()


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_long_list_finds_what_brute_force_finds_whatever_the_order(library, metric):
    docs, queries = vectors(), vectors(20, seed=1)
    how = Build(library, m=16, ef_construction=100, metric=metric)
    for order in (None, np.random.default_rng(2).permutation(len(docs)), np.arange(len(docs))[::-1]):
        found = graphs.build(docs, order, how).search(queries, 10, 400)
        assert found.docs.dtype == np.int32
        assert found.docs.tolist() == brute(queries, docs, 10, metric).tolist()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_short_list_finds_less_at_less_cost(library):
    docs, queries = vectors(3000, 32), vectors(100, 32, seed=1)
    graph = graphs.build(docs, None, Build(library, m=4, ef_construction=20))
    exact = brute(queries, docs, 10)
    short, long = graph.search(queries, 10, 10), graph.search(queries, 10, 300)
    assert 0.1 < recall(short.docs, exact) < recall(long.docs, exact) - 0.1
    if library == "hnswlib":
        assert np.isnan(short.computations)
    else:
        assert 10 < short.computations < long.computations < 3000


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_seed_gives_the_same_bytes_and_another_seed_or_order_another_graph(library, tmp_path):
    docs, order = vectors(), np.random.default_rng(3).permutation(400)
    builds = [(None, 0), (None, 0), (None, 1), (order, 0)]
    made = [graphs.build(docs, place, Build(library, m=8, seed=seed)) for place, seed in builds]
    same, again, seeded, ordered = (content(graph, tmp_path / str(i)) for i, graph in enumerate(made))
    assert same == again
    assert len({same, seeded, ordered}) == 3


@hnswlib.marks[0]
def test_levels_of_neighbouring_seeds_are_independent():
    """hnswlib's own generator gives seeds 0 and 1 the same levels, and 1 and 2 half of the upper ones in common."""
    made = [graphs.build(vectors(5000, 4), None, Build("hnswlib", ef_construction=10, seed=seed)) for seed in range(3)]
    upper = [np.asarray(graph.index.__getstate__()[0]["element_levels"]) > 0 for graph in made]
    for one, other in ((0, 1), (1, 2)):
        assert (upper[one] & upper[other]).sum() / upper[one].sum() < 0.15  # 1 / 16 is expected
    assert all(0.04 < some.mean() < 0.09 for some in upper)


def test_row_by_row_keeps_the_order_that_one_add_of_all_rows_loses():
    """With levels drawn alike, faiss row by row builds what hand-made single add() calls build; one add() does not."""
    import faiss

    docs, order = vectors(300), np.random.default_rng(3).permutation(300)
    mine = graphs.build(docs, order, Build("faiss", m=8, ef_construction=40, seed=5)).index
    other = faiss.IndexHNSWFlat(12, 8)
    other.hnsw.efConstruction, other.hnsw.rng = 40, faiss.RandomGenerator(5)
    for row in docs[order]:
        other.add(row[None])
    once = graphs.build(docs, order, Build("faiss-once", m=8, ef_construction=40, seed=5)).index
    mine, other, once = (faiss.vector_to_array(index.hnsw.neighbors) for index in (mine, other, once))
    assert np.array_equal(mine, other)
    assert not np.array_equal(mine, once)


def test_faiss_row_by_row_is_the_same_with_any_number_of_threads_and_leaves_the_setting(tmp_path):
    import faiss

    before = faiss.omp_get_max_threads()
    one, two = (graphs.build(vectors(), None, Build("faiss", m=8), threads) for threads in (1, 2))
    assert content(one, tmp_path / "1") == content(two, tmp_path / "2")
    two.search(vectors(3), 5, 10)
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_more_results_than_the_list_or_the_documents(library):
    docs, queries = vectors(30), vectors(4, seed=1)
    graph = graphs.build(docs, None, Build(library, m=8))
    for k, ef, there in ((10, 3, 3), (50, 100, 30), (10, 40, 10)):
        found = graph.search(queries, k, ef).docs
        assert found.shape == (4, k)
        assert (found[:, :there] >= 0).all()
        assert (found[:, there:] == -1).all()
        assert all(len(set(row[:there])) == there for row in found.tolist())
    assert graph.search(queries[:0], 5, 10).docs.shape == (0, 5)


@pytest.mark.parametrize("library", LIBRARIES)
def test_duplicates_and_zero_vectors_are_searched_without_an_error(library):
    docs = np.repeat(vectors(20), 20, axis=0)
    docs[:40] = 0
    queries = np.concatenate([docs[:2], docs[200:204]])
    found = graphs.build(docs, None, Build(library, m=4, ef_construction=40)).search(queries, 30, 60).docs
    real = [row[row >= 0].tolist() for row in found]
    assert all(len(set(row)) == len(row) >= 1 for row in real)
    for query, row in zip(queries, real, strict=True):
        distances = ((docs[row] - query) ** 2).sum(1)
        assert distances[0] == 0
        assert (np.diff(distances) >= -1e-5).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_graph_cannot_reach_is_padding(library):
    """Far clusters of duplicates under very few links: a query reaches a part of the documents only."""
    docs = np.repeat(vectors(10, 4, seed=1) * 100, 50, axis=0)
    graph = graphs.build(docs, None, Build(library, m=2, ef_construction=5))
    found = graph.search(docs[::50], 200, 300).docs
    reached = (found >= 0).sum(axis=1)
    assert reached.min() < 200
    for query, row, count in zip(docs[::50], found.tolist(), reached.tolist(), strict=True):
        assert len(set(row[:count])) == count > 0
        assert row[count:] == [-1] * (200 - count)
        assert (np.diff(((docs[row[:count]] - query) ** 2).sum(axis=1)) >= 0).all()


@pytest.mark.parametrize("library", LIBRARIES)
def test_one_document(library):
    graph = graphs.build(vectors(1), None, Build(library))
    assert graph.search(vectors(2), 3, 5).docs.tolist() == [[0, -1, -1]] * 2


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_saved_graph_gives_the_same_answers(library, tmp_path):
    docs, queries, how = vectors(1000), vectors(50, seed=1), Build(library, m=4, ef_construction=20, seed=3)
    graph = graphs.build(docs, np.random.default_rng(1).permutation(1000), how)
    graph.save(tmp_path / "saved")
    again = graphs.load(tmp_path / "saved", how)
    assert np.array_equal(graph.search(queries, 10, 12).docs, again.search(queries, 10, 12).docs)
    assert (again.bytes, again.seconds, again.how) == (graph.bytes, graph.seconds, how)
    assert graph.bytes == next((tmp_path / "saved").glob("graph.*")).stat().st_size > docs.nbytes
    with pytest.raises(DataError, match=r"built with .*'seed': 3.*expected .*'seed': 4"):
        graphs.load(tmp_path / "saved", Build(library, m=4, ef_construction=20, seed=4))
    with pytest.raises(DataError, match="not a readable JSON file"):
        graphs.load(tmp_path / "none", how)
    next((tmp_path / "saved").glob("graph.*")).write_bytes(b"no index")
    with pytest.raises(DataError, match="damaged index"):
        graphs.load(tmp_path / "saved", how)


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_cannot_be_indexed_or_asked_is_refused(library):
    docs, how = vectors(20), Build(library)
    broken = docs.copy()
    broken[7, 3] = np.nan
    for wrong, message in ((broken, "vector 7 holds NaN"), (docs[:0], r"shape \(0, 12\)"), (docs[0], r"shape \(12,\)")):
        with pytest.raises(DataError, match=message):
            graphs.build(wrong, None, how)
    for order, message in (
        (np.zeros(20, int), "repeats"),
        (np.arange(19), "20 whole numbers"),
        (np.arange(20.0), "whole"),
    ):
        with pytest.raises(DataError, match=message):
            graphs.build(docs, order, how)
    with pytest.raises(UsageError, match="0 threads"):
        graphs.build(docs, None, how, 0)
    graph = graphs.build(docs, None, how)
    with pytest.raises(DataError, match="query 7 holds NaN"):
        graph.search(broken, 3, 10)
    with pytest.raises(DataError, match="width 12"):
        graph.search(vectors(2, 5), 3, 10)
    for k, ef in ((0, 10), (3, 0)):
        with pytest.raises(UsageError, match="expected 1 or more"):
            graph.search(docs, k, ef)


@pytest.mark.parametrize(
    ("change", "message"), [({"m": 1}, "m 1"), ({"ef_construction": 0}, "0"), ({"seed": -1}, "-1")]
)
def test_parameters_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"{message}; expected"):
        Build("faiss", **change)


def test_which_builds_are_repeatable_is_said():
    assert not graphs.not_repeatable(Build("hnswlib"), 1)
    assert "2 threads" in graphs.not_repeatable(Build("hnswlib"), 2)
    assert not graphs.not_repeatable(Build("faiss"), 4)
    assert "GPU" in graphs.not_repeatable(Build("cagra"), 1)


def test_what_is_not_here_is_said(monkeypatch):
    assert "faiss" in graphs.available()
    if "cagra" in graphs.available():
        pytest.skip("this machine has CAGRA")
    for ask in (lambda: graphs.require("cagra"), lambda: graphs.build(vectors(), None, Build("cagra"))):
        with pytest.raises(MissingPartError, match=r"needs a GPU.*posbench\[faiss-gpu\]"):
            ask()
    monkeypatch.setattr(by_hnswlib, "available", lambda: False)
    monkeypatch.setattr(by_faiss, "available", lambda: False)
    assert graphs.available() == []
    with pytest.raises(MissingPartError, match=r"posbench\[hnsw\].*choose library faiss"):
        graphs.build(vectors(), None, Build("hnswlib"))
    with pytest.raises(MissingPartError, match=r"posbench\[faiss\]"):
        graphs.build(vectors(), None, Build("faiss"))


def test_cagra_where_there_is_a_gpu():
    if "cagra" not in graphs.available():
        pytest.skip("no GPU, or no faiss with CAGRA")
    docs, queries = vectors(2000), vectors(20, seed=1)
    found = graphs.build(docs, None, Build("cagra", m=16, ef_construction=100)).search(queries, 10, 400).docs
    assert recall(found, brute(queries, docs, 10)) > 0.95
