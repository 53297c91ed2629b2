"""Results in other tools' formats."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from posbench import __version__
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.manifest import selection_text
from posbench.store import Result, safe_name, write_json, written
from posbench.types import Report

_MTEB_NAMES = {
    "nDCG": "ndcg_at_{k}",
    "RR": "mrr_at_{k}",
    "AP": "map_at_{k}",
    "R": "recall_at_{k}",
    "P": "precision_at_{k}",
}


def means(report: Report) -> dict[str, float]:
    """The mean of each measure over the queries."""
    return {name: float(np.mean(report.values(name))) for name in report.measures}


def tidy(results: Sequence[Result]) -> pa.Table:
    """All results as one table, a row a (dataset, ranker, result, query_id, measure): value.

    The last column, ``selection``, says what the dataset is a selection of; it is empty where it is whole.
    """
    tables = []
    for result in results:
        rows = result.report().long()
        rows = rows.add_column(2, "result", pa.array([result.folder.name] * len(rows), pa.string()))
        tables.append(rows.append_column("selection", constant(selection_text(result.manifest["dataset"]), len(rows))))
    merged: pa.Table = pa.concat_tables(tables).unify_dictionaries()
    return merged


def write(results: Sequence[Result], form: str, target: Path) -> list[Path]:
    """Writes results and returns the files written.

    ``csv`` and ``parquet``: one tidy table in the file ``target``. ``trec``: a run file a (result, dataset), and
    ``mteb-json``: a result file a result, in the folder ``target``; both leave out studies, which rank nothing. Files
    of results on a selection have "selection" in their names.

    Raises:
        UsageError: all results are of studies, and the form is of rankings.
    """
    if form == "csv":
        plain = tidy(results)
        columns = [plain[name].cast(pa.string()) if name != "value" else plain[name] for name in plain.column_names]
        with written(target) as part:
            pyarrow.csv.write_csv(pa.table(columns, names=plain.column_names), part)
        return [target]
    if form == "parquet":
        with written(target) as part:
            pq.write_table(tidy(results), part, compression="zstd")
        return [target]
    rankings = [result for result in results if result.kind == "eval"]
    if not rankings:
        kinds = ", ".join(sorted({result.kind for result in results}))
        raise UsageError(f"nothing was ranked for these results ({kinds}); export them with --format csv or parquet")
    if form == "trec":
        return [path for result in rankings for path in _trec(result, target)]
    return [_mteb(result, target) for result in rankings]


def _trec(result: Result, folder: Path) -> list[Path]:
    table = result.run()
    tag, mark = safe_name(result.manifest["ranker"]["name"]), _mark(result)
    paths = []
    for dataset in pa.compute.unique(table["dataset"].cast(pa.string())).to_pylist():
        rows = table.filter(pa.compute.equal(table["dataset"].cast(pa.string()), dataset)).to_pydict()
        path = folder / f"{safe_name(dataset)}.{mark}{tag}.{result.folder.name}.run"
        columns = (rows["query_id"], rows["doc_id"], rows["rank"], rows["score"])
        with written(path) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(
                f"{q} Q0 {d} {rank} {score:.9g} {tag}\n" for q, d, rank, score in zip(*columns, strict=True)
            )
        paths.append(path)
    return paths


def _mark(result: Result) -> str:
    return "selection." if result.manifest["dataset"].get("selection") else ""


def _mteb(result: Result, folder: Path) -> Path:
    """A result in the form of mteb's TaskResult files: means by split, under mteb's names where it has one."""
    manifest, report = result.manifest, result.report()
    scores: dict[str, Any] = {}
    for name, value in means(report).items():
        kind, _, cutoff = name.partition("@")
        known = _MTEB_NAMES.get(kind)
        scores[known.format(k=cutoff) if known and cutoff else name] = value
    languages = sorted({str(part["source"].get("language", "")) for part in manifest["dataset"]["parts"]} - {""})
    main = scores.get("ndcg_at_10", next(iter(scores.values())))
    content = {
        "dataset_revision": manifest["dataset"]["parts"][0]["fingerprint"],
        "task_name": manifest["dataset"]["name"],
        "mteb_version": None,
        "evaluation_time": sum(manifest["seconds"].values()),
        "kg_co2_emissions": None,
        "scores": {"test": [{**scores, "main_score": main, "hf_subset": "default", "languages": languages}]},
        "posbench_version": __version__,
        "posbench_selection": manifest["dataset"].get("selection"),
        "model": manifest["ranker"]["name"],
        "weights": manifest["weights"],
    }
    dataset, ranker = safe_name(manifest["dataset"]["name"]), safe_name(manifest["ranker"]["name"])
    path = folder / f"{dataset}.{_mark(result)}{ranker}.{result.folder.name}.json"
    with written(path) as part:
        write_json(part, content)
    return path
