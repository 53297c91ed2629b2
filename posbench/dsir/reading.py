"""A shard's documents as columns, and its records as they were written."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
from numpy.typing import NDArray

from posbench.dsir.sources import Fields, Shard
from posbench.errors import DataError
from posbench.types import Int32, Strings, strings

_IDS = ("id", "_id", "doc_id", "docno")
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class Batch:
    """Documents: ``rows`` int32[N] is each one's place in its shard (blank lines not counted), ``ids`` may be None.

    ``notes`` counts what was left out or mended, by reason.
    """

    rows: Int32
    texts: Strings
    ids: Strings | None = None
    labels: Mapping[str, Strings] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    def keep(self, mask: NDArray[np.bool_]) -> "Batch":
        """The documents of a mask bool[N]."""
        arrow = pa.array(mask)
        labels = {name: strings(column.filter(arrow)) for name, column in self.labels.items()}
        ids = None if self.ids is None else strings(self.ids.filter(arrow))
        return Batch(self.rows[mask], strings(self.texts.filter(arrow)), ids, labels, self.notes)

    def counting(self, reason: str, count: int) -> "Batch":
        """The same with a note more, unless ``count`` is 0."""
        return replace(self, notes={**self.notes, reason: count}) if count else self


def read(shard: Shard, fields: Fields) -> Batch:
    """The documents of a shard.

    Raises:
        DataError: a record cannot be read, or has no text, and ``fields.drop_faults`` is not set; the message names
            file and line or row.
    """
    return _READERS[shard.kind](shard, fields)


def records(shard: Shard, rows: Sequence[int], fields: Fields) -> list[tuple[str | None, bytes]]:
    """The records at some rows: each one's id, None where it has none, and the record as JSON in one line.

    What was JSON is given as it was written, byte for byte.
    """
    if shard.kind in ("lines", "block"):
        lines = _lines(_bytes_of(shard))
        found, name = [lines[row].strip() for row in rows], _id_field_of_lines(shard, fields)
        return [(_id_of(json.loads(line), name), line) for line in found]
    if shard.kind == "rows":
        table = _table(shard, None).take(pa.array(rows, pa.int64()))
        name = _id_field(dict.fromkeys(table.column_names, ""), fields)
        return [(_id_of(row, name), _json(row)) for row in table.to_pylist()]
    batch = read(shard, fields)
    places = [int(place) for place in np.searchsorted(batch.rows, rows)]
    ids = [None if batch.ids is None else batch.ids[place].as_py() for place in places]
    labels = [{name: column[place].as_py() for name, column in batch.labels.items()} for place in places]
    texts = [{"text": batch.texts[place].as_py()} for place in places]
    return [
        (name, _json(({} if name is None else {"id": name}) | text | more))
        for name, text, more in zip(ids, texts, labels, strict=True)
    ]


def _id_of(record: Mapping[str, Any], name: str) -> str | None:
    return _mended(_text(record[name])) if name else None


def _json(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace")


def _bytes_of(shard: Shard) -> bytes:
    """The lines that begin in the shard's range of bytes."""
    if shard.kind == "block":
        return _after_mark(shard.data, shard.start == 1)
    with shard.path.open("rb") as file:
        if shard.start:
            file.seek(shard.start - 1)
            file.readline()
        if file.tell() >= shard.stop:
            return b""
        data = file.read(shard.stop - file.tell())
        return _after_mark(data if data.endswith(b"\n") else data + file.readline(), shard.start == 0)


def _after_mark(data: bytes, first: bool) -> bytes:
    """The bytes of a file's beginning without its byte order mark."""
    return data.removeprefix(b"\xef\xbb\xbf") if first else data


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line.strip()]


def _read_lines(shard: Shard, fields: Fields) -> Batch:
    data = _bytes_of(shard)
    if not data.strip():
        return Batch(np.empty(0, np.int32), strings([]))
    name = _id_field_of_lines(shard, fields)
    return _quickly(data, fields, name) or _line_by_line(shard, data, fields, name)


