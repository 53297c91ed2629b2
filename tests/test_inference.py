"""The tests of bias: their definitions, restated, and what they do on rankers whose truth is known."""

import numpy as np
import pytest

from posbench import bias, stats
from posbench.bias import controls, inference, offsets
from posbench.bias.placed import Placed
from posbench.bias.report import CONFOUNDED
from posbench.bias.shuffle import Shuffler
from posbench.bias.shuffled import Shuffled
from posbench.studies.simulated import Truth, simulate

SHUFFLES = 200


def regular(score, n=4000, tokens=800):
    """One query a document at even places."""
    place = (np.arange(n) + 0.5) / n
    return Placed(score(place), place, np.full(n, tokens), np.arange(n), np.arange(n) % 4)


def noisy(curve, n=16_000, seed=0):
    rng = np.random.default_rng(seed)
    return regular(lambda x: (rng.random(n) < curve(x)).astype(float), n)


def test_indices_are_least_squares_slopes():
    some = simulate(800, Truth(primacy=0.1), 3).queries
    found = inference.analyse(some, shuffles=100)
    dummies = [some.length[:, None] == np.arange(4), some.stratum[:, None] == np.arange(31)]
    square = (some.relative - 0.5) ** 2
    design = np.column_stack([some.relative, square, *dummies]).astype(float)
    line, bend = np.linalg.lstsq(design, some.score, rcond=None)[0][:2]
    assert found["signed"]["all"]["value"] == pytest.approx(line / (2 * some.score.mean()))
    assert found["edges"]["value"] == pytest.approx(bend / (8 * some.score.mean()))


def test_a_straight_line_has_the_index_of_its_ends():
    found = inference.analyse(regular(lambda x: 0.9 - 0.6 * x), shuffles=100)
    assert found["signed"]["all"]["value"] == pytest.approx((0.3 - 0.9) / (0.3 + 0.9), abs=1e-3)
    low, high = found["signed"]["all"]["interval"]
    assert low <= found["signed"]["all"]["value"] <= high


@pytest.mark.parametrize(
    ("curve", "shape"),
    [
        (lambda x: 0.8 - 0.4 * x, "primacy"),
        (lambda x: 0.4 + 0.4 * x, "recency"),
        (lambda x: 0.8 - 1.2 * (x - 0.5) ** 2, "middle"),
        (lambda x: 0.5 + 1.2 * (x - 0.5) ** 2, "edges"),
        (lambda x: 0.6 + 0 * x, "flat"),
    ],
)
def test_shapes(curve, shape):
    assert inference.analyse(noisy(curve), shuffles=SHUFFLES)["shape"] == shape


def test_few_queries_are_undecided():
    assert inference.analyse(noisy(lambda x: 0.6 + 0 * x, 200), shuffles=SHUFFLES)["shape"] == "undecided"


def test_without_bias_tests_keep_their_size_and_psi_is_not_inflated():
    """150 collections with clustered queries and difficulty by document, query, domain and length."""
    p_values = {name: [] for name in ("psi", "signed", "edges", "length", "cut", "within")}
    debiased, plain = [], []
    for seed in range(150):
        queries = Shuffler.ordered(simulate(700, Truth(), seed).queries)
        steps = offsets.Steps.of(queries)
        found = Shuffled.of(queries, steps, shuffles=SHUFFLES, seed=seed)
        draws = stats.Bootstrap(queries.cluster, queries.stratum, 100, seed)
        tests = inference.analyse(queries, found, draws)
        if tests["psi"]["all"] is not None:
            p_values["psi"].append(tests["psi"]["all"]["p"])
            debiased.append(tests["psi"]["all"]["debiased"])
            plain.append(tests["psi"]["all"]["value"])
        p_values["signed"].append(tests["signed"]["all"]["p"])
        p_values["edges"].append(tests["edges"]["p"])
        p_values["length"].append(tests["length"]["p"])
        p_values["cut"].append(offsets.offsets(queries, steps, found.null_drop, draws)["cut"]["p"])
        p_values["within"].append(controls.within_documents(queries, seed=seed, shuffles=SHUFFLES)["p"])
    assert np.mean(plain) > 0.25
    assert abs(np.mean(debiased)) < 0.05
    for name, values in p_values.items():
        assert len(values) > 100
        assert 0.4 < np.mean(values) < 0.6, name  # uniform: .5 +- .024
        assert np.mean(np.array(values) <= 0.05) < 0.11, name


