"""Which queries are composed, and the passages that answer them.

A passage is what moves: the whole sentences that hold a query's span, or, in a collection without spans, one whole
relevant document of the highest grade. Sentences that overlap are one passage, so that no document but the passage's
own answers its queries.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from posbench.compose.segments import around, segments
from posbench.errors import UsageError
from posbench.types import Collection, Int64

Mask = NDArray[np.bool_]
Fits = Callable[[Sequence[str]], Mask]
MOST_RELEVANT = 0.5
"""The share of a collection's documents that may be relevant to the chosen queries: the rest serves as filler."""


@dataclass(frozen=True)
class Passage:
    """A stretch of document ``doc``, ``start``..``end`` in characters, that answers some queries.

    ``spans`` are the queries' own spans in the same document, one a query; ``text`` has no white space at its ends.
    """

    doc: int
    start: int
    end: int
    text: str
    queries: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def answers(self) -> list[str]:
        """The text of each query's span."""
        return [self.text[start - self.start : end - self.start] for start, end in self.spans]


@dataclass(frozen=True)
class Chosen:
    """The passages of the chosen queries.

    ``relevant`` bool[D] are the documents that answer any of them; ``dropped`` counts the queries left out by reason;
    ``spanned`` says whether the collection knows where in its documents the evidence stands.
    """

    passages: Sequence[Passage]
    relevant: Mask
    dropped: Mapping[str, int]
    spanned: bool


@dataclass(frozen=True)
class _Place:
    """The document and span of each query that has evidence; int64 arrays, by query."""

    query: Int64
    doc: Int64
    start: Int64
    end: Int64


def choose(
    collection: Collection,
    *,
    most: int,
    seed: int,
    keep_filler: bool,
    fits: Fits | None = None,
) -> Chosen:
    """Chooses queries by the seed and finds their passages.

    Args:
        collection: where queries and evidence come from.
        most: how many queries at most; 0 for all.
        seed: of the choice.
        keep_filler: leave out queries that would make more than half of the documents relevant.
        fits: which whole documents may be evidence, where there are no spans; None for all.

    Raises:
        UsageError: the spans belong to documents in another language, or no query has evidence.
    """
    if collection.source.get("cross_lingual"):
        raise UsageError(
            f"{collection.name}: its spans belong to documents in the queries' language, not to those that are "
            "searched; compose a collection of one language"
        )
    rng = np.random.default_rng(seed)
    spanned = collection.evidence is not None
    places, large = (_spans(collection), 0) if spanned else _documents(collection, rng, fits)
    asked = int((np.diff(collection.qrels.indptr) > 0).sum())
    if not len(places.query):
        raise UsageError(
            f"{collection.name}: none of its {asked:,} queries has one known evidence to compose with "
            f"({large:,} have only documents that are too long); choose longer --lengths or another collection"
        )
    dropped = {
        "queries_without_one_known_evidence": asked - large - len(places.query),
        "queries_with_evidence_too_long": large,
    }
    order = rng.permutation(len(places.query))
    taken, relevant = _affordable(collection, places, order, most or len(order), keep_filler)
    dropped["queries_left_out_to_keep_filler"] = min(most or len(order), len(order)) - len(taken)
    passages = _passages(collection, places, np.sort(np.asarray(taken, np.int64)))
    return Chosen(passages, relevant, {reason: n for reason, n in dropped.items() if n > 0}, spanned)


def _spans(collection: Collection) -> _Place:
    """Queries with exactly one span, in a document that the qrels call relevant."""
    evidence, qrels = collection.evidence, collection.qrels
    assert evidence is not None
    positive = qrels.grades > 0
    pairs = (qrels.queries[positive].astype(np.int64) << 32) + qrels.docs[positive]
    mine = (evidence.query.astype(np.int64) << 32) + evidence.doc
    single = np.bincount(evidence.query, minlength=len(collection.query_ids))[evidence.query] == 1
    rows = np.flatnonzero(single & np.isin(mine, pairs))
    columns = (evidence.query, evidence.doc, evidence.start, evidence.end)
    return _Place(*(column[rows].astype(np.int64) for column in columns))


