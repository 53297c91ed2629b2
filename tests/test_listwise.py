"""Listwise rerankers: rankers of known quality through every strategy, what is cut, and answers held to rankings."""

import itertools
import json
import random
import re
from importlib.util import find_spec

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import rankers, recipe
from posbench.errors import RecipeError, UsageError
from posbench.evaluate import evaluate
from posbench.listwise import STRATEGIES, ListwiseRecipe
from posbench.rankers import llm
from posbench.rankers.listwise import answers, fit, grammars, known
from posbench.rankers.listwise.ranker import Listed, ListwiseRanker
from posbench.rankers.llm import rankings
from posbench.rankers.llm.calls import Answer
from posbench.rankers.llm.instant import InstantBackend
from posbench.reranking import Backend
from posbench.sources import Source
from posbench.types import Collection, Qrels, Run, strings

INSTANT = Backend(engine="instant")


def made(tmp_path, reply=known.copying, backend=INSTANT, answering=None, **changes):
    changed = ListwiseRecipe(description="d", licence="l", backend=backend, **changes)
    answering = answering or InstantBackend(backend, tmp_path, reply, name="test")
    return ListwiseRanker(changed, cache=tmp_path, backend=answering)


def worth(query, text):
    """Passages say what they are worth."""
    return float(text.split()[-1])


def numbers(n, seed=0):
    """Texts whose worth is a permutation of 0 to n - 1."""
    return tuple(f"passage worth {value}" for value in np.random.default_rng(seed).permutation(n))


def best(passages):
    return sorted(range(len(passages)), key=lambda place: -worth("", passages[place]))


@pytest.fixture
def hundred():
    """Five queries, each with its own hundred documents of which ten are relevant, one of them more than the others."""
    texts = [text for query in range(5) for text in numbers(100, query)]
    value = np.array([worth("", text) for text in texts])
    row = np.repeat(np.arange(5), 100)
    good = np.flatnonzero(value >= 90)
    return Collection(
        name="hundred",
        doc_ids=strings([f"d{doc:03}" for doc in range(500)]),
        docs=strings(texts),
        query_ids=strings([str(query) for query in range(5)]),
        queries=strings([f"query {query}" for query in range(5)]),
        qrels=Qrels.from_pairs(row[good], good, 1 + (value[good] > 98), 5),
    )


def candidates(collection, n=100):
    docs = np.arange(len(collection.docs)).reshape(len(collection.queries), -1)[:, :n]
    return Run.ranked(docs, -np.tile(np.arange(n), (len(docs), 1)), collection.doc_order)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_oracle_is_perfect_and_a_copier_changes_nothing(tmp_path, hundred, strategy):
    start = candidates(hundred)
    oracle = made(tmp_path, known.Knowing(worth), strategy=strategy).rank(hundred, start)
    quality = evaluate(hundred, oracle, ("nDCG@10",)).values("nDCG@10")
    if strategy == "top-down":  # its last window has no room for all that beats the pivot of a shuffled list
        assert quality.mean() > 0.85
    else:
        assert quality.tolist() == [1.0] * 5
    np.testing.assert_array_equal(np.sort(oracle.docs), np.sort(start.docs))
    copier = made(tmp_path / "b", strategy=strategy, samples=1).rank(hundred, start)
    np.testing.assert_array_equal(copier.docs, start.docs)


