"""Raw and target text from where users keep it, in shards that are read one at a time.

A source is a JSONL file (also gzipped), a parquet file, a text file, a folder of any of these, or texts in memory. A
folder with JSONL or parquet files is read by its records; any other folder is one document a file. Shards are cut by
bytes, row groups or files; nothing that is selected depends on where.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from posbench.errors import DataError, UsageError
from posbench.types import Strings

SHARD_BYTES = 16 << 20
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_TABLES = (".parquet",)


@dataclass(frozen=True)
class Fields:
    """Which fields of a record are read.

    ``id`` "" takes the first of id, _id, doc_id and docno that a file's first record has, and the hash of the text
    where it has none. ``labels`` are read as text, for strata and for the report.
    """

    text: str = "text"
    id: str = ""
    labels: tuple[str, ...] = ()
    drop_faults: bool = False


@dataclass(frozen=True)
class Shard:
    """A part of a source.

    ``kind`` says how it is read: "lines" (bytes ``start`` to ``stop`` of a file: the lines that begin there), "block"
    (``data``, ``stop`` bytes of lines of a gzipped file, the first of them number ``start``), "rows" (row group
    ``start`` of a parquet file, of a large one the rows of ``table``, which begin at its row ``stop``), "files" (a
    document each) or "memory" (``ids``, ``texts``, ``labels``). ``head`` is the first record of a file of lines.
    """

    kind: str
    path: Path
    start: int = 0
    stop: int = 0
    files: tuple[Path, ...] = ()
    data: bytes = b""
    head: bytes = b""
    table: pa.Table | None = None
    ids: Strings | None = None
    texts: Strings | None = None
    labels: Mapping[str, Strings] = field(default_factory=dict)

    def identity(self) -> list[Any]:
        """What says that a shard is the one read before: paths, sizes, times of change and place."""
        stamps = []
        for path in self.files or (self.path,):
            if path.exists():
                found = path.stat()
                stamps.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
        root = str(self.path.resolve()) if self.files else ""  # ids and labels of files are places below it
        rows = -1 if self.table is None else len(self.table)
        return [self.kind, root, stamps, self.start, self.stop, rows]

    def without_content(self) -> "Shard":
        """The same without what it holds in memory."""
        return replace(self, data=b"", table=None, ids=None, texts=None, labels={})


@dataclass(frozen=True)
class Source:
    """Where text comes from: ``path`` on disk, texts in memory under a ``name``, or several sources as one."""

    name: str
    path: Path | None = None
    several: tuple["Source", ...] = ()
    ids: Strings | None = None
    texts: Strings | None = None
    labels: Mapping[str, Strings] = field(default_factory=dict)

    def shards(self, size: int = SHARD_BYTES) -> Iterator[Shard]:
        """The shards of the source, of about ``size`` bytes each.

        Raises:
            DataError: nothing is there, or nothing that can be read.
        """
        for one in self.several:
            yield from one.shards(size)
        if self.path is not None:
            yield from _of_path(self.path, size)
        elif self.texts is not None:
            yield from _of_memory(self, size)


def of_path(path: Path) -> Source:
    """The source at a path.

    Raises:
        UsageError: nothing is there.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; expected JSONL, parquet, text, or a folder of them")
    return Source(str(path), path)


def together(sources: Sequence[Source]) -> Source:
    """Several sources as one."""
    return sources[0] if len(sources) == 1 else Source(" + ".join(one.name for one in sources), several=tuple(sources))


def is_lines(path: Path) -> bool:
    """Whether a file's name says that it holds JSON records, one a line."""
    return path.name.lower().endswith(_LINES)


def is_table(path: Path) -> bool:
    """Whether a file's name says that it is a parquet file."""
    return path.name.lower().endswith(_TABLES)


def _of_path(path: Path, size: int) -> Iterator[Shard]:
    files = [path] if path.is_file() else _files(path)
    if not files:
        raise DataError(f"{path}: an empty folder; expected JSONL, parquet or text files")
    records = [file for file in files if is_lines(file) or is_table(file)]
    for file in records:
        yield from _of_table(file, size) if is_table(file) else _of_lines(file, size)
    if not records:
        yield from _of_texts(path if path.is_dir() else path.parent, files, size)


def _files(folder: Path) -> list[Path]:
    """All files under a folder but hidden ones, by name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _of_lines(file: Path, size: int) -> Iterator[Shard]:
    if file.suffix.lower() == ".gz":
        yield from _of_gzip(file, size)
        return
    length = file.stat().st_size
    with file.open("rb") as lines:
        head = _head(lines)
    for start in range(0, length, size):
        yield Shard("lines", file, start, min(start + size, length), head=head)


def _head(lines: Iterable[bytes]) -> bytes:
    """The first line that is a JSON object, if one of the first hundred is: what names the fields of all."""
    for line in islice(lines, 100):
        try:
            if isinstance(json.loads(line.removeprefix(b"\xef\xbb\xbf")), dict):
                return line.removeprefix(b"\xef\xbb\xbf")
        except ValueError:
            continue
    return b""


def _of_gzip(file: Path, size: int) -> Iterator[Shard]:
    """Blocks of whole lines: what is packed cannot be entered in the middle."""
    line = 1
    try:
        with gzip.open(file) as packed:
            head = _head(packed)
        with gzip.open(file) as packed:
            while data := packed.read(size):
                data += packed.readline()
                yield Shard("block", file, line, len(data), data=data, head=head)
                line += data.count(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: not readable (truncated or damaged?): {error}") from error


def _of_table(file: Path, size: int) -> Iterator[Shard]:
    """A shard a row group, or several where it is large: a writer may put a whole file into one."""
    try:
        with pq.ParquetFile(file) as table:
            for group in range(table.num_row_groups):
                about = table.metadata.row_group(group)
                if about.total_byte_size <= 2 * size:
                    yield Shard("rows", file, group)
                else:
                    rows = max(1, about.num_rows * size // about.total_byte_size)
                    yield from _of_group(table, file, group, rows)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file}: not a readable parquet file (truncated or damaged?): {error}") from error


def _of_group(table: pq.ParquetFile, file: Path, group: int, rows: int) -> Iterator[Shard]:
    """So many rows of a row group at a time."""
    first = 0
    for batch in table.iter_batches(rows, row_groups=[group]):
        yield Shard("rows", file, group, first, table=pa.Table.from_batches([batch]))
        first += len(batch)


def _of_texts(folder: Path, files: Sequence[Path], size: int) -> Iterator[Shard]:
    """Files by the hundred, so that a folder of a million small ones is not one shard."""
    held: list[Path] = []
    total = 0
    for file in files:
        held.append(file)
        total += file.stat().st_size
        if total >= size or len(held) >= 1000:
            yield Shard("files", folder, files=tuple(held))
            held, total = [], 0
    if held:
        yield Shard("files", folder, files=tuple(held))


def _of_memory(source: Source, size: int) -> Iterator[Shard]:
    texts = source.texts
    assert texts is not None
    step = max(1, size * max(1, len(texts)) // max(1, texts.nbytes))
    for start in range(0, len(texts), step):
        part = slice(start, start + step)
        ids = source.ids[part] if source.ids is not None else None
        labels = {name: column[part] for name, column in source.labels.items()}
        stop = min(start + step, len(texts))
        yield Shard("memory", Path(source.name), start, stop, ids=ids, texts=texts[part], labels=labels)