def test_primacy_is_found_and_is_no_truncation():
    found = bias.analysis(simulate(4000, Truth(primacy=0.15), 1).queries, "nDCG@10", shuffles=SHUFFLES)
    assert found["tests"]["shape"] == "primacy"
    assert found["offsets"]["cut"]["called"] != "truncation"
    assert found["visible"] is None
    assert found["within_documents"]["slope"] < -0.05
    assert CONFOUNDED in found["verdict"]
    low, high = found["tests"]["psi"]["all"]["interval"]
    assert 0 < low < high < 0.5


def test_truncation_is_called_truncation():
    made = simulate(4000, Truth(cut=512), 2)
    found = bias.analysis(made.queries, "nDCG@10", shuffles=SHUFFLES)
    cut = found["offsets"]["cut"]
    assert cut["called"] == "truncation"
    assert cut["tokens"] == 512
    assert cut["before"] > cut["after"] + 0.3
    assert found["visible"]["shape"] in ("flat", "undecided")
    assert found["verdict"][0].startswith("truncation")


def test_controls_take_out_what_is_harder_for_every_ranker():
    made = simulate(4000, Truth(hard_middle=1.0), 5)
    found = bias.analysis(made.queries, "nDCG@10", {"span": made.span, "bm25": made.lexical}, shuffles=SHUFFLES)
    assert found["tests"]["shape"] == "edges"
    assert found["controlled"]["shape"] in ("flat", "undecided")
    assert found["controlled"]["edges"]["p"] > 0.05
    assert any("by span (instrument: bm25)" in sentence for sentence in found["verdict"])
    alone = bias.analysis(made.queries, "nDCG@10", shuffles=SHUFFLES)
    assert CONFOUNDED in alone["verdict"]


def test_a_cut_is_no_primacy_with_controls_either():
    made = simulate(4000, Truth(cut=512), 2)
    found = bias.analysis(made.queries, "nDCG@10", {"span": made.span, "bm25": made.lexical}, shuffles=SHUFFLES)
    assert found["controlled"]["shape"] in ("flat", "undecided")
    assert any(sentence.startswith("before the cut, with difficulty") for sentence in found["verdict"])


def test_a_control_at_its_end_is_withheld():
    made = simulate(1000, Truth(), 2)
    found = bias.analysis(made.queries, "nDCG@10", {"span": np.zeros(len(made.span))}, shuffles=100)
    assert found["controlled"]["signed"] is None
    assert any("too near its end" in sentence for sentence in found["verdict"])


def test_length_makes_bias_grow():
    some = simulate(6000, Truth(), 7).queries
    rng = np.random.default_rng(0)
    lost = rng.random(len(some.score)) < 0.6 * some.relative * (some.length / 3)
    steeper = Placed(np.where(lost, 0.0, some.score), some.relative, some.tokens, some.cluster, some.stratum)
    found = inference.analyse(steeper, shuffles=SHUFFLES)["length"]
    assert found["p"] < 0.01
    assert found["toward_with_length"] == "primacy"


@pytest.mark.parametrize(
    "queries",
    [
        regular(lambda x: 0 * x, 400),
        regular(lambda x: 0 * x + 1, 400),
        Placed(np.ones(40), np.full(40, 0.5), np.full(40, 100), np.arange(40), np.zeros(40, np.int64)),
        Placed(np.ones(1), np.full(1, 0.5), np.full(1, -1), np.zeros(1, np.int64), np.zeros(1, np.int64)),
        Placed(
            np.arange(60) / 60, np.arange(60) / 60, np.full(60, 100), np.zeros(60, np.int64), np.zeros(60, np.int64)
        ),
    ],
    ids=["all zero", "all equal", "one place", "one query", "one document"],
)
def test_what_has_no_answer_gets_none(queries):
    found = bias.analysis(queries, "nDCG@10", shuffles=100)
    assert found["tests"]["shape"] in ("undecided", "flat")
    for figure in (found["tests"]["psi"]["all"], found["tests"]["signed"]["all"], found["tests"]["edges"]):
        assert figure is None or figure["p"] > 0.05
    assert all(isinstance(sentence, str) for sentence in found["verdict"])


def test_the_same_seed_gives_the_same_figures():
    some = simulate(500, Truth(), 1).queries
    assert bias.analysis(some, "s", shuffles=100, seed=4) == bias.analysis(some, "s", shuffles=100, seed=4)
    assert inference.analyse(some, shuffles=100, seed=4) != inference.analyse(some, shuffles=100, seed=5)


def test_the_order_of_queries_changes_no_figure_but_by_chance():
    some = simulate(500, Truth(), 1).queries
    other = some.take(np.random.default_rng(0).permutation(len(some.score)))
    one, two = (inference.analyse(x, shuffles=100)["signed"]["all"]["value"] for x in (some, other))
    assert one == pytest.approx(two)
