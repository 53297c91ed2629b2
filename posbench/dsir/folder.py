"""A selection on disk: a folder a part, and selection.json, which says what it is a part of and how it was chosen.

A part's folder holds queries.parquet and corpus.parquet (``_id``, ``text``, and a column ``label:NAME`` for each
label), qrels.parquet (``query-id``, ``corpus-id``, ``score``) and, where the place of evidence is known,
evidence.parquet (``query-id``, ``corpus-id`` and the numbers of ``Evidence``). The same selection always has the same
bytes; ``posbench.loaders.selection`` reads it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posbench.dsir.subset import SELECTION
from posbench.errors import UsageError
from posbench.store import as_json, held, safe_name, write_json, written
from posbench.types import Collection, Strings

FILE = "selection.json"
FORMAT = 1


def finished(folder: Path, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What selection.json says where the folder holds this selection already, None where nothing is there.

    Args:
        folder: to write to.
        wanted: what identifies the selection, JSON-serialisable; compared with the stored ``recipe``.

    Raises:
        UsageError: the folder holds something else.
    """
    return held(folder, FILE, {"format": FORMAT, "recipe": as_json(wanted)})


def write(
    folder: Path, collections: Sequence[Collection], recipe: Mapping[str, Any], used: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes all parts at once: an interrupted call leaves nothing behind.

    Args:
        folder: to write; it must not be there.
        collections: the parts, as ``subset`` makes them.
        recipe: what identifies the selection, as ``finished`` compares it.
        used: further provenance, such as versions.

    Returns:
        What selection.json holds.

    Raises:
        UsageError: a part is not a selection.
    """
    for part in collections:
        if SELECTION not in part.source:
            raise UsageError(f"{part.name} is no selection; expected what posbench.dsir.subset makes")
    places = _places([part.name for part in collections])
    with written(folder) as scratch:
        listed = []
        for place, part in zip(places, collections, strict=True):
            _write_part(scratch / place, part)
            listed.append(
                {
                    "folder": place,
                    "name": part.name,
                    "fingerprint": part.fingerprint,
                    "queries": len(part.query_ids),
                    "documents": len(part.doc_ids),
                    "notes": dict(part.notes),
                    "source": dict(part.source),
                }
            )
        content = {"format": FORMAT, "recipe": as_json(recipe), "used": as_json(used or {}), "parts": as_json(listed)}
        write_json(scratch / FILE, content)
    return content


def _places(names: Sequence[str]) -> list[str]:
    """A folder for each part: its name, numbered where two would have one."""
    safe = [safe_name(name) for name in names]
    alike = len({name.casefold() for name in safe}) < len(safe)
    return [f"{number}-{name}" if alike else name for number, name in enumerate(safe, 1)]


def _write_part(folder: Path, part: Collection) -> None:
    folder.mkdir(parents=True)
    queries = {"_id": part.query_ids, "text": part.queries, **_labels(part.query_labels)}
    corpus = {"_id": part.doc_ids, "text": part.docs, **_labels(part.doc_labels)}
    qrels = {
        "query-id": part.query_ids.take(pa.array(part.qrels.queries)),
        "corpus-id": _judged_ids(part),
        "score": pa.array(part.qrels.grades),
    }
    tables = {"queries": queries, "corpus": corpus, "qrels": qrels}
    if part.evidence is not None:
        evidence = part.evidence
        tables["evidence"] = {
            "query-id": part.query_ids.take(pa.array(evidence.query)),
            "corpus-id": part.doc_ids.take(pa.array(evidence.doc)),
            **{name: pa.array(getattr(evidence, name)) for name in evidence.COLUMNS[2:]},
        }
    if part.excluded is not None:
        query, doc = part.excluded.T
        tables["excluded"] = {
            "query-id": part.query_ids.take(pa.array(query)),
            "corpus-id": part.doc_ids.take(pa.array(doc)),
        }
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet", compression="zstd")


def _judged_ids(part: Collection) -> Strings:
    """The id of the document of each judgement; one that the collection lacks gets a name that no document has."""
    docs, n = part.qrels.docs, len(part.doc_ids)
    prefix = "absent-"
    while pa.compute.any(pa.compute.starts_with(part.doc_ids, prefix)).as_py():
        prefix = f"_{prefix}"
    missing = int(docs.max(initial=-1)) + 1 - n
    absent = pa.array([f"{prefix}{number}" for number in range(missing)], pa.large_string())
    named: Strings = pa.concat_arrays([part.doc_ids, absent]).take(pa.array(np.asarray(docs, np.int64)))
    return named


def _labels(labels: Mapping[str, Strings]) -> dict[str, Strings]:
    return {f"label:{name}": labels[name] for name in sorted(labels)}
