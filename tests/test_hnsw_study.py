"""``posbench hnsw``: grid files, rows against independent figures, the study end to end, and what is refused."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from posbench.cli import main
from posbench.errors import PosbenchError, RecipeError, UsageError
from posbench.evaluate import evaluate
from posbench.experiment import Settings
from posbench.hnsw import graphs, orders
from posbench.hnsw.dimension import lid_at
from posbench.hnsw.graphs import Build
from posbench.hnsw.presets import preset
from posbench.hnsw.synthetic import generate
from posbench.hnsw.vectors import VectorSet
from posbench.studies.hnsw import builds, grid, study, subjects, summary, table
from posbench.studies.hnsw.grid import Grid, Index, Vectors
from posbench.types import Collection, Evidence, Qrels, Report, Run, strings

pytest.importorskip("faiss")

SHAPE = {"width": 16, "number": 30, "low": 2, "high": 16, "spread": 100.0}
TIMES = ["search_seconds", "build_seconds"]


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def places(folder):
    return "--out", folder / "out", "--cache", folder / "cache", "--jobs", 1


def settings(folder, **more):
    return Settings(out=folder / "out", cache=folder / "cache", **more)


# grid files

PLAIN = """
[[vectors]]
synthetic = "subspaces"

[[index]]
m = [16]
ef_construction = [64]
ef_search = [10]
"""


def read(folder, text):
    (folder / "own.toml").write_text(text)
    return grid.read(str(folder / "own.toml"))[1]


FAULTS = {
    "no TOML": ("[[vectors", "not a readable TOML file"),
    "unknown key": ("depth = 3" + PLAIN, "key (top level): object contains unknown field `depth`"),
    "unknown key of vectors": (PLAIN.replace("synthetic", "sinthetic"), "key vectors[0]: object contains unknown"),
    "wrong type": (PLAIN.replace("[16]", '["16"]'), "key index[0].m[0]: expected `int`, got `str`"),
    "no list": (PLAIN.replace("[16]", "16"), "key index[0].m: expected `array`, got `int`"),
    "no vectors": (PLAIN[PLAIN.index("[[index") :], "key (top level): object missing required field `vectors`"),
    "empty": ("vectors = []\nindex = []", "key (top level): a grid has one or more [[vectors]] and [[index]]"),
    "two sources": (
        PLAIN.replace("synthetic", 'file = "x.npy"\nsynthetic'),
        "key vectors[0]: vectors have exactly one of",
    ),
    "no dataset": (PLAIN.replace('synthetic = "subspaces"', 'models = ["e5"]'), "models and dataset go together"),
    "no documents": (PLAIN.replace('"subspaces"', '"subspaces"\ndocuments = 0'), "0 documents and 500 queries"),
    "no parameters": (PLAIN.replace("m = [16]", ""), "key index[0]: an index has m, ef_construction and ef_search"),
    "no library": (PLAIN + "library = []", "key index[0]: library is empty"),
    "one build": ("level_seeds = 1" + PLAIN, "key (top level): level_seeds 1; expected 2 or more"),
    "negative probe": ("probe = -1" + PLAIN, "probe -1; expected 0 or more"),
    "unknown order": (
        'orders = ["lid-ascendin"]' + PLAIN,
        "key orders: no insertion order 'lid-ascendin' (did you mean ",
    ),
    "unknown own order": (
        PLAIN.replace('"subspaces"', '"subspaces"\norders = ["categories"]'),
        "key vectors[0].orders: no insertion order 'categories' (did you mean category",
    ),
    "unknown preset": (
        PLAIN + 'preset = "pgvecto"',
        "key index[0]: no index preset 'pgvecto' (did you mean pgvector",
    ),
    "unknown library": (
        PLAIN + 'library = ["annoy"]',
        "key index[0]: index library 'annoy'; expected auto or one of",
    ),
    "m out of range": (PLAIN.replace("[16]", "[16, 1]"), "key index[0]: m 1; expected 2 to 10,000"),
    "ef out of range": (PLAIN.replace("[10]", "[10, 0]"), "key index[0]: ef_search 0; expected 1 or more"),
    "unknown kind": (
        PLAIN.replace("subspaces", "subspace"),
        "key vectors[0].synthetic: no kind of vectors 'subspace' (did you mean",
    ),
}


@pytest.mark.parametrize(("text", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_of_a_grid_name_file_and_key(tmp_path, text, message):
    with pytest.raises(RecipeError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "own.toml"))
    assert message in str(error.value)


def test_unknown_grids_and_missing_files(tmp_path):
    with pytest.raises(RecipeError, match=r"no grid 'paper-syntetic' \(did you mean paper-synthetic\?\)"):
        grid.read("paper-syntetic")
    with pytest.raises(RecipeError, match=r"none\.toml: not a readable TOML file"):
        grid.read(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", grid.names())
def test_shipped_grids_can_be_read_and_made(name):
    stem, found = grid.read(name)
    assert (stem, bool(found.description)) == (name, True)
    assert grid.built(found)
    for vectors in found.vectors:
        small = msgspec.structs.replace(vectors, documents=200, queries=5)
        if vectors.synthetic:
            (subject, *_) = subjects.subjects(small, found, Settings())
            subjects.check_orders(subject, grid.orders_of(found, vectors))


def test_efs_of_one_build_are_merged():
    lists = {"m": (8, 16), "ef_construction": (64,)}
    index = (
        Index(library=("faiss",), ef_search=(64, 10), **lists),
        Index(library=("faiss",), m=(16,), ef_construction=(64,), ef_search=(10, 32)),
        Index(library=("faiss-once",), ef_search=(10,), **lists),
    )
    found = grid.built(Grid(vectors=(Vectors(synthetic="mixture"),), index=index))
    assert [(one.library, one.m, one.ef_search) for one in found] == [
        ("faiss", 8, (10, 64)),
        ("faiss", 16, (10, 32, 64)),
        ("faiss-once", 8, (10,)),
        ("faiss-once", 16, (10,)),
    ]


def test_presets_give_what_is_not_said():
    def built(k=10, **said):
        index = Index(library=("faiss",), **said)
        (found,) = grid.built(Grid(vectors=(Vectors(synthetic="mixture"),), index=(index,), k=k))
        return found.m, found.ef_construction, found.ef_search

    dynamic = preset("weaviate")
    assert built(preset="pgvector") == (16, 64, (40,))
    assert built(preset="pgvector", m=(8,), ef_search=(5, 90)) == (8, 64, (5, 90))
    for k in (1, 10, 30, 1000):
        assert built(k, preset="weaviate") == (dynamic.m, dynamic.ef_construction, (dynamic.ef_search.at(k),))
    assert built(1, preset="weaviate")[2] < built(30, preset="weaviate")[2] < built(1000, preset="weaviate")[2]


def test_orders_of_vectors_go_before_the_grids(tmp_path):
    own = PLAIN.replace('"subspaces"', '"subspaces"\norders = ["norm", "random"]') + PLAIN[: PLAIN.index("[[index")]
    found = read(tmp_path, 'orders = ["given", "given"]' + own)
    assert grid.orders_of(found, found.vectors[0]) == ("random", "norm")
    assert grid.orders_of(found, found.vectors[1]) == ("random", "given")


def test_files_lie_beside_the_grid(tmp_path, monkeypatch):
    folder = tmp_path / "grids"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    vectors = f'file = "v.npy"\nlabels = "{tmp_path}/l.npy"\norders = ["file:own.npy"]'
    text = 'orders = ["file:all.txt"]' + PLAIN.replace('synthetic = "subspaces"', vectors)
    (folder / "g.toml").write_text(text)
    _, found = grid.read("grids/g.toml")
    assert (found.vectors[0].file, found.vectors[0].labels) == (str(folder / "v.npy"), str(tmp_path / "l.npy"))
    assert (found.orders, found.vectors[0].orders) == ((f"file:{folder}/all.txt",), (f"file:{folder}/own.npy",))


# rows


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A small judged collection with evidence, one build of it, and its rows."""
    folder = tmp_path_factory.mktemp("searched")
    rng = np.random.default_rng(0)
    docs = rng.standard_normal((120, 6)).astype(np.float32)
    docs /= np.linalg.norm(docs, axis=1, keepdims=True)
    queries = (docs[:30] + 0.3 * rng.standard_normal((30, 6))).astype(np.float32)
    judged = np.arange(1, 30, dtype=np.int32)  # the first query is not judged
    some = (judged, judged, 2 * judged, 2 * judged + 3, np.full(29, 100), np.full(29, 20))
    collection = Collection(
        name="made",
        doc_ids=strings([f"d{i}" for i in range(120)]),
        docs=strings(["word " * 20] * 120),
        query_ids=strings([f"q{i}" for i in range(30)]),
        queries=strings(["asked"] * 30),
        qrels=Qrels.from_pairs(judged, judged, np.ones(29, np.int32), 30),
        evidence=Evidence(*(np.asarray(column, np.int32) for column in some)),
    )
    subject = subjects.Subject("m on made", "m", 0, VectorSet("made", docs, queries), collection)
    asked = Grid(vectors=(Vectors(synthetic="mixture"),), index=(Index(preset="pgvector"),), k=5, lid_k=20)
    known = subjects.measure(subject, asked, settings(folder))
    place = builds.share(folder, docs, queries, known.exact, subject.vectors.fingerprint)
    cells = []
    for order in ("random", "evidence-position"):
        for seed in (0, 1):
            permutation = subjects.insertion(known, order, seed)
            task = builds.Task(place, permutation, Build("faiss", 2, 2, seed), (3, 20), 5, 40)
            cells.append((order, seed, task))
    parts = [table.rows(subject, known, task, order, seed, builds.outcome(task)) for order, seed, task in cells]
    return subject, known, cells, pa.concat_tables(parts).unify_dictionaries()


