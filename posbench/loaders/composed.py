"""Composed collections, as ``posbench compose`` writes them: composition.json and a folder a part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from posbench.errors import DataError
from posbench.loaders.assemble import Judgements, Spans, Texts, assemble
from posbench.loaders.context import Context
from posbench.loaders.tables import read_strings, read_table, whole_numbers
from posbench.store import read_json
from posbench.types import Collection

_FILE = "composition.json"
_FORMAT = 1
_LABEL = "label:"


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collections of a folder, in the order in which they were composed.

    Raises:
        DataError: a file is missing, damaged, or not what composition.json says.
    """
    file = path / _FILE
    composition = read_json(file)
    if not isinstance(composition, dict) or composition.get("format") != _FORMAT:
        found = composition.get("format") if isinstance(composition, dict) else type(composition).__name__
        raise DataError(f"{file}: composition of format {found}; this version reads format {_FORMAT}")
    advance = context.progress(f"reading {path}", len(composition["parts"]))
    collections = []
    for part in composition["parts"]:
        named = context.named(f"{context.name}/{part['folder']}", **part["source"]).keeping("unknown_ids")
        found = _read(path / part["folder"], named, part["notes"])
        if found.fingerprint != part["fingerprint"]:
            raise DataError(
                f"{path / part['folder']}: its content is not what {file} says (fingerprint {found.fingerprint}, "
                f"expected {part['fingerprint']}); compose it anew"
            )
        collections.append(found)
        advance(1)
    return collections


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / _FILE).is_file()


def _read(folder: Path, context: Context, notes: dict[str, int]) -> Collection:
    queries, docs = _texts(folder / "queries.parquet"), _texts(folder / "corpus.parquet")
    file = folder / "qrels" / "test.parquet"
    pairs, rows = read_strings([file], ["query-id", "corpus-id"])
    grades = whole_numbers(read_table(file, ["score"])["score"], file, "score").astype(np.int32)
    judged = Judgements(pairs["query-id"], pairs["corpus-id"], grades, rows)
    found = assemble(context, docs, queries, judged, _spans(folder / "queries.parquet", queries))
    return replace(found, notes=notes)


def _texts(file: Path) -> Texts:
    names = [name for name in _columns(file) if name.startswith(_LABEL)]
    columns, rows = read_strings([file], ["_id"], ["text", *names])
    labels = {name.removeprefix(_LABEL): columns[name] for name in names}
    return Texts(columns["_id"], columns["text"], rows, labels)


def _columns(file: Path) -> list[str]:
    try:
        return list(pq.read_schema(file).names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a readable parquet file (truncated or damaged?): {error}") from error


def _spans(file: Path, queries: Texts) -> Spans:
    columns, _ = read_strings([file], ["evidence_doc"])
    table = read_table(file, ["pos_char_span", "pos_char_length", "pos_token_length"])
    ends = pc.list_flatten(table["pos_char_span"]).to_numpy().astype(np.int64)
    if len(ends) != 2 * len(queries.ids):
        raise DataError(f"{file}: column pos_char_span: {len(ends)} numbers; expected two for each query")
    chars, tokens = (whole_numbers(table[name], file, name, -1) for name in ("pos_char_length", "pos_token_length"))
    start, end = ends[::2], ends[1::2]
    return Spans(queries.ids, columns["evidence_doc"], start, end, queries.rows, chars, tokens)
