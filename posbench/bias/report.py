"""Everything about position that an evaluation shows, as one JSON-serialisable dict."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias import composed, controls, inference, offsets, posir
from posbench.bias.placed import LENGTHS, MIN_QUERIES, Placed, known_places, placed
from posbench.bias.shuffle import SHUFFLES, Shuffler
from posbench.bias.shuffled import Shuffled
from posbench.bias.words import SHAPES, p_value, signed_index, within_documents
from posbench.types import Float64, Report

_AMONG_QUERIES = ("tests", "visible", "within_documents", "controlled")
_TELLING = 0.1  # a control's mean nearer to 0 or 1 says nothing of difficulty
CONTROLS = ("span", "bm25")
"""The controls that a report may hold, each as columns named ``<measure>:<control>``."""


def position_report(
    report: Report, measure: str, *, seed: int = 0, bins: int = 5, shuffles: int = SHUFFLES
) -> dict[str, Any] | None:
    """The analysis of one ranker's scores, or None for a collection without evidence.

    Returns:
        What ``analysis`` returns, and ``without_evidence``, the number of queries left out. Where the queries are
        composed, ``composed`` (None elsewhere) is the paired analysis, whose ``verdict`` and cut are taken over; what
        compares queries with one another is None: ``tests``, ``visible``, ``within_documents`` and ``controlled``.
    """
    found = placed(report, measure)
    if found is None:
        return None
    without = {"without_evidence": len(report.queries) - len(found.score)}
    paired = composed.composed_report(report, measure, seed=seed, shuffles=shuffles)
    if paired is not None:
        draws = stats.Bootstrap(found.cluster, found.stratum, stats.REPLICATES, seed)
        cells = offsets.view(found, draws)
        described = _described(found, measure, draws, bins) | dict.fromkeys(_AMONG_QUERIES)
        described["offsets"] = None if cells is None else {"cells": cells, "cut": paired.get("cut")}
        return described | without | {"composed": paired, "verdict": paired["verdict"]}
    keep = known_places(report)
    names = [name for name in CONTROLS if f"{measure}:{name}" in report.queries.column_names]
    columns = {name: report.queries[f"{measure}:{name}"].to_numpy()[keep].astype(np.float64) for name in names}
    columns = {name: values for name, values in columns.items() if not np.isnan(values).any()}
    whole = analysis(found, measure, columns, seed=seed, bins=bins, shuffles=shuffles)
    return whole | without | {"composed": None}


def analysis(
    queries: Placed,
    measure: str,
    scores_of_controls: Mapping[str, Float64] | None = None,
    *,
    seed: int = 0,
    bins: int = 5,
    shuffles: int = SHUFFLES,
) -> dict[str, Any]:
    """Everything that scores and places say.

    Args:
        queries: scores, with the places of their evidence.
        measure: what the scores are, for the names of the columns.
        scores_of_controls: scores of the same queries by other means, for ``controls.adjusted``.
        seed: of all random generators.
        bins: position bins of ``cells``.
        shuffles: how many shuffles, and how many resamples.

    Returns:
        A JSON-serialisable dict: ``official`` (the paper's columns) and ``official_intervals`` (of its means);
        ``smallest_bin`` and ``typical_bin`` (queries in the paper's 20 bins); ``cells`` (length, low, high, queries,
        mean, interval; mean None where too few); ``tests`` (``inference.analyse``); ``offsets`` (``offsets.offsets``);
        ``visible``, the tests of the evidence before the cut, where a truncation is found; ``within_documents``;
        ``controlled``, the tests with difficulty taken out, where there are controls; ``verdict``, plain sentences.
    """
    order = Shuffler.of(queries).rows
    queries = queries.take(order)
    columns = {name: scores[order] for name, scores in (scores_of_controls or {}).items()}
    draws = stats.Bootstrap(queries.cluster, queries.stratum, shuffles, seed)
    steps = offsets.Steps.of(queries)
    shuffled = Shuffled.of(queries, steps, shuffles=shuffles, seed=seed)
    whole = _described(queries, measure, draws, bins) | {
        "tests": inference.analyse(queries, shuffled, draws),
        "offsets": offsets.offsets(queries, steps, shuffled.null_drop, draws),
        "within_documents": controls.within_documents(queries, seed=seed, shuffles=shuffles),
    }
    whole["visible"] = _visible(queries, whole["offsets"], seed, shuffles)
    whole["controlled"] = _controlled(queries, columns, whole["offsets"], draws)
    whole["verdict"] = verdict(whole)
    return whole


def _described(queries: Placed, measure: str, draws: stats.Bootstrap, bins: int) -> dict[str, Any]:
    """What is counted and averaged, without any test."""
    counts = posir.cell_counts(queries)[0]
    return {
        "measure": measure,
        "queries": len(queries.score),
        "official": posir.columns(queries, measure),
        "official_intervals": posir.intervals(queries, measure, draws),
        "smallest_bin": int(counts[counts > 0].min()),
        "typical_bin": int(np.median(counts[counts > 0])),
        "smallest_bins": _smallest(queries),
        "position_bins": posir.POSITION_BINS,
        "cells": _cells(queries, bins, draws),
    }


def _smallest(queries: Placed) -> dict[str, int]:
    """Queries in the smallest of the paper's bins that is not empty, by length: below 10 its PSI is no figure."""
    counts = posir.cell_counts(queries)
    return {
        name: int(row[row > 0].min()) if row.any() else 0 for name, row in zip(("all", *LENGTHS), counts, strict=True)
    }


def _visible(found: Placed, view: Mapping[str, Any] | None, seed: int, shuffles: int) -> dict[str, Any] | None:
    """The tests of queries whose evidence stands before the cut."""
    if view is None or view["cut"]["called"] != "truncation":
        return None
    before = found.take(found.offset <= view["cut"]["tokens"])
    return {"queries": len(before.score), **inference.analyse(before, seed=seed, shuffles=shuffles)}


def _controlled(
    queries: Placed, columns: Mapping[str, Float64], view: Mapping[str, Any] | None, draws: stats.Bootstrap
) -> dict[str, Any] | None:
    """The tests of scores less the difficulty that controls show, of the evidence before a cut where there is one.

    Where the first control finds nearly nothing or nearly all it knows no difficulty: ``withheld`` then says so, and
    there is no test.
    """
    if not columns:
        return None
    profile = {name: _profile(values, queries, draws) for name, values in columns.items()}
    found: dict[str, Any] = {"controls": list(columns), "means": profile, "withheld": ""}
    name, values = next(iter(columns.items()))
    if not _TELLING < float(values.mean()) < 1 - _TELLING:
        found["withheld"] = f"the control {name} has a mean of {values.mean():.2f}, too near its end to know difficulty"
        return found | {"taken": None, "signed": None, "edges": None, "shape": "undecided"}
    if view is not None and view["cut"]["called"] == "truncation":
        seen = queries.offset <= view["cut"]["tokens"]
        queries, columns = queries.take(seen), {name: values[seen] for name, values in columns.items()}
    left, taken = controls.adjusted(queries, columns)
    tests = inference.analyse(left, seed=draws.seed, shuffles=draws.replicates)
    return found | {"taken": taken} | {key: tests[key] for key in ("signed", "edges", "shape")}


def _profile(values: Any, found: Placed, draws: stats.Bootstrap) -> list[dict[str, Any]]:
    """A control's own means by fifths of position."""
    control = Placed(values, found.relative, found.tokens, found.cluster, found.stratum)
    return [cell for cell in _cells(control, 5, draws) if cell["length"] == "all" and not cell["whole"]]


def _cells(queries: Placed, bins: int, draws: stats.Bootstrap) -> list[dict[str, Any]]:
    """Means by length (all, then each bucket that occurs) x position, position 'all' first."""
    place, length = queries.bins(bins), queries.length
    everything = np.ones(len(place), bool)
    rows: list[tuple[str, Any]] = [("all", everything)]
    rows += [(name, length == k) for k, name in enumerate(LENGTHS) if (length == k).any()]
    columns = [(-1, everything)] + [(b, place == b) for b in range(bins)]
    members = [(name, b, row & column) for name, row in rows for b, column in columns]
    values = np.stack([np.where(member, queries.score, np.nan) for _, _, member in members], axis=1)
    low, high = draws.intervals(values)
    cells = []
    for i, (name, b, member) in enumerate(members):
        n = int(member.sum())
        enough = n >= MIN_QUERIES
        edges: Mapping[str, float] = {"low": max(b, 0) / bins, "high": (b + 1) / bins if b >= 0 else 1.0}
        mean = float(queries.score[member].mean()) if enough else None
        interval = [float(low[i]), float(high[i])] if enough else None
        cells.append({"length": name, **edges, "whole": b < 0, "queries": n, "mean": mean, "interval": interval})
    return cells


def headline(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """The ``signed`` index and ``psi`` of all lengths (None where withheld) and the ``shape`` of one analysis.

    Composed documents are judged by their paired analysis, which has no PSI.
    """
    composed, cut = analysis["composed"], (analysis["offsets"] or {}).get("cut")
    if composed is None:
        tests = analysis["tests"]
        found = {"signed": tests["signed"]["all"], "psi": tests["psi"]["all"], "shape": tests["shape"]}
    else:
        tests = composed if composed["method"] == "mirror" else composed["tests"]["all"]
        found = {"signed": tests["signed"], "psi": None, "shape": tests["shape"]}
    return found | ({"shape": "truncation"} if cut and cut["called"] == "truncation" else {})


CONFOUNDED = (
    "questions about one place may be harder for every ranker, and this analysis cannot tell that from bias; "
    "controls (posbench eval --controls) or composed documents (posbench compose) can"
)


def verdict(whole: Mapping[str, Any]) -> list[str]:
    """What the figures say, in plain sentences."""
    tests, cut = whole["tests"], (whole["offsets"] or {}).get("cut")
    sentences = []
    if cut and cut["called"] == "truncation":
        after = "few" if cut["after"] is None else f"{cut['after']:.2f}"
        before = "few" if cut["before"] is None else f"{cut['before']:.2f}"
        sentences.append(
            f"truncation: scores fall at about {cut['tokens']:,} tokens from the start, from {before} to {after} in "
            "documents longer than that"
        )
        sentences.append(f"before the cut: {SHAPES[whole['visible']['shape']]}{_index(whole['visible'])}")
    else:
        sentences.append(f"{SHAPES[tests['shape']]}{_index(tests)}")
        if cut and cut["called"] == "undecided" and tests["shape"] == "primacy":
            sentences.append(f"a cut at about {cut['tokens']:,} tokens would explain it about as well")
    if whole["within_documents"] and not whole["visible"]:
        sentences.append(within_documents(whole["within_documents"]))
    length = tests["length"]
    if length and length["p"] < 0.05 and not whole["visible"]:
        sentences.append(
            f"the longer the document, the more toward {length['toward_with_length']} ({p_value(length['p'])})"
        )
    controlled = whole["controlled"]
    if controlled and controlled["withheld"]:
        sentences.append(controlled["withheld"])
    elif controlled:
        first, *others = controlled["controls"]
        by = f"{first} (instrument: {', '.join(others)})" if others else first
        where = "before the cut, " if whole["visible"] else ""
        figure = signed_index(controlled["signed"]["all"])
        sentences.append(f"{where}with difficulty by {by} taken out: {SHAPES[controlled['shape']]}{figure}")
    elif tests["shape"] not in ("flat", "undecided"):
        sentences.append(CONFOUNDED)
    return sentences


def _index(tests: Mapping[str, Any]) -> str:
    return signed_index(tests["signed"]["all"])
