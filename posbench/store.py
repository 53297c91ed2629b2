"""Results and caches on disk: addressed by content, written atomically, safe with several processes at once.

A result is a folder ``<root>/<dataset>/<ranker>/<fingerprint>/`` with queries.parquet, manifest.json and, unless it is
of a study, which ranks nothing, run.parquet.
Everything is written under another name and renamed, the manifest last: a result without a manifest does not exist.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from posbench.errors import DataError, UsageError
from posbench.types import Report

FORMAT = 1
RESULTS = Path("posbench-results")


def default_cache() -> Path:
    """Where caches live unless told otherwise: ``$XDG_CACHE_HOME/posbench``, else ``~/.cache/posbench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posbench"


def safe_name(name: str) -> str:
    """A name as one path component: letters, digits, dot, dash and underscore survive, "/" becomes "--"."""
    return re.sub(r"[^\w.-]+", "_", name.replace("/", "--")).strip(".") or "_"


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write a file or folder to; it takes the final name when the block ends well.

    Where the final name exists by then, a file replaces it and a folder gives way to it: both hold the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name[:40]}.", dir=path.parent))
    part = scratch / "part"
    try:
        yield part
        try:
            os.replace(part, path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def expect_writable(path: Path) -> None:
    """Makes the folder that ``path`` is to be written in, and tries it, before work is done that could not be kept.

    Raises:
        OSError: nothing can be written there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def held(folder: Path, file: str, wanted: Mapping[str, Any], what: str = "selection") -> dict[str, Any] | None:
    """The JSON object in a folder's ``file`` where it has the wanted entries; None where there is no folder.

    ``what`` is what such a folder is called.

    Raises:
        UsageError: the folder holds something else.
    """
    if not folder.exists():
        return None
    stored = read_json(folder / file) if (folder / file).is_file() else None
    if isinstance(stored, dict) and all(stored.get(name) == value for name, value in wanted.items()):
        return stored
    found = f"another {what}" if stored else "something else"
    raise UsageError(f"{folder} is there and holds {found}; give another folder, or delete this one")


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        DataError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable JSON file: {error}") from error


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file that people can read too."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def as_json(content: Any) -> Any:
    """Content as JSON gives it back: lists for tuples, text for what JSON does not know."""
    return json.loads(json.dumps(content, ensure_ascii=False, default=str))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Result:
    """A finished result on disk."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What was done: "eval", or the name of a study, whose result holds no run."""
        return str(self.manifest.get("kind", "eval"))

    def report(self) -> Report:
        """The per-query values.

        Raises:
            DataError: the file is missing or is not what the manifest says.
        """
        return Report(self.manifest, tuple(self.manifest["measures"]), self._table("queries.parquet"))

    def run(self) -> pa.Table:
        """The run as a table of dataset, query_id, doc_id, rank (from 1) and score."""
        return self._table("run.parquet")

    def _table(self, name: str) -> pa.Table:
        try:
            return pq.read_table(self.folder / name)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{self.folder / name}: damaged result: {error}; run the command again with --again"
            ) from error


@dataclass(frozen=True)
class Results:
    """All results under one folder."""

    root: Path

    def folder(self, dataset: str, ranker: str, fingerprint: str) -> Path:
        """Where a result lives, whether it exists or not."""
        return self.root / safe_name(dataset) / safe_name(ranker) / fingerprint

    def find(self, dataset: str, ranker: str, fingerprint: str) -> Result | None:
        """The finished result, or None."""
        return open_result(self.folder(dataset, ranker, fingerprint))

    def write(self, dataset: str, ranker: str, fingerprint: str, report: Report, run: pa.Table | None) -> Result:
        """Writes a result; ``report.header`` becomes the manifest. ``run`` None keeps the run, if one is there."""
        folder = self.folder(dataset, ranker, fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        if run is not None:
            with written(folder / "run.parquet") as part:
                pq.write_table(run, part, compression="zstd")
        with written(folder / "queries.parquet") as part:
            pq.write_table(report.queries, part, compression="zstd")
        names = [name for name in ("run.parquet", "queries.parquet") if (folder / name).is_file()]
        files = {name: sha256_of(folder / name) for name in names}
        manifest = {"format": FORMAT, "fingerprint": fingerprint, **report.header, "files": files}
        with written(folder / "manifest.json") as part:
            write_json(part, manifest)
        return Result(folder, manifest)

    def all(self) -> list[Result]:
        """Every finished result, by dataset, ranker and fingerprint."""
        found = (open_result(path.parent) for path in sorted(self.root.glob("*/*/*/manifest.json")))
        return [result for result in found if result is not None]


def open_result(folder: Path) -> Result | None:
    """The result in a folder, or None where there is no manifest.

    Raises:
        DataError: the manifest is damaged or of another format.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise DataError(f"{path}: manifest of format {found}; this version reads format {FORMAT}")
    return Result(folder, manifest)


def result_in(folder: Path) -> Result:
    """The result in a folder that a user named.

    Raises:
        UsageError: it holds none.
        DataError: as ``open_result``.
    """
    result = open_result(folder)
    if result is None:
        raise UsageError(f"{folder} holds no result: found no manifest.json; `posbench runs` lists results")
    return result


@dataclass(frozen=True)
class Cache:
    """Arrays and JSON that cost much to compute, under a hash of all that went into them."""

    root: Path

    def folder(self, kind: str, key: str) -> Path:
        """The folder of an entry, whether it exists or not."""
        return self.root / kind / key[:2] / key

    def load(self, kind: str, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays of an entry as memory maps, or None."""
        folder = self.folder(kind, key)
        if not folder.is_dir():
            return None
        try:
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: damaged cache entry: {error}; delete the folder and run again") from error

    def save(self, kind: str, key: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Writes an entry."""
        with written(self.folder(kind, key)) as part:
            part.mkdir()
            for name, array in arrays.items():
                np.save(part / f"{name}.npy", array, allow_pickle=False)

    def recall(self, kind: str, key: str) -> Any:
        """The JSON of an entry, or None."""
        path = self.folder(kind, key).with_suffix(".json")
        return read_json(path) if path.is_file() else None

    def note(self, kind: str, key: str, content: Any) -> None:
        """Writes an entry of JSON, not-a-numbers included."""
        with written(self.folder(kind, key).with_suffix(".json")) as part:
            part.write_text(json.dumps(content), encoding="utf-8")

    def drop(self, kind: str, keys: Sequence[str]) -> None:
        """Deletes entries; ones that are not there do not matter."""
        for key in keys:
            shutil.rmtree(self.folder(kind, key), ignore_errors=True)
