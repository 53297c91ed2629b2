"""Pointwise rerankers: how answers are read, what scores are made of them, and what happens where there are none."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import rankers, recipe
from posbench.errors import MissingPartError, RecipeError, UsageError
from posbench.rankers import grades, llm
from posbench.rankers.llm.calls import Answer, Message, Request, Token
from posbench.rankers.llm.instant import PROBABILITY, InstantBackend
from posbench.rankers.llm.prompts import Template, template
from posbench.rankers.pointwise import PointwiseRanker
from posbench.reranking import Backend, PointwiseRecipe
from posbench.sources import Source
from posbench.types import Run, strings

INSTANT = Backend(engine="instant", reply="<think>hm 3</think><answer>7</answer>")


def graded(tmp_path, reply=None, backend=INSTANT, answering=None, **changes):
    fields = {"method": "graded", "prompt": "erank", "answer_tokens": 64, "instruction": "Find it.", **changes}
    made = PointwiseRecipe(description="d", licence="l", backend=backend, **fields)
    if reply is not None:
        answering = InstantBackend(backend, tmp_path, reply, name="test")
    return PointwiseRanker(made, cache=tmp_path, backend=answering)


def all_candidates(collection):
    shape = (len(collection.queries), len(collection.docs))
    return Run.ranked(np.tile(np.arange(shape[1]), (shape[0], 1)), np.zeros(shape), collection.doc_order)


READ = [
    ("<think>a</think><answer>7</answer>", "stop", 7, "ok"),
    ("<think>a</think>\n<answer> 10 </answer>\n", "stop", 10, "ok"),
    ("<answer>07</answer>", "stop", 7, "ok"),
    ("<answer>0</answer>", "stop", 0, "ok"),
    ("<think>of 10: <answer>3</answer></think><answer>7</answer>", "stop", 7, "ok"),
    ("<answer>integer</answer> ... <answer>4</answer>", "stop", 4, "ok"),
    ("<answer>3</answer><answer>4</answer>", "stop", 4, "several"),
    ("<answer>4</answer><answer>4</answer>", "stop", 4, "ok"),
    ("<answer>7", "stop", 7, "ok"),  # a stop text took the end
    ("<answer>1", "length", None, "truncated"),  # may be the beginning of 10
    ("<answer>", "length", None, "truncated"),
    ("<think>it is 7", "length", None, "truncated"),
    ("<think>it is 7", "stop", None, "no_score"),
    ("<think>a</think>8", "stop", 8, "untagged"),
    ("8", "stop", 8, "untagged"),
    ("8", "length", None, "truncated"),
    ("The answer is 0.", "stop", None, "no_score"),
    ("", "stop", None, "empty"),
    ("<answer></answer>", "stop", None, "empty"),
    ("<answer>11</answer>", "stop", None, "out_of_range"),
    ("<answer>-1</answer>", "stop", None, "not_an_integer"),
    ("<answer>7.5</answer>", "stop", None, "not_an_integer"),
    ("<answer>7/10</answer>", "stop", None, "not_an_integer"),
    ("7/10", "stop", None, "not_an_integer"),
    ("<answer>seven</answer>", "stop", None, "not_an_integer"),
    ("<answer>" + "9" * 5000 + "</answer>", "stop", None, "out_of_range"),
    ("<answer>\u0667</answer>", "stop", None, "not_an_integer"),  # an Arabic seven
    ("", "filtered", None, "filtered"),
    ("", "too_long", None, "too_long"),
]


@pytest.mark.parametrize(("text", "finish", "score", "kind"), READ)
def test_answers_are_read(text, finish, score, kind):
    grade = grades.read(text, finish)
    assert (grade.score, grade.kind) == (score, kind)
    if score is not None:
        assert int(text[grade.start : grade.end]) == score


PIECES = st.sampled_from(
    ["<answer>", "</answer>", "<think>", "</think>", "7", "10", "11", " ", "\n", "-", ".", "x", "\u0663"]
)


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)), st.sampled_from(["stop", "length", "filtered", "too_long"]))
@settings(max_examples=500)
def test_no_text_breaks_the_reader(text, finish):
    grade = grades.read(text, finish)
    assert (grade.score is not None) == (grade.kind in grades.ACCEPTED)
    assert grade.score is None or (0 <= grade.score <= 10 and int(text[grade.start : grade.end]) == grade.score)
    assert grade.kind in msgspec.json.schema(grades.Kind)["enum"]


@given(
    st.text(alphabet="ab <>/think0123456789\n").filter(lambda t: "<answer" not in t and "</think>" not in t),
    st.integers(0, 10),
)
def test_a_well_formed_answer_is_found_behind_any_reasoning(thought, score):
    grade = grades.read(f"<think>{thought}</think><answer>{score}</answer>")
    assert (grade.score, grade.kind) == (score, "ok")


def tokens(*rows):
    return [Token(text, math.log(p), tuple((t, math.log(q)) for t, q in top.items())) for text, p, top in rows]


def test_the_published_score_takes_the_probability_of_all_tokens_that_spell_it():
    split = tokens(("<answer>", 1, {}), ("1", 0.5, {}), ("0", 0.8, {}), ("</", 0.9, {}))
    assert grades.probability(split, grades.spelled(split, "10")) == pytest.approx(0.4)
    whole = tokens(("3 <answer", 1, {}), (">10", 0.25, {}), ("</answer> 10", 0.1, {}))
    place = grades.spelled(whole, "10")
    assert (place.first, place.last, place.before) == (1, 2, ">")
    assert grades.probability(whole, place) == pytest.approx(0.25)
    assert grades.spelled(split, "1") is None


def test_the_expected_score_parts_1_and_10():
    first = tokens(("1", 0.5, {"1": 0.5, "7": 0.2, " 7": 0.1, "10": 0.05, "x": 0.1}))[0]
    behind = tokens(("0", 0.6, {"0": 0.6, "<": 0.3, "5": 0.1}))[0]
    shares = grades.distribution(grades.first_digits(first, ""), grades.followed(behind))
    wanted = {1: 0.5 * 0.3, 7: 0.3, 10: 0.5 * 0.6 + 0.05}
    np.testing.assert_allclose(shares, [wanted.get(score, 0) for score in range(11)], atol=1e-12)
    assert grades.expected(shares) == pytest.approx((0.15 + 2.1 + 3.5) / 0.8)
    assert math.isnan(grades.expected([0.0] * 11))


def test_a_prompt_fills_all_fields_at_once_and_leaves_other_braces():
    filled = Template("[system]\nBe {brief}.\n[user]\n{query} | {document}\n[opening]\n<a>\\n", "x").fill(
        {"query": "{document}", "document": "{query} {x}"}
    )
    assert filled == Request(
        (Message("system", "Be {brief}."), Message("user", "{document} | {query} {x}")), opening="<a>\n"
    )
    assert Template("as it is \\n {query}", "x").fill({"query": "q"}).messages == (Message("user", "as it is \\n q"),)
    for text in ("[text]\na\n[user]\nb", "[opening]\nx"):
        with pytest.raises(RecipeError, match="found both or none"):
            Template(text, "x")
    with pytest.raises(RecipeError, match=r"no place for \{document\}"):
        Template("{query}", "x").require("query", "document")
    with pytest.raises(RecipeError, match="did you mean erank"):
        template("erang")


def test_shipped_prompts_have_the_published_order_and_openings():
    filled = template("erank").fill({"query": "QQ", "document": "DD", "instruction": "II"})
    assert [message.role for message in filled.messages] == ["user"]
    text = filled.messages[0].content
    assert text.index("II") < text.index("QQ") < text.index("DD") < text.index("<answer>")
    only = template("erank-answer-only").fill({"query": "QQ", "document": "DD", "instruction": "II"})
    assert (only.messages, only.opening) == (filled.messages, "<think>\n\n</think>\n\n<answer>")
    assert template("yes-no").opening == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(("score", "value"), [("integer", 7.0), ("published", 7 * PROBABILITY), ("expected", 7.0)])
def test_the_three_scores_of_one_answer(tiny, tmp_path, score, value):
    run = graded(tmp_path, score=score).rank(tiny, all_candidates(tiny))
    np.testing.assert_allclose(run.scores, value, rtol=1e-6)
    assert run.docs[0].tolist() == [2, 1, 0]  # ties by document id, descending


def oracle(collection):
    """Answers 10 for a relevant document and 0 for any other."""
    relevant = {
        (collection.queries[q].as_py(), collection.docs[d].as_py())
        for q, d, g in zip(collection.qrels.queries, collection.qrels.docs, collection.qrels.grades, strict=True)
        if g > 0
    }
    queries, docs = collection.queries.to_pylist(), collection.docs.to_pylist()

    def reply(request):
        text = request.messages[-1].content
        pair = (next(q for q in queries if q in text), next(d for d in docs if d in text))
        return f"<think>x</think><answer>{10 if pair in relevant else 0}</answer>"

    return reply


def test_an_oracle_puts_relevant_documents_first(tiny, tmp_path):
    run = graded(tmp_path, oracle(tiny)).rank(tiny, all_candidates(tiny))
    assert (run.docs[0, 0], run.docs[1, 0]) == (0, 1)
    assert run.scores[0].tolist() == pytest.approx([10 * PROBABILITY**2, 0, 0])


def test_an_answer_without_a_score_is_asked_for_again_and_then_falls_back(tiny, tmp_path):
    def reply(request):
        return "<answer>6</answer>" if request.sample == 2 and "Bees" in request.messages[0].content else "no idea"

    ranker = graded(tmp_path, reply, score="integer", asks=3)
    run = ranker.rank(tiny, all_candidates(tiny))
    assert run.scores.tolist() == [[6, 0, 0]] * 3
    facts = ranker.facts()
    assert facts["answers"] == {"asked_again": 9 + 9, "no_score": 6, "ok": 3}
    assert (facts["fallbacks"], facts["cost"]["calls"]) == (6, 27)


def test_the_mean_of_the_query_can_be_the_fallback(tiny, tmp_path):
    def reply(request):
        return {"B": "<answer>6</answer>", "A": "<answer>2</answer>"}.get(_document(request)[0], "?")

    run = graded(tmp_path, reply, score="integer", fallback="mean").rank(tiny, all_candidates(tiny))
    assert run.scores.tolist() == [[6, 4, 2]] * 3


def _document(request):
    return request.messages[0].content.split("# Document\n")[1]


def test_few_candidates_none_and_odd_documents(tmp_path, tiny):
    texts = ["", "the same", "the same", "bees " * 3000]
    docs = strings(texts)
    collection = replace(tiny, docs=docs, doc_ids=strings(["a", "b", "c", "d"]), evidence=None)
    candidates = Run(np.array([[1, 2, -1], [3, 0, -1], [-1, -1, -1]], np.int32), np.zeros((3, 3), np.float32))
    ranker = graded(tmp_path)
    run = ranker.rank(collection, candidates)
    assert [sorted(row[row >= 0].tolist()) for row in run.docs] == [[1, 2], [0, 3], []]
    assert run.scores[0, 0] == run.scores[0, 1]
    assert ranker.facts()["cost"]["cached"] == 1  # the same text twice is one call
    none = Run(np.full((3, 0), -1, np.int32), np.zeros((3, 0), np.float32))
    assert ranker.rank(collection, none).depth == 0


def test_documents_are_cut_at_their_limit_then_to_fit_then_refused(tiny_llm, tmp_path, tiny):
    source = (Source(path=str(tiny_llm)),)
    seen = []

    def reply(request):
        seen.append(request)
        return "<answer>5</answer>"

    backend = msgspec.structs.replace(INSTANT, source=source, context=700)
    answering = InstantBackend(backend, tmp_path, reply, name="test")
    ranker = graded(tmp_path, backend=backend, answering=answering, document_tokens=1000, score="integer")
    count = answering.tokens.ids
    texts = {"short": "bees", "long": "bees and honey " * 200, "huge": "bees and honey " * 2000}
    found = ranker.pairs(strings(["honey"] * 3), strings(list(texts.values())))
    assert found.tolist() == [5, 5, 5]
    assert [len(count([request])[0]) <= 700 - 64 for request in seen] == [True] * len(seen)
    assert max(len(count([request])[0]) for request in seen) >= 700 - 64 - 4  # as much as fits, no less
    assert ranker.facts()["fit"] == {"document_cut": 2, "document_cut_to_fit": 2}
    refused = ranker.pairs(strings(["honey " * 3000]), strings(["bees"]))
    assert refused.tolist() == [0]
    assert ranker.facts()["fit"]["refused"] == 1
    assert ranker.facts()["answers"]["too_long"] == 1


def test_instructions_are_chosen_by_the_collections_name(tmp_path):
    ranker = graded(tmp_path, instructions={"bright/aops": "A", "bright*": "B", "beir": "C"})
    names = ["bright/aops", "bright/biology", "beir/scifact", "other"]
    assert [ranker.instruction(name) for name in names] == ["A", "B", "C", "Find it."]


def test_a_reranker_without_candidates_says_what_to_do(tiny, tmp_path):
    with pytest.raises(UsageError, match="--rerank"):
        graded(tmp_path).rank(tiny)


def test_a_second_ranker_reads_the_cache_and_gives_the_same_bytes(tiny, tmp_path):
    first = graded(tmp_path, oracle(tiny)).rank(tiny, all_candidates(tiny))

    def never(request):
        raise AssertionError("asked again")

    second = graded(tmp_path, never)
    run = second.rank(tiny, all_candidates(tiny))
    assert (run.docs.tobytes(), run.scores.tobytes()) == (first.docs.tobytes(), first.scores.tobytes())
    assert second.facts()["cost"]["cached"] == 9


def model(folder, tmp_path):
    return llm.backend(Backend(engine="transformers", source=(Source(path=str(folder)),)), tmp_path)


def after(backend, text):
    """The probabilities of all next tokens behind a text, by one plain pass: independent of decode.py."""
    torch = pytest.importorskip("torch")
    ids = backend.tokens.own(text, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        return torch.softmax(backend._decoder.model(torch.tensor([ids])).logits[0, -1].double(), -1)


def test_expected_scores_of_a_model_are_exact_where_10_is_two_tokens(tiny_llm, tmp_path, tiny):
    backend = model(tiny_llm, tmp_path)
    ranker = graded(tmp_path, answering=backend, prompt="erank-answer-only", score="expected", answer_tokens=2)
    run = ranker.rank(tiny, all_candidates(tiny))
    digit = [backend.tokens.target(str(n)) for n in range(10)]
    assert all(len(ids) == 1 for ids in digit)
    assert len(backend.tokens.target("10")) == 2
    for q, row in enumerate(run.docs.tolist()):
        for place, doc in enumerate(row):
            fields = {"query": tiny.queries[q].as_py(), "document": tiny.docs[doc].as_py(), "instruction": "Find it."}
            text = backend.tokens.render(template("erank-answer-only").fill(fields))
            first, second = after(backend, text), after(backend, text + "1")
            p = {n: float(first[digit[n][0]]) for n in range(10)}
            one = p.pop(1)
            p[10] = one * float(second[digit[0][0]])
            p[1] = one * (1 - sum(float(second[ids[0]]) for ids in digit))
            wanted = sum(score * share for score, share in p.items()) / sum(p.values())
            # Behind a digit may come more text in the same token; the tiny vocabulary has no such token.
            assert run.scores[q, place] == pytest.approx(wanted, abs=2e-3)
    assert ranker.facts()["score_mass"] > 0


@pytest.mark.parametrize("score", ["probability", "margin"])
def test_two_words_are_compared(tiny_llm, tmp_path, tiny, score):
    backend = model(tiny_llm, tmp_path)
    ranker = graded(tmp_path, answering=backend, method="binary", prompt="yes-no", score=score, labels=("y", "n"))
    run = ranker.rank(tiny, all_candidates(tiny))
    fields = {"query": tiny.queries[0].as_py(), "document": tiny.docs[int(run.docs[0, 0])].as_py()}
    text = backend.tokens.render(template("yes-no").fill({**fields, "instruction": "Find it."}))
    yes, no = (float(after(backend, text)[backend.tokens.target(word)[0]]) for word in ("y", "n"))
    wanted = yes / (yes + no) if score == "probability" else math.log(yes / no)
    assert run.scores[0, 0] == pytest.approx(wanted, abs=1e-3)
    assert ranker.facts()["answers"] == {"ok": 9}
    assert 0 < ranker.facts()["score_mass"] < 0.1  # a random model of 300 tokens


def test_log_odds_keep_the_order_where_probabilities_tie(tmp_path):
    """Three documents that a model is all but sure of, as reasoning models are."""

    class Sure(InstantBackend):
        def answers(self, requests, sampling):
            for row, request in enumerate(requests):
                no = -20.0 - len(request.messages[-1].content.rpartition("<Document>: ")[2])
                yield [(row, Answer("yes", "length", 1, 1, 0, (Token("yes", -1e-9, (("yes", -1e-9), ("no", no))),)))]

    fields = {"method": "binary", "prompt": "yes-no", "answering": Sure(INSTANT, tmp_path, name="sure")}
    asked = strings(["q"] * 3), strings(["a", "aaa", "aa"])
    ranker = graded(tmp_path, **fields)
    assert ranker.pairs(*asked).argsort().tolist() == [0, 2, 1]
    assert ranker.facts()["score_mass"] == pytest.approx(1)
    assert set(graded(tmp_path, **fields, score="probability").pairs(*asked).tolist()) == {1.0}


def test_the_likelihood_of_the_query(tiny_llm, tmp_path, tiny):
    backend = model(tiny_llm, tmp_path)
    run = graded(tmp_path, answering=backend, method="likelihood", prompt="query-likelihood").rank(
        tiny, all_candidates(tiny)
    )
    text = f"Passage: {tiny.docs[int(run.docs[0, 0])].as_py()}\nQuestion:"
    logs = []
    for token in backend.tokens.target(f" {tiny.queries[0].as_py()}"):
        logs.append(math.log(float(after(backend, text)[token])))
        text += backend.tokens.word(token)
    assert run.scores[0, 0] == pytest.approx(np.mean(logs), abs=2e-3)


def test_a_long_document_leaves_room_for_the_query_behind_it(tiny_llm, tmp_path, tiny):
    backend = model(tiny_llm, tmp_path)
    queries, texts = strings(["honey from bees"] * 2), strings(["bees and honey " * 200, "bees"])
    ranker = graded(tmp_path, answering=backend, method="likelihood", prompt="query-likelihood")
    assert np.isfinite(ranker.pairs(queries, texts)).all()
    facts = ranker.facts()
    assert (facts["answers"], facts["fit"]) == ({"ok": 2}, {"document_cut_to_fit": 1})


def test_a_score_that_needs_log_probabilities_says_so(server, tmp_path, tiny):
    backend = Backend(engine="openai", url=server.url, model="m")
    server.reply = lambda body: "<answer>7</answer>"
    ranker = graded(tmp_path, backend=backend, score="integer")
    assert ranker.rank(tiny, all_candidates(tiny)).scores.max() == 7
    published = graded(tmp_path, backend=backend, score="published").rank(tiny, all_candidates(tiny))
    assert published.scores.max() == pytest.approx(3.5)  # the server's characters have probability one half
    server.logs = False
    with pytest.raises(UsageError, match='say score = "integer"'):
        graded(tmp_path / "other", backend=backend, score="published").rank(tiny, all_candidates(tiny))


def test_a_likelihood_by_a_server_without_a_tokenizer_says_what_is_missing(server, tmp_path, tiny):
    fields = {"method": "likelihood", "prompt": "query-likelihood"}
    backend = Backend(engine="openai", url=server.url, model="m", dialect="vllm")
    with pytest.raises(MissingPartError, match=r"names none: add \[\[backend.source\]\]"):
        graded(tmp_path, backend=backend, **fields).rank(tiny, all_candidates(tiny))
    away = msgspec.structs.replace(backend, source=(Source(path=str(tmp_path / "away")),))
    with pytest.raises(
        MissingPartError, match="needs the model's tokenizer, which is not to be had: .*no model folder"
    ):
        graded(tmp_path, backend=away, **fields).rank(tiny, all_candidates(tiny))


def test_a_recipe_whose_parts_do_not_fit_is_refused():
    base = {"description": "d", "licence": "l", "backend": INSTANT}
    with pytest.raises(ValueError, match="graded has published, expected, integer"):
        PointwiseRecipe(**base, method="graded", prompt="erank", score="margin")
    with pytest.raises(ValueError, match="need a prompt"):
        PointwiseRecipe(**base, method="graded")


def test_shipped_rerankers_are_built_without_their_models(tmp_path):
    names = [name for name in recipe.names("rankers") if isinstance(recipe.ranker(name), PointwiseRecipe)]
    assert {"erank-4b", "erank-14b", "erank-32b", "qwen3-reranker-4b", "monot5-base", "ms-marco-minilm"} <= set(names)
    for name in names:
        made = msgspec.structs.replace(recipe.ranker(name), backend=INSTANT)
        described = rankers.build(made, depth=10, cache=tmp_path, name=name).describe()
        assert described["kind"] == "pointwise"
        assert (described["protocol"] == "as published") == ("answer" not in made.protocol)


def test_the_first_word_of_an_encoder_decoder(tmp_path, tiny):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "</s>", "?", "true", "false", "Query:", "Document:", "Relevant:", "honey", "the"]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>")
    whole.save_pretrained(str(tmp_path / "t5"))
    torch.manual_seed(1)
    config = transformers.T5Config(
        vocab_size=10, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4, decoder_start_token_id=0, pad_token_id=0
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    model.save_pretrained(str(tmp_path / "t5"))
    backend = Backend(engine="seq2seq", source=(Source(path=str(tmp_path / "t5")),), context=64)
    changes = {"method": "binary", "prompt": "monot5", "labels": ("true", "false"), "score": "probability"}
    run = graded(tmp_path, backend=backend, **changes).rank(tiny, all_candidates(tiny))
    for q, row in enumerate(run.docs.tolist()):
        for place, doc in enumerate(row):
            text = f"Query: {tiny.queries[q].as_py()} Document: {tiny.docs[doc].as_py()} Relevant:"
            ids = torch.tensor([whole(text)["input_ids"]])
            with torch.inference_mode():
                logits = model(ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0].double()
            wanted = torch.softmax(logits[[3, 4]], 0)[0]
            assert run.scores[q, place] == pytest.approx(float(wanted), abs=1e-5)


def test_the_number_of_a_cross_encoder(tmp_path, tiny):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "honey", "is", "where", "bees", "the", "ice", "in", "light"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=1,
    )
    model = transformers.BertForSequenceClassification(config).eval()
    for part in (tokenizer, model):
        part.save_pretrained(str(tmp_path / "bert"))
    backend = Backend(engine="cross-encoder", source=(Source(path=str(tmp_path / "bert")),), context=12)
    ranker = graded(tmp_path, backend=backend, method="plain", prompt="")
    run = ranker.rank(tiny, all_candidates(tiny))
    for q, row in enumerate(run.docs.tolist()):
        for place, doc in enumerate(row):
            pair = (tiny.queries[q].as_py(), tiny.docs[doc].as_py())
            inputs = tokenizer(*pair, truncation=True, max_length=12, return_tensors="pt")
            with torch.inference_mode():
                assert run.scores[q, place] == pytest.approx(float(model(**inputs).logits[0, 0]), abs=1e-5)
    counts = ranker.facts()["answers"]
    assert counts["cut"] + counts.get("ok", 0) == 9
    assert counts["cut"] > 0


def test_real_weights_rank_by_likelihood_and_stumble_over_eranks_prompt(smollm2, tiny):
    """SmolLM2 through the shipped recipes: an honest scorer, and a grader that is asked through the real prompt."""
    found = {}
    for name in ("smollm2-likelihood", "smollm2-erank"):
        ranker = rankers.build(recipe.ranker(name), depth=3, cache=smollm2, name=name)
        found[name] = ranker.rank(tiny, all_candidates(tiny)), ranker.facts()
    run, facts = found["smollm2-likelihood"]
    assert run.docs[:2, 0].tolist() == [0, 1]
    assert facts["answers"] == {"ok": 9}
    run, facts = found["smollm2-erank"]
    assert len(facts["chat_template"]) == 16
    assert facts["cost"]["reused_tokens"] > 9 * 50  # the instructions before the query, of all but each batch's first
    assert 0 < facts["score_mass"] < 1
    assert ((run.scores > 0) & (run.scores < 10)).all()
    assert sum(count for kind, count in facts["answers"].items() if kind != "split_asked") == 9


def test_evidence_beyond_the_cut_is_counted(tiny, tmp_path, tiny_llm):
    backend = msgspec.structs.replace(INSTANT, source=(Source(path=str(tiny_llm)),))
    ranker = graded(tmp_path, backend=backend, document_tokens=12)
    ranker.rank(tiny, all_candidates(tiny))
    kept = [len(llm.backend(backend, tmp_path).tokens.cut(text, 12)) for text in tiny.docs.to_pylist()]
    ends = zip(tiny.evidence.doc, tiny.evidence.end, strict=True)
    assert ranker.facts()["evidence"] == {"scored": 2, "beyond_the_cut": sum(end > kept[doc] for doc, end in ends)}
    assert ranker.facts()["evidence"]["beyond_the_cut"] > 0
