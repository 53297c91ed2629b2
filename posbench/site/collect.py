"""Gathers what a site shows: entries of folders and stored results; what is damaged becomes a remark."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from posbench import recipe
from posbench.errors import DataError, UsageError
from posbench.leaderboard import boards, derive, entry
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import SCORES
from posbench.site.context import Site
from posbench.store import Cache, open_result
from posbench.types import Progress, distinct, no_progress

SHIPPED = recipe.ROOT / "leaderboard" / "results"


def collect(entries: Sequence[Path], results: Sequence[Path], cache: Cache, progress: Progress = no_progress) -> Site:
    """The site of all entries and stored results under the folders.

    Args:
        entries: folders of entries, as ``SHIPPED``.
        results: folders of stored results, as ``posbench eval`` writes them.
        cache: where entries of stored results are kept, so that each is worked out once.
        progress: shows how far the reading is.

    Raises:
        UsageError: a folder is not there.
    """
    for folder in (*entries, *results):
        if not folder.is_dir():
            raise UsageError(f"{folder}: found no such folder; expected one with entries or stored results")
    remarks: list[str] = []
    found = _each(entry.files(entries), _entry, remarks, "entries", progress)
    paths = [path for folder in results for path in derive.paths(folder)]
    found += _each(paths, lambda path: _result(path, cache), remarks, "results", progress)
    made = [replace(board, remarks=_short(board.remarks, (*entries, *results))) for board in boards.boards(found)]
    said = [*_short(remarks, (*entries, *results)), *(text for board in made for text in board.remarks)]
    studies = tuple(one for one in found if one.entry.kind != SCORES)
    return Site(tuple(made), studies, tuple(distinct(said)))


def _short(remarks: Sequence[str], folders: Sequence[Path]) -> tuple[str, ...]:
    """Remarks for a page that others read: paths begin with the name of the folder that was given."""
    for folder in folders:
        remarks = [text.replace(f"{folder}{os.sep}", f"{folder.name}{os.sep}") for text in remarks]
    return tuple(remarks)


def _each(
    paths: Sequence[Path], reads: Callable[[Path], Found | None], remarks: list[str], title: str, progress: Progress
) -> list[Found]:
    """What can be read of the paths; the rest is said in ``remarks``."""
    step = progress(f"reading {title}", len(paths))
    found = []
    for path in paths:
        try:
            one = reads(path)
        except DataError as error:
            remarks.append(f"left out: {error}")
        else:
            found += [one] if one is not None else []
        step(1)
    return found


def _entry(path: Path) -> Found:
    one = entry.read(path)
    return Found(one, path, entry.per_query(one, path))


def _result(folder: Path, cache: Cache) -> Found | None:
    result = open_result(folder)
    return None if result is None else derive.found(result, cache)
