"""Stored results as charts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np

from posbench import bias, compare
from posbench.bias import shuffle
from posbench.bias.grid import Grid
from posbench.bias.shuffled import Shuffled
from posbench.errors import UsageError
from posbench.manifest import selection_text
from posbench.plots import selection
from posbench.plots.cells import heatmap
from posbench.plots.curves import offset_curves, paired_curves, position_curves
from posbench.plots.hnsw import lid_recall, recall_curves
from posbench.plots.mini import size_curves
from posbench.plots.null import null_distribution
from posbench.plots.pairs import forest, slopes
from posbench.plots.ranks import rank_shifts
from posbench.plots.saliency import saliency_curves
from posbench.plots.style import Chart, counted
from posbench.staged import sentence, staged
from posbench.store import Result
from posbench.studies import curves
from posbench.studies.hnsw.lid import by_lid
from posbench.studies.hnsw.summary import summary
from posbench.studies.mini import summary as mini
from posbench.studies.selection.summary import told
from posbench.types import Float64, Progress, Report, no_progress

_SAMPLE = 40  # queries drawn one by one
_LINE = 100  # characters beneath a title


def draw(
    results: Sequence[Result], kind: str, measure: str = "", seed: int = 0, progress: Progress = no_progress
) -> Chart:
    """One chart of one or several results.

    Args:
        results: of collections that know where their evidence stands, or of a study.
        kind: one of ``KINDS``.
        measure: a column of the results (default nDCG@10, else the first of the first result).
        seed: of resampling and shuffles.
        progress: counts the results that are analysed.

    Raises:
        UsageError: a result has no evidence, or not what this kind of chart shows.
        DataError: a result is damaged or lacks the measure.
    """
    wanted = STUDIES.get(kind, "eval")
    for result in results:
        if result.kind != wanted:
            makes = f"posbench {wanted}"
            raise UsageError(
                f"{result.folder} is of `posbench {result.kind}`; --kind {kind} draws results of `{makes}`"
            )
    reports = [result.report() for result in results]
    first = reports[0].measures
    measure = measure or ("nDCG@10" if "nDCG@10" in first else first[0])
    found = dict(zip(names(results), reports, strict=True))
    datasets = dict.fromkeys(str(result.manifest["dataset"]["name"]) for result in results)
    drawn = KINDS[kind](_Job(found, measure, ", ".join(datasets), seed, progress("analyse", len(found))))
    return _marked(drawn, results, _stages(found, measure))


def _stages(reports: Mapping[str, Report], measure: str) -> list[str]:
    """Of each pipeline its score and first stage with its score, depth, fusion and query types, in lines."""
    lines = []
    for name, report in reports.items():
        said = staged(report)
        if said is not None:
            mean = float(report.values(measure).mean())
            lines += wrap(f"{name}: {measure} {mean:.4f}; {sentence(said, measure)}", _LINE, subsequent_indent="  ")
    return lines


def _marked(drawn: Chart, results: Sequence[Result], stages: Sequence[str]) -> Chart:
    """A chart that says beneath its title which datasets are selections, and of what stages pipelines are."""
    about = {str(one["name"]): selection_text(one) for one in (result.manifest["dataset"] for result in results)}
    selected = {name: text for name, text in about.items() if text}
    lines = [f"{name}: {text}" if len(about) > 1 else text for name, text in selected.items()] + [*stages]
    title = drawn["title"]
    return drawn | {"title": title | {"subtitle": [*title["subtitle"], *lines]}} if lines else drawn


@dataclass(frozen=True)
class _Job:
    """What is drawn: reports by the name that the chart shows, and how."""

    reports: Mapping[str, Report]
    measure: str
    about: str
    seed: int
    advance: Callable[[int], None]

    def analysed(self) -> dict[str, dict[str, Any]]:
        """``bias.position_report`` of each."""
        found = {}
        for name, report in self.reports.items():
            analysis = bias.position_report(report, self.measure, seed=self.seed)
            if analysis is None:
                raise _without_evidence(name)
            found[name] = analysis
            self.advance(1)
        return found


def names(results: Sequence[Result]) -> list[str]:
    """What tells results apart, as short as it gets: ranker, dataset or both, and the fingerprint where these agree."""
    rankers = [str(result.manifest["ranker"]["name"]) for result in results]
    datasets = [str(result.manifest["dataset"]["name"]) for result in results]
    both = [f"{ranker} on {dataset}" for ranker, dataset in zip(rankers, datasets, strict=True)]
    selected = any("selection" in result.manifest["dataset"] for result in results)
    mixed = selected and len(set(datasets)) > 1  # which of them is on the selection must be seen
    for short in (both,) if mixed else (rankers, datasets, both):
        if len(set(short)) == len(results):
            return short
    full = [f"{name} {result.folder.name[:6]}" for name, result in zip(both, results, strict=True)]
    if len(set(full)) < len(results):
        raise UsageError("the same result stands twice in the list; name each once")
    return full


def _without_evidence(name: str) -> UsageError:
    return UsageError(
        f"{name}: no query has evidence at a known place; expected a result of a collection with evidence, "
        "for example of posir-mini"
    )


def _curves(job: _Job) -> Chart:
    return position_curves(job.analysed(), job.about)


def _offsets(job: _Job) -> Chart:
    reports = job.analysed()
    for name, report in reports.items():
        if report["offsets"] is None:
            raise UsageError(f"{name}: the documents' lengths in tokens are unknown; --kind curves needs none")
    return offset_curves(reports, job.about)


def _heatmap(job: _Job) -> Chart:
    return heatmap(job.analysed(), job.about)


def _null(job: _Job) -> Chart:
    figures, counts = {}, set()
    for name, report in job.reports.items():
        placed = bias.placed(report, job.measure)
        if placed is None:
            raise _without_evidence(name)
        if Grid.of(report, job.measure) is not None:
            raise UsageError(f"{name}: composed documents are compared within queries; draw them with --kind composed")
        figures[name] = psi_sample(name, placed, job.seed)
        job.advance(1)
        counts.add(len(placed.score))
    return null_distribution(figures, job.measure, f"{job.about}, {counted(counts)} queries")


def psi_sample(name: str, placed: bias.Placed, seed: int) -> tuple[float, Float64]:
    """PSI over all lengths as seen, and under the shuffles that ``position_report`` tests it by: float64[B].

    Raises:
        UsageError: a position bin has too few queries, or the largest mean is 0.
    """
    shuffled = Shuffled.of(shuffle.Shuffler.ordered(placed), seed=seed)
    counts = shuffled.counts[0]
    smallest = int(counts[counts > 0].min())
    if smallest < bias.MIN_QUERIES:
        raise UsageError(
            f"{name}: PSI's smallest position bin holds {smallest} queries; expected {bias.MIN_QUERIES} or more"
        )
    seen, null = shuffled.psi(0)
    if np.isnan(seen) or np.isnan(null).any():
        raise UsageError(f"{name}: every score is 0, so PSI is not defined; expected a ranker that finds something")
    return seen, null


def _slope(job: _Job) -> Chart:
    if len(job.reports) != 2:
        raise UsageError(f"--kind slope compares two results; found {len(job.reports)}")
    asked = [set(report.queries["query_id"].to_pylist()) for report in job.reports.values()]
    if asked[0] != asked[1]:
        counts = f"{len(asked[0]):,} and {len(asked[1]):,}, of which {len(asked[0] & asked[1]):,} are shared"
        raise UsageError(f"--kind slope needs the same queries in both results; found {counts}")
    one, two = job.analysed().values()
    pairs = {}
    for a, b in zip(one["cells"], two["cells"], strict=False):
        if a["length"] == "all" and a["mean"] is not None and b["mean"] is not None:
            name = "mean" if a["whole"] else f"{100 * a['low']:.0f}\N{EN DASH}{a['high']:.0%}"
            pairs[name] = (a["mean"], b["mean"])
    if "mean" not in pairs:
        raise UsageError(f"too few queries with evidence; expected {bias.MIN_QUERIES} or more in both results")
    whole = pairs.pop("mean")
    first, second = job.reports
    lines = f"{job.about}, {one['queries']:,} queries; a line a fifth of the document where the evidence stands"
    return slopes(pairs, whole, (first, second), job.measure, lines)


def _forest(job: _Job) -> Chart:
    """Paired differences of every two, in means."""
    if len(job.reports) < 2:
        raise UsageError("--kind forest compares results; found one, expected two or more")
    found = compare.compare(job.reports, (job.measure,), seed=job.seed, bias_too=False)
    job.advance(len(job.reports))
    rows = [
        {"a": pair["first"], "b": pair["second"], **{key: pair[key] for key in ("difference", "interval", "p_holm")}}
        for pair in found["measures"][0]["pairs"]
    ]
    return forest(rows, job.measure, f"{job.about}, {found['queries']:,} queries")


def _composed(job: _Job) -> Chart:
    """The same evidence at each position: means over lengths, with some queries' own values."""
    series = {}
    for name, analysis in job.analysed().items():
        found, grid = analysis["composed"], Grid.of(job.reports[name], job.measure)
        if found is None or found["method"] == "mirror" or grid is None:
            raise UsageError(
                f"{name}: its documents are not composed with evidence at chosen positions; "
                "`posbench compose` makes such collections; --kind slope draws mirrored ones"
            )
        cells = [cell for cell in found["curve"] if cell["length"] == "all"]
        rows = np.random.default_rng(job.seed).permutation(len(grid.score))[:_SAMPLE]
        series[name] = {
            "positions": found["positions"],
            "mean": [cell["mean"] for cell in cells],
            "low": [cell["interval"][0] for cell in cells],
            "high": [cell["interval"][1] for cell in cells],
            "queries": found["queries"],
            "sample": grid.score[np.sort(rows)].mean(axis=1).tolist(),
        }
    return paired_curves(series, job.measure, job.about)


