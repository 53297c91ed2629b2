"""A composition on disk: a folder a part in PosIR's layout, and composition.json, which says what it is made of.

``<length>/<position>/`` holds queries.parquet (``_id``, ``text``, ``pos_char_span``, ``pos_char_length``,
``pos_token_length``, ``evidence_doc``, and a column ``label:NAME`` for each label), corpus.parquet (``_id``, ``text``,
labels) and qrels/test.parquet. The same composition always has the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posbench.store import as_json, held, safe_name, write_json, written
from posbench.types import Collection, Strings

COMPOSITION = "composition.json"
FORMAT = 1


def finished(folder: Path, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What composition.json says where the folder holds this composition already, None where nothing is there.

    Args:
        folder: to write to.
        wanted: what identifies the composition, JSON-serialisable; compared with the stored ``recipe``.

    Raises:
        UsageError: the folder holds something else.
    """
    return held(folder, COMPOSITION, {"format": FORMAT, "recipe": as_json(wanted)}, "composition")


def write(
    folder: Path, collections: Sequence[Collection], recipe: Mapping[str, Any], used: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Writes all parts at once: an interrupted call leaves nothing behind.

    Args:
        folder: to write; it must not be there.
        collections: the parts.
        recipe: what identifies the composition, as ``finished`` compares it.
        used: further provenance, such as tokenizer and versions.

    Returns:
        What composition.json holds.
    """
    # Several sources (domains) have parts of one length and position each; the source's name keeps them apart.
    several = len({_source(part) for part in collections}) > 1
    listed = []
    with written(folder) as scratch:
        for part in collections:
            length, position = part.name.split("/")[-2:]
            source = safe_name(_source(part))
            place = Path(f"{source}--{length}" if several else length) / position
            _write_part(scratch / place, part)
            listed.append(
                {
                    "folder": place.as_posix(),
                    "fingerprint": part.fingerprint,
                    "queries": len(part.query_ids),
                    "documents": len(part.doc_ids),
                    "notes": dict(part.notes),
                    "source": part.source,
                }
            )
        composition = {
            "format": FORMAT,
            "recipe": as_json(recipe),
            "used": as_json(used or {}),
            "parts": as_json(listed),
        }
        write_json(scratch / COMPOSITION, composition)
    return composition


def _source(part: Collection) -> str:
    return part.name.rsplit("/", 2)[0]


def _write_part(folder: Path, part: Collection) -> None:
    (folder / "qrels").mkdir(parents=True)
    evidence = part.evidence
    assert evidence is not None
    spans = np.stack([evidence.start, evidence.end], axis=1)
    queries = {
        "_id": part.query_ids,
        "text": part.queries,
        "pos_char_span": pa.FixedSizeListArray.from_arrays(pa.array(spans.ravel()), 2).cast(pa.list_(pa.int32())),
        "pos_char_length": pa.array(evidence.doc_chars),
        "pos_token_length": pa.array(evidence.doc_tokens),
        "evidence_doc": part.doc_ids.take(pa.array(evidence.doc)),
        **_labels(part.query_labels),
    }
    corpus = {"_id": part.doc_ids, "text": part.docs, **_labels(part.doc_labels)}
    present = part.qrels.docs < len(part.doc_ids)
    absent = [f"absent-{doc}" for doc in part.qrels.docs[~present].tolist()]
    names = np.empty(len(present), object)
    names[present] = part.doc_ids.take(pa.array(part.qrels.docs[present])).to_pylist()
    names[~present] = absent
    qrels = {
        "query-id": part.query_ids.take(pa.array(part.qrels.queries)),
        "corpus-id": pa.array(names.tolist(), pa.large_string()),
        "score": pa.array(part.qrels.grades),
    }
    for name, table in (("queries", queries), ("corpus", corpus), ("qrels/test", qrels)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet", compression="zstd")


def _labels(labels: Mapping[str, Strings]) -> dict[str, Strings]:
    return {f"label:{name}": labels[name] for name in sorted(labels)}
