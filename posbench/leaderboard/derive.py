"""Stored results as entries: figures with intervals, position analysis and provenance."""

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench import bias, exports, reranked, stats
from posbench.compare.align import clusters_of, strata_of
from posbench.errors import DataError
from posbench.gains import FIRST, gains
from posbench.leaderboard.boards import LENGTHS, MAIN, Found
from posbench.leaderboard.entry import SCORES, WHOLE, Data, Entry, Figure, Lengths, Model, Origin, check
from posbench.manifest import selection_text
from posbench.recipe import digest
from posbench.store import Cache, Result
from posbench.studies.curves import summary as saliency
from posbench.studies.hnsw.summary import summary as hnsw
from posbench.studies.input_order.summary import summary as input_order
from posbench.studies.strategies import summary as strategies
from posbench.types import Report
from posbench.versions import own_code

PSI, DEBIASED, SIGNED = "PSI", "PSI debiased", "signed index"
_STUDIES: Mapping[str, Callable[[Report, int], dict[str, Any]]] = {
    "hnsw": hnsw,
    "input-order": input_order,
    "rerank-strategies": strategies,
    "saliency": lambda report, seed: saliency(report, seed=seed),
}
Figures = dict[str, dict[str, Lengths]]
"""Measure -> setting -> length -> figure."""
_KEPT = ("truncation", "seconds", "peak_memory_mb", "versions", "devices", "depth", "seed", "index", "grid", "controls")


def found(result: Result, cache: Cache, origin: Origin = "here") -> Found | None:
    """The entry of a stored result, from the cache where the same code made it before; None for other kinds of study.

    Raises:
        DataError: the result is damaged.
    """
    if result.kind != "eval" and result.kind not in _STUDIES:
        return None
    try:
        key = key_of(result, origin)
        if cache.recall("entries", key) is None:
            cache.note("entries", key, msgspec.to_builtins(derive(result, origin)))
        entry = check(msgspec.convert(cache.recall("entries", key), Entry), str(result.folder))
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise DataError(
            f"{result.folder}: its manifest lacks or misplaces {error}; expected that of a result"
        ) from error
    return Found(entry, result.folder, result.folder / "queries.parquet" if entry.kind == SCORES else None)


def key_of(result: Result, origin: Origin) -> str:
    """The key that a result's entry has in the cache: it changes with the result, and with the code that derives it."""
    return digest(["entry", own_code(), result.manifest["files"], result.manifest["fingerprint"], origin])


def derive(result: Result, origin: Origin = "here", board: str = "", setting: str = "") -> Entry:
    """The entry of a stored result.

    Args:
        result: of ``posbench eval``, or of a study that a page shows.
        origin: whose run it is.
        board: where it belongs, instead of the first part of the dataset's name.
        setting: the language pair of a dataset that does not say its own.
    """
    manifest, report = result.manifest, result.report()
    seed = int(manifest.get("seed") or 0)
    name = str(manifest["dataset"]["name"])
    data = Data(board or name.split("/")[0], name, fingerprint(manifest), selection_text(manifest["dataset"]))
    details: dict[str, Any] = {key: manifest[key] for key in _KEPT if manifest.get(key) is not None}
    details["counts"] = manifest["dataset"]["counts"]
    details["result"] = {"fingerprint": manifest["fingerprint"], "files": dict(manifest["files"])}
    if result.kind != "eval":
        details["summary"] = _STUDIES[result.kind](report, seed)
        return Entry(model_of(manifest), data, origin, kind=result.kind, command=_command(manifest), details=details)
    details["settings"] = {part["name"]: setting or setting_of(part["source"]) for part in manifest["dataset"]["parts"]}
    figures, details["bias"] = analysed(report, details["settings"], seed)
    if "rerank" in manifest:
        details["rerank"] = reranked.summary(manifest, report) | {
            "gains": gains(report, clusters_of(report.queries)[0], strata_of(report.queries), seed=seed)
        }
    return Entry(model_of(manifest), data, origin, figures, command=_command(manifest), details=details)


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """What a result's dataset holds, as one hash; that of its only part where it has one."""
    parts = [str(part["fingerprint"]) for part in manifest["dataset"]["parts"]]
    return parts[0] if len(parts) == 1 else digest(parts)


def setting_of(source: Mapping[str, Any]) -> str:
    """The language pair of a collection (eng-eng), its language, or "all" where it names none."""
    pair = [str(source[key]).split("-")[0] for key in ("query_language", "doc_language") if source.get(key)]
    return "-".join(pair) if len(pair) == 2 else str(source.get("language") or WHOLE)


