"""Results in other tools' formats."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from posbench import __version__
from posbench.errors import UsageError, unknown_name
from posbench.evaluate import constant
from posbench.manifest import selection_text
from posbench.store import Result, safe_name, write_json, written
from posbench.types import Report, distinct

_MTEB_NAMES = {
    "nDCG": "ndcg_at_{k}",
    "RR": "mrr_at_{k}",
    "AP": "map_at_{k}",
    "R": "recall_at_{k}",
    "P": "precision_at_{k}",
}


COLUMNS = (
    ("dataset", pa.string(), "the collection that was searched"),
    ("ranker", pa.string(), "the ranker's name"),
    ("result", pa.string(), "the fingerprint of the stored result, which is the name of its folder"),
    ("query_id", pa.string(), "the query, as its dataset calls it"),
    ("measure", pa.string(), "as ir-measures names it, for example nDCG@10"),
    ("value", pa.float64(), "the query's value, at full precision"),
    ("selection", pa.string(), "what the dataset is a selection of; empty where it is whole"),
)
"""The columns of ``tidy``; in parquet its strings are dictionary-encoded."""


def means(report: Report) -> dict[str, float]:
    """The mean of each measure over the queries."""
    return {name: float(np.mean(report.values(name))) for name in report.measures}


def tidy(results: Sequence[Result], measures: Sequence[str] = ()) -> pa.Table:
    """All results as one table, a row a (dataset, ranker, result, query_id, measure): value, with ``COLUMNS``.

    Args:
        results: of any kind.
        measures: which, of each result that has them; empty: all.
    """
    tables = []
    for result in results:
        report = result.report()
        chosen = tuple(name for name in report.measures if not measures or name in measures)
        rows = replace(report, measures=chosen).long()
        rows = rows.add_column(2, "result", pa.array([result.folder.name] * len(rows), pa.string()))
        rows = rows.append_column("selection", constant(selection_text(result.manifest["dataset"]), len(rows)))
        tables.append(encoded(rows))
    merged: pa.Table = pa.concat_tables(tables).unify_dictionaries()
    return merged


def encoded(table: pa.Table) -> pa.Table:
    """The table with every column of strings dictionary-encoded, without metadata: one form for the same rows."""
    columns = []
    for name in table.column_names:
        column, kind = table[name], table[name].type
        if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = column.cast(pa.string()).combine_chunks().dictionary_encode()
        columns.append(column)
    return pa.table(columns, names=table.column_names)


def chosen(
    results: Sequence[Result], datasets: Sequence[str] = (), models: Sequence[str] = (), measures: Sequence[str] = ()
) -> list[Result]:
    """The results of these datasets (or families of them, up to a "/"), rankers and measures; empty: all.

    Raises:
        UsageError: none is, or a name fits no result.
    """
    names = {"dataset": datasets, "model": models, "measure": measures}
    known: dict[str, list[str]] = {
        "dataset": distinct(str(one.manifest["dataset"]["name"]) for one in results),
        "model": distinct(str(one.manifest["ranker"]["name"]) for one in results),
        "measure": distinct(str(name) for one in results for name in one.manifest["measures"]),
    }
    for kind, wanted in names.items():
        for name in wanted:
            if not any(_fits(one, name) if kind == "dataset" else one == name for one in known[kind]):
                raise unknown_name(f"result of {kind}", name, known[kind], f"there are {', '.join(known[kind])}")
    found = [
        one
        for one in results
        if (not datasets or any(_fits(one.manifest["dataset"]["name"], name) for name in datasets))
        and (not models or one.manifest["ranker"]["name"] in models)
        and (not measures or set(measures) & set(one.manifest["measures"]))
    ]
    if not found:
        asked = " ".join(f"--{kind} {','.join(wanted)}" for kind, wanted in names.items() if wanted)
        raise UsageError(f"no result is of {asked} together; `posbench runs` lists results")
    return found


def _fits(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith(wanted.rstrip("/") + "/")


def content(table: pa.Table, form: str) -> bytes:
    """A table as "csv" or "parquet", the same bytes for the same table."""
    sink = pa.BufferOutputStream()
    if form == "parquet":
        pq.write_table(table, sink, compression="zstd")
    else:
        columns = [
            column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column for column in table.columns
        ]
        pyarrow.csv.write_csv(pa.table(columns, names=table.column_names), sink)
    return bytes(sink.getvalue())


def write_table(table: pa.Table, form: str, target: Path) -> None:
    """Writes a table as "csv" or "parquet"."""
    with written(target) as part:
        part.write_bytes(content(table, form))


def write(results: Sequence[Result], form: str, target: Path, measures: Sequence[str] = ()) -> list[Path]:
    """Writes results and returns the files written.

    ``csv`` and ``parquet``: one tidy table in the file ``target``, of these measures (empty: all). ``trec``: a run file
    a (result, dataset), and ``mteb-json``: a result file a result, in the folder ``target``; both leave out studies,
    which rank nothing. Files of results on a selection have "selection" in their names.

    Raises:
        UsageError: all results are of studies, and the form is of rankings.
    """
    if form in ("csv", "parquet"):
        write_table(tidy(results, measures), form, target)
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
