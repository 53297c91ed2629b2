"""Where entries lie: ``BOARD/MODEL/NAME.json`` under one folder, with per-query values in a parquet file beside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from posbench import exports
from posbench.errors import DataError, UsageError
from posbench.leaderboard import entry as entries
from posbench.leaderboard.entry import SUFFIX, Entry, Queries
from posbench.store import safe_name, sha256_of, written


@dataclass(frozen=True)
class New:
    """An entry that is to be written, the name of its file, and its per-query values, where there are any."""

    entry: Entry
    name: str
    table: pa.Table | None = None


def save(found: Sequence[New], root: Path, replace: bool = False) -> list[Path]:
    """Writes entries, and their per-query values beside them, and returns the files.

    All is checked before anything is written. An entry that is there with the same content may be written again.

    Raises:
        UsageError: a file is there and holds something else, and ``replace`` is False; or it is of another model.
        DataError: an entry cannot be shown.
    """
    places: dict[Path, New] = {}
    for one in found:
        data = one.entry.data
        place = root / safe_name(data.board) / safe_name(one.entry.model.name) / f"{safe_name(one.name)}.json"
        if place in places:
            rival = places[place].entry
            raise UsageError(
                f"{place}: two entries would be written there, of {rival.model.name} on {rival.data.board} and of "
                f"{one.entry.model.name} on {data.board}; write them one by one, with --name"
            )
        entries.check(one.entry, str(place))
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
    if not replace and _content(old) != _content(new):
        raise UsageError(f"{place} is there with other content; --replace overwrites it, --name writes beside it")


def _content(entry: Entry) -> bytes:
    """What an entry says, apart from the file beside it."""
    return msgspec.json.encode(msgspec.structs.replace(entry, queries=None), order="sorted")


def _write(one: New, place: Path) -> list[Path]:
    if one.table is None:
        entries.write(one.entry, place)
        return [place]
    beside = place.with_name(place.stem + SUFFIX)
    with written(beside) as part:
        pq.write_table(exports.encoded(one.table), part, compression="zstd", compression_level=19)
    entries.write(msgspec.structs.replace(one.entry, queries=Queries(beside.name, sha256_of(beside))), place)
    return [place, beside]