def _id_field_of_lines(shard: Shard, fields: Fields) -> str:
    """The field of the id, the same in all shards of a file."""
    return fields.id or (_id_field(json.loads(shard.head), fields) if shard.head else "")


def _quickly(data: bytes, fields: Fields, name: str) -> Batch | None:
    """All lines at once where nothing is odd about any of them, else None."""
    try:
        first = json.loads(data[: data.index(b"\n")] if b"\n" in data else data)
        schema = [(fields.text, pa.large_string())]
        if name:
            schema.append((name, pa.int64() if isinstance(first[name], int) else pa.large_string()))
        schema += [(label, pa.large_string()) for label in fields.labels]
        table = pj.read_json(
            io.BytesIO(data),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=pa.schema(schema), unexpected_field_behavior="ignore"),
        )
        texts = strings(table[fields.text])
        texts.validate(full=True)
    except (ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    if texts.null_count or len(texts) != len(_lines(data)):  # two objects may stand on one line
        return None
    ids = strings(table[name].cast(pa.large_string())) if name else None
    if ids is not None and ids.null_count:
        return None
    labels = {label: strings(pc.fill_null(table[label], "")) for label in fields.labels}
    return Batch(np.arange(len(texts), dtype=np.int32), texts, ids, labels)


def _id_field(record: Any, fields: Fields) -> str:
    if not isinstance(record, dict):
        return ""
    return fields.id or next((name for name in _IDS if record.get(name) is not None), "")


def _line_by_line(shard: Shard, data: bytes, fields: Fields, name: str) -> Batch:
    """As ``_quickly``, one line at a time: mends what can be mended and says which line is wrong."""
    found: list[tuple[int, dict[str, Any]]] = []
    notes: dict[str, int] = {}
    number = -1
    for offset, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        number += 1
        record, wrong = _parsed(line, fields, name)
        if not wrong:
            found.append((number, record))
        elif fields.drop_faults:
            notes["broken_records"] = notes.get("broken_records", 0) + 1
        else:
            raise DataError(f"{shard.path}: line {_first_line(shard) + offset}: {wrong}; --drop-faults leaves it out")
    if not found:
        return Batch(np.empty(0, np.int32), strings([]), notes=notes)
    columns = {key: [_text(record.get(key, "")) for _, record in found] for key in (fields.text, *fields.labels)}
    mended = {key: [_mended(text) for text in column] for key, column in columns.items()}
    changed = sum(a != b for a, b in zip(columns[fields.text], mended[fields.text], strict=True))
    if changed:
        notes["lone_surrogates_replaced"] = changed
    ids = [_mended(_text(record[name])) for _, record in found] if name else None
    return Batch(
        np.array([row for row, _ in found], np.int32),
        strings(mended[fields.text]),
        None if ids is None else strings(ids),
        {label: strings(mended[label]) for label in fields.labels},
        notes,
    )


def _parsed(line: bytes, fields: Fields, name: str) -> tuple[dict[str, Any], str]:
    """The record of a line, whose id is in field ``name`` if not "", and what is wrong with it, if anything."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return {}, f"not a JSON object in UTF-8 ({error})"
    if not isinstance(record, dict):
        return {}, f"a JSON {type(record).__name__}; expected an object"
    if not isinstance(record.get(fields.text), str):
        have = ", ".join(list(record)[:8])
        return {}, f"no text in field {fields.text!r} (fields: {have}); name another with --text-field"
    if name and record.get(name) is None:
        return {}, f"no field {name!r} to take the id from; name another with --id-field"
    return record, ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _mended(text: str) -> str:
    return text if text.isascii() else text.translate(_SURROGATES)


def _first_line(shard: Shard) -> int:
    """The number of a shard's first line, counted only to name a fault."""
    if shard.kind == "block":
        return shard.start
    line, left = 1, shard.start
    with shard.path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 22))):
            line += block.count(b"\n")
            left -= len(block)
        if shard.start:
            file.seek(shard.start - 1)
            line += 0 if file.read(1) == b"\n" else 1
    return line


