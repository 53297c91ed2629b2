"""The paired analysis: against an independent restatement, and on simulated rankers with known truth."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from posbench import bias
from posbench.bias.composed import analyse, paired
from posbench.bias.grid import Grid
from posbench.compare import compare
from posbench.errors import DataError
from posbench.studies.composed import Truth, outcome, simulate
from posbench.types import Report


def report(grid, method="insert", keep=None):
    """A grid as the report that an evaluation would make of it."""
    rows = []
    for n in range(len(grid.score)):
        for at, length in enumerate(grid.lengths):
            for k, position in enumerate(grid.names):
                middle = int(round(grid.relative[n, at, k] * 10_000))
                rows.append(
                    {
                        "dataset": f"set/{length}/{position}",
                        "ranker": "r",
                        "query_id": f"q{n}",
                        "domain": f"x{grid.stratum[n]}",
                        "method": method,
                        "length": length,
                        "position": position,
                        "source_doc": f"d{grid.cluster[n]}",
                        "doc_id": f"d{grid.cluster[n]}@{n}",
                        "span_start": middle - 5,
                        "span_end": middle + 5,
                        "doc_chars": 10_000,
                        "doc_tokens": int(grid.tokens[n, at, k]),
                        "nDCG@10": grid.score[n, at, k],
                    }
                )
    frame = pd.DataFrame(rows).sample(frac=1, random_state=0)
    return Report(
        {}, ("nDCG@10",), pa.Table.from_pandas(frame if keep is None else frame[keep(frame)], preserve_index=False)
    )


def test_figures_agree_with_a_restatement_query_by_query():
    grid = simulate(120, Truth(primacy=0.2), 1)
    found = bias.composed_report(report(grid), "nDCG@10", shuffles=200)
    frame = report(grid).queries.to_pandas()
    frame["x"] = frame.position.astype(float)
    for name, part in [("all", frame), *frame.groupby("length")]:
        slopes, bends = [], []
        for _, mine in part.groupby("query_id"):
            design = np.column_stack([np.ones(len(mine)), mine.x, (mine.x - 0.5) ** 2])
            _, slope, bend = np.linalg.lstsq(design, mine["nDCG@10"], rcond=None)[0]
            slopes.append(slope)
            bends.append(bend)
        tests, mean = found["tests"][name], part["nDCG@10"].mean()
        assert tests["signed"]["slope"] == pytest.approx(np.mean(slopes))
        assert tests["signed"]["value"] == pytest.approx(np.mean(slopes) / (2 * mean))
        assert tests["edges"]["value"] == pytest.approx(np.mean(bends) / (8 * mean))
        means = part.groupby("x")["nDCG@10"].mean()
        assert tests["range"]["value"] == pytest.approx(means.max() - means.min())
        curve = {cell["position"]: cell for cell in found["curve"] if cell["length"] == name}
        for x, value in means.items():
            assert curve[x]["mean"] == pytest.approx(value)
            assert curve[x]["difference"] == pytest.approx(value - means.mean())
    assert found["tests"]["all"]["shape"] == "primacy"
    assert (found["queries"], found["incomplete"]) == (120, 0)
    assert found["source_documents"] == len(np.unique(grid.cluster))


def test_paired_intervals_are_narrower_than_those_of_means():
    grid = simulate(200, Truth(), 2)
    for cell in analyse(grid, shuffles=50)["curve"]:
        low, high = cell["interval"]
        below, above = cell["difference_interval"]
        assert low <= cell["mean"] <= high
        assert above - below < 0.8 * (high - low)


def test_a_query_that_lacks_a_cell_is_left_out_and_counted():
    grid = simulate(60, Truth(), 3)
    some = report(grid, keep=lambda frame: ~((frame.query_id == "q7") & (frame.position == "0.5")))
    found = bias.composed_report(some, "nDCG@10", shuffles=50)
    assert (found["queries"], found["incomplete"]) == (59, 1)


def test_reports_that_are_not_composed_or_mixed():
    whole = report(simulate(30, Truth(), 4))
    plain = replace(whole, queries=whole.queries.drop_columns(["position"]))
    assert bias.composed_report(plain, "nDCG@10") is None
    mixed = Report.concat([whole, report(simulate(30, Truth(), 4), method="move")])
    with pytest.raises(DataError, match="mixes compositions"):
        bias.composed_report(mixed, "nDCG@10")
    with pytest.raises(DataError, match="more than once"):
        bias.composed_report(Report.concat([whole, whole]), "nDCG@10")


def test_position_report_carries_it_and_says_what_it_says():
    found = bias.position_report(report(simulate(150, Truth(primacy=0.3), 5)), "nDCG@10", shuffles=200)
    assert found["composed"]["tests"]["all"]["shape"] == "primacy"
    assert found["verdict"] == found["composed"]["verdict"]
    assert "primacy" in found["verdict"][0]
    # Queries of one source document move together everywhere.
    assert bias.placed(report(simulate(150, Truth(), 5)), "nDCG@10").cluster.max() < 150


def test_scores_that_never_change_are_flat():
    grid = simulate(60, Truth(), 6)
    same = replace(grid, score=np.repeat(grid.score[:, :, :1], 5, axis=2))
    found = analyse(same, shuffles=200)
    for tests in found["tests"].values():
        assert tests["shape"] == "flat"
        assert tests["signed"]["p"] == tests["edges"]["p"] == tests["range"]["p"] == 1.0
    assert found["length"]["p"] == 1.0


def test_scores_of_zero_and_few_queries_are_withheld():
    grid = simulate(60, Truth(), 7)
    nothing = analyse(replace(grid, score=np.zeros_like(grid.score)), shuffles=50)
    assert nothing["tests"]["all"]["signed"] is None
    assert nothing["tests"]["all"]["shape"] == "undecided"
    few = analyse(simulate(12, Truth(), 8), shuffles=50)
    assert few["tests"]["all"] == {"signed": None, "edges": None, "range": None, "shape": "undecided"}
    assert few["length"] is None


@pytest.mark.parametrize(("factor", "shape"), [([1, 0.6, 0.5, 0.6, 1], "edges"), ([0.5, 0.9, 1, 0.9, 0.5], "middle")])
def test_bends_are_named(factor, shape):
    grid = simulate(300, Truth(), 9)
    found = analyse(replace(grid, score=grid.score * np.array(factor)), shuffles=200)
    assert found["tests"]["all"]["shape"] == shape


def test_two_positions_have_a_slope_and_no_bend():
    grid = simulate(200, Truth(primacy=0.3), 10, places=2, lengths=(256,))
    found = analyse(grid, shuffles=200)
    assert list(found["tests"]) == ["all"]
    assert found["tests"]["all"]["edges"] is None
    assert found["tests"]["all"]["shape"] == "primacy"
    assert found["length"] is None


def test_bias_that_grows_with_length_is_seen():
    grid = simulate(300, Truth(), 11)
    score = grid.score.copy()
    score[:, 1] *= np.linspace(1, 0.5, 5)
    found = analyse(replace(grid, score=score), shuffles=200)
    assert found["length"]["p"] < 0.01
    assert found["length"]["toward_with_length"] == "primacy"
    assert found["tests"]["256"]["shape"] == "flat"
    assert found["tests"]["1024"]["shape"] == "primacy"


def test_truncation_is_called_truncation():
    grid = simulate(300, Truth(cut=512), 12)
    found = paired(grid, shuffles=300)
    assert found["cut"]["called"] == "truncation"
    assert found["cut"]["tied"]
    assert found["cut"]["between"][0] <= 512 <= found["cut"]["between"][1] < 800
    assert found["visible"]["lengths"] == ["256"]
    assert found["visible"]["tests"]["all"]["shape"] in ("flat", "undecided")
    assert found["verdict"][0].startswith("paired over positions: truncation")
    assert paired(simulate(300, Truth(primacy=0.25), 13), shuffles=300)["cut"]["called"] != "truncation"


def test_a_cut_beside_a_bias_is_told_by_its_ties():
    """Within the window evidence is found the better the earlier it stands, beyond it each query has one score."""
    grid = simulate(100, Truth(primacy=0.2, cut=512), 14)
    found = paired(grid, shuffles=300)
    assert found["cut"]["called"] == "truncation"
    assert found["cut"]["between"][0] <= 512 <= found["cut"]["between"][1]
    assert found["visible"]["tests"]["all"]["signed"]["value"] < 0
    # The same scores on average, but not tied: a bias could look like this.
    rng = np.random.default_rng(0)
    score = grid.score.copy()
    score[:, 1, 3:] = rng.permuted(score[:, 1, 3:], axis=0)
    assert not paired(replace(grid, score=score), shuffles=300)["cut"]["tied"]
    # Nothing found late is no sign of a window: zeros tie.
    score[:, 1, 3:] = 0.0
    assert not paired(replace(grid, score=score), shuffles=300)["cut"]["tied"]


def test_a_step_without_ties_is_called_truncation_where_it_explains_more():
    grid = simulate(300, Truth(), 15)
    lost = (grid.relative * grid.tokens > 512) & (np.random.default_rng(1).random(grid.score.shape) < 0.8)
    found = paired(replace(grid, score=np.where(lost, 0.0, grid.score)), shuffles=300)
    assert (found["cut"]["called"], found["cut"]["tied"]) == ("truncation", False)


def test_the_tests_hold_their_size_and_intervals_cover():
    """At reduced size; benchmarks/composition.py does it in full. .1 and .9 are about 3 standard errors away."""
    for truth in (Truth(), Truth(hard_middle=1.5), Truth(uneven=0.2)):
        found = [outcome(80, truth, seed, 200, 400) for seed in range(150)]
        for name in ("line", "bend", "spread", "length", "step"):
            assert np.mean([getattr(one, name) <= 0.05 for one in found]) <= 0.1, (truth, name)
        assert np.mean([one.covered for one in found]) >= 0.88


def test_a_small_primacy_is_found_in_300_queries():
    found = [outcome(300, Truth(primacy=0.075), seed, 200, 400) for seed in range(30)]
    assert sum(one.line <= 0.05 for one in found) >= 27
    assert Counter(one.shape for one in found)["recency"] == 0
    assert Counter(one.cut for one in found)["truncation"] == 0


# --- mirrored documents


def test_rankers_are_compared_within_queries():
    """Scores of two simulated rankers of the same queries: the sources move together, the indices are those of eval."""
    flat, steep = (simulate(200, Truth(primacy=primacy), 3) for primacy in (0.0, 0.3))
    reports = {"flat": report(flat), "steep": report(replace(steep, relative=flat.relative))}
    found = compare(reports)
    assert found["clusters"] == int(flat.cluster.max()) + 1
    assert found["resampled"] == "document"
    (pair,) = found["bias"]["pairs"]
    for row, name in zip(found["bias"]["rankers"], reports, strict=True):
        alone = bias.position_report(reports[name], "nDCG@10", shuffles=100)["composed"]["tests"]["all"]["signed"]
        assert row["index"]["all"]["value"] == pytest.approx(alone["value"])
        assert row["index"]["all"]["interval"] == pytest.approx(alone["interval"])
    difference = pair["index"]["all"]
    assert difference["p"] < 0.01
    assert difference["interval"][0] > 0
    assert pair["psi"]["all"] is None
    same = compare({"one": reports["flat"], "two": reports["flat"]})["bias"]["pairs"][0]["index"]["all"]
    assert (same["difference"], same["p"]) == (0.0, 1.0)


def test_comparing_composed_rankers_keeps_its_size():
    """The second is the first with the places of each source document's questions exchanged: neither has bias."""
    p_values = []
    for seed in range(60):
        one = simulate(120, Truth(), seed)
        rng = np.random.default_rng(seed)
        order = np.argsort(rng.random((int(one.cluster.max()) + 1, 1, len(one.names))), axis=2)
        other = replace(one, score=np.take_along_axis(one.score, order[one.cluster], axis=2))
        pair = compare({"one": report(one), "two": report(other)}, seed=seed, flips=400)["bias"]["pairs"][0]
        p_values.append(pair["index"]["all"]["p"])
    assert 0.38 < np.mean(p_values) < 0.62  # uniform: .5 +- .037
    assert np.mean(np.array(p_values) < 0.05) < 0.15


