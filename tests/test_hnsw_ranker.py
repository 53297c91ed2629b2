"""Dense retrieval through an index: presets, recipes, the ranker against exact search, and ``eval --index``."""

import json
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import pytest

from posbench import indexed, loaders, rankers, recipe
from posbench.cli import main
from posbench.errors import MissingPartError, RecipeError, UsageError
from posbench.hnsw import presets
from posbench.rankers import hnsw
from posbench.recipe import HnswRecipe
from posbench.types import Collection, Qrels, Run, strings

pytest.importorskip("wordllama")


def collection(texts, queries=("where is honey kept", "lamps at sea")):
    none = np.empty(0, np.int32)
    return Collection(
        name="made",
        doc_ids=strings([f"d{i:04}" for i in range(len(texts))]),
        docs=strings(list(texts)),
        query_ids=strings([f"q{i}" for i in range(len(queries))]),
        queries=strings(list(queries)),
        qrels=Qrels.from_pairs(none, none, none, len(queries)),
    )


@pytest.fixture(scope="module")
def texts():
    words = "bees honey comb sea lamp lens keeper ice air core river stone wind harbour bread salt".split()
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, 6)) for _ in range(500)]


def build(index, cache, model="wordllama", depth=1000, window=""):
    name, chosen = rankers.windowed(*rankers.resolve(model), window)
    return rankers.build(rankers.indexed(name, chosen, index)[1], depth=depth, cache=cache, name=name)


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


# presets


def test_shipped_presets_hold_what_was_read_and_where():
    found = presets.presets()
    assert {"hnswlib", "faiss", "pgvector", "weaviate", "marqo"} <= set(found)
    assert (found["pgvector"].m, found["pgvector"].ef_construction, found["pgvector"].ef_search) == (16, 64, 40)
    assert all(one.source.startswith("https://") for one in found.values())
    assert recipe.names("rankers")  # the presets are no ranker
    assert "presets" not in recipe.names("rankers")


def test_libraries_defaults_are_those_of_the_installed_libraries():
    import faiss

    graph = faiss.HNSW()
    mine = presets.preset("faiss")
    assert (mine.m, mine.ef_construction, mine.ef_search) == (
        graph.nb_neighbors(1),
        graph.efConstruction,
        graph.efSearch,
    )


@pytest.mark.parametrize(("k", "ef"), [(1, 100), (10, 100), (20, 160), (100, 500), (1000, 1000)])
def test_weaviates_list_follows_the_number_of_results(k, ef):
    assert presets.preset("weaviate").ef_search.at(k) == ef


def test_presets_are_listed_with_their_sources(capsys):
    _, out, _ = call(capsys, "list", "presets")
    assert "M 16, efConstruction 64, efSearch 40; https://github.com/pgvector" in out
    assert "efSearch 8 a result asked for, 100 to 500" in out
    assert "efSearch as many as results asked for, at least 16" in out


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(RecipeError, match=r"no index preset 'pgvektor' \(did you mean pgvector\?\); known are hnswlib"):
        presets.preset("pgvektor")


@pytest.mark.parametrize(
    "text",
    [
        "[a]\nm = 1\nef_construction = 1\nef_search = 1\nsource = 'https://x'",
        "[a]\nm = 2\nef_construction = 0\nef_search = 1\nsource = 'https://x'",
        "[a]\nm = 2\nef_construction = 1\nef_search = 0\nsource = 'https://x'",
        "[a]\nm = 2\nef_construction = 1\nef_search = {factor = 1, least = 5, most = 4}\nsource = 'https://x'",
        "[a]\nm = 2\nef_construction = 1\nef_search = 1\nsource = ''",
        "[a]\nm = 2\nef_construction = 1\nef_search = 1\nsource = 'https://x'\nother = 1",
        "[a",
    ],
)
def test_a_wrong_file_of_presets_is_refused(text, tmp_path):
    (tmp_path / "presets.toml").write_text(text)
    with pytest.raises(RecipeError, match=r"presets\.toml: not a file of presets"):
        presets.read(tmp_path / "presets.toml")


# what --index says


