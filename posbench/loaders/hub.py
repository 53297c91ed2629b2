"""Where a recipe's files are: a local folder, or a snapshot of a dataset repository on the Hugging Face hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posbench.errors import MissingPartError
from posbench.hub import reachable
from posbench.recipe import Source


@dataclass(frozen=True)
class Found:
    """A folder with the files, and where they came from (JSON-serialisable)."""

    folder: Path
    provenance: dict[str, Any]


def find(name: str, sources: Sequence[Source], base: Path, patterns: Sequence[str]) -> Found:
    """The first source that answers.

    Args:
        name: of the dataset, for the message.
        sources: in the order in which they are tried.
        base: the folder where relative paths start.
        patterns: the files needed, as the hub's ``allow_patterns``.

    Raises:
        MissingPartError: none answers; the message says why and how to give a local folder.
    """
    failures = []
    for source in sources:
        if source.hub:
            try:
                return download(source.hub, source.revision, patterns, source.folder)
            except MissingPartError as error:
                failures.append(str(error))
        elif source.path:
            folder = base / source.path
            if folder.exists():
                return Found(folder, {"path": str(folder)})
            failures.append(f"{folder} is not there")
        else:
            failures.append(f"package {source.package} is no source of datasets")
    reasons = "; ".join(failures) or "the recipe names no source"
    raise MissingPartError(
        f"{name}: no files: {reasons}. Give a local copy as the dataset instead: `posbench eval FOLDER ...` with the "
        "folder of the same layout"
    )


def download(repository: str, revision: str, patterns: Sequence[str], folder: str = "") -> Found:
    """The needed files of one revision of a dataset repository, from the hub or from its local cache.

    Raises:
        MissingPartError: the hub cannot be reached, has no such repository, revision or permission, or the client is
            not installed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingPartError("the hub needs a package that is not installed: pip install huggingface_hub") from error
    online = reachable()
    wanted = [f"{folder}/{pattern}" if folder else pattern for pattern in patterns]
    try:
        snapshot = Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision,
                allow_patterns=wanted,
                local_files_only=not online,
            )
        )
    # The client passes on the exceptions of whichever HTTP library it has, so no narrower class covers them.
    except Exception as error:
        said = (str(error).strip().splitlines() or [""])[0]
        reason = (
            f"{type(error).__name__}: {said}"
            if online
            else "the hub did not answer, and the files are not in its local cache"
        )
        raise MissingPartError(
            f"the hub's dataset {repository} (revision {revision}) cannot be had: {reason}"
        ) from error
    # A snapshot's folder is named by its commit.
    return Found(snapshot / folder, {"hub": repository, "revision": revision, "commit": snapshot.name})