def _documents(collection: Collection, rng: np.random.Generator, fits: Fits | None) -> tuple[_Place, int]:
    """One document a query, of the highest grade that fits, chosen by the seed among equals; the span is all of it.

    Also how many queries have none that fits.
    """
    qrels = collection.qrels
    rows = np.flatnonzero((qrels.grades > 0) & (qrels.docs < len(collection.docs)))
    used, inverse = np.unique(qrels.docs[rows], return_inverse=True)
    texts = collection.docs.take(pa.array(used)).to_pylist()
    large = len(np.unique(qrels.queries[rows]))
    if fits is not None and len(rows):
        short = fits(texts)[inverse]
        rows, inverse = rows[short], inverse[short]
    order = np.lexsort((rng.random(len(rows)), -qrels.grades[rows], qrels.queries[rows]))
    query, first = np.unique(qrels.queries[rows[order]], return_index=True)
    mine = inverse[order[first]]
    start = np.array([len(texts[n]) - len(texts[n].lstrip()) for n in mine], np.int64)
    end = np.array([len(texts[n].rstrip()) for n in mine], np.int64)
    return _Place(query.astype(np.int64), used[mine].astype(np.int64), start, end), large - len(query)


def _affordable(
    collection: Collection, places: _Place, order: Int64, most: int, keep_filler: bool
) -> tuple[list[int], Mask]:
    """The first ``most`` queries in this order that leave enough documents without evidence, and those with."""
    qrels = collection.qrels
    relevant = np.zeros(len(collection.docs), bool)
    room = int(MOST_RELEVANT * len(relevant)) if keep_filler else len(relevant)
    taken: list[int] = []
    for row in order.tolist():
        if len(taken) == most:
            break
        mine = slice(*qrels.indptr[places.query[row] : places.query[row] + 2])
        docs = qrels.docs[mine][qrels.grades[mine] > 0]
        docs = docs[docs < len(relevant)]
        new = int((~relevant[docs]).sum())
        if new <= room:
            room -= new
            relevant[docs] = True
            taken.append(row)
    return taken, relevant


def _passages(collection: Collection, places: _Place, rows: Int64) -> list[Passage]:
    """The passages of some queries, by document and start."""
    by_doc: dict[int, list[int]] = {}
    for row in rows.tolist():
        by_doc.setdefault(int(places.doc[row]), []).append(row)
    found = []
    for doc in sorted(by_doc):
        text = collection.docs[doc].as_py()
        mine = sorted(by_doc[doc], key=lambda row: (places.start[row], places.end[row], places.query[row]))
        parts = segments(text) if collection.evidence is not None else [(0, len(text))]
        stretches = [around(parts, int(places.start[row]), int(places.end[row])) for row in mine]
        found += _joined(doc, text, places, mine, stretches)
    return found


def _joined(
    doc: int, text: str, places: _Place, rows: Sequence[int], stretches: Sequence[tuple[int, int]]
) -> list[Passage]:
    """One passage for each group of stretches that overlap; rows and stretches are in ascending order."""
    groups: list[tuple[int, int, list[int]]] = []
    for row, (start, end) in zip(rows, stretches, strict=True):
        if groups and start < groups[-1][1]:
            groups[-1] = (groups[-1][0], max(end, groups[-1][1]), [*groups[-1][2], row])
        else:
            groups.append((start, end, [row]))
    found = []
    for start, end, members in groups:
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end = start + len(piece.strip())
        spans = tuple((max(start, int(places.start[row])), min(end, int(places.end[row]))) for row in members)
        found.append(Passage(doc, start, end, piece.strip(), tuple(int(places.query[row]) for row in members), spans))
    return found