def brute(docs, queries, k):
    distances = np.linalg.norm(docs[None].astype(np.float64) - queries[:, None].astype(np.float64), axis=2)
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def test_recall_and_ndcg_are_those_of_independent_code(searched):
    subject, known, cells, rows = searched
    vectors, judged = subject.vectors, np.arange(1, 30)
    near = brute(vectors.docs, vectors.queries, 5)
    exact = evaluate(subject.collection, ranked(subject, near), ("nDCG@5",)).values("nDCG@5")
    assert exact.mean() < 1
    at, varied = 0, set()
    for order, seed, task in cells:
        graph = graphs.build(vectors.docs, subjects.insertion(known, order, seed), task.how)
        for ef in (3, 20):
            part = rows.slice(at, 29)
            at += 29
            found = graph.search(vectors.queries, 5, ef)
            shared = [len(set(found.docs[q]) & set(near[q])) / 5 for q in judged]
            np.testing.assert_allclose(part["recall@5"].to_numpy(), shared)
            ndcg = evaluate(subject.collection, ranked(subject, found.docs), ("nDCG@5",)).values("nDCG@5")
            np.testing.assert_array_equal(part["nDCG@5"].to_numpy(), ndcg)
            np.testing.assert_array_equal(part["nDCG@5:exact"].to_numpy(), exact)
            assert set(part["order"].to_pylist()) == {order}
            assert set(part["level_seed"].to_pylist()) == {seed}
            assert set(part["ef_search"].to_pylist()) == {ef}
            np.testing.assert_allclose(part["computations"].to_numpy(), found.computations)
            varied.add(np.mean(shared))
    assert (at, len(varied) > 2) == (len(rows), True)


