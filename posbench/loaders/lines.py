"""Text files of one record a line, plain or gzipped; errors name file and line."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from posbench.errors import DataError
from posbench.loaders.assemble import Texts
from posbench.loaders.tables import Rows
from posbench.types import strings

T = TypeVar("T")


def present(path: Path) -> Path | None:
    """The file itself, or the same with ".gz" appended, or None."""
    packed = path.with_name(path.name + ".gz")
    return next((file for file in (path, packed) if file.is_file()), None)


def content(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzipped.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable: {getattr(error, 'strerror', None) or error}") from error


def numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable (truncated or damaged?): {error}") from error


def records(path: Path, kind: type[T]) -> tuple[list[T], Rows]:
    """The JSON objects of a file, one a line, and their places.

    Raises:
        DataError: a line is not JSON, not UTF-8, or lacks a field or has one of another type.
    """
    decoder = msgspec.json.Decoder(kind, strict=False)
    found, places = [], []
    for number, line in numbered(path):
        try:
            found.append(decoder.decode(line))
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            column = f", column {where.strip('`.')}" if where.strip("`.") else ""
            raise DataError(f"{path}: line {number}{column}: {message[:1].lower()}{message[1:]}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: line {number}: not a JSON object in UTF-8: {error}") from error
        places.append(number)
    return found, lines_of(path, places)


def lines_of(path: Path, numbers: Sequence[int]) -> Rows:
    """The places of records that stood on these lines of a file."""
    return Rows((path,), (len(numbers),), "line", np.asarray(numbers, np.int64))


def separated(path: Path, columns: int, tab: bool = True) -> tuple[list[list[str]], Rows]:
    """The fields of each line, by tab or by white space.

    Raises:
        DataError: a line has another number of fields or is not UTF-8.
    """
    found, places = [], []
    for number, line in numbered(path):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: line {number}: bytes that are not UTF-8 text") from error
        fields = text.split("\t") if tab else text.split()
        if len(fields) != columns:
            raise DataError(f"{path}: line {number}: {len(fields)} columns; expected {columns}")
        found.append(fields)
        places.append(number)
    return found, lines_of(path, places)


def whole(text: str, path: Path, line: str, column: str) -> int:
    """A whole number.

    Raises:
        DataError: it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise DataError(f"{line}, column {column}: {text!r}; expected a whole number") from error


def texts_of(ids: Sequence[str], texts: Sequence[str], rows: Rows, **more: Any) -> Texts:
    """Aligned ids and texts as columns."""
    return Texts(strings(list(ids)), strings(list(texts)), rows, **more)
