"""Answers kept by content: one SQLite file a model, under a hash of the whole call.

An answer is on disk as soon as it is given out, so that an interrupted or repeated run pays for no call twice. Several
processes may use one file.
"""

import sqlite3
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from posbench.errors import DataError
from posbench.rankers.llm.calls import Answer, Request, Sampling
from posbench.recipe import digest

_ROWS = 512  # keys a query; SQLite allows 999 in its oldest versions
_PATIENCE = 60.0  # seconds that another process may take to write
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


def keys(requests: Sequence[Request], sampling: Sampling) -> list[bytes]:
    """The key of each request: 16 bytes, of the request and the sampling; the file stands for the model."""
    start, found = blake2b(_encode(sampling), digest_size=16), []
    for request in requests:
        one = start.copy()
        one.update(_encode(request))
        found.append(one.digest())
    return found


class CallCache:
    """The answers of one model.

    Args:
        root: folder of caches.
        identity: what the answers depend on apart from the call, ``Backend.describe()``.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self.path = root / "llm" / f"{digest(identity)}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Only one thread uses it, but another may be the one that lets go of it.
        try:
            self._base = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:
            raise self._wrong(error) from error
        try:
            # A write-ahead log survives a killed process without a wait for the disk at each answer.
            self._base.execute("PRAGMA journal_mode=WAL").close()
            self._base.execute("PRAGMA synchronous=NORMAL").close()
            self._base.execute("CREATE TABLE IF NOT EXISTS calls (key BLOB PRIMARY KEY, answer BLOB NOT NULL)")
        except sqlite3.DatabaseError as error:
            self._base.close()
            raise self._wrong(error) from error
        weakref.finalize(self, self._base.close)

    def _wrong(self, error: Exception) -> DataError:
        if isinstance(error, sqlite3.OperationalError):  # locked, a full disk, a folder that may not be written
            return DataError(f"{self.path}: the cache of calls cannot be used: {error}; mend that and run again")
        return DataError(f"{self.path}: damaged cache of calls: {error}; delete the file and run again")

    def find(self, wanted: Sequence[bytes]) -> dict[bytes, Answer]:
        """The answers that are known, by key."""
        found: dict[bytes, Answer] = {}
        for first in range(0, len(wanted), _ROWS):
            part = wanted[first : first + _ROWS]
            marks = ",".join("?" * len(part))
            try:
                with closing(self._base.execute(f"SELECT key, answer FROM calls WHERE key IN ({marks})", part)) as rows:
                    found.update((key, _decode(answer)) for key, answer in rows)
            except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
                raise self._wrong(error) from error
        return found

    def save(self, answers: Iterable[tuple[bytes, Answer]]) -> None:
        """Writes answers in one transaction.

        Raises:
            DataError: they cannot be written.
        """
        rows = [(key, _encode(answer)) for key, answer in answers]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            self._base.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?)", rows)
            self._base.execute("COMMIT")
        except BaseException as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError):
                raise self._wrong(error) from error
            raise