def _table(shard: Shard, columns: list[str] | None) -> pa.Table:
    try:
        with pq.ParquetFile(shard.path) as file:
            have = file.schema_arrow.names
            for name in columns or ():
                if name not in have:
                    raise DataError(f"{shard.path}: no column {name!r}; it has {', '.join(have)}")
            if shard.table is not None:
                return shard.table.select(columns or have)
            return file.read_row_group(shard.start, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{shard.path}: not a readable parquet file (truncated or damaged?): {error}") from error


def _read_rows(shard: Shard, fields: Fields) -> Batch:
    try:
        have = dict.fromkeys(pq.read_schema(shard.path).names, "")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{shard.path}: not a readable parquet file (truncated or damaged?): {error}") from error
    name = _id_field(have, fields)
    table = _table(shard, [fields.text, *([name] if name else []), *fields.labels])
    try:
        columns = {key: strings(table[key].cast(pa.large_string())) for key in table.column_names}
        columns[fields.text].validate(full=True)
    except pa.ArrowException as error:
        raise DataError(f"{shard.path}: row group {shard.start}: not text: {error}") from error
    labels = {label: strings(pc.fill_null(columns[label], "")) for label in fields.labels}
    ids = columns[name] if name else None
    batch = Batch(np.arange(len(table), dtype=np.int32), columns[fields.text], ids, labels)
    absent = np.asarray(pc.is_null(columns[fields.text]).to_numpy(zero_copy_only=False))
    if ids is not None:
        absent = absent | np.asarray(pc.is_null(ids).to_numpy(zero_copy_only=False))
    if absent.any() and not fields.drop_faults:
        row = shard.stop + int(np.flatnonzero(absent)[0])
        raise DataError(
            f"{shard.path}: row group {shard.start}, row {row}: no text or no id; --drop-faults leaves it out"
        )
    return batch.keep(~absent).counting("broken_records", int(absent.sum())) if absent.any() else batch


def _read_files(shard: Shard, fields: Fields) -> Batch:
    rows, ids, texts, binary = [], [], [], 0
    for row, file in enumerate(shard.files):
        text = _text_of(file)
        if text is None:
            binary += 1
        else:
            rows.append(row)
            texts.append(text)
            ids.append(_mended(file.relative_to(shard.path).as_posix()))
    notes = {"files_that_are_not_text": binary} if binary else {}
    labels = {label: strings([_folder_label(label, name) for name in ids]) for label in fields.labels}
    return Batch(np.array(rows, np.int32), strings(texts), strings(ids), labels, notes)


def _folder_label(label: str, name: str) -> str:
    """The first folder of a file's path: the one label that a folder of texts has."""
    if label != "folder":
        raise DataError(
            f"a folder of text files has no field {label!r}; its one label is 'folder', the first sub-folder"
        )
    return name.partition("/")[0] if "/" in name else ""


def _text_of(file: Path) -> str | None:
    """The text of a file, None where it is not UTF-8 text."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: not readable: {error.strerror or error}") from error
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _read_memory(shard: Shard, fields: Fields) -> Batch:
    assert shard.texts is not None
    for label in fields.labels:
        if label not in shard.labels:
            have = ", ".join(shard.labels) or "none"
            raise DataError(f"{shard.path} has no label {label!r}; it has {have}")
    labels = {label: strings(shard.labels[label]) for label in fields.labels}
    ids = None if shard.ids is None else strings(shard.ids)
    return Batch(np.arange(len(shard.texts), dtype=np.int32), strings(shard.texts), ids, labels)


_READERS: Mapping[str, Callable[[Shard, Fields], Batch]] = {
    "lines": _read_lines,
    "block": _read_lines,
    "rows": _read_rows,
    "files": _read_files,
    "memory": _read_memory,
}
