"""``posbench lid``: real vectors of a model, vectors in files, and what is refused."""

import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from posbench import loaders
from posbench.cli import main
from posbench.hnsw import dimension
from posbench.hnsw.synthetic import generate
from posbench.rankers.dense import DenseRanker
from posbench.recipe import ROOT, ranker


def call(capsys, *arguments):
    status = main(["lid", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def file(tmp_path):
    made = generate("subspaces", 250, 20, 0, width=16, low=2, high=12, number=4)
    docs = made.docs.copy()
    docs[5] = docs[4]
    np.save(tmp_path / "docs.npy", docs)
    np.save(tmp_path / "queries.npy", made.queries)
    return docs, made.queries


def test_vectors_in_a_file(capsys, tmp_path, file):
    docs, queries = file
    arguments = ("--vectors", tmp_path / "docs.npy", "--queries", tmp_path / "queries.npy", "--k", 20)
    arguments += ("--cache", tmp_path / "cache", "--to", tmp_path / "d.parquet", "--queries-to", tmp_path / "q.csv")
    status, out, _ = call(capsys, *arguments, "--json")
    summary = json.loads(out)
    found, asked = dimension.lid(docs, 20), dimension.lid_at(queries, docs, 20)
    table = pq.read_table(tmp_path / "d.parquet")
    assert (status, table.column_names) == (0, ["dataset", "doc_id", "lid", "duplicates"])
    np.testing.assert_array_equal(table["lid"].to_numpy(), found.lid)
    np.testing.assert_array_equal(table["duplicates"].to_numpy(), found.duplicates)
    assert table["doc_id"].to_pylist() == [str(row) for row in range(250)]
    read = pyarrow.csv.read_csv(tmp_path / "q.csv")
    np.testing.assert_allclose(read["lid"].to_numpy(), asked.lid)
    (part,) = summary["parts"]
    assert part["lid"]["median"] == np.median(found.lid)
    assert (part["lid"]["with_duplicates"], part["queries"]["count"], part["error"]) == (2, 20, None)
    whole = dimension.whole(found)["mle"]
    assert part["whole"]["mle"] == {"value": whole.value, "low": whole.low, "high": whole.high, "documents": 250}
    _, text, remarks = call(capsys, *arguments)
    assert "docs: 250 documents of 16 numbers" in text
    assert f"maximum likelihood: {whole.value:.1f} ({whole.low:.1f}..{whole.high:.1f})" in text
    assert "2 have duplicates at distance zero" in text
    assert "q.csv: 20 rows" in remarks


def test_the_second_time_is_read_from_the_cache(capsys, tmp_path, file, monkeypatch):
    arguments = ("--vectors", tmp_path / "docs.npy", "--k", 20, "--sample", 120, "--json")
    arguments += ("--cache", tmp_path / "cache", "--to", tmp_path / "a.csv")
    first = call(capsys, *arguments)
    bytes_before = (tmp_path / "a.csv").read_bytes()
    calls = []
    compute = dimension.sampled
    monkeypatch.setattr(dimension, "sampled", lambda *a: calls.append(a) or compute(*a))
    again = call(capsys, *arguments)
    assert (again, calls) == (first, [])
    assert (tmp_path / "a.csv").read_bytes() == bytes_before
    assert call(capsys, *arguments, "--again") == first
    assert len(calls) == 1
    call(capsys, *arguments, "--seed", 1)
    assert len(calls) == 2


def test_a_sample_shows_its_error(capsys, tmp_path, file):
    status, out, _ = call(capsys, "--vectors", tmp_path / "docs.npy", "--k", 20, "--sample", 120, "--cache", tmp_path)
    assert status == 0
    assert "20 neighbours in a random sample of 120 documents" in out
    assert "against exact LID (k 20) of 250 documents: Spearman 0." in out
    assert "queries" not in out


def test_a_models_vectors_on_a_dataset(capsys, tmp_path):
    pytest.importorskip("wordllama")
    arguments = ("--model", "wordllama", "--dataset", "posir-mini", "--k", 30, "--cache", tmp_path / "cache")
    status, out, _ = call(capsys, *arguments, "--to", tmp_path / "d.parquet", "--queries-to", tmp_path / "q.parquet")
    assert status == 0
    assert out.startswith("wordllama on posir-mini/eng-Latn: intrinsic dimension of vectors")
    (collection,) = loaders.load("posir-mini")
    model = DenseRanker(ranker("wordllama"), cache=tmp_path / "cache")
    vectors = np.asarray(model.embeddings(collection.docs, "document")["vectors"])
    asked = np.asarray(model.embeddings(collection.queries, "query")["vectors"])
    table, queries = pq.read_table(tmp_path / "d.parquet"), pq.read_table(tmp_path / "q.parquet")
    assert table["doc_id"].to_pylist() == collection.doc_ids.to_pylist()
    assert queries["query_id"].to_pylist() == collection.query_ids.to_pylist()
    np.testing.assert_array_equal(table["lid"].to_numpy(), dimension.lid(vectors, 30).lid)
    np.testing.assert_array_equal(queries["lid"].to_numpy(), dimension.lid_at(asked, vectors, 30).lid)
    assert f"LID at {len(collection.query_ids)} queries, 30 neighbours" in out


def test_undefined_figures_are_said_to_be(capsys, tmp_path):
    np.save(tmp_path / "same.npy", np.ones((6, 3)))
    arguments = ("--vectors", tmp_path / "same.npy", "--k", 4, "--cache", tmp_path, "--to", tmp_path / "d.csv")
    status, out, _ = call(capsys, *arguments)
    assert status == 0
    assert "undefined for all; 6 have duplicates" in out
    assert "two-NN: undefined, 0 documents have a value" in out
    assert '"same","0",,4' in (tmp_path / "d.csv").read_text()
    part = json.loads(call(capsys, *arguments, "--json")[1])["parts"][0]
    assert (part["lid"]["median"], part["whole"]["mle"]["value"]) == (None, None)


ERRORS = {
    "nothing": ((), "found neither of --model and --vectors"),
    "both": (("--model", "wordllama", "--vectors", "{}/docs.npy"), "found both of --model and --vectors"),
    "no embeddings": (("--model", "bm25"), "bm25 does not embed texts; expected an embedding model"),
    "large k": (("--vectors", "{}/docs.npy", "--k", "250"), "docs: k 250: found 249 possible neighbours"),
    "large sample": (("--vectors", "{}/docs.npy", "--sample", "251"), "docs: sample of 251"),
    "negative sample": (("--vectors", "{}/docs.npy", "--sample", "-1"), "--sample -1; expected 0"),
    "queries alone": (("--model", "wordllama", "--queries", "{}/queries.npy"), "--queries without --vectors"),
    "unknown form": (("--vectors", "{}/docs.npy", "--to", "x.json"), "x.json: found a file of kind '.json'"),
    "no file": (("--vectors", "{}/none.npy"), "none.npy: found no such file"),
    "NaN": (("--vectors", "{}/nan.npy"), "nan.npy: row 2 holds a number that is not finite"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line_and_status_2(capsys, tmp_path, file, arguments, message):
    broken = file[0].copy()
    broken[2, 1] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    status, out, err = call(capsys, *(one.format(tmp_path) for one in arguments), "--cache", tmp_path / "cache")
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_documents_in_windows_have_no_one_vector(capsys, tmp_path):
    pytest.importorskip("wordllama")
    text = (ROOT / "rankers" / "wordllama.toml").read_text().replace("[[source]]", 'window = "max"\n\n[[source]]')
    (tmp_path / "windows.toml").write_text(text.replace("max_tokens = 1000000", "max_tokens = 64"))
    status, _, err = call(capsys, "--model", tmp_path / "windows.toml", "--cache", tmp_path / "cache")
    assert status == 2
    assert "windows gives a document a vector for each window; expected one a document" in err
