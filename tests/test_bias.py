"""The official columns against an independent restatement of the authors' script (pandas, pd.cut, groupby)."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import bias
from posbench.types import Report


def restated(score, start, end, chars, tokens):
    """The published computation, written anew from its description with the tools that the authors used."""
    frame = pd.DataFrame({"s": score, "pos": (start + end) / 2, "chars": chars, "tokens": tokens})
    frame["rel"] = np.clip(np.minimum(frame.pos, frame.chars) / frame.chars, 0, 1)
    frame["bin"] = pd.cut(frame.rel, np.linspace(0, 1, 21), include_lowest=True)
    frame["len"] = pd.cut(frame.tokens, [0, 512, 1024, 1536, np.inf], labels=["Q1", "Q2", "Q3", "Q4"])
    out = {"nDCG@10": frame.s.mean()}
    means = frame.groupby("bin", observed=True).s.mean()
    out["PSI"] = 1 - means.min() / means.max() if means.max() else np.nan
    for k in ("Q1", "Q2", "Q3", "Q4"):
        means = frame[frame.len == k].groupby("bin", observed=True).s.mean()
        out[f"nDCG@10({k})"] = means.mean() if len(means) else np.nan
        out[f"PSI({k})"] = 1 - means.min() / means.max() if len(means) and means.max() else np.nan
    return out


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 400), st.integers(0, 10_000))
def test_official_columns(n, seed):
    rng = np.random.default_rng(seed)
    score = np.where(rng.random(n) < 0.7, 1 / np.log2(rng.integers(1, 11, n) + 1), 0.0)
    chars = rng.integers(20, 8000, n)
    start = (rng.random(n) * chars).astype(int)
    end = np.minimum(start + rng.integers(1, 300, n), chars + rng.integers(0, 2, n) * 500)
    tokens = rng.choice([1, 511, 512, 513, 1024, 1025, 1536, 1537, 5000], n)
    ours = bias.official(score, bias.relative_position(start, end, chars), tokens)
    expected = restated(score, start, end, chars, tokens)
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize(("place", "expected"), [(0.0, 0), (0.05, 0), (0.0500001, 1), (0.95, 18), (1.0, 19)])
def test_bins_are_closed_on_the_right(place, expected):
    queries = bias.Placed(*(np.array([x]) for x in (1.0, place, 100, 0, 0)))
    assert queries.bins(20).tolist() == [expected]


@pytest.mark.parametrize(("tokens", "expected"), [(-1, -1), (0, -1), (1, 0), (512, 0), (513, 1), (1536, 2), (1537, 3)])
def test_length_buckets_are_closed_on_the_right(tokens, expected):
    queries = bias.Placed(*(np.array([x]) for x in (1.0, 0.5, tokens, 0, 0)))
    assert queries.length.tolist() == [expected]


def report(score, place, tokens, docs=None):
    n = len(score)
    chars = np.full(n, 1000)
    start = (np.asarray(place) * 1000).astype(int)
    table = pa.table(
        {
            "dataset": ["d"] * n,
            "ranker": ["r"] * n,
            "query_id": [str(i) for i in range(n)],
            "domain": ["x" if i % 2 else "y" for i in range(n)],
            "doc_id": docs or [f"doc{i // 3}" for i in range(n)],
            "span_start": start,
            "span_end": start,
            "doc_chars": chars,
            "doc_tokens": tokens,
            "nDCG@10": np.asarray(score, float),
        }
    )
    return Report({}, ("nDCG@10",), table)


def test_position_report_shows_a_planted_bias_and_its_counts():
    rng = np.random.default_rng(0)
    place = rng.random(3000)
    found = bias.position_report(report(np.clip(1 - place, 0, 1), place, np.full(3000, 600)), "nDCG@10")
    parts = [cell for cell in found["cells"] if cell["length"] == "all" and not cell["whole"]]
    means = [cell["mean"] for cell in parts]
    assert means == sorted(means, reverse=True)
    assert means[0] == pytest.approx(0.9, abs=0.02)
    assert sum(cell["queries"] for cell in parts) == found["queries"] == 3000
    assert all(cell["interval"][0] <= cell["mean"] <= cell["interval"][1] for cell in parts)
    assert found["official"]["PSI"] > 0.9
    assert found["tests"]["psi"]["all"]["null_mean"] < 0.2
    assert found["tests"]["shape"] == "primacy"
    low, high = found["official_intervals"]["nDCG@10"]
    assert low < 0.5 < high


def test_the_null_of_psi_is_what_the_literature_simulated():
    """About .13 at 300 queries a bin and a mean of .6 (one-positive nDCG@10)."""
    rng = np.random.default_rng(0)
    n = 6000
    score = np.where(rng.random(n) < 0.78, 1 / np.log2(1 + rng.choice([1, 2, 3, 5], n, p=[0.6, 0.2, 0.1, 0.1])), 0)
    found = bias.position_report(report(score, rng.random(n), np.full(n, 600)), "nDCG@10")
    assert 0.08 < found["tests"]["psi"]["all"]["null_mean"] < 0.18


def test_too_few_queries_are_withheld():
    found = bias.position_report(report([1.0] * 12, [0.1] * 9 + [0.9] * 3, [100] * 12), "nDCG@10")
    cells = {(cell["length"], cell["low"], cell["whole"]): cell for cell in found["cells"]}
    assert cells["all", 0.0, False]["queries"] == 9
    assert cells["all", 0.0, False]["mean"] is None
    assert cells["all", 0.0, False]["interval"] is None


def test_all_scores_zero_has_no_psi():
    found = bias.position_report(report([0.0] * 30, np.linspace(0, 1, 30), [100] * 30), "nDCG@10")
    assert np.isnan(found["official"]["PSI"])
    assert found["official"]["nDCG@10"] == 0.0


def test_no_evidence_no_report():
    table = report([1.0], [0.5], [10]).queries.drop_columns(
        ["span_start", "span_end", "doc_chars", "doc_tokens", "doc_id"]
    )
    assert bias.position_report(Report({}, ("nDCG@10",), table), "nDCG@10") is None