@pytest.mark.parametrize(
    ("index", "name"),
    [
        ("hnsw:pgvector", "wordllama+hnsw-pgvector"),
        ("hnsw:m=8,ef_construction=20,ef_search=30", "wordllama+hnsw-m8-efc20-efs30"),
        (
            "hnsw:pgvector,ef_search=80,library=faiss,order=random,seed=3",
            "wordllama+hnsw-pgvector-efs80-faiss-random-s3",
        ),
        ("", "wordllama"),
    ],
)
def test_the_name_says_what_is_not_as_usual(index, name):
    assert rankers.indexed(*rankers.resolve("wordllama"), index)[0] == name


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("pgvector", r"expected hnsw:PRESET \(hnswlib,"),
        ("hnsw:", "expected hnsw:PRESET"),
        ("ivf:m=1", "expected hnsw:PRESET"),
        ("hnsw:m=16", "ef_construction, ef_search missing"),
        ("hnsw:pgvector,m=x", r"`int`|int"),
        ("hnsw:pgvector,m=-3", "0 or more"),
        ("hnsw:pgvector,depth=3", "the keys are preset, library, m"),
        ("hnsw:pgvector,m=2,m=3", "gives m twice"),
        ("hnsw:pgvector,library=annoy", "invalid enum value 'annoy'"),
        ("hnsw:pgvektor", "did you mean pgvector"),
    ],
)
def test_an_index_written_wrong_is_refused(index, message):
    with pytest.raises((UsageError, RecipeError), match=message):
        rankers.indexed(*rankers.resolve("wordllama"), index)


def test_only_dense_rankers_with_one_vector_a_document_are_indexed(tmp_path):
    with pytest.raises(UsageError, match="for dense rankers; bm25 is none"):
        rankers.indexed(*rankers.resolve("bm25"), "hnsw:pgvector")
    twice = rankers.indexed(*rankers.resolve("wordllama"), "hnsw:pgvector")
    with pytest.raises(UsageError, match="indexed already"):
        rankers.indexed(*twice, "hnsw:pgvector")
    with pytest.raises(UsageError, match="one vector a document"):
        rankers.build(HnswRecipe(description="", ranker="bm25", preset="pgvector"), depth=10, cache=tmp_path, name="x")
    with pytest.raises(UsageError, match="best window have several: use window average"):
        build("hnsw:pgvector", tmp_path, window="max")
    if "cagra" not in hnsw.graphs.available():
        with pytest.raises(MissingPartError, match="needs a GPU"):
            build("hnsw:pgvector,library=cagra", tmp_path)
    with pytest.raises(UsageError, match="m 1; expected 2"):
        build("hnsw:pgvector,m=1", tmp_path)


def test_a_recipe_file_names_its_ranker_by_name_or_by_a_file_beside_it(tmp_path):
    dense = recipe.path_of("wordllama", "rankers").read_text()
    (tmp_path / "mine.toml").write_text(dense)
    for ranker in ("wordllama", "mine.toml"):
        (tmp_path / "index.toml").write_text(
            f"kind = 'hnsw'\ndescription = 'x'\nranker = '{ranker}'\npreset = 'qdrant'\nseed = 2\n"
        )
        name, found = rankers.resolve(str(tmp_path / "index.toml"))
        used = rankers.build(found, depth=10, cache=tmp_path / "cache", name=name).describe()
        assert name == "index"
        assert used["index"]["ef_search"] == 100
        assert used["ranker"]["kind"] == "dense"
    (tmp_path / "index.toml").write_text("kind = 'hnsw'\ndescription = 'x'\nranker = 'e5'\nm = 3\n")
    with pytest.raises(RecipeError, match="needs a preset, or m, ef_construction and ef_search"):
        recipe.read(tmp_path / "index.toml", "rankers")


# the ranker


@pytest.mark.parametrize("library", ["auto", "faiss", "faiss-once"])
@pytest.mark.parametrize("order", ["given", "random"])
def test_a_long_list_gives_the_run_of_exact_search(texts, tmp_path, library, order):
    made = collection(texts)
    exact = rankers.build(recipe.ranker("wordllama"), depth=50, cache=tmp_path, name="wordllama").rank(made)
    ranker = build(f"hnsw:m=32,ef_construction=200,ef_search=500,library={library},order={order}", tmp_path, depth=50)
    found = ranker.rank(made)
    assert indexed.recall(found, exact, 50).tolist() == [1.0, 1.0]
    assert np.array_equal(found.scores, exact.scores)


