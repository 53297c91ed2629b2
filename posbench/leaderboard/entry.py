"""An entry: what the leaderboard knows of one model on one dataset, in one JSON file that needs nothing else.

Entries lie in ``leaderboard/results/BOARD/MODEL/*.json``, as published figures or as results that were run; per-query
values, where there are any, in a parquet file beside the JSON.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from posbench.errors import DataError
from posbench.store import read_json, sha256_of, written

FORMAT = 1
SCORES = "scores"
KINDS = (SCORES, "hnsw", "saliency", "input-order", "rerank-strategies")
WHOLE = "all"  # all lengths, or the one setting of a dataset without languages
SUFFIX = ".queries.parquet"
LARGEST = 1_000_000  # figure: beyond it, the pages could not hold the others of its measure at full precision
_WIDTH = 180  # of a line: the figures of one setting, by length and without intervals

Origin = Literal["published", "here", "submitted"]


class Figure(msgspec.Struct, frozen=True, array_like=True):
    """A value with the ends of its 95% interval, None where there is none, and how many queries it is of."""

    value: float
    low: float | None = None
    high: float | None = None
    queries: int | None = None


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where published figures stand."""

    title: str
    url: str = ""
    note: str = ""


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model as the board shows it; ``weights`` is what was really used."""

    name: str
    parameters: str = ""
    max_tokens: int | None = None
    licence: str = ""
    citation: str = ""
    weights: str = ""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dataset: the board that it belongs to, its own name, a hash of its content, and what it is a selection of."""

    board: str
    name: str
    fingerprint: str = ""
    selection: str = ""


