"""BEIR: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv, plain or gzipped, or the hub's parquet folders."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import DataError
from posbench.loaders import hub
from posbench.loaders.assemble import Judgements, Texts, assemble
from posbench.loaders.context import Context, subset_of
from posbench.loaders.lines import lines_of, present, records, separated, texts_of, whole
from posbench.loaders.tables import Rows, read_strings, read_table, whole_numbers
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, strings

_FILES = ("corpus*", "queries*", "corpus/*", "queries/*", "qrels/*", "*.tsv", "*.tsv.gz")


class _Record(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    text: str
    title: str | None = ""


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collection of one subset; its judgements stand in the repository of the same name plus "-qrels".

    Raises:
        RecipeError: there is no such subset.
        MissingPartError: the files cannot be had.
        DataError: a file is wrong.
    """
    subset = subset_of(recipe, context.name, subset)
    place, named = recipe.subsets[subset], context.named(f"{context.name}/{subset}")
    if recipe.source:
        found = hub.find(named.name, recipe.source, base, [f"{place}/{pattern}" for pattern in _FILES])
        return [_read(found.folder / place, found.folder / place, named.named(named.name, **found.provenance))]
    texts, qrels = hub.download(place, "main", _FILES), hub.download(f"{place}-qrels", "main", _FILES)
    return [_read(texts.folder, qrels.folder, named.named(named.name, **texts.provenance, qrels=qrels.provenance))]


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collection of a folder."""
    return [_read(path, path, context)]


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return bool(_text_files(path, "corpus"))


def _read(texts: Path, qrels: Path, context: Context) -> Collection:
    docs, queries = texts_in(texts, "corpus"), texts_in(texts, "queries")
    return assemble(context, docs, queries, qrels_of(qrels, context.split or "test"), only_judged=True)


def _text_files(folder: Path, kind: str) -> list[Path]:
    file = present(folder / f"{kind}.jsonl")
    return [file] if file else sorted((folder / kind).glob("*.parquet"))


def texts_in(folder: Path, kind: str) -> Texts:
    """The texts of a folder's ``kind``, "corpus" or "queries": title, a blank and text."""
    files = _text_files(folder, kind)
    if not files:
        raise DataError(f"{folder}: neither {kind}.jsonl nor {kind}/*.parquet")
    if files[0].suffix == ".parquet":
        columns, rows = read_strings(files, ["_id"], ["text"], ["title"])
        blank = pa.scalar(" ", pa.large_string())
        joined = pc.utf8_trim_whitespace(pc.binary_join_element_wise(columns["title"], columns["text"], blank))
        return Texts(columns["_id"], strings(joined), rows)
    found, rows = records(files[0], _Record)
    # BEIR's own models read the title, a blank and the text.
    return texts_of([row.id for row in found], [f"{row.title or ''} {row.text}".strip() for row in found], rows)


def qrels_of(folder: Path, split: str) -> Judgements:
    """The judgements of a split, in the folder or its sub-folder ``qrels``."""
    places = [folder / "qrels" / f"{split}.tsv", folder / f"{split}.tsv"]
    for file in filter(None, map(present, places)):
        return _from_tsv(file)
    files = sorted(folder.glob(f"qrels/{split}*.parquet")) or sorted(folder.glob(f"*/{split}*.parquet"))
    files = files or sorted(folder.glob(f"{split}*.parquet"))
    if not files:
        there = ", ".join(sorted(file.stem for file in folder.glob("qrels/*"))) or "none"
        raise DataError(f"{places[0]}: no such file; splits found: {there}")
    columns, rows = read_strings(files, ["query-id", "corpus-id"])
    grades = [whole_numbers(read_table(file, ["score"])["score"], file, "score") for file in files]
    return Judgements(columns["query-id"], columns["corpus-id"], np.concatenate(grades).astype(np.int32), rows)


def _from_tsv(path: Path) -> Judgements:
    fields, rows = separated(path, 3)
    numbers: Sequence[int] = range(len(fields))
    if fields and not fields[0][2].lstrip("-").isdigit():  # the header
        numbers = range(1, len(fields))
    return judgements(path, [fields[n] for n in numbers], rows.take(np.asarray(numbers, np.int64)))


def judgements(path: Path, fields: Sequence[Sequence[str]], rows: Rows) -> Judgements:
    """Judgements from (query, document, grade) fields."""
    grades = [whole(row[2], path, rows.at(n), "score") for n, row in enumerate(fields)]
    queries, docs = strings([row[0] for row in fields]), strings([row[1] for row in fields])
    return Judgements(queries, docs, np.asarray(grades, np.int32), rows if len(fields) else lines_of(path, []))