def _saliency(job: _Job) -> Chart:
    series = {}
    for name, report in job.reports.items():
        series[name] = curves.summary(report, seed=job.seed)
        job.advance(1)
    pairs = counted({int(one["pairs"]) for one in series.values()})
    return saliency_curves(series, f"{job.about}, {pairs} queries and their documents")


def _study(job: _Job) -> tuple[Report, dict[str, Any]]:
    """The one study of HNSW builds and what it says."""
    if len(job.reports) != 1:
        raise UsageError(f"a study of HNSW builds is drawn alone; found {len(job.reports)} results, expected 1")
    (report,) = job.reports.values()
    found = summary(report, job.seed)
    job.advance(1)
    return report, found


def _depth(report: Report) -> int:
    return int(report.header["grid"]["k"])


def _recall(job: _Job) -> Chart:
    report, found = _study(job)
    return recall_curves(found["sets"], _depth(report), job.about)


def _lid(job: _Job) -> Chart:
    report, found = _study(job)
    sets = by_lid(report, found["sets"])
    if not sets:
        raise UsageError(f"{job.about}: no query has an LID; expected a study with more distinct vectors")
    return lid_recall(sets, _depth(report), job.about, job.seed)


def _ranks(job: _Job) -> Chart:
    report, found = _study(job)
    if not found["shifts"]:
        raise UsageError(
            f"{job.about}: ranks need two or more models on one dataset; `posbench hnsw --model A --model B` has them"
        )
    return rank_shifts(found["shifts"], _depth(report), job.about)


