"""BRIGHT: a parquet file a task in ``documents`` or ``long_documents`` and in ``examples`` or another form of queries.

Documents have id and content; examples have id, query, gold_ids, gold_ids_long and excluded_ids, where "N/A" stands for
none. ``examples`` holds the original queries; a folder like ``gpt4_reason`` holds the same rows with expanded ones.
As in the paper, a query's excluded documents count neither as found nor as places in the ranking.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.errors import DataError, RecipeError
from posbench.loaders import hub
from posbench.loaders.assemble import Judgements, Texts, assemble
from posbench.loaders.context import Context, subset_of
from posbench.loaders.tables import Rows, read_strings, read_table
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, index_of, pairs, strings

LONG, ALL, ORIGINAL = "long", "all", "examples"
_NONE = "N/A"


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collections of one task or of all, with the documents and queries that are named behind it.

    "biology" has passages and the original queries, "biology/long" long documents, "biology/gpt4_reason" expanded
    queries, and "biology/long/gpt4_reason" both. "all" in a task's place stands for every task that has such documents.

    Raises:
        RecipeError: there is no such task, or more is named than documents and queries.
        MissingPartError: the files cannot be had.
        DataError: a file is wrong.
    """
    first, *more = subset.split("/")
    task = ALL if first == ALL else subset_of(recipe, context.name, first)
    long, others = LONG in more, [part for part in more if part != LONG]
    if len(others) > 1 or more.count(LONG) > 1:
        raise RecipeError(f"{context.name}/{subset}; expected {context.name}/{task}[/{LONG}][/QUERIES]")
    queries, folder = (others or [ORIGINAL])[0], _folder(long)
    tail = [*([LONG] if long else []), *others]
    places = dict(recipe.subsets) if task == ALL else {task: recipe.subsets[task]}
    patterns = [f"{kind}/{place}-*.parquet" for place in places.values() for kind in (folder, queries)]
    found = hub.find("/".join([context.name, task, *tail]), recipe.source, base, patterns)
    if task == ALL:
        places = {name: place for name, place in places.items() if any(found.folder.glob(f"{folder}/{place}-*"))}
    return [
        _read(
            found.folder, place, long, queries, context.named("/".join([context.name, name, *tail]), **found.provenance)
        )
        for name, place in places.items()
    ]


def from_path(path: Path, context: Context) -> list[Collection]:
    """A collection a task of a folder, or that of ``--split TASK``, with the original queries.

    Raises:
        DataError: there is no such task, or a file is wrong.
    """
    tasks = sorted(
        {file.name.partition("-")[0].removesuffix(".parquet") for file in path.glob(f"{ORIGINAL}/*.parquet")}
    )
    if context.split and context.split not in tasks:
        raise DataError(f"{path}: no task {context.split!r}; found {', '.join(tasks)}")
    wanted = [context.split] if context.split else tasks
    return [_read(path, task, False, ORIGINAL, context.named(f"{context.name}/{task}")) for task in wanted]


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return any(path.glob("documents/*.parquet")) and any(path.glob(f"{ORIGINAL}/*.parquet"))


def _read(folder: Path, task: str, long: bool, queries: str, context: Context) -> Collection:
    documents = _files(folder, _folder(long), task)
    columns, rows = read_strings(documents, ["id"], ["content"])
    docs = Texts(columns["id"], columns["content"], rows, id_column="id", text_column="content")
    files = _files(folder, queries, task)
    columns, rows = read_strings(files, ["id"], ["query"])
    kind = "original" if queries == ORIGINAL else queries
    labels = {"query_type": strings([kind] * len(columns["id"]))}
    asked = Texts(columns["id"], columns["query"], rows, labels, id_column="id", text_column="query")
    gold = _lists(files, "gold_ids_long" if long else "gold_ids")
    excluded = _lists(files, "excluded_ids")
    _refuse_both(gold, excluded, rows)
    collection = assemble(context, docs, asked, _judgements(columns["id"], gold, rows))
    return _without(collection, columns["id"].to_pylist(), excluded)


def _folder(long: bool) -> str:
    return "long_documents" if long else "documents"


def _files(folder: Path, kind: str, task: str) -> list[Path]:
    files = sorted(folder.glob(f"{kind}/{task}-*.parquet")) or sorted(folder.glob(f"{kind}/{task}.parquet"))
    if not files:
        there = ", ".join(sorted(place.name for place in folder.iterdir() if place.is_dir())) or "no folders"
        raise DataError(f"{folder / kind}: no {task}-*.parquet; found {there}")
    return files


def _lists(files: Sequence[Path], name: str) -> list[list[str]]:
    """A column of lists of ids, "N/A" left out."""
    found: list[list[str]] = []
    for file in files:
        column: Any = read_table(file, [name])[name]
        kind = column.type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_null(kind)):
            raise DataError(f"{file}: column {name} holds {kind}; expected lists of ids")
        found += [[str(one) for one in row or [] if one != _NONE] for row in column.to_pylist()]
    return found


def _refuse_both(gold: list[list[str]], excluded: list[list[str]], rows: Rows) -> None:
    for row, (wanted, barred) in enumerate(zip(gold, excluded, strict=True)):
        both = sorted(set(wanted) & set(barred))
        if both:
            raise DataError(f"{rows.at(row)}, column excluded_ids: {both[0]!r} is relevant and excluded; expected one")


def _judgements(ids: Any, gold: list[list[str]], rows: Rows) -> Judgements:
    where = np.repeat(np.arange(len(gold)), [len(one) for one in gold])
    docs = strings([doc for one in gold for doc in one])
    queries = strings(ids.take(pa.array(where)))
    return Judgements(queries, docs, np.ones(len(where), np.int32), rows.take(where), "id", "gold_ids")


def _without(collection: Collection, ids: list[str], excluded: list[list[str]]) -> Collection:
    """The collection with its excluded pairs; those of documents that are not there are counted."""
    named = sorted({(query, doc) for query, docs in zip(ids, excluded, strict=True) for doc in docs})
    if not named:
        return collection
    query = index_of(collection.query_ids, strings([query for query, _ in named]))
    doc = index_of(collection.doc_ids, strings([doc for _, doc in named]))
    known = (query >= 0) & (doc >= 0)
    absent = int(((query >= 0) & (doc < 0)).sum())
    notes = {**collection.notes, **({"excluded_documents_that_are_not_there": absent} if absent else {})}
    return replace(collection, excluded=pairs(query[known], doc[known]), notes=notes)
