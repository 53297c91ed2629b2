"""ERank's listwise reward, restated one score at a time; and where eval shows it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import reranked
from posbench.cli import main
from posbench.errors import UsageError
from posbench.rewards import constants, listwise_reward, min_ranks
from posbench.types import Run

NAN = float("nan")


def restated(scores, positives, reference, penalty, format_penalty, error_weight, outranks):
    """The four cases in words of one score each."""
    pool = sorted((one for row in scores for one in row if not math.isnan(one)), reverse=True)
    rank = {one: pool.index(one) + 1 for one in pool}
    of_positives = [
        rank[one] for row, good in zip(scores, positives, strict=True) if good for one in row if not math.isnan(one)
    ]
    limit = (max if outranks == "worst" else min)(of_positives, default=0)
    found = []
    for row, good, wanted in zip(scores, positives, reference, strict=True):
        for one in row:
            if math.isnan(one):
                found.append(-format_penalty)
            elif good:
                found.append(1 / rank[one])
            elif rank[one] < limit:
                found.append(-penalty)
            else:
                found.append(-error_weight * (one - wanted) ** 2)
    return found


@given(
    st.lists(
        st.tuples(
            st.lists(st.one_of(st.integers(0, 10).map(float), st.just(NAN)), min_size=3, max_size=3),
            st.booleans(),
            st.floats(0, 10),
        ),
        min_size=1,
        max_size=8,
    ),
    st.floats(0, 5),
    st.floats(0, 5),
    st.floats(0, 1),
    st.sampled_from(["worst", "best"]),
)
def test_rewards_are_those_of_the_four_cases(rows, penalty, format_penalty, error_weight, outranks):
    scores, positives, reference = zip(*rows, strict=True)
    found = listwise_reward(
        np.array(scores),
        np.array(positives),
        np.array(reference),
        penalty=penalty,
        format_penalty=format_penalty,
        error_weight=error_weight,
        outranks=outranks,
    )
    wanted = restated(scores, positives, reference, penalty, format_penalty, error_weight, outranks)
    np.testing.assert_allclose(found.ravel(), wanted)


def test_equal_scores_have_the_smallest_rank_of_them():
    np.testing.assert_array_equal(min_ranks(np.array([[7.0, 9.0], [7.0, NAN], [1.0, 7.0]])), [[2, 1], [2, NAN], [5, 2]])
    # A negative that ties with the worst positive is not above it.
    np.testing.assert_array_equal(
        listwise_reward(np.array([[8.0], [8.0], [9.0]]), np.array([True, False, False])), [[1 / 2], [0], [-1]]
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match=r"expected \[N, G\], \[N\] and \[N\]"):
        listwise_reward(np.zeros((2, 1)), np.array([True]))
    with pytest.raises(UsageError, match="a constant negative"):
        listwise_reward(np.zeros((1, 1)), np.array([True]), penalty=-1)


def test_a_run_is_one_rollout_a_document(tiny):
    run = Run.ranked([[0, 1, 2], [0, 2, -1], [0, 1, 2]], [[1, 3, 2], [2, 1, 0], [3, 2, 1]], tiny.doc_order)
    found = reranked.rewards_of(run, tiny)
    # 1: "a" is relevant and third, the two above it are penalised; 2: "b" is not among them; 3: not judged.
    np.testing.assert_allclose(found, [(1 / 3 - 2) / 3, NAN, NAN])
    level = Run.ranked([[0, 1, 2]] * 3, np.ones((3, 3)), tiny.doc_order)
    np.testing.assert_allclose(reranked.rewards_of(level, tiny), [1 / 3, 1 / 3, NAN])


@pytest.fixture
def reranking(tmp_path, same):
    """The arguments of an evaluation whose reranker says the same of every document."""
    how = ["eval", "--model", "bm25", "--rerank", same, "--depth", 4, "--dataset", "posir-mini/spa"]
    return [str(one) for one in [*how, "--out", tmp_path / "o", "--cache", tmp_path / "c"]]


def test_eval_reports_the_reward_of_a_pointwise_reranker(reranking, capsys):
    assert main([*reranking, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["rerank"]["listwise_reward"]
    # Every score is the same, so every positive has rank 1 and no negative is above it: one of four documents earns 1.
    assert said["mean"] == pytest.approx(0.25)
    assert said["queries"] > 0
    assert main(reranking) == 0
    assert "a negative above the worst positive loses 1): +0.2500 a document" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_constants_of_a_reward_are_the_callers_and_recorded(reranking, tmp_path, capsys):
    """A fused run has no ties, so that some negatives are above: what they lose scales with the penalty."""
    how, found = [*reranking, "--fuse", "1", "--json"], {}
    for penalty in (0, 1, 3, 1):
        assert main([*how, "--reward", f"penalty={penalty}"]) == 0
        said = json.loads(capsys.readouterr().out)["rerank"]["listwise_reward"]
        assert said["constants"] == {"penalty": penalty, "outranks": "worst"}
        (path,) = (tmp_path / "o").rglob("manifest.json")
        assert json.loads(path.read_text())["rerank"]["reward"] == said["constants"]
        assert found.setdefault(penalty, said["mean"]) == said["mean"]
    assert found[0] - found[1] == pytest.approx((found[0] - found[3]) / 3)
    assert found[1] < found[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("penality=2", "reward penality; expected penalty=X and outranks"),
        ("format_penalty=2", "neither missing scores nor references"),
        ("penalty=-1", "reward penalty=-1; expected a number, 0 or more"),
        ("penalty=nan", "reward penalty=nan; expected a number"),
        ("penalty=much", "reward penalty=much; expected a number"),
        ("penalty", "reward penalty=; expected a number"),
        ("outranks=all", "reward outranks=all; expected worst or best"),
    ],
)
def test_constants_that_a_reward_does_not_have_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        constants(text)


def test_constants_without_a_reward_are_refused(tmp_path, capsys):
    how = ["eval", "--model", "bm25", "--dataset", "posir-mini/spa", "--reward", "penalty=2"]
    assert main([*how, "--out", str(tmp_path / "o"), "--cache", str(tmp_path / "c")]) == 2
    assert "--reward is for a pointwise reranker" in capsys.readouterr().err
