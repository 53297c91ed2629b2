"""Checks a stored result before it becomes an entry: nothing is taken on trust that can be computed again.

A run is evaluated again on the collection loaded again, and every value must come out as it is stored. What cannot be
computed without the model (columns of controls and first stages, seconds, what a study measured) is covered by the
hashes alone, and the entry says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench import manifest as manifests
from posbench import measures
from posbench.errors import DataError, UsageError
from posbench.evaluate import evaluate
from posbench.leaderboard import derive
from posbench.leaderboard.entry import KINDS, Entry, Origin
from posbench.leaderboard.folder import New
from posbench.leaderboard.private import cleaned
from posbench.pmrr import TOPIC
from posbench.recipe import digest
from posbench.store import Result, safe_name, sha256_of
from posbench.stored import stored_run
from posbench.types import Collection, Report, Run

FILES = ("run.parquet", "queries.parquet")
_MISPLACED = (KeyError, TypeError, AttributeError, IndexError, pa.ArrowException)
TOLERANCE = 1e-9  # of a value computed on another machine
_PLACES = ("domain", "doc_id", "span_start", "span_end", "doc_chars", "doc_tokens", "source_doc", TOPIC)


class _Part(msgspec.Struct):
    name: str
    fingerprint: str
    source: dict[str, Any]


class _Dataset(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    parts: list[_Part]
    counts: dict[str, Any]


class _Ranker(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    recipe: dict[str, Any]
    used: dict[str, Any]


class _Manifest(msgspec.Struct):
    """What a manifest must hold."""

    fingerprint: str
    dataset: _Dataset
    ranker: _Ranker
    weights: str
    measures: Annotated[list[str], msgspec.Meta(min_length=1)]
    seed: Annotated[int, msgspec.Meta(ge=0)] | None
    command: str
    versions: dict[str, str]
    files: dict[str, str]


class _Evaluated(_Manifest):
    """What that of an evaluation must hold besides."""

    depth: Annotated[int, msgspec.Meta(ge=1)]
    seconds: dict[str, float]


def new(
    result: Result,
    collections: Sequence[Collection] = (),
    *,
    origin: Origin = "submitted",
    board: str = "",
    setting: str = "",
    name: str = "",
) -> New:
    """The entry of a result that holds.

    Args:
        result: of ``posbench eval``, or of a study that the leaderboard shows.
        collections: what it was computed on, loaded again; studies need none.
        origin: whose run it is.
        board: where it belongs, instead of the first part of the dataset's name.
        setting: the language pair of a dataset that does not say its own.
        name: of the entry's file, instead of the dataset's (and a study's kind).

    Raises:
        UsageError: it is of a kind that no page shows.
        DataError: something is missing, changed, or comes out otherwise; the message says what.
    """
    check_files(result)
    try:
        beyond = recompute(result, _matched(result, collections)) if result.kind == "eval" else []
        entry = _clean(derive.derive(result, origin, board, setting))
        table = _values(result.report()) if result.kind == "eval" else None
    except _MISPLACED as error:
        raise DataError(
            f"{result.folder}: it lacks or misplaces {error}; expected a result as posbench writes it"
        ) from error
    recomputed = list(result.manifest["measures"]) if result.kind == "eval" else []
    details = {**entry.details, "checked": {"recomputed": recomputed, "as_stored": beyond}}
    usual = safe_name(entry.data.name) + ("" if result.kind == "eval" else f".{result.kind}")
    return New(msgspec.structs.replace(entry, details=details), name or usual, table)


def check_files(result: Result) -> None:
    """Refuses a result whose manifest lacks something, or whose files are not those that it names.

    Raises:
        UsageError: it is of a kind that no page shows.
        DataError: what is missing or changed.
    """
    manifest, folder = result.manifest, result.folder
    if result.kind != "eval" and result.kind not in KINDS[1:]:
        raise UsageError(f"{folder} is of `posbench {result.kind}`; expected eval, {', '.join(KINDS[1:])}")
    try:
        msgspec.convert(manifest, _Evaluated if result.kind == "eval" else _Manifest)
    except msgspec.ValidationError as error:
        raise DataError(f"{folder / 'manifest.json'}: incomplete: {error}; run the command again") from error
    if result.kind == "eval" and not manifest["dataset"]["parts"]:
        raise DataError(f"{folder / 'manifest.json'}: dataset.parts holds no part; run the command again")
    wanted = FILES if result.kind == "eval" else FILES[1:]
    if odd := sorted(set(wanted) ^ set(manifest["files"])):
        raise DataError(f"{folder / 'manifest.json'}: files: {', '.join(odd)} more or less than expected")
    for name in wanted:
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path}: no such file; the manifest names it; expected the result as it was written")
        if sha256_of(path) != manifest["files"][name]:
            raise DataError(f"{path}: its content is not what the manifest's hash says; expected it unchanged")


def _matched(result: Result, collections: Sequence[Collection]) -> list[Collection]:
    """The collections under the names that the result has for them, in its order.

    Raises:
        DataError: one has other content than the result says.
    """
    manifest = result.manifest
    found = []
    for part in manifest["dataset"]["parts"]:
        same = [one for one in collections if one.fingerprint == part["fingerprint"]]
        if not same:
            loaded = ", ".join(f"{one.name} {one.fingerprint}" for one in collections) or "nothing"
            raise DataError(
                f"{result.folder}: it was computed on {part['name']} of content {part['fingerprint']}; loaded: "
                f"{loaded}; give the same files and options with --dataset, --documents, --split"
            )
        found.append(replace(next((one for one in same if one.name == part["name"]), same[0]), name=part["name"]))
    again = manifests.dataset(manifest["dataset"]["name"], found)
    for key in ("counts", "selection"):
        if again.get(key) != manifest["dataset"].get(key):
            raise DataError(
                f"{result.folder}: manifest says {key} {manifest['dataset'].get(key)}, not {again.get(key)}"
            )
    parts = [part["fingerprint"] for part in manifest["dataset"]["parts"]]
    if digest([parts, manifest["ranker"]["used"], manifest["depth"]]) != manifest["fingerprint"]:
        raise DataError(
            f"{result.folder}: its fingerprint {manifest['fingerprint']} is not that of its collection, ranker and "
            "depth; expected the manifest unchanged"
        )
    return found


def recompute(result: Result, collections: Sequence[Collection]) -> list[str]:
    """Evaluates the stored run again, and returns the columns of numbers that this does not cover.

    Raises:
        DataError: a value, or the place of evidence, is stored otherwise; the message names query and column.
    """
    stored, names = result.report(), measures.parse(result.manifest["measures"])
    label, table = str(result.manifest["ranker"]["name"]), result.run()
    reports = [evaluate(part, _run(result, table, part), names, ranker=label) for part in collections]
    counted = sum(
        int((pc.equal(table["dataset"].cast(pa.string()), part.name)).to_numpy().sum()) for part in collections
    )
    if counted != len(table):
        raise DataError(f"{result.folder}: run.parquet holds {len(table) - counted} rows of other datasets")
    fresh = Report.concat(reports).queries
    if len(fresh) != len(stored.queries):
        raise DataError(f"{result.folder}: stored are {len(stored.queries)} queries; recomputed {len(fresh)}")
    for column in fresh.column_names:
        _compare(result, column, fresh, stored.queries)
    return [column for column in stored.queries.column_names if column not in fresh.column_names]


def _run(result: Result, table: pa.Table, collection: Collection) -> Run:
    """The stored run of a collection, if it is one that posbench writes: each row once, in canonical order.

    Raises:
        DataError: it is not.
    """
    run = stored_run(table, collection)
    rows = int(pc.equal(table["dataset"].cast(pa.string()), collection.name).to_numpy().sum())
    same = rows == int((run.docs >= 0).sum())
    if not same or not np.array_equal(Run.ranked(run.docs, run.scores, collection.doc_order).docs, run.docs):
        raise DataError(
            f"{result.folder}: run.parquet: the ranks of {collection.name} do not follow from its scores, or queries "
            "are unknown; expected the run as posbench writes it"
        )
    if run.depth > result.manifest["depth"]:
        raise DataError(
            f"{result.folder}: run.parquet is {run.depth} deep; the manifest says {result.manifest['depth']}"
        )
    return run


def _compare(result: Result, column: str, fresh: pa.Table, stored: pa.Table) -> None:
    if column not in stored.column_names:
        raise DataError(f"{result.folder}: queries.parquet lacks the column {column}; expected all that eval writes")
    new, old = (_plain(table[column]) for table in (fresh, stored))
    if pa.types.is_floating(new.type):
        one, other = (column.cast(pa.float64()).to_numpy(zero_copy_only=False) for column in (new, old))
        differs = ~np.isclose(one, other, rtol=0, atol=TOLERANCE, equal_nan=True)
    else:
        differs = ~pc.fill_null(pc.equal(new, old.cast(new.type)), False).to_numpy(zero_copy_only=False)
        differs &= ~(new.is_null().to_numpy(zero_copy_only=False) & old.is_null().to_numpy(zero_copy_only=False))
    if differs.any():
        row = int(np.flatnonzero(differs)[0])
        query = _plain(fresh["query_id"])[row].as_py()
        raise DataError(
            f"{result.folder}: {int(differs.sum())} values of {column} are stored otherwise than computed again, the "
            f"first of query {query!r}: {old[row].as_py()} stored, {new[row].as_py()} computed"
        )


def _plain(column: pa.ChunkedArray) -> pa.Array:
    whole = column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
    return whole.combine_chunks()


def _values(report: Report) -> pa.Table:
    """The columns that comparisons and position analyses need: who is asked, where the evidence is, the measures."""
    first = [name for name in report.queries.column_names if name in {f"{one}:first" for one in report.measures}]
    places = [name for name in _PLACES if name in report.queries.column_names]
    return report.queries.select(["dataset", "query_id", *places, *report.measures, *first])


def _clean(entry: Entry) -> Entry:
    """The entry without the folders of the machine that made it."""
    kept: Mapping[str, Any] = {"command": cleaned(entry.command), "details": cleaned(entry.details)}
    model = msgspec.convert(cleaned(msgspec.to_builtins(entry.model)), type(entry.model))
    return msgspec.structs.replace(entry, model=model, **kept)