def test_real_documents_are_found_by_a_databases_parameters_in_any_order(shared, tmp_path):
    (real,) = loaders.load(str(shared / "cranfield"))
    exact = rankers.build(recipe.ranker("wordllama"), depth=10, cache=tmp_path, name="wordllama").rank(real)
    shares = [
        indexed.recall(build(f"hnsw:{index}", tmp_path).rank(real), exact, 10).mean()
        for index in ("pgvector", "pgvector,order=random", "m=3,ef_construction=5,ef_search=10")
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert shares[2] + 0.1 < shares[0] <= 1
    assert shares[0] > 0.95


def test_no_more_results_than_the_list_and_the_documents(texts, tmp_path):
    made = collection(texts)
    assert build("hnsw:pgvector", tmp_path).rank(made).docs.shape == (2, 40)
    assert build("hnsw:pgvector", tmp_path, depth=7).rank(made).docs.shape == (2, 7)
    few = build("hnsw:pgvector", tmp_path).rank(collection(texts[:3]))
    assert sorted(few.docs[0].tolist()) == [0, 1, 2]
    assert build("hnsw:pgvector", tmp_path).rank(collection([])).docs.shape == (2, 0)
    assert build("hnsw:pgvector", tmp_path).rank(collection(texts, ())).docs.shape == (0, 40)


def test_empty_texts_and_duplicates_are_found_like_others(texts, tmp_path):
    made = collection(["", *texts[:30], *texts[:30], ""])
    found = build("hnsw:m=16,ef_construction=100,ef_search=100", tmp_path).rank(made)
    exact = rankers.build(recipe.ranker("wordllama"), depth=100, cache=tmp_path, name="wordllama").rank(made)
    assert indexed.recall(found, exact, 10).tolist() == [1.0, 1.0]


def test_library_auto_is_the_one_that_is_installed_and_named(tmp_path, monkeypatch):
    used = build("hnsw:pgvector", tmp_path).describe()["index"]
    expected = "hnswlib" if find_spec("hnswlib") else "faiss"
    assert used["library"] == expected
    assert any(name.startswith(expected) for name in used["versions"])
    monkeypatch.setattr(hnsw.graphs, "available", lambda: ["faiss", "faiss-once"])
    assert build("hnsw:pgvector", tmp_path).describe()["index"]["library"] == "faiss"


def test_a_stored_graph_is_used_and_another_build_is_another_graph(texts, tmp_path, monkeypatch):
    made = collection(texts)
    first = build("hnsw:pgvector,library=faiss", tmp_path)
    run, about = first.rank(made), first.index(made)
    assert len(list((tmp_path / "graphs").glob("*/*/about.json"))) == 1
    build("hnsw:pgvector,library=faiss,seed=1", tmp_path).rank(made)
    build("hnsw:pgvector,library=faiss,order=random", tmp_path).rank(made)
    assert len(list((tmp_path / "graphs").glob("*/*/about.json"))) == 3

    def refuse(*arguments, **names):
        raise AssertionError("the graph was built again")

    monkeypatch.setattr(hnsw.graphs, "build", refuse)
    again = build("hnsw:pgvector,library=faiss", tmp_path)
    assert np.array_equal(again.rank(made).docs, run.docs)
    assert again.index(made) == about
    assert about["metric"] == "l2"
    assert about["bytes"] > 500 * 256 * 4
    assert not about["not_repeatable"]


def test_vectors_of_other_lengths_are_indexed_by_inner_product(texts, tmp_path):
    dense = recipe.ranker("wordllama")
    raw = msgspec.structs.replace(dense, encode=msgspec.structs.replace(dense.encode, normalize=False))
    made = collection(texts)
    exact = rankers.build(raw, depth=10, cache=tmp_path, name="wordllama").rank(made)
    index = HnswRecipe(description="", ranker=raw, m=32, ef_construction=400, ef_search=500, library="faiss")
    ranker = rankers.build(index, depth=10, cache=tmp_path, name="wordllama")
    assert indexed.recall(ranker.rank(made), exact, 10).tolist() == [1.0, 1.0]
    assert ranker.index(made)["metric"] == "ip"
    assert "no metric" in ranker.index(made)["metric_reason"]


# recall against exact search


def test_ties_at_the_last_score_count_as_found():
    exact = Run(np.array([[0, 1, 2]], np.int32), np.array([[3, 2, 2]], np.float32))
    other = Run(np.array([[0, 3, -1]], np.int32), np.array([[3, 2, 0]], np.float32))
    worse = Run(np.array([[0, 4, -1]], np.int32), np.array([[3, 1, 0]], np.float32))
    assert indexed.recall(other, exact, 2).tolist() == [1.0]
    assert indexed.recall(worse, exact, 2).tolist() == [0.5]
    assert indexed.recall(worse, exact, 10).tolist() == [1 / 3]


def test_padding_is_never_a_hit_even_where_scores_are_negative():
    exact = Run(np.array([[0, 1]], np.int32), np.array([[-1, -2]], np.float32))
    found = Run(np.array([[0, -1]], np.int32), np.array([[-1, 0]], np.float32))
    assert indexed.recall(found, exact, 2).tolist() == [0.5]


# eval --index


def test_eval_says_what_the_index_costs(capsys, tmp_path):
    places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    base = ["eval", "--model", "wordllama", "--dataset", "posir-mini/eng", *places]
    _, out, _ = call(capsys, *base, "--json")
    exact = json.loads(out)
    weak = [*base, "--index", "hnsw:m=3,ef_construction=5,ef_search=10,library=faiss"]
    status, out, _ = call(capsys, *weak, "--json")
    found = json.loads(out)
    assert status == 0
    assert "index" not in exact
    assert found["ranker"] == "wordllama+hnsw-m3-efc5-efs10-faiss"
    index = found["index"]
    assert index["versions"]
    assert index["depth"] == 10
    for name, mean in exact["measures"].items():
        assert index["measures"][name]["exact"] == pytest.approx(mean, abs=1e-12)
        assert index["measures"][name]["index"] == pytest.approx(found["measures"][name], abs=1e-12)
    assert index["measures"]["nDCG@10"]["difference"] < 0 < index["recall"]["10"]["mean"] < 1
    assert list(index["recall"]) == ["10"]  # 100 is more than the index gives
    assert index["bias"]["exact"] == pytest.approx(exact["bias"]["tests"]["signed"]["all"]["value"])
    assert index["bias"]["index"] == pytest.approx(found["bias"]["tests"]["signed"]["all"]["value"])
    status, out, _ = call(capsys, *weak)
    assert "recall@10 against exact search: 0." in out
    assert "nDCG@10: " in out
    assert "by exact search: difference -" in out
    assert "signed index of position bias" in out
    assert "it gives at most 10 results a query" in out


def test_a_finished_indexed_result_takes_further_measures(capsys, tmp_path):
    places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache", "--json"]
    base = ["eval", "--model", "wordllama", "--dataset", "posir-mini/spa", "--index", "hnsw:pgvector", *places]
    _, first, _ = call(capsys, *base)
    _, out, _ = call(capsys, *base, "--measures", "P@1")
    again = json.loads(out)
    assert again["result"] == json.loads(first)["result"]
    assert set(again["index"]["measures"]) == {"P@1"}
    assert again["index"]["recall"] == json.loads(first)["index"]["recall"]
    manifest = json.loads((Path(again["result"]) / "manifest.json").read_text())
    assert manifest["index"]["preset"] == "pgvector"
    assert manifest["index"]["collections"]["posir-mini/spa-Latn"]["documents"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "bm25", "--index", "hnsw:pgvector"], "--index is for dense rankers"),
        (["--model", "wordllama", "--index", "hnsw:pgvektor"], "did you mean pgvector"),
        (["--model", "wordllama", "--index", "hnsw:pgvector", "--controls"], "run --controls without --index"),
        (["--model", "wordllama", "--index", "hnsw:pgvector", "--window", "max"], "use window average"),
    ],
)
def test_what_cannot_be_indexed_is_one_line_and_status_2(arguments, message, capsys, tmp_path):
    status, out, err = call(capsys, "eval", *arguments, "--out", tmp_path, "--cache", tmp_path)
    assert status == 2
    assert not out
    assert message in err
    assert err.count("\n") == 1
