"""The whole comparison as one JSON-serialisable dict."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from posbench import bias, paired, stats
from posbench.bias import Placed, inference
from posbench.compare import places
from posbench.compare.align import Aligned, align, same_places
from posbench.compare.composed import compare_composed
from posbench.compare.scores import add_p, compare_means, significant
from posbench.staged import staged
from posbench.types import Float64, Progress, Report, no_progress

LIMITS = {
    "index": "null: the two signed indices are equal, whatever the means; right in the limit of many documents",
    "psi": "null: relative to their means the two rankers have one curve and one noise",
}
"""What each test of bias takes for granted."""


def compare(
    reports: Mapping[str, Report],
    measures: Sequence[str] = (),
    *,
    common: bool = False,
    seed: int = 0,
    flips: int = 0,
    bias_too: bool = True,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Compares rankers over the same queries.

    Args:
        reports: at least two, by the name that each is shown with.
        measures: which; empty: all that every report has.
        common: compare over the queries that all share, rather than refuse reports that differ in them.
        seed: of resamples and flips.
        flips: of the randomisation tests; 0: 10,000, more where there are many pairs.
        bias_too: compare position bias as well as means.
        progress: shows the bias analysis, one step a ranker.

    Returns:
        ``selection`` (what the dataset is a selection of, as its manifest says, else None), ``rankers``, ``rerank``
        (of each pipeline among them its stages, as ``staged`` has them, over these queries), ``queries``, ``clusters``
        (documents or queries, see ``resampled``), ``left_out``, ``notes``, ``measures`` (``compare_means``, each ranker
        with ``first_stage``, a pipeline's first stage's mean, else None), ``bias`` (``compare_bias``, None without
        evidence at one known place) and ``bias_withheld``, the reason where it is None; ``seed``.
    """
    aligned = align(reports, measures, common=common)
    found, withheld = None, "the results hold no place of evidence"
    if not bias_too:
        withheld = "not asked for"
    elif "span_start" in aligned.reports[0].queries.column_names:
        withheld = "the results differ in where the evidence stands" if not same_places(aligned) else ""
        found = None if withheld else compare_bias(aligned, seed=seed, flips=flips, progress=progress)
    told = dict(zip(aligned.names, map(staged, aligned.reports), strict=True))
    stages = {name: said for name, said in told.items() if said is not None}
    return {
        "selection": aligned.reports[0].header.get("dataset", {}).get("selection"),
        "datasets": aligned.reports[0].queries["dataset"].unique().to_pylist(),
        "rankers": list(aligned.names),
        "rerank": stages,
        "queries": len(aligned.values),
        "clusters": int(aligned.clusters.max()) + 1,
        "resampled": aligned.resampled,
        "left_out": dict(aligned.left_out),
        "notes": list(aligned.notes),
        "measures": _beside_first(compare_means(aligned, seed=seed, flips=flips), stages),
        "bias": found,
        "bias_withheld": withheld or ("" if found is not None else "documents are mirrored, or no place is known"),
        "seed": seed,
    }


def _beside_first(measures: list[dict[str, Any]], stages: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The means of measures with that of each pipeline's first stage beside its own."""
    for part in measures:
        for row in part["rankers"]:
            said = stages.get(row["name"])
            row["first_stage"] = None if said is None else said["measures"][part["measure"]]
    return measures


def compare_bias(
    aligned: Aligned, *, seed: int = 0, flips: int = 0, progress: Progress = no_progress
) -> dict[str, Any] | None:
    """Signed index and debiased PSI of each ranker and pair, by length; None where no query has one known place.

    Composed documents are compared within queries (``composed.compare_composed``); mirrored ones are not (None).

    A figure is None where a ranker has too few queries for it. Holm's correction is over all pairs and lengths of one
    figure. A ranker's ``rank`` is by debiased PSI over all lengths, shared where it cannot be told apart.
    """
    measure = "nDCG@10" if "nDCG@10" in aligned.measures else aligned.measures[0]
    if "source_doc" in aligned.reports[0].queries.column_names:
        found = compare_composed(aligned, measure, seed=seed, flips=flips)
        return None if found is None else found | {"tests": LIMITS}
    each = [bias.placed(report, measure) for report in aligned.reports]
    queries = [one for one in each if one is not None]
    if len(queries) < len(each):
        return None
    scores = np.stack([one.score for one in queries], axis=1)
    analyses = _analyses(queries, seed, progress)
    names = aligned.names
    pairs: list[dict[str, Any]] = [
        {"first": names[a], "second": names[b]} for a, b in combinations(range(len(names)), 2)
    ]
    flips = flips or paired.flips_for(len(pairs) * len(places.GROUPS))
    index = places.signed_index(queries[0], scores, seed=seed, flips=flips)
    psi = places.psi(queries[0], scores, _noise(analyses), seed=seed, flips=max(places.PSI_FLIPS, flips // 5))
    for key, kind, figures in (("index", "signed", index), ("psi", "psi", psi)):
        known = np.array([[analysis[kind][group] is not None for group in places.GROUPS] for analysis in analyses])
        _add_figure(pairs, key, figures, known)
    return {
        "measure": measure,
        "queries": len(queries[0].score),
        "rankers": _rankers(names, analyses, pairs),
        "pairs": pairs,
        "tests": LIMITS,
    }


def _analyses(queries: Sequence[Placed], seed: int, progress: Progress) -> list[dict[str, Any]]:
    advance = progress("position bias", len(queries))
    found = []
    for one in queries:
        found.append(inference.analyse(one, seed=seed))
        advance(1)
    return found


def _noise(analyses: Sequence[Mapping[str, Any]]) -> Float64:
    """The c of each debiased PSI: float64[R, 5], NaN where it is withheld."""
    c = np.full((len(analyses), len(places.GROUPS)), np.nan)
    for r, analysis in enumerate(analyses):
        for k, group in enumerate(places.GROUPS):
            figure = analysis["psi"][group]
            if figure is not None:
                c[r, k] = figure["noise"]
    return c


def _add_figure(pairs: list[dict[str, Any]], key: str, figures: places.Figures, known: Any) -> None:
    """Adds one figure's differences by length to each pair, None where either ranker lacks it."""
    rows, p_values = [], []
    for pair, (a, b) in zip(pairs, combinations(range(len(known)), 2), strict=True):
        pair[key] = dict.fromkeys(places.GROUPS)
        low, high = stats.percentile_interval(figures.resampled[:, a] - figures.resampled[:, b])
        for k, group in enumerate(places.GROUPS):
            if known[a, k] and known[b, k]:
                difference = float(figures.values[a, k] - figures.values[b, k])
                pair[key][group] = {"difference": difference, "interval": [float(low[k]), float(high[k])]}
                rows.append(pair[key][group])
                p_values.append(float(figures.p[a, b, k]))
    add_p(rows, p_values)


def _rankers(
    names: tuple[str, ...], analyses: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    whole = [analysis["psi"]["all"] for analysis in analyses]
    values = np.array([np.nan if figure is None else figure["debiased"] for figure in whole])
    tested = [{**pair, **pair["psi"]["all"]} for pair in pairs if pair["psi"]["all"] is not None]
    ranks = paired.upper_bound_ranks(-values, significant(names, tested))
    return [
        {
            "name": name,
            "shape": analysis["shape"],
            "index": analysis["signed"],
            "psi": analysis["psi"],
            "rank": int(rank) or None,
        }
        for name, analysis, rank in zip(names, analyses, ranks, strict=True)
    ]
