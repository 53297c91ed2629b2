"""Position analyses of several rankers: stored results or tables, with the tests of all of them as one family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posbench import bias, stats
from posbench.errors import DataError, UsageError
from posbench.staged import staged
from posbench.store import Result, Results, result_in
from posbench.types import Report

MEASURE = "nDCG@10"


@dataclass(frozen=True)
class Subject:
    """One ranker's scores to analyse: where they come from, and what was remarked on reading them.

    ``selection`` says what the dataset is a selection of, as a manifest does.
    """

    name: str
    dataset: str
    ranker: str
    report: Report
    measure: str
    remarks: tuple[str, ...] = ()
    selection: Mapping[str, Any] | None = None


def of_tables(paths: Sequence[Path]) -> list[Subject]:
    """The subjects of per-query tables, named by their files."""
    found = []
    for path in paths:
        report, remarks = bias.read_table(path)
        found.append(Subject(str(path), path.stem, path.stem, report, bias.SCORE, tuple(remarks)))
    return found


def of_results(folders: Sequence[Path], out: Path, measure: str = "") -> list[Subject]:
    """The subjects of result folders, or of all results under ``out`` that know where their evidence stands.

    Raises:
        UsageError: a folder holds no result or one without evidence, or there is none at all.
    """
    if folders:
        return [_named(folder, measure) for folder in folders]
    found = [_subject(result, measure) for result in Results(out).all() if result.kind == "eval"]
    found = [subject for subject in found if bias.placed(subject.report, subject.measure) is not None]
    if not found:
        raise UsageError(f"no results with evidence in {out}; `posbench eval --model e5` makes one")
    return found


def _named(folder: Path, measure: str) -> Subject:
    result = result_in(folder)
    if result.kind != "eval":
        raise UsageError(f"{folder} is of `posbench {result.kind}`; expected a result of `posbench eval`")
    return _subject(result, measure)


def _subject(result: Result, measure: str) -> Subject:
    report = result.report()
    measure = measure or (MEASURE if MEASURE in report.measures else report.measures[0])
    dataset, ranker = result.manifest["dataset"], result.manifest["ranker"]["name"]
    return Subject(str(result.folder), dataset["name"], ranker, report, measure, selection=dataset.get("selection"))


def analyse(subject: Subject, *, seed: int = 0, bins: int = 5, shuffles: int = 2000) -> dict[str, Any]:
    """``bias.position_report`` of a subject, with its name, dataset and ranker, and the stages of a pipeline.

    Raises:
        DataError: no query has known evidence.
    """
    found = bias.position_report(subject.report, subject.measure, seed=seed, bins=bins, shuffles=shuffles)
    if found is None:
        raise DataError(
            f"{subject.name}: no query has evidence at a known place; expected span_start, span_end and doc_chars; "
            "evaluate on a collection that has them, or make one with `posbench compose`"
        )
    about = {"dataset": subject.dataset, "selection": subject.selection, "ranker": subject.ranker}
    about["rerank"] = staged(subject.report)
    return {"result": subject.name, **about, **found}


def correct(found: Sequence[dict[str, Any]]) -> None:
    """Adds to each analysis ``among``: Holm's p-values over all of them, of the signed index and of PSI."""
    for figure in ("signed", "psi"):
        some = [one for one in found if bias.headline(one)[figure] is not None]
        corrected = stats.holm([bias.headline(one)[figure]["p"] for one in some])
        for one in found:
            one.setdefault("among", {"analyses": len(found)})
        for one, p in zip(some, corrected, strict=True):
            one["among"][f"{figure}_p_holm"] = p
