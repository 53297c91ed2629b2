"""Rankings out of answers: any text gives a permutation and a kind."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.rankers.listwise import answers

READ = [  # text, finish, n, top, said (from 1), kind
    ("[2] > [1] > [3]", "stop", 3, 0, [2, 1, 3], "ok"),
    ("  [2]>[1] >\n[3]\n", "stop", 3, 0, [2, 1, 3], "ok"),
    ("<think>[1] > [2] > [3]</think>\n[3] > [2] > [1]", "stop", 3, 0, [3, 2, 1], "ok"),
    ("[3] > [1] > [2]", "length", 3, 0, [3, 1, 2], "ok"),  # nothing was lacking
    ("[3] > [1] > [2", "length", 3, 0, [3, 1], "truncated"),  # may be the beginning of 20
    ("[3] > [1", "length", 3, 1, [3], "ok"),
    ("[3] > [1] > [2]", "stop", 3, 2, [3, 1], "ok"),  # more than were asked for
    ("[3] > [1]", "stop", 3, 2, [3, 1], "ok"),
    ("[3]", "stop", 3, 2, [3], "missing"),
    ("The 3 passages rank so: [2] > [1] > [3]", "stop", 3, 0, [2, 1, 3], "wrong_format"),
    ("2 > 1 > 3", "stop", 3, 0, [2, 1, 3], "wrong_format"),
    ("2 > 1 > 3", "length", 3, 0, [2, 1], "wrong_format"),
    ("[2], [1], [3]", "stop", 3, 0, [2, 1, 3], "wrong_format"),
    ("[2] > [1] > [2] > [3]", "stop", 3, 0, [2, 1, 3], "repetition"),
    ("[2] > [1]", "stop", 3, 0, [2, 1], "missing"),
    ("[2] > [4] > [1] > [3]", "stop", 3, 0, [2, 1, 3], "out_of_range"),
    ("[0] > [2]", "stop", 3, 0, [2], "out_of_range"),
    ("[" + "9" * 5000 + "] > [2]", "stop", 3, 0, [2], "out_of_range"),
    ("[\u0662] > [1] > [3]", "stop", 3, 0, [2, 1, 3], "ok"),  # an Arabic two
    ("I cannot rank these.", "stop", 3, 0, [], "wrong_format"),
    ("", "stop", 3, 0, [], "empty"),
    ("<think>[1] > [2]</think>", "length", 3, 0, [], "truncated"),
    ("", "length", 3, 0, [], "truncated"),
    ("[1] > [2] > [3]", "filtered", 3, 0, [], "filtered"),
    ("400: 4096 tokens", "too_long", 3, 0, [], "too_long"),
]


@pytest.mark.parametrize(("text", "finish", "n", "top", "said", "kind"), READ)
def test_rankings_are_read(text, finish, n, top, said, kind):
    found = answers.read(text, n, finish, top)
    assert [item + 1 for item in found.order[: found.said]] == said
    assert found.kind == kind
    assert list(found.order[found.said :]) == [item for item in range(n) if item + 1 not in said]


def test_faults_are_counted():
    found = answers.read("[2] > [2] > [9] > [0] > [1] > [1]", 4)
    assert (found.said, found.repeated, found.outside, found.kind) == (2, 2, 2, "out_of_range")


PIECES = st.sampled_from(
    ["[1]", "[2]", "[10]", "[", "]", " > ", "1", "11", "</think>", "x", "\n", "\u0663", "[999999999999]"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))
FINISH = st.sampled_from(["stop", "length", "filtered", "too_long"])


@given(TEXTS, st.integers(0, 12), FINISH, st.integers(0, 14))
@settings(max_examples=1000)
def test_any_text_gives_a_permutation_and_a_kind(text, n, finish, top):
    found = answers.read(text, n, finish, top)
    assert sorted(found.order) == list(range(n))
    assert 0 <= found.said <= n
    assert found.kind in msgspec.json.schema(answers.Kind)["enum"]
    wanted = min(top or n, n)
    if found.kind == "ok":
        assert found.said == wanted
        assert (found.repeated, found.outside) == (0, 0)
    if top:
        assert found.said <= wanted


@given(st.permutations(range(12)), st.integers(0, 12), st.booleans())
def test_what_is_written_is_read(order, top, thought):
    text = ("<think>first [1], then [2]</think>" if thought else "") + answers.written(order)
    found = answers.read(text, 12, "stop", top)
    assert found.kind == "ok"
    assert list(found.order[: found.said]) == order[: top or 12]


@given(st.permutations(range(30)), st.integers(0, 200))
def test_an_answer_that_is_cut_anywhere_names_a_beginning_of_the_ranking(order, at):
    text = answers.written(order)
    found = answers.read(text[:at], 30, "length")
    whole = len(re.findall(r"\]", text[:at]))
    assert list(found.order[: found.said]) == order[:whole]
    assert found.kind == ("ok" if whole == 30 else "truncated")