def _mini(job: _Job) -> Chart:
    """The one study of mini-benchmarks."""
    if len(job.reports) != 1:
        raise UsageError(f"a study of mini-benchmarks is drawn alone; found {len(job.reports)} results, expected 1")
    (report,) = job.reports.values()
    found = mini.summary(report)
    job.advance(1)
    lines = [f"{job.about}, {found['queries']:,} queries; {len(found['rankers'])} rankers by {found['measure']}"]
    return size_curves(found["selectors"], found["wanted"], lines)


def _selection(job: _Job) -> tuple[Report, dict[str, Any]]:
    """The one selection and what it says."""
    if len(job.reports) != 1:
        raise UsageError(f"a selection is drawn alone; found {len(job.reports)} results, expected 1")
    (report,) = job.reports.values()
    job.advance(1)
    return report, told(report)


def _selected(found: Mapping[str, Any]) -> str:
    """What was selected from what, in a line."""
    size, documents = found["selection"]["size"], found["raw"]["documents"]
    towards = ", ".join(target["name"] for target in found["targets"])
    return f"{size:,} of {documents:,} documents of {found['raw']['name']}, towards {towards}"


def _divergence(job: _Job) -> Chart:
    _, found = _selection(job)
    if len({row["size"] for row in found["comparison"]}) < 2:
        raise UsageError(f"{job.about}: selectors were not compared; `posbench select --compare` does so")
    return selection.divergence(found, _selected(found))


def _weights(job: _Job) -> Chart:
    report, found = _selection(job)
    names = [target["name"] for target in found["targets"]]
    return selection.log_weights(report.header["log_weights"], found["effective_sample_size"], names, _selected(found))


def _words(job: _Job) -> Chart:
    _, found = _selection(job)
    return selection.words(found["ngrams"], _selected(found))


STUDIES = {
    "saliency": "saliency",
    "divergence": "select",
    "lid": "hnsw",
    "mini": "mini",
    "ranks": "hnsw",
    "recall": "hnsw",
    "weights": "select",
    "words": "select",
}
"""Which command's results a kind draws, where these are not of ``posbench eval``."""

KINDS: Mapping[str, Callable[[_Job], Chart]] = {
    "composed": _composed,
    "curves": _curves,
    "divergence": _divergence,
    "forest": _forest,
    "heatmap": _heatmap,
    "lid": _lid,
    "mini": _mini,
    "null": _null,
    "offsets": _offsets,
    "ranks": _ranks,
    "recall": _recall,
    "saliency": _saliency,
    "slope": _slope,
    "weights": _weights,
    "words": _words,
}
