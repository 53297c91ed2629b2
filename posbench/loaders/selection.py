"""Selections of collections, as ``posbench select`` writes them: selection.json and a folder a part."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posbench.errors import DataError
from posbench.loaders.context import Context
from posbench.loaders.tables import read_strings, read_table, whole_numbers
from posbench.store import read_json
from posbench.types import Collection, Evidence, Int32, Qrels, Strings, index_of, pairs

_FILE = "selection.json"
_FORMAT = 1
_LABEL = "label:"
_Texts = tuple[Strings, Strings, dict[str, Strings]]  # ids, texts, labels


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collections of a folder, in the order in which they were selected, faults of the full ones included.

    Raises:
        DataError: a file is missing, damaged, or not what selection.json says.
    """
    file = path / _FILE
    selection = read_json(file)
    if not isinstance(selection, dict) or selection.get("format") != _FORMAT:
        found = selection.get("format") if isinstance(selection, dict) else type(selection).__name__
        raise DataError(f"{file}: selection of format {found}; this version reads format {_FORMAT}")
    advance = context.progress(f"reading {path}", len(selection["parts"]))
    collections = []
    for part in selection["parts"]:
        found = _read(path / part["folder"])
        if found.fingerprint != part["fingerprint"]:
            raise DataError(
                f"{path / part['folder']}: its content is not what {file} says (fingerprint {found.fingerprint}, "
                f"expected {part['fingerprint']}); select it anew"
            )
        source = {**part["source"], **context.source}
        name = f"{context.name}/{part['name']}"
        collections.append(replace(found, name=name, notes=part["notes"], source=source))
        advance(1)
    return collections


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return (path / _FILE).is_file()


def _read(folder: Path) -> Collection:
    query_ids, queries, query_labels = _texts(folder / "queries.parquet")
    doc_ids, docs, doc_labels = _texts(folder / "corpus.parquet")
    return Collection(
        name="",
        doc_ids=doc_ids,
        docs=docs,
        query_ids=query_ids,
        queries=queries,
        qrels=_qrels(folder / "qrels.parquet", query_ids, doc_ids),
        evidence=_evidence(folder / "evidence.parquet", query_ids, doc_ids),
        query_labels=query_labels,
        doc_labels=doc_labels,
        excluded=_excluded(folder / "excluded.parquet", query_ids, doc_ids),
    )


def _texts(file: Path) -> _Texts:
    try:
        names = [name for name in pq.read_schema(file).names if name.startswith(_LABEL)]
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a readable parquet file (truncated or damaged?): {error}") from error
    columns, _ = read_strings([file], ["_id"], ["text", *names])
    return columns["_id"], columns["text"], {name.removeprefix(_LABEL): columns[name] for name in names}


def _qrels(file: Path, query_ids: Strings, doc_ids: Strings) -> Qrels:
    """The judgements; documents that are not there are numbered on in the order in which they come."""
    names, _ = read_strings([file], ["query-id", "corpus-id"])
    docs = index_of(doc_ids, names["corpus-id"]).copy()
    absent = docs < 0
    gone = names["corpus-id"].filter(pa.array(absent)).dictionary_encode()
    docs[absent] = len(doc_ids) + gone.indices.to_numpy()
    return Qrels.from_pairs(_queries(file, query_ids, names["query-id"]), docs, _whole(file, "score"), len(query_ids))


def _evidence(file: Path, query_ids: Strings, doc_ids: Strings) -> Evidence | None:
    if not file.is_file():
        return None
    names, _ = read_strings([file], ["query-id", "corpus-id"])
    numbers = [_whole(file, name) for name in Evidence.COLUMNS[2:]]
    return Evidence(_queries(file, query_ids, names["query-id"]), index_of(doc_ids, names["corpus-id"]), *numbers)


def _excluded(file: Path, query_ids: Strings, doc_ids: Strings) -> Int32 | None:
    if not file.is_file():
        return None
    names, _ = read_strings([file], ["query-id", "corpus-id"])
    return pairs(_queries(file, query_ids, names["query-id"]), index_of(doc_ids, names["corpus-id"]))


def _whole(file: Path, column: str) -> Int32:
    return whole_numbers(read_table(file, [column])[column], file, column).astype(np.int32)


def _queries(file: Path, ids: Strings, wanted: Strings) -> Int32:
    found = index_of(ids, wanted)
    if (found < 0).any():
        row = int(np.flatnonzero(found < 0)[0])
        raise DataError(f"{file}: row {row + 1}, column query-id: no query has the id {wanted[row].as_py()!r}")
    return found