CALLS = {"full": (1, 1), "sliding": (9, 9), "top-down": (7, 3), "consistency": (3, 1), "multipass": (45, 45)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_calls_rounds_and_tokens_are_counted(tmp_path, strategy):
    ranker = made(tmp_path, known.Knowing(worth), strategy=strategy)
    found = ranker.rerank([Listed("q", numbers(100)), Listed("q", numbers(7, 1))])
    assert (found[0].calls, found[0].rounds) == CALLS[strategy]
    cost = ranker.facts()["cost"]
    assert cost["calls"] == sum(one.calls for one in found) == ranker.facts()["calls"]
    assert [sum(one.tokens[side] for one in found) for side in (0, 1)] == [cost["prompt_tokens"], cost["answer_tokens"]]
    assert ranker.facts()["answers"] == {"ok": cost["calls"]}
    again = made(tmp_path, known.Knowing(worth), strategy=strategy)
    assert [one.order for one in again.rerank([Listed("q", numbers(100))])] == [found[0].order]
    assert again.facts()["cost"]["new_prompt_tokens"] == 0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_window_may_be_smaller_than_the_usual_pivot(tmp_path, strategy):
    ranker = made(tmp_path, known.Knowing(worth), strategy=strategy, window=4, step=2)
    passages = numbers(9)
    (found,) = ranker.rerank([Listed("q", passages)])
    assert sorted(found.order) == list(range(9))
    assert found.order[0] == best(passages)[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_lists_without_a_choice_are_not_asked(tmp_path, strategy, tiny):
    ranker = made(tmp_path, strategy=strategy, samples=1)
    found = ranker.rerank([Listed("q", ()), Listed("q", ("only one",)), Listed("q", ("same", "", "same"))])
    assert [one.order for one in found] == [(), (0,), (0, 1, 2)]
    assert [one.calls for one in found[:2]] == [0, 0]
    run = Run(np.array([[2, 0, -1], [1, -1, -1], [-1, -1, -1]], np.int32), np.zeros((3, 3), np.float32))
    assert ranker.rank(tiny, run).docs.tolist() == run.docs.tolist()
    with pytest.raises(UsageError, match="needs candidates"):
        ranker.rank(tiny)


def test_only_what_the_top_names_moves(tmp_path):
    passages = numbers(50)
    ranker = made(tmp_path, known.Knowing(worth), top=10)
    (found,) = ranker.rerank([Listed("q", passages)])
    assert found.order[:10] == tuple(best(passages)[:10])
    assert list(found.order[10:]) == sorted(found.order[10:])
    assert (found.said, found.kinds) == (10, {"ok": 1})


REPLIES = {
    "[2] > [1] > [3]": ("ok", [1, 0, 2], 3),
    "3 2 1": ("wrong_format", [2, 1, 0], 3),
    "[3] > [3] > [2] > [1]": ("repetition", [2, 1, 0], 3),
    "[3]": ("missing", [2, 0, 1], 1),
    "[7] > [3]": ("out_of_range", [2, 0, 1], 1),
}


@pytest.mark.parametrize("text", REPLIES)
def test_malformed_answers_are_repaired_and_flagged(tmp_path, text):
    kind, order, said = REPLIES[text]
    ranker = made(tmp_path, lambda request: text)
    (found,) = ranker.rerank([Listed("q", ("a", "b", "c"))])
    assert (list(found.order), found.said, found.kinds) == (order, said, {kind: 1})
    assert ranker.facts()["answers"] == {kind: 1}


def test_malformed_answers_are_asked_for_again(tmp_path):
    ranker = made(tmp_path, lambda request: "[2] > [1]" if request.sample else "what?", asks=3)
    (found,) = ranker.rerank([Listed("q", ("a", "b"))])
    assert (found.order, found.kinds) == ((1, 0), {"ok": 1})
    assert ranker.facts()["asked_again"] == 1
    assert len(ranker.asker.rank([fit.Window("q", ("a", "b"))])[0].answers) == 2  # both are paid for


def test_what_is_missing_follows_in_the_order_shown_whatever_the_names(tmp_path):
    def first_name(request):
        return f"[{known.shown(request)[1][2][0]}]"  # the name of the third passage alone

    (found,) = made(tmp_path, first_name).rerank([Listed("q", ("a", "b", "c", "d"), shuffle=5)])
    assert (found.order, found.said) == ((2, 0, 1, 3), 1)
    assert sorted(found.names) == [1, 2, 3, 4]
    (oracle,) = made(tmp_path / "b", known.Knowing(worth)).rerank([Listed("q", numbers(30), shuffle=3)])
    assert list(oracle.order) == best(numbers(30))


def test_prompts_have_the_published_order_and_texts_no_identifiers(tmp_path):
    seen = []
    ranker = made(tmp_path, lambda request: seen.append(request) or "", document_words=4)
    ranker.rerank([Listed("about\n[1]", ("see [12]\nand more words here", ""))])
    system, user = seen[0].messages
    assert (system.role, user.role) == ("system", "user")
    assert "\n[1] see (12) and more\n[2]\n" in user.content
    assert user.content.count("about (1)") == 2
    assert user.content.index("about (1)") < user.content.index("[1] see") < user.content.rindex("about (1)")
    assert "2 passages" in user.content
    assert ranker.facts()["fit"]["passages_cut_to_words"] == 1
    last = made(tmp_path, lambda request: seen.append(request) or "", prompt="listwise-query-last")
    last.rerank([Listed("about", ("a", "b"))])
    assert seen[-1].messages[1].content.index("[2] b") < seen[-1].messages[1].content.index("Query: about")
    with pytest.raises(RecipeError, match=r"no place for \{passages\}"):
        made(tmp_path, prompt="erank")


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(-5, 300))
def test_the_longest_give_way_first(lengths, total):
    level = fit._level(lengths, total)
    cut = [min(length, level) for length in lengths]
    if level >= 0:
        assert sum(cut) <= max(total, 0)
        if level < max(lengths, default=0):
            assert sum(min(length, level + 1) for length in lengths) > total
    else:
        assert total < 0


def tokenizing(folder, context):
    return Backend(engine="instant", source=(Source(path=str(folder)),), context=context)


def test_long_lists_are_cut_to_the_context_and_short_passages_stay(tmp_path, tiny_llm):
    seen, context = [], 760
    backend = tokenizing(tiny_llm, context)
    ranker = made(tmp_path, lambda request: seen.append(request) or known.copying(request), backend)
    passages = ("x" * 300, "short one", "y" * 200, "", "z" * 40)
    ranker.rerank([Listed("q", passages)])
    tokens = ranker.asker.client.backend.tokens
    room = context - ranker.asker._room(5)
    assert room - 12 < len(tokens.ids(seen)[0]) <= room
    texts = [text for _, text in known.shown(seen[0])[1]]
    assert (texts[1], texts[3], texts[4]) == (passages[1], passages[3], passages[4])
    assert len(texts[0]) == len(texts[2]) < 200  # one letter is one token
    assert ranker.facts()["fit"] == {"lists_cut_to_fit": 1, "passages_cut_to_fit": 2}


def test_a_list_that_cannot_fit_is_refused_and_keeps_its_order(tmp_path, tiny_llm):
    ranker = made(tmp_path, backend=tokenizing(tiny_llm, 300))
    (found,) = ranker.rerank([Listed("q", tuple("x" * 100 for _ in range(40)))])
    assert (found.order, found.said, found.kinds) == (tuple(range(40)), 0, {"too_long": 1})
    assert ranker.facts()["fit"] == {"lists_refused": 1}
    assert ranker.facts()["cost"]["calls"] == 0


@pytest.mark.parametrize(("n", "top"), [(2, 0), (9, 0), (10, 0), (100, 0), (100, 10)])
def test_a_random_model_held_by_a_mask_writes_valid_rankings(tmp_path, tiny_llm, n, top):
    backend = Backend(engine="transformers", source=(Source(path=str(tiny_llm)),), context=8192)
    ranker = made(tmp_path, backend=backend, answering=llm.backend(backend, tmp_path), top=top)
    found = ranker.rerank([Listed(query, numbers(n)) for query in ("one", "two")[: 1 if n > 10 else 2]])
    for one in found:
        assert one.kinds == {"ok": 1}
        assert one.said == (top or n)
        assert sorted(one.order) == list(range(n))
    assert ranker.describe()["held_by"] == "mask"
    assert 0 < ranker.facts()["held_mass"] < 0.5  # such a model would write something else
    assert re.fullmatch("[0-9a-f]{16}", ranker.facts()["chat_template"])
    free = made(tmp_path, backend=backend, answering=llm.backend(backend, tmp_path), constrained="no")
    assert "ok" not in free.rerank([Listed("one", numbers(9))])[0].kinds


def test_a_mask_allows_every_ranking_and_nothing_else(tiny_llm, tmp_path):
    tokens = llm.backend(Backend(engine="transformers", source=(Source(path=str(tiny_llm)),)), tmp_path).tokens
    spelling = rankings.Spelling(tokens, 3)
    found = set()

    def grow(answer):
        unused = rankings.Unused(spelling, 3, -1)
        for token in unused.after(answer):
            found.add(tuple(answer)) if token == -1 else grow([*answer, token])

    grow([])
    texts = sorted(tokens.text(answer) for answer in found)
    assert texts == sorted(answers.written(order) for order in itertools.permutations(range(3)))


def test_an_engine_that_cannot_hold_answers_says_so(tmp_path):
    with pytest.raises(UsageError, match="cannot hold an answer to a ranking"):
        made(tmp_path, constrained="yes")
    (tmp_path / "x.toml").write_text(
        'kind = "listwise"\ndescription = "d"\nlicence = "l"\nconstrained = "yes"\nreasoning_tokens = 5\n'
        '[backend]\nengine = "instant"\n'
    )
    with pytest.raises(RecipeError, match="no room for reasoning"):
        recipe.read(tmp_path / "x.toml", "rankers")


def names_of(grammar):
    return sorted({int(name) for name in re.findall(r'"\[(\d+)\]"', grammar)})


@pytest.mark.parametrize(("n", "top", "calls"), [(5, 0, 1), (63, 0, 1), (64, 0, 2), (100, 0, 5), (100, 25, 3)])
def test_long_rankings_are_written_in_steps_by_a_server(tmp_path, server, n, top, calls):
    rng = random.Random(0)

    def reply(body):
        grammar = body["structured_outputs"]["grammar"]
        names = names_of(grammar)
        places = len(re.findall(r"^p\d+::", grammar, re.MULTILINE))
        chosen = rng.sample(names, places or len(names))
        return (" > " if grammar.startswith('start : " > "') else "") + " > ".join(f"[{name}]" for name in chosen)

    server.reply = reply
    backend = Backend(engine="openai", url=server.url, model="m", dialect="vllm")
    changed = ListwiseRecipe(description="d", licence="l", backend=backend, top=top)
    ranker = ListwiseRanker(changed, cache=tmp_path)
    (found,) = ranker.rerank([Listed("q", numbers(n))])
    assert (found.kinds, found.said) == ({"ok": 1}, top or n)
    assert len(server.calls) == calls == len(grammars.steps(n, top))
    for _, body, _ in server.calls[1:]:
        opening = body["messages"][-1]
        assert opening["role"] == "assistant"
        said = [int(name) for name in re.findall(r"\[(\d+)\]", opening["content"])]
        assert names_of(body["structured_outputs"]["grammar"]) == [k for k in range(1, n + 1) if k not in said]


def test_steps_of_a_list_that_was_cut_to_fit_stay_within_the_context(tmp_path, tiny_llm):
    class Strict(InstantBackend):
        def answers(self, requests, sampling):
            lengths = [len(ids) + sampling.max_tokens for ids in self.tokens.ids(requests)]
            seen.extend(lengths)
            for came in super().answers(requests, sampling):
                yield [(n, one if lengths[n] <= self.context else Answer("", "too_long")) for n, one in came]

    def last_first(request):
        grammar = request.constraint.value[0]
        names = names_of(grammar)[::-1][: len(re.findall(r"^p\d+::", grammar, re.MULTILINE)) or None]
        return (" > " if grammar.startswith('start : " > "') else "") + " > ".join(f"[{name}]" for name in names)

    source, seen = (Source(path=str(tiny_llm)),), []
    backend = Backend(engine="openai", url="http://h", model="m", dialect="vllm", source=source, context=3000)
    answering = Strict(backend, tmp_path, last_first, name="last first")
    ranker = made(tmp_path, backend=backend, answering=answering)
    (found,) = ranker.rerank([Listed("q", tuple("x" * 60 for _ in range(100)))])
    assert ranker.facts()["fit"]["lists_cut_to_fit"] == 1
    assert (found.kinds, found.order) == ({"ok": 1}, tuple(range(99, -1, -1)))
    assert len(seen) == 5
    assert 2900 < min(seen) <= max(seen) <= 3000


def test_answers_are_shown_as_they_come(tmp_path, hundred):
    seen = []

    def progress(title, total):
        seen.append([title, total, 0])
        mine = seen[-1]
        return lambda n: mine.__setitem__(2, mine[2] + n)

    backend = InstantBackend(INSTANT, tmp_path, known.copying, name="test")
    changed = ListwiseRecipe(description="d", licence="l", backend=INSTANT)
    ranker = ListwiseRanker(changed, cache=tmp_path, backend=backend, progress=progress, name="r")
    ranker.rank(hundred, candidates(hundred))
    assert seen == [["reranking with r", 5, 5], ["asking the model", 5, 5]]


def test_facts_are_of_the_last_run_so_that_collections_add_up(tmp_path, hundred):
    ranker = made(tmp_path, document_words=2)
    for _ in range(2):
        ranker.rank(hundred, candidates(hundred))
        facts = ranker.facts()
        assert (facts["lists"], facts["calls"], facts["answers"], facts["cost"]["calls"]) == (5, 5, {"ok": 5}, 5)
        assert facts["fit"] == {"passages_cut_to_words": 100}  # different texts


def test_a_plain_server_is_not_sent_what_it_does_not_know(tmp_path, server):
    server.reply = lambda body: "[2] > [1]"
    backend = Backend(engine="openai", url=server.url, model="m")
    ranker = ListwiseRanker(ListwiseRecipe(description="d", licence="l", backend=backend), cache=tmp_path)
    server.faults = ["status:500", "long"]  # digits in the text of faults are no identifiers
    assert ranker.rerank([Listed("q", ("a", "b"))])[0].kinds == {"too_long": 1}
    assert ranker.rerank([Listed("r", ("a", "b"))])[0].order == (1, 0)
    assert all("structured_outputs" not in body for _, body, _ in server.calls)


@pytest.mark.skipif(not find_spec("llguidance"), reason="needs llguidance")
@pytest.mark.parametrize(("n", "top"), [(2, 0), (20, 0), (63, 0), (100, 0), (127, 10), (100, 25)])
def test_grammars_have_no_words_but_valid_rankings(n, top):
    import llguidance

    class Bytes:
        eos_token_id, bos_token_id, special_token_ids = 256, None, [256]
        tokens = [bytes([value]) for value in range(256)] + [b"<end>"]

        def __call__(self, text):
            return list(text if isinstance(text, bytes) else text.encode())

    tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Bytes()))
    rng, text = np.random.default_rng(0), ""
    for count in grammars.steps(n, top):
        said = answers.read(text, n)
        left = [name + 1 for name in said.order[said.said :]]
        matcher = llguidance.LLMatcher(tokenizer, grammars.ranking(left, count, bool(text)))
        while not matcher.is_stopped():
            mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")[:257]
            token = int(rng.choice(np.flatnonzero(mask)))
            matcher.consume_token(token)
            text += chr(token) if token < 256 else ""
    assert answers.read(text, n, "stop", top).kind == "ok"


def test_describe_tells_all_that_changes_the_numbers(tmp_path):
    base = made(tmp_path).describe()
    for change in ({"strategy": "sliding"}, {"top": 5}, {"document_words": 9}, {"prompt": "listwise-query-last"}):
        assert made(tmp_path, **change).describe() != base
    assert made(tmp_path, backend=Backend(engine="instant", context=900)).describe() != base
    assert made(tmp_path, window=30).describe() == base  # the whole list has no windows
    json.dumps(base)


def test_shipped_recipes_build(tmp_path, tiny_llm):
    kinds = {name: recipe.ranker(name) for name in recipe.names("rankers")}
    mine = {name: one for name, one in kinds.items() if isinstance(one, ListwiseRecipe)}
    assert {"fullrank-7b", "rankzephyr-7b", "smollm2-listwise"} <= set(mine)
    source = Source(path=str(tiny_llm))
    for one in mine.values():
        local = msgspec.structs.replace(one, backend=msgspec.structs.replace(one.backend, source=(source,)))
        ranker = rankers.build(local, depth=100, cache=tmp_path)
        assert isinstance(ranker, ListwiseRanker)