def mirrored(seed, primacy, broken=0.0, n=300):
    """Queries with evidence at x and 1 - x; the score falls with x, and mirroring as such costs ``broken``."""
    rng = np.random.default_rng(seed)
    place = rng.random(n)
    relative = np.stack([place, 1 - place], axis=1)[:, None]
    chance = 0.7 + 0.2 * (place[:, None, None] - 0.5) - primacy * (relative - 0.5) - broken * np.array([0, 1])
    score = (rng.random(relative.shape) < chance).astype(float)
    cluster = np.repeat(np.arange(n // 2), 2)
    tokens = np.full(relative.shape, 400)
    return Grid(("own",), ("original", "mirrored"), score, relative, tokens, cluster, np.zeros(n, np.int64), 0)


def test_mirrored_documents_by_hand():
    score = np.zeros((40, 1, 2))
    relative = np.zeros((40, 1, 2))
    relative[:20, 0], relative[20:, 0] = [0.25, 0.75], [0.75, 0.25]
    score[:20, 0], score[20:, 0] = [1.0, 0.5], [0.5, 0.9]  # front -0.5, back +0.4
    grid = Grid(
        ("own",),
        ("original", "mirrored"),
        score,
        relative,
        np.full(score.shape, 400),
        np.arange(40),
        np.zeros(40, int),
        0,
    )
    found = bias.composed_report(report(grid, "mirror"), "nDCG@10", shuffles=200)
    assert found["difference_in_differences"]["value"] == pytest.approx(0.45)
    assert found["signed"]["slope"] == pytest.approx(-0.9)
    assert found["signed"]["value"] == pytest.approx(-0.9 / (2 * score.mean()))
    assert found["level"]["value"] == pytest.approx(-0.05)
    assert found["shape"] == "primacy"
    assert found["signed"]["p"] == pytest.approx(1 / 201)


def test_mirroring_finds_a_bias_and_not_difficulty_or_broken_text():
    """Questions about late evidence are easier here (+0.2), and mirrored text is worse (-0.1): neither is bias."""
    slopes, called = [], Counter()
    for seed in range(60):
        found = bias.composed_report(report(mirrored(seed, 0.0, broken=0.1), "mirror"), "nDCG@10", shuffles=200)
        slopes.append(found["signed"]["slope"])
        called[found["signed"]["p"] <= 0.05] += 1
    assert abs(np.mean(slopes)) < 0.03
    assert called[True] <= 9
    found = bias.composed_report(report(mirrored(1, 0.3, broken=0.1), "mirror"), "nDCG@10", shuffles=200)
    assert found["shape"] == "primacy"
    assert found["signed"]["slope_interval"][0] < -0.3 < found["signed"]["slope_interval"][1]
    assert found["difference_in_differences"]["value"] > 0


def test_too_few_mirrored_queries_are_withheld():
    found = bias.composed_report(report(mirrored(1, 0.3, n=12), "mirror"), "nDCG@10", shuffles=50)
    assert found["signed"] is None
    assert found["shape"] == "undecided"
