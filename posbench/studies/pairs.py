"""Chooses pairs of a query and the document that holds its evidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.bias import relative_position
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.types import Collection, Evidence, Int32, Int64, Strings


@dataclass(frozen=True)
class Selection:
    """Which pairs.

    PosIR's by default: evidence in the middle of long documents, so that weight at the head or the tail is the model's
    preference.

    ``min_tokens`` of the document; ``evidence``, the range that holds the middle of the evidence, relative to the
    document's characters; ``whole``: only documents that the model reads to their end; ``pairs``: a random sample of so
    many, 0 for all.
    """

    min_tokens: int = 1024
    evidence: tuple[float, float] = (0.4, 0.6)
    whole: bool = False
    pairs: int = 0


@dataclass(frozen=True)
class Pairs:
    """The chosen pairs: ``table`` holds a report's key columns, ``queries`` and ``documents`` the texts.

    ``spans`` are the evidence's characters in each document, None where they are of another text than the one that is
    searched; ``found`` counts the pairs that qualify, ``judged`` all that have evidence.
    """

    table: pa.Table
    queries: list[str]
    documents: list[str]
    spans: list[tuple[int, int] | None]
    found: int
    judged: int


def select(collections: Sequence[Collection], ranker: Any, selection: Selection, limit: int, seed: int) -> Pairs:
    """The pairs of several collections, in their order.

    Args:
        collections: those without evidence have no pair.
        ranker: its ``encoder`` counts tokens where the collection does not say, and for ``whole``.
        selection: which pairs.
        limit: tokens that the model reads; 0 for its encoder's own.
        seed: of the sample.

    Raises:
        UsageError: no pair qualifies, or tokens cannot be counted.
    """
    rows = [_qualify(part, ranker, selection, limit) for part in collections]
    found, judged = sum(map(len, rows)), sum(len(_first_of_each(part.evidence)) for part in collections)
    if not found:
        raise UsageError(_none(collections, selection, judged))
    if 0 < selection.pairs < found:
        kept = np.zeros(found, bool)
        kept[np.random.default_rng(seed).choice(found, selection.pairs, replace=False)] = True
        edges = np.cumsum([0, *map(len, rows)])
        rows = [part[kept[edges[i] : edges[i + 1]]] for i, part in enumerate(rows)]
    chosen = [_pairs(part, row) for part, row in zip(collections, rows, strict=True) if len(row)]
    return Pairs(
        pa.concat_tables([part.table for part in chosen], promote_options="default").unify_dictionaries(),
        [text for part in chosen for text in part.queries],
        [text for part in chosen for text in part.documents],
        [span for part in chosen for span in part.spans],
        found,
        judged,
    )


def _first_of_each(evidence: Evidence | None) -> Int64:
    """The first row of each (query, document) pair, in the order of the table: int64[pairs]."""
    if evidence is None:
        return np.empty(0, np.int64)
    pair = (evidence.query.astype(np.int64) << 32) + evidence.doc
    return np.sort(np.unique(pair, return_index=True)[1])


def _qualify(part: Collection, ranker: Any, selection: Selection, limit: int) -> Int64:
    """The rows of a collection's evidence that qualify."""
    evidence = part.evidence
    rows = _first_of_each(evidence)
    if evidence is None or not len(rows):
        return rows
    low, high = selection.evidence
    place = relative_position(evidence.start[rows], evidence.end[rows], np.maximum(evidence.doc_chars[rows], 1))
    rows = rows[(place >= low) & (place <= high)]
    tokens = evidence.doc_tokens[rows].copy()
    unknown = tokens < 0
    tokens[unknown] = _count(part, evidence.doc[rows[unknown]], ranker)
    rows = rows[tokens >= selection.min_tokens]
    if selection.whole and len(rows):
        rows = rows[_count(part, evidence.doc[rows], ranker) <= (limit or ranker.encoder.max_tokens)]
    return rows


def _count(part: Collection, docs: Int32, ranker: Any) -> Int32:
    """Tokens of documents by the model's own tokenizer."""
    if not len(docs):
        return np.empty(0, np.int32)
    if not hasattr(ranker, "encoder"):
        raise UsageError(
            f"{part.name} does not say how many tokens its documents have, and this ranker cannot count them"
        )
    distinct, place = np.unique(docs, return_inverse=True)
    counted: Int32 = ranker.encoder.lengths(part.docs.take(pa.array(distinct)).to_pylist(), "document")
    return counted[place]


def _pairs(part: Collection, rows: Int64) -> Pairs:
    evidence = part.evidence
    assert evidence is not None
    query, doc = pa.array(evidence.query[rows]), pa.array(evidence.doc[rows])
    columns: dict[str, Any] = {
        "dataset": constant(part.name, len(rows)),
        "query_id": part.query_ids.cast(pa.string()).take(query),
        **{
            name: labels.cast(pa.string()).take(query).dictionary_encode() for name, labels in part.query_labels.items()
        },
        "doc_id": part.doc_ids.cast(pa.string()).take(doc),
        "span_start": evidence.start[rows],
        "span_end": evidence.end[rows],
        "doc_chars": evidence.doc_chars[rows],
        "doc_tokens": evidence.doc_tokens[rows],
    }
    spans = zip(evidence.start[rows].tolist(), evidence.end[rows].tolist(), strict=True)
    elsewhere = bool(part.source.get("cross_lingual"))
    return Pairs(
        pa.table(columns),
        _texts(part.queries, query),
        _texts(part.docs, doc),
        [None if elsewhere else span for span in spans],
        len(rows),
        len(rows),
    )


def _texts(column: Strings, rows: pa.Array) -> list[str]:
    texts: list[str] = column.take(rows).to_pylist()
    return texts


def _none(collections: Sequence[Collection], selection: Selection, judged: int) -> str:
    names = ", ".join(part.name for part in collections[:3])
    if not judged:
        return f"{names} says of no query where its evidence stands; saliency needs a dataset that does, as posir-mini"
    longest = max(int(part.evidence.doc_tokens.max(initial=-1)) for part in collections if part.evidence is not None)
    low, high = selection.evidence
    length = f"; the longest of these documents has {longest:,}" if longest >= 0 else ""
    whole = " that the model reads whole" if selection.whole else ""
    return (
        f"none of {judged:,} pairs in {names} has a document{whole} of {selection.min_tokens:,} tokens or more and its "
        f"evidence at {low:g} to {high:g} of it{length}; lower --min-tokens or widen --evidence"
    )