def model_of(manifest: Mapping[str, Any]) -> Model:
    """The model of a result, from its recipe."""
    recipe, audit = manifest["ranker"]["recipe"], manifest.get("truncation") or {}
    return Model(
        name=str(manifest["ranker"]["name"]),
        parameters=str(recipe.get("parameters", "")),
        max_tokens=audit.get("max_tokens"),
        licence=str(recipe.get("licence", "")),
        citation=str(recipe.get("citation", "")),
        weights=str(manifest["weights"]),
    )


def _command(manifest: Mapping[str, Any]) -> str:
    return str(manifest.get("command", ""))


def analysed(report: Report, settings: Mapping[str, str], seed: int = 0) -> tuple[Figures, dict[str, Any]]:
    """The figures of per-query values, and the position analysis of each setting that has evidence.

    Args:
        report: the values.
        settings: by name of dataset, the setting that it belongs to.
        seed: of resamples and shuffles.
    """
    figures: Figures = {}
    analyses = {}
    for one in dict.fromkeys(settings.values()):
        part = _part(report, [dataset for dataset, of in settings.items() if of == one])
        analysis = _add(figures, one, part, seed)
        if analysis is not None:
            analyses[one] = analysis
    return figures, analyses


def _part(report: Report, datasets: list[str]) -> Report:
    names = report.queries["dataset"].cast(pa.string())
    return Report(report.header, report.measures, report.queries.filter(pc.is_in(names, value_set=pa.array(datasets))))


def _add(figures: Figures, setting: str, report: Report, seed: int) -> dict[str, Any] | None:
    """Adds the figures of one setting, and returns its position analysis where it has evidence."""
    values = np.stack([report.values(name) for name in report.measures], axis=1)
    clusters, strata = clusters_of(report.queries)[0], strata_of(report.queries)
    low, high = stats.mean_intervals(values, clusters, strata, seed=seed)
    for i, mean in enumerate(exports.means(report).values()):
        figure = Figure(mean, float(low[i]), float(high[i]), len(values))
        figures.setdefault(report.measures[i], {})[setting] = {WHOLE: figure}
    main = MAIN if MAIN in report.measures else report.measures[0]
    if f"{main}:{FIRST}" in report.queries.column_names:
        first = report.queries[f"{main}:{FIRST}"].to_numpy()
        low, high = stats.mean_intervals(first[:, None], clusters, strata, seed=seed)
        figure = Figure(float(first.mean()), float(low[0]), float(high[0]), len(first))
        figures.setdefault(f"{main} of the first stage", {})[setting] = {WHOLE: figure}
    analysis = bias.position_report(report, main, seed=seed)
    if analysis is not None:
        _add_lengths(figures, setting, main, analysis)
    return analysis


def _add_lengths(figures: Figures, setting: str, main: str, analysis: Mapping[str, Any]) -> None:
    official, ends = analysis.get("official") or {}, analysis.get("official_intervals") or {}
    for length in LENGTHS:
        key = "" if length == WHOLE else f"({length})"
        score, psi = official.get(f"{main}{key}"), official.get(f"{PSI}{key}")
        if _known(score) and length != WHOLE:
            low, high = ends.get(f"{main}{key}") or (None, None)
            figures[main][setting][length] = Figure(score, low, high)
        if _known(psi):
            figures.setdefault(PSI, {}).setdefault(setting, {})[length] = Figure(psi)
        _add_tested(figures, setting, length, analysis)


def _known(value: float | None) -> TypeGuard[float]:
    """Whether a figure is there: no lengths are without queries, no PSI of scores that are all 0."""
    return value is not None and isfinite(value)


def _add_tested(figures: Figures, setting: str, length: str, analysis: Mapping[str, Any]) -> None:
    tests = analysis.get("tests") or {}
    for name, kind, key in ((DEBIASED, "psi", "debiased"), (SIGNED, "signed", "value")):
        figure = (tests.get(kind) or {}).get(length)
        if figure is not None:
            low, high = figure["interval"]
            cell = Figure(figure[key], low, high, figure["queries"])
            figures.setdefault(name, {}).setdefault(setting, {})[length] = cell


def paths(root: Path) -> list[Path]:
    """The folders of all results under ``root``, in order; damaged ones too."""
    return [path.parent for path in sorted(root.glob("*/*/*/manifest.json"))]