def ranked(subject, docs):
    vectors = subject.vectors
    scores = np.einsum("qd,qkd->qk", vectors.queries.astype(np.float64), vectors.docs[docs].astype(np.float64))
    return Run.ranked(docs, np.where(docs < 0, 0, scores), subject.collection.doc_order)


def test_rows_know_their_queries(searched):
    subject, known, _, rows = searched
    ids = [f"q{i}" for i in range(1, 30)]
    assert rows["query_id"].to_pylist() == ids * 8
    assert rows["doc_id"].to_pylist() == [f"d{i}" for i in range(1, 30)] * 8
    assert rows["span_start"].to_pylist()[:29] == [2 * i for i in range(1, 30)]
    lid = lid_at(subject.vectors.queries, subject.vectors.docs, 20).lid
    np.testing.assert_array_equal(rows["lid"].to_numpy()[:29], lid[1:])
    place = known.facts.positions
    np.testing.assert_allclose(place[1:30], (2 * np.arange(1, 30) + 1.5) / 100)
    assert np.isnan(place[[0, *range(30, 120)]]).all()
    assert subjects.insertion(known, "evidence-position", 0)[:29].tolist() == list(range(1, 30))


def test_arms_are_the_rows_again(searched, tmp_path):
    rows = searched[3]
    pq.write_table(rows, tmp_path / "rows.parquet")
    for stored in (rows, pq.read_table(tmp_path / "rows.parquet")):
        found = table.arms(Report({}, table.measures(5), stored))
        assert [(arm.key.order, arm.key.ef_search, len(arm.recall)) for arm in found] == [
            ("random", 3, 2),
            ("random", 20, 2),
            ("evidence-position", 3, 2),
            ("evidence-position", 20, 2),
        ]
        column = stored["recall@5"].to_numpy().reshape(2, 2, 2, 29)  # order, seed, ef
        bytes_ = stored["bytes"].to_numpy().reshape(2, 2, 2, 29)
        for i, arm in enumerate(found):
            np.testing.assert_array_equal(arm.recall, column[i // 2, :, i % 2])
            np.testing.assert_array_equal(arm.costs["bytes"], bytes_[i // 2, :, i % 2, 0])
            assert arm.key.index == ("faiss", 2, 2, arm.key.ef_search)
            assert table.queries_of(Report({}, (), stored), arm)["query_id"].to_pylist()[0] == "q1"


@pytest.mark.parametrize("order", orders.ORDERS)
def test_ids_survive_every_order(order):
    made = generate("subspaces", 150, 10, 0, **{**SHAPE, "number": 4, "spread": 3.0})
    rng = np.random.default_rng(0)
    positions = np.where(rng.random(150) < 0.5, rng.random(150), np.nan)
    facts = orders.Facts(made.docs, rng.random(150), made.labels, rng.integers(5, 50, 150), positions)
    permutation = orders.insertion_order(order, facts, 3)
    assert sorted(permutation) == list(range(150))
    found = graphs.build(made.docs, permutation, Build("faiss", 16, 150)).search(made.queries, 5, 150).docs
    np.testing.assert_array_equal(found, brute(made.docs, made.queries, 5))


def test_missed_documents_are_counted(searched):
    subject, known, cells, rows = searched
    order, seed, task = cells[0]
    graph = graphs.build(subject.vectors.docs, task.order, task.how)
    asked = np.linspace(0, 119, 40).astype(int)
    missed = (graph.search(subject.vectors.docs[asked], 1, 20).docs[:, 0] != asked).sum()
    assert (rows["probed"][0].as_py(), rows["probe_missed"][0].as_py()) == (40, missed)
    assert missed > 0


# the study


@pytest.fixture(scope="module")
def harmful(tmp_path_factory):
    """A grid whose user's order inserts cluster by cluster, and its outcome."""
    folder = tmp_path_factory.mktemp("harmful")
    labels = generate("subspaces", 600, 60, 0, **SHAPE).labels
    np.save(folder / "clusters.npy", np.argsort(labels, kind="stable"))
    return folder, *finished(folder)


def finished(folder, jobs=1, **more):
    vectors = Vectors(synthetic="subspaces", documents=600, queries=60, parameters=SHAPE)
    index = Index(library=("faiss",), m=(8,), ef_construction=(16,), ef_search=(10, 40))
    asked = Grid(
        vectors=(vectors,),
        index=(index,),
        orders=("given", f"file:{folder}/clusters.npy"),
        data_seeds=1,
        level_seeds=6,
        probe=100,
        lid_k=20,
    )
    asked = msgspec.structs.replace(asked, **more)
    return asked, study.run("made", asked, settings(folder), jobs=jobs)


def test_an_order_that_harms_is_found_and_one_that_does_not_is_not(harmful):
    (one,) = harmful[2].summary["sets"]
    by_order = {}
    for effect in one["effects"]:
        by_order.setdefault(effect["order"], []).append(effect["recall"])
    given, clusters = by_order["given"], by_order[harmful[1].orders[1]]
    assert all(found["p_holm"] < 0.05 and found["high"] < 0 and found["value"] < -0.05 for found in clusters)
    assert all(found["p_holm"] > 0.2 and found["low"] < 0 < found["high"] for found in given)
    _, first, second = one["advice"]
    assert first.startswith("order given: no difference from a shuffle")
    assert re.match(r"order file:\S+clusters.npy: shuffling pays: -\d", second)


def test_the_report_holds_what_builds_found(harmful):
    _, asked, outcome = harmful
    rows = outcome.report.queries
    assert len(rows) == 3 * 6 * 2 * 60
    made = generate("subspaces", 600, 60, 0, **SHAPE)
    near = brute(made.docs, made.queries, 10)
    graph = graphs.build(made.docs, np.random.default_rng(2).permutation(600), Build("faiss", 8, 16, 2))
    found = graph.search(made.queries, 10, 40).docs
    shared = [len(set(found[q]) & set(near[q])) / 10 for q in range(60)]
    here = pa.compute.and_(pa.compute.equal(rows["level_seed"], 2), pa.compute.equal(rows["ef_search"], 40))
    mine = rows.filter(pa.compute.and_(here, pa.compute.equal(rows["order"].cast("string"), "random")))
    np.testing.assert_allclose(mine["recall@10"].to_numpy(), shared)
    assert mine["query_id"].to_pylist() == [str(q) for q in range(60)]
    assert np.isnan(mine["nDCG@10"].to_numpy()).all()
    json.dumps(outcome.result.manifest, allow_nan=False)


def test_the_same_seed_gives_the_same_with_any_number_of_processes(harmful, tmp_path):
    folder, _, first = harmful
    (tmp_path / "clusters.npy").write_bytes((folder / "clusters.npy").read_bytes())
    other = finished(tmp_path, jobs=2)[1]

    def plain(outcome):
        rows = outcome.report.queries.drop_columns([*TIMES, "order"])
        orders = [re.sub(".*/", "", order) for order in outcome.report.queries["order"].to_pylist()]
        return rows.combine_chunks().to_pydict(), orders

    left, right = plain(first), plain(other)
    assert left[1] == right[1]
    for column, values in left[0].items():
        np.testing.assert_array_equal(values, right[0][column], err_msg=column)


def test_a_finished_result_is_read_and_again_builds_anew(harmful, monkeypatch):
    folder, _, first = harmful
    counted = []
    compute = builds._compute
    monkeypatch.setattr(builds, "_compute", lambda task: counted.append(task) or compute(task))
    monkeypatch.setattr(subjects, "neighbours", None)
    second = finished(folder)[1]
    assert (first.fresh, second.fresh, counted) == (True, False, [])
    assert json.dumps(second.summary) == json.dumps(first.summary)
    third = study.run("made", harmful[1], settings(folder, again=True), jobs=1)
    assert (third.fresh, len(counted)) == (True, 18)


def test_files_are_not_held_open(harmful, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = Settings(out=tmp_path, cache=harmful[0] / "cache")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 40, hard))
        outcome = study.run("made", harmful[1], few, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(outcome.report.queries) == len(harmful[2].report.queries)  # of 18 builds, each of five files


def test_another_order_in_the_file_is_another_study(harmful, tmp_path):
    labels = np.load(harmful[0] / "clusters.npy")
    np.save(tmp_path / "clusters.npy", labels)
    small = {"level_seeds": 2, "probe": 0}
    first = finished(tmp_path, **small)[1]
    np.save(tmp_path / "clusters.npy", labels[::-1])
    second = finished(tmp_path, **small)[1]
    assert (second.fresh, first.result.folder != second.result.folder) == (True, True)


def test_several_sets_are_made_of_a_kind(tmp_path):
    vectors = Vectors(synthetic="subspaces", documents=300, queries=20, parameters=SHAPE)
    index = Index(library=("faiss", "faiss-once"), m=(4,), ef_construction=(16,), ef_search=(10,))
    asked = Grid(vectors=(vectors,), index=(index,), orders=("category",), level_seeds=2, probe=0, lid_k=10)
    outcome = study.run("several", asked, settings(tmp_path), jobs=1)
    (one,) = outcome.summary["sets"]
    assert one["data_seeds"] == [0, 1, 2]
    assert [(arm["library"], arm["builds"]) for arm in one["arms"]] == [
        ("faiss", 6),
        ("faiss", 6),
        ("faiss-once", 6),
        ("faiss-once", 6),
    ]
    rows = outcome.report.queries.to_pandas()
    for arm, effect in zip(one["arms"][::2], one["effects"], strict=True):
        mine = rows[rows.library == arm["library"]]
        means = mine.groupby(["data_seed", "order"], observed=True)["recall@10"].mean().unstack()
        difference = means["category"] - means["random"]
        np.testing.assert_allclose(effect["recall"]["value"], difference.mean())
        half = 4.302652729911275 * difference.std() / 3**0.5  # Student's t, 2 degrees of freedom
        np.testing.assert_allclose(effect["recall"]["high"] - effect["recall"]["value"], half)
    assert all(found["low"] <= found["value"] <= found["high"] for found in one["dimension"].values())


def test_recall_falls_with_dimension(tmp_path):
    shape = {**SHAPE, "width": 64, "number": 10, "high": 64}
    vectors = Vectors(synthetic="subspaces", documents=800, queries=80, parameters=shape)
    index = Index(library=("faiss",), m=(8,), ef_construction=(16,), ef_search=(10,))
    asked = Grid(vectors=(vectors,), index=(index,), data_seeds=2, level_seeds=2, probe=0, lid_k=20)
    found = study.run("mixed", asked, settings(tmp_path), jobs=1)
    (row,) = found.summary["sets"][0]["lid_recall"]
    assert row["low"] <= row["rho"] < -0.4
    single = summary.summary(found.report)["sets"][0]["lid_recall"]
    assert single == [row]


def test_hnswlib_builds_as_it_does_alone(tmp_path):
    pytest.importorskip("hnswlib", reason="hnswlib is not installed; it compiles, so it is not among [dev]")
    made = generate("subspaces", 300, 20, 0, **SHAPE)
    vectors = Vectors(synthetic="subspaces", documents=300, queries=20, parameters=SHAPE)
    index = Index(library=("auto",), m=(4,), ef_construction=(8,), ef_search=(10,))
    asked = Grid(vectors=(vectors,), index=(index,), data_seeds=1, level_seeds=2, probe=0, lid_k=10)
    rows = study.run("by hnswlib", asked, settings(tmp_path), jobs=1).report.queries
    graph = graphs.build(made.docs, None, Build("hnswlib", 4, 8, 1))
    near, found = brute(made.docs, made.queries, 10), graph.search(made.queries, 10, 10).docs
    mine = rows.filter(pa.compute.equal(rows["order"].cast("string"), "given")).slice(20)
    assert set(mine["level_seed"].to_pylist()) == {1}
    shared = [len(set(found[q]) & set(near[q])) / 10 for q in range(20)]
    np.testing.assert_allclose(mine["recall@10"].to_numpy(), shared)


def test_models_are_ranked_with_and_without_an_index(capsys, tmp_path):
    pytest.importorskip("wordllama")
    arguments = ["hnsw", "--model", "wordllama", "--library", "faiss", "--m", 4, "--ef-construction", 8, "--json"]
    arguments += ["--ef-search", "6", "--orders", "evidence-position,length", "--level-seeds", 2, *places(tmp_path)]
    status, out, err = call(capsys, *arguments)
    assert (status, err) == (0, "")
    found = json.loads(out)
    (one,) = found["sets"]
    assert {row["order"] for row in one["position"]} == {"random", "evidence-position", "length"}
    assert all(row["low"] <= row["difference"] <= row["high"] for row in one["position"])
    status, out, _ = call(capsys, "eval", "--model", "wordllama", "--json", *places(tmp_path)[:4])
    assert status == 0
    exact = json.loads(out)["measures"]["nDCG@10"]
    np.testing.assert_allclose([arm["ndcg_exact"] for arm in one["arms"]], exact)
    for arm in one["arms"]:
        np.testing.assert_allclose(arm["ndcg_loss"]["value"], exact - arm["ndcg"]["value"])
        assert arm["recall"]["value"] <= 0.6  # ef 6 gives six of ten


# interruption

LONG = """
orders = ["random", "given"]
data_seeds = 1
level_seeds = 20
probe = 0
lid_k = 10

[[vectors]]
synthetic = "mixture"
documents = 3000
queries = 50
parameters = { width = 32 }

[[index]]
library = ["faiss"]
m = [16]
ef_construction = [100]
ef_search = [10]
"""


def test_an_interrupted_study_goes_on(tmp_path):
    (tmp_path / "long.toml").write_text(LONG)
    command = [sys.executable, "-m", "posbench", "hnsw", "--grid", tmp_path / "long.toml", "--out", tmp_path / "out"]
    command = [str(part) for part in [*command, "--cache", tmp_path / "cache", "--jobs", 2, "--json"]]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    kept = tmp_path / "cache" / "builds"
    end = time.monotonic() + 60
    while len(finished_builds(kept)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "posbench: interrupted; the same command goes on where this one stopped\n"
    before = {path: path.stat().st_mtime_ns for path in finished_builds(kept)}
    assert 2 <= len(before) < 40
    done = subprocess.run(command, timeout=120, check=False, **quiet)
    assert (done.returncode, done.stderr) == (0, "")
    after = finished_builds(kept)
    assert len(after) == 40
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert json.loads(done.stdout)["sets"][0]["arms"][0]["builds"] == 20


def finished_builds(folder):
    return [path for path in folder.glob("??/*") if not path.name.startswith(".")]


# what is refused


def saved(folder):
    """540 vectors, of which 500 are held out as queries."""
    docs = np.random.default_rng(0).standard_normal((540, 4))
    np.save(folder / "v.npy", docs)
    np.save(folder / "nan.npy", np.where(np.arange(2160).reshape(540, 4) == 9, np.nan, docs))
    np.save(folder / "few.npy", docs[:500])
    np.save(folder / "short.npy", np.arange(5))
    np.save(folder / "twice.npy", np.zeros(40, np.int64))


ERRORS = {
    "nothing": ((), "found 0 of --grid, --model and --vectors; expected one (grids: "),
    "two": (("--grid", "x.toml", "--vectors", "{}/v.npy"), "found 2 of --grid, --model and --vectors"),
    "unknown grid": (("--grid", "paper"), "no grid 'paper'"),
    "unknown order": (("--vectors", "{}/v.npy", "--orders", "lid"), "no insertion order 'lid'"),
    "no labels": (("--vectors", "{}/v.npy", "--orders", "random,category"), "order 'category' needs the categories"),
    "no texts": (("--vectors", "{}/v.npy", "--orders", "length"), "order 'length' needs the lengths; found none"),
    "no order file": (("--vectors", "{}/v.npy", "--orders", "file:{}/none.npy"), "none.npy: not a readable order"),
    "short order": (("--vectors", "{}/v.npy", "--orders", "file:{}/short.npy"), "found 5 indices; expected 40"),
    "double order": (("--vectors", "{}/v.npy", "--orders", "file:{}/twice.npy"), "found index 0 40 times"),
    "NaN": (("--vectors", "{}/nan.npy"), "nan.npy: row 2 holds a number that is not finite"),
    "few": (("--vectors", "{}/few.npy"), "500 queries to hold out of 500 vectors; expected 1 or more, and fewer"),
    "no file": (("--vectors", "{}/none.npy"), "none.npy: found no such file"),
    "large k": (("--vectors", "{}/v.npy", "--k", "41"), "v has 40 documents; recall@41 needs 41"),
    "numbers": (("--vectors", "{}/v.npy", "--m", "8,x"), "--m 8,x; expected whole numbers with commas between"),
    "m": (("--vectors", "{}/v.npy", "--m", "1"), "m 1; expected 2 to 10,000"),
    "ef": (("--vectors", "{}/v.npy", "--ef-search", "0"), "ef_search 0; expected 1 or more"),
    "library": (("--vectors", "{}/v.npy", "--library", "scann"), "index library 'scann'; expected auto or one of"),
    "preset": (("--vectors", "{}/v.npy", "--preset", "pgvectr"), "no index preset 'pgvectr' (did you mean pgvector"),
    "one build": (("--vectors", "{}/v.npy", "--level-seeds", "1"), "level_seeds 1; expected 2 or more"),
    "target": (("--vectors", "{}/v.npy", "--target", "1.5"), "--target 1.5"),
    "jobs": (("--vectors", "{}/v.npy", "--jobs", "-2"), "--jobs -2"),
    "no embeddings": (("--model", "bm25"), "bm25 does not embed texts; expected an embedding model"),
    "same model": (("--model", "wordllama", "--model", "wordllama"), "are named 'wordllama on posir-mini/eng-Latn'"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line_and_nothing_is_built(capsys, tmp_path, monkeypatch, arguments, message):
    saved(tmp_path)
    if "wordllama" in arguments:
        pytest.importorskip("wordllama")
    given = [one.format(tmp_path) for one in arguments]
    status, out, err = call(capsys, "hnsw", *given, *places(tmp_path)[:4])
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not any((tmp_path / "cache" / kind).exists() for kind in ("builds", "lid", "neighbours"))


def test_a_library_that_is_missing_is_refused_first(capsys, tmp_path, monkeypatch):
    saved(tmp_path)
    monkeypatch.setattr(graphs.by_hnswlib, "available", lambda: False)
    status, _, err = call(capsys, "hnsw", "--vectors", tmp_path / "v.npy", "--library", "hnswlib", *places(tmp_path))
    assert status == 2
    assert "library hnswlib is not installed: pip install 'posbench[hnsw]'" in err


def test_duplicates_and_zero_vectors_are_no_fault(tmp_path):
    docs = np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32)
    docs[::2] = 0
    docs[1::4] = docs[1]
    np.save(tmp_path / "odd.npy", docs)
    vectors = Vectors(file=str(tmp_path / "odd.npy"), queries=10)
    index = Index(library=("faiss",), m=(4,), ef_construction=(8,), ef_search=(70,))
    asked = Grid(vectors=(vectors,), index=(index,), orders=("lid-ascending",), level_seeds=2, probe=20)
    outcome = study.run("odd", asked, settings(tmp_path), jobs=1)
    recall = outcome.report.values("recall@10")
    assert np.isfinite(recall).all()
    assert (recall.min() >= 0, recall.max() <= 1) == (True, True)
    assert outcome.result.manifest["sets"][0]["ties"] > 0
    json.dumps(outcome.result.manifest, allow_nan=False)


def test_sets_of_few_documents_have_no_dimension(tmp_path):
    np.save(tmp_path / "few.npy", np.eye(4))
    vectors = Vectors(file=str(tmp_path / "few.npy"), queries=2)
    index = Index(library=("faiss",), m=(4,), ef_construction=(8,), ef_search=(8,))
    asked = Grid(vectors=(vectors,), index=(index,), k=2, level_seeds=2)
    outcome = study.run("few", asked, settings(tmp_path), jobs=1)
    assert outcome.report.values("recall@2").tolist() == [1.0] * 8
    assert outcome.result.manifest["sets"][0]["dimension"] == {"mle": {"value": None, "low": None, "high": None}}
    with pytest.raises(UsageError, match="order 'lid-ascending' needs the local intrinsic dimension"):
        study.run("few", msgspec.structs.replace(asked, orders=("lid-ascending",)), settings(tmp_path), jobs=1)


# the command


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    shape = json.dumps(SHAPE).replace(":", " =").replace('"', "")
    text = f"""
        description = "a [small] grid"
        orders = ["given", "category-shuffled-blocks"]
        data_seeds = 1
        level_seeds = 2
        probe = 50
        lid_k = 10
        [[vectors]]
        synthetic = "subspaces"
        parameters = {shape}
        documents = 300
        queries = 30
        [[index]]
        library = ["faiss"]
        m = [4]
        ef_construction = [8]
        ef_search = [10, 20, 40, 80, 160]
        """
    (folder / "small.toml").write_text(text)
    assert main(["hnsw", "--grid", str(folder / "small.toml"), "--json", *map(str, places(folder))]) == 0
    return folder


def test_json_is_one_object_with_intervals(capsys, file):
    status, out, err = call(capsys, "hnsw", "--grid", file / "small.toml", "--json", *places(file))
    assert (status, err, out.count("\n")) == (0, "", 1)
    found = json.loads(out)
    assert (found["grid"], found["k"], found["target"], found["seed"]) == ("small", 10, 0.95, 0)
    (one,) = found["sets"]
    for effect in one["effects"]:
        assert effect["recall"]["low"] <= effect["recall"]["value"] <= effect["recall"]["high"]
        assert effect["recall"]["p"] <= effect["recall"]["p_holm"] <= 1
    assert [arm["ef_search"] for arm in one["arms"] if arm["order"] == "random"] == [10, 20, 40, 80, 160]


def test_text_has_every_figure_whole(capsys, file):
    arguments = ("--grid", file / "small.toml", *places(file))
    (one,) = json.loads(call(capsys, "hnsw", *arguments, "--json")[1])["sets"]
    status, out, _ = call(capsys, "hnsw", *arguments)
    assert status == 0
    assert out.startswith("small  a [small] grid\n")
    assert "…" not in out
    for arm in one["arms"]:
        if arm["order"] == "random":
            assert bounds(arm["recall"], 3) in out
            assert bounds(arm["tail"], 3) in out
        if arm["ef_search"] == 160:
            built = arm["build_seconds"]
            assert f"{built['value']:.2f} ±{built['high'] - built['value']:.2f}" in out
            assert f"% of {arm['probed']}" in out
    for effect in one["effects"]:
        value, low, high = (round(100 * effect["recall"][key], 1) + 0.0 for key in ("value", "low", "high"))
        assert f"{value:+.1f} ({low:+.1f}..{high:+.1f})" in out
    for sentence in one["advice"]:
        assert f"- {sentence}" in out
    assert "computed before; --again computes it anew" in out
    assert "repeatable: each build has one thread (faiss-cpu" in out


def bounds(estimate, places):
    value, low, high = (round(estimate[key], places) + 0.0 for key in ("value", "low", "high"))
    return f"{value:.{places}f} ({low:.{places}f}..{high:.{places}f})"


def test_options_change_a_grid(capsys, file, tmp_path):
    arguments = ("--grid", file / "small.toml", *places(tmp_path), "--json", "--orders", "far-first", "--m", "6,8")
    arguments += ("--ef-search", 12, "--level-seeds", 3, "--k", 4, "--probe", 0, "--library", "faiss-once,faiss")
    status, out, _ = call(capsys, "hnsw", *arguments)
    found = json.loads(out)
    (one,) = found["sets"]
    assert (status, found["k"]) == (0, 4)
    arms = {(arm["library"], arm["m"], arm["ef_construction"], arm["ef_search"], arm["order"]) for arm in one["arms"]}
    libraries, orders = ("faiss", "faiss-once"), ("random", "far-first")
    assert arms == {(library, m, 8, 12, order) for library in libraries for m in (6, 8) for order in orders}
    assert {(arm["builds"], arm["probed"]) for arm in one["arms"]} == {(3, 0)}
    status, out, _ = call(capsys, "hnsw", *arguments, "--preset", "pgvector")
    assert {(arm["m"], arm["ef_construction"]) for arm in json.loads(out)["sets"][0]["arms"]} == {(6, 64), (8, 64)}


def test_a_result_is_listed_and_exported(capsys, file):
    (folder,) = (file / "out").glob("*/*/*")
    status, out, _ = call(capsys, "runs", "--out", file / "out")
    assert status == 0
    assert re.fullmatch(rf"small  hnsw  hnsw  recall@10 0\.\d+  .*{folder}\n", out)
    for form in ("csv", "parquet"):
        target = file / f"rows.{form}"
        assert call(capsys, "export", folder, "--format", form, "--to", target)[0] == 0
        rows = pyarrow.csv.read_csv(target) if form == "csv" else pq.read_table(target)
        recall = rows.filter(pa.compute.equal(rows["measure"].cast("string"), "recall@10"))["value"].to_numpy()
        stored = pq.read_table(folder / "queries.parquet")["recall@10"].to_numpy()
        np.testing.assert_allclose(recall, stored)
        assert len(stored) == 3 * 2 * 5 * 30


@pytest.mark.parametrize("command", ["bias", "compare", "plot", "trec"])
def test_commands_about_rankings_refuse_it_in_one_line(capsys, file, tmp_path, command):
    (folder,) = (file / "out").glob("*/*/*")
    assert call(capsys, "hnsw", "--grid", file / "small.toml", "--m", 6, *places(tmp_path))[0] == 0
    (other,) = (tmp_path / "out").glob("*/*/*")
    arguments = {
        "bias": ("bias", folder),
        "compare": ("compare", folder, other),
        "plot": ("plot", folder, "--kind", "curves", "--to", file / "x.svg"),
        "trec": ("export", folder, "--format", "trec", "--to", file / "x"),
    }
    status, out, err = call(capsys, *arguments[command])
    assert (status, out, err.count("\n")) == (2, "", 1)
    said = "nothing was ranked for these results (hnsw)" if command == "trec" else "is of `posbench hnsw`"
    assert said in err


def test_errors_of_a_process_arrive_as_they_are(tmp_path):
    place = builds.Place(tmp_path, "none")
    tasks = [builds.Task(place, np.arange(3), Build("faiss", 4, 8, seed), (10,), 1, 0) for seed in (0, 1)]
    with pytest.raises(KeyError):
        builds.run(iter(tasks), 2, 2)
    assert issubclass(UsageError, PosbenchError)