class Queries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file with per-query values that lies beside an entry."""

    file: str
    sha256: str


class _Result(msgspec.Struct):
    fingerprint: str = ""
    files: dict[str, str] = {}


class _Counts(msgspec.Struct):
    documents: int | None = None


class _Details(msgspec.Struct):
    """The forms that pages rely on, of what ``Entry.details`` may hold; other keys are free."""

    counts: _Counts | None = None
    devices: list[str] | None = None
    peak_memory_mb: dict[str, float] | None = None
    rerank: dict[str, Any] | None = None
    result: _Result | None = None
    settings: dict[str, str] | None = None
    truncation: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None


class _Shown(msgspec.Struct):
    details: _Details


Lengths = dict[str, Figure]
"""A figure by length of documents: "all", "Q1".."Q4"."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model on one dataset.

    ``figures`` is measure -> setting (a language pair, a task, or "all") -> length -> figure. ``details`` holds what
    pages show besides: for scores the position analysis (``bias``), truncation, seconds, versions and the rest of the
    manifest; for studies their summary.
    """

    model: Model
    data: Data
    origin: Origin
    figures: dict[str, dict[str, Lengths]] = {}
    kind: str = SCORES
    source: Source | None = None
    command: str = ""
    queries: Queries | None = None
    details: dict[str, Any] = {}
    format: int = FORMAT

    def settings(self) -> list[str]:
        """The settings that any measure has, in their order."""
        return list(dict.fromkeys(name for settings in self.figures.values() for name in settings))


def read(path: Path) -> Entry:
    """An entry from its file.

    Raises:
        DataError: it is not one, or a figure is no finite number or outside its interval; the message names the key.
    """
    try:
        entry = msgspec.convert(read_json(path), Entry)
        msgspec.convert({"details": entry.details}, _Shown)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise DataError(f"{path}: key {where.strip('`.') or '(top level)'}: {message}; expected an entry") from error
    return check(entry, str(path))


def check(entry: Entry, where: str) -> Entry:
    """The entry, if its content can be shown.

    Raises:
        DataError: another format or kind, a name that is empty, scores without a figure, or a figure that is not
            finite or whose interval is not one.
    """
    if entry.format != FORMAT:
        raise DataError(f"{where}: entry of format {entry.format}; this version reads format {FORMAT}")
    if entry.kind not in KINDS:
        raise DataError(f"{where}: kind {entry.kind!r}; expected one of {', '.join(KINDS)}")
    _expect_content(entry, where)
    for key, figure in _figures(entry):
        ends = [end for end in (figure.low, figure.high) if end is not None]
        if not all(map(math.isfinite, (figure.value, *ends))) or len(ends) == 1:
            raise DataError(
                f"{where}: key {key}: {figure.value}, {ends}; expected finite numbers, and both ends or none"
            )
        if max(map(abs, (figure.value, *ends))) > LARGEST or (figure.queries or 0) < 0:
            raise DataError(
                f"{where}: key {key}: {figure.value}, {ends}, of {figure.queries} queries; expected numbers within "
                f"{LARGEST:,} of 0, and no negative count"
            )
        if ends and not ends[0] <= ends[1]:
            raise DataError(f"{where}: key {key}: interval {ends}; expected its low end first")
    return entry


def _expect_content(entry: Entry, where: str) -> None:
    for key, text in (("model.name", entry.model.name), ("data.board", entry.data.board)):
        if not text.strip():
            raise DataError(f"{where}: key {key}: found no name; expected one")
    if entry.kind == SCORES and not any(True for _ in _figures(entry)):
        raise DataError(f"{where}: key figures: found no figure; expected at least one of an entry of scores")


def _figures(entry: Entry) -> Iterator[tuple[str, Figure]]:
    for measure, settings in entry.figures.items():
        for setting, lengths in settings.items():
            for length, figure in lengths.items():
                yield f"figures.{measure}.{setting}.{length}", figure


def write(entry: Entry, path: Path) -> None:
    """Writes an entry as JSON, the same bytes each time, laid out so that a changed figure changes one line.

    A value stands on one line where it fits, the figures of one setting for example; else each of its parts does.
    """
    check(entry, str(path))
    content = {**msgspec.to_builtins(entry), "figures": _short(entry.figures)}
    with written(path) as part:
        part.write_text(_laid_out(content) + "\n", encoding="utf-8")


def _short(figures: dict[str, dict[str, Lengths]]) -> dict[str, Any]:
    """Figures as lists that end with what is known."""
    return {
        measure: {
            setting: {length: _known_part(figure) for length, figure in lengths.items()}
            for setting, lengths in settings.items()
        }
        for measure, settings in figures.items()
    }


def _known_part(figure: Figure) -> list[float | None]:
    parts = [figure.value, figure.low, figure.high, figure.queries]
    while parts[-1] is None:
        parts.pop()
    return parts


def _laid_out(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON (not-a-numbers as null) whose lines are at most ``_WIDTH`` wide, apart from single values that are wider.

    Args:
        value: what to write.
        indent: of the lines below the first.
        before: characters that stand on the first line already, apart from the indent.
    """
    line = msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
    if indent + before + len(line) < _WIDTH or not isinstance(value, dict | list | tuple):  # room for a comma
        return line
    if isinstance(value, dict):
        opening, closing = "{}"
        keys = [f"{json.dumps(str(key), ensure_ascii=False)}: " for key in value]
    else:
        opening, closing = "[]"
        keys = [""] * len(value)
    items = value.values() if isinstance(value, dict) else value
    parts = [key + _laid_out(item, indent + 1, len(key)) for key, item in zip(keys, items, strict=True)]
    space = "\n" + " " * indent
    return f"{opening}{space} {f',{space} '.join(parts)}{space}{closing}"


def per_query(entry: Entry, path: Path) -> Path | None:
    """The per-query file of the entry that was read from ``path``; None where the entry has none.

    Raises:
        DataError: it is missing, or not the file that the entry names.
    """
    if entry.queries is None:
        return None
    file = path.parent / Path(entry.queries.file).name  # an entry never reaches out of its folder
    if not file.is_file() or sha256_of(file) != entry.queries.sha256:
        found = "no such file" if not file.is_file() else "its content is not what the entry's hash says"
        raise DataError(f"{file}: {found}; expected the per-query values of {path.name}")
    return file


def files(folders: Iterable[Path]) -> list[Path]:
    """All files of entries under the folders, in the order of their paths."""
    return [path for folder in folders for path in sorted(folder.rglob("*.json"))]
