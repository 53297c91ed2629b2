"""Published figures as entries: what a caller says of them, what recipes know of their models, where they go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from posbench import recipe
from posbench.errors import DataError, UsageError
from posbench.leaderboard import entry as entries
from posbench.leaderboard.entry import SUFFIX, Entry, Model, Queries, Source
from posbench.recipe import DenseRecipe
from posbench.store import safe_name, sha256_of, written

NAME = "published"


@dataclass(frozen=True)
class About:
    """What a caller says of figures, instead of what their kind of file says; empty: as the file's kind has it.

    ``splits`` are those of MTEB's tasks that are wanted, best first.
    """

    board: str = ""
    model: str = ""
    title: str = ""
    url: str = ""
    note: str = ""
    splits: tuple[str, ...] = ()

    def source(self, title: str, url: str, note: str) -> Source:
        """Where the figures stand; arguments are what the file's kind says."""
        if self.title or self.url:
            return Source(self.title or self.url, self.url, self.note)
        return Source(title, url, self.note or note)


@dataclass(frozen=True)
class Imported:
    """An entry and its per-query values, where there are any."""

    entry: Entry
    table: pa.Table | None = None


def model(name: str, hub: str = "", revision: str = "", **known: Any) -> Model:
    """A model as the board shows it: what the shipped recipe of this name says, and ``known`` where there is none.

    Args:
        name: as it was published; also looked for in small letters and among aliases.
        hub: its name on the hub, where the source says it.
        revision: of its weights, where the source says it.
        known: fields of ``Model``.
    """
    path = recipe.path_of(name, "rankers") or recipe.path_of(name.lower(), "rankers")
    found = recipe.read(path, "rankers") if path else None
    if isinstance(found, DenseRecipe):
        hub = hub or next((source.hub for source in found.source if source.hub), "")
        known |= {"parameters": found.parameters, "max_tokens": found.encode.max_tokens}
        known |= {"licence": found.licence, "citation": found.citation}
    weights = f"{hub or name}, " + (f"revision {revision}" if revision else "revision not stated")
    return Model(name=name, weights=weights, **known)


def save(found: Sequence[Imported], root: Path, name: str = NAME, replace: bool = False) -> list[Path]:
    """Writes entries to ``root/BOARD/MODEL/NAME.json``, per-query values beside them, and returns the files.

    All is checked before anything is written. An entry that is there with the same content stays.

    Raises:
        UsageError: a file is there and holds something else, and ``replace`` is False; or it is of another model.
    """
    places: dict[Path, Imported] = {}
    for one in found:
        data = one.entry.data
        place = root / safe_name(data.board) / safe_name(one.entry.model.name) / f"{safe_name(name)}.json"
        if place in places:
            rival = places[place].entry
            raise UsageError(
                f"{place}: two entries would be written there, of {rival.model.name} on {rival.data.board} and of "
                f"{one.entry.model.name} on {data.board}; import them one by one with --name"
            )
        _refuse_other(place, one.entry, replace)
        places[place] = one
    return [path for place, one in places.items() for path in _write(one, place)]


def _refuse_other(place: Path, new: Entry, replace: bool) -> None:
    if not place.is_file():
        return
    try:
        old = entries.read(place)
    except DataError as error:
        raise UsageError(f"{error}; delete it, or give another --name") from error
    if (old.model.name, old.data.board) != (new.model.name, new.data.board):
        raise UsageError(f"{place} is of {old.model.name} on {old.data.board}, not of {new.model.name}; give a --name")
    same = msgspec.structs.replace(old, queries=None) == msgspec.structs.replace(new, queries=None)
    if not same and not replace:
        raise UsageError(f"{place} is there with other content; --replace overwrites it, --name writes beside it")


def _write(one: Imported, place: Path) -> list[Path]:
    if one.table is None:
        entries.write(one.entry, place)
        return [place]
    beside = place.with_name(place.stem + SUFFIX)
    write_table(one.table, beside)
    entries.write(msgspec.structs.replace(one.entry, queries=Queries(beside.name, sha256_of(beside))), place)
    return [place, beside]


def write_table(table: pa.Table, path: Path) -> None:
    """Per-query values as parquet: strings as dictionaries, zstd, no trace of when or where."""
    with written(path) as part:
        pq.write_table(encoded(table), part, compression="zstd", compression_level=19)


def encoded(table: pa.Table) -> pa.Table:
    """The table with every column of strings dictionary-encoded, and no metadata."""
    columns = [
        table[name].combine_chunks().dictionary_encode() if pa.types.is_string(table[name].type) else table[name]
        for name in table.column_names
    ]
    return pa.table(columns, names=table.column_names)


def mapping(value: Any, where: str, expected: str) -> Mapping[str, Any]:
    """A JSON object that is not empty.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, dict) or not value:
        found = "an empty object" if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{where}: found {found}; expected {expected}")
    return value


def fraction(value: Any, where: str) -> float:
    """A number from 0 to 1.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{where}: {value!r}; expected a fraction from 0 to 1")
    return float(value)
