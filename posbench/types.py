"""The types that cross module walls: Collection (what is searched), Run (what was found), Report (what it is worth).

All three are frozen and hold arrays: texts and ids as Arrow columns, everything else as numpy arrays that index them.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from posbench.errors import DataError

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Strings: TypeAlias = pa.LargeStringArray


def strings(values: Any) -> Strings:
    """Any sequence or Arrow column of strings as one contiguous Arrow array."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        cast = values.cast(pa.large_string())
        return pa.concat_arrays([cast]) if cast.offset else cast
    return pa.array(values, pa.large_string())


def byte_order(ids: Strings) -> Int32:
    """The place of each id in ascending UTF-8 byte order: int32[D], 0 for the smallest."""
    order = pc.sort_indices(ids).to_numpy()
    rank = np.empty(len(ids), np.int32)
    rank[order] = np.arange(len(ids), dtype=np.int32)
    return rank


def index_of(ids: Strings, wanted: Strings) -> Int32:
    """The index of each wanted id in ``ids``: int32[len(wanted)], -1 where there is none."""
    found = pc.fill_null(pc.index_in(wanted, value_set=ids), -1)
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)


def pairs(queries: ArrayLike, docs: ArrayLike) -> Int32:
    """Aligned indices of queries and documents as rows of one array, in ascending order: int32[N, 2]."""
    both = np.stack([np.asarray(queries, np.int32), np.asarray(docs, np.int32)], axis=1)
    return both[np.lexsort((both[:, 1], both[:, 0]))]


@dataclass(frozen=True)
class Qrels:
    """Judgements as a sparse matrix, row by row.

    ``indptr`` int64[Q + 1]; the judged documents of query q are ``docs[indptr[q]:indptr[q + 1]]`` (int32 indices,
    ascending) with ``grades`` (int32; above 0 is relevant, 0 and below is judged not relevant). An index at or above
    the number of documents is a judged document that the collection lacks: no run finds it.
    """

    indptr: Int64
    docs: Int32
    grades: Int32

    @classmethod
    def from_pairs(cls, queries: ArrayLike, docs: ArrayLike, grades: ArrayLike, n_queries: int) -> "Qrels":
        """Builds from three aligned arrays of query index, document index and grade, in any order."""
        q = np.asarray(queries, np.int64)
        d = np.asarray(docs, np.int32)
        order = np.lexsort((d, q))
        indptr = np.zeros(n_queries + 1, np.int64)
        np.cumsum(np.bincount(q, minlength=n_queries), out=indptr[1:])
        return cls(indptr, d[order], np.asarray(grades, np.int32)[order])

    @cached_property
    def queries(self) -> Int32:
        """The query index of each judgement: int32[nnz]."""
        return np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))

    @cached_property
    def relevant(self) -> Int64:
        """Relevant documents a query has: int64[Q]."""
        return np.bincount(self.queries[self.grades > 0], minlength=len(self.indptr) - 1)

    @cached_property
    def ideal(self) -> tuple[Int64, Int64, Int64]:
        """(query, rank from 0, grade) of every relevant document in the order that a perfect ranking has."""
        keep = self.grades > 0
        query, grade = self.queries[keep].astype(np.int64), self.grades[keep].astype(np.int64)
        key = np.sort((query << 32) - grade)
        query = (key + 0xFFFFFFFF) >> 32
        first = np.cumsum(self.relevant) - self.relevant
        return query, np.arange(len(query)) - first[query], (query << 32) - key


@dataclass(frozen=True)
class Evidence:
    """Where in a document the answer to a query stands; aligned int32 arrays, one entry a (query, document) pair.

    ``start`` and ``end`` are character offsets, end exclusive; ``doc_chars`` and ``doc_tokens`` are the length of the
    document that the offsets belong to (tokens -1 where unknown). In a cross-lingual collection that is the document in
    the query's language, not the one that is searched.
    """

    query: Int32
    doc: Int32
    start: Int32
    end: Int32
    doc_chars: Int32
    doc_tokens: Int32

    COLUMNS = ("query", "doc", "start", "end", "doc_chars", "doc_tokens")

    def columns(self) -> list[Int32]:
        """The six arrays in the order of ``COLUMNS``."""
        return [getattr(self, name) for name in self.COLUMNS]


@dataclass(frozen=True)
class Collection:
    """What is searched: documents, queries, judgements and, where it is known, the place of the evidence.

    ``query_labels`` and ``doc_labels`` hold further columns by name (language, domain, group, ...), one value a query
    or document. ``notes`` counts what the loader dropped or changed, by reason. ``excluded`` int32[N, 2] holds the
    (query, document) pairs that no run of this collection may hold, in ascending order.
    """

    name: str
    doc_ids: Strings
    docs: Strings
    query_ids: Strings
    queries: Strings
    qrels: Qrels
    evidence: Evidence | None = None
    query_labels: Mapping[str, Strings] = field(default_factory=dict)
    doc_labels: Mapping[str, Strings] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    excluded: Int32 | None = None

    @cached_property
    def doc_order(self) -> Int32:
        """The place of each document's id in UTF-8 byte order: int32[D]; the tie rule of every Run."""
        return byte_order(self.doc_ids)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all content (not of the name): 32 hexadecimal digits."""
        digest = blake2b(digest_size=16)
        for column in (self.doc_ids, self.docs, self.query_ids, self.queries):
            digest.update(texts_hash(column).encode())
        arrays: list[NDArray[Any]] = [self.qrels.indptr, self.qrels.docs, self.qrels.grades]
        arrays += self.evidence.columns() if self.evidence is not None else []
        arrays += [self.excluded] if self.excluded is not None else []
        for array in arrays:
            digest.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        for labels in (self.query_labels, self.doc_labels):
            for key in sorted(labels):
                digest.update(key.encode() + texts_hash(labels[key]).encode())
        return digest.hexdigest()


def texts_hash(column: Strings) -> str:
    """A hash of a column of texts, order included: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    whole = strings(column)
    lengths = pc.binary_length(whole).fill_null(-1).to_numpy(zero_copy_only=False)
    digest.update(np.ascontiguousarray(lengths, np.int64).tobytes())
    data = whole.buffers()[2]
    if data is not None:
        first, last = whole.offset, whole.offset + len(whole)
        offsets = np.frombuffer(whole.buffers()[1], np.int64)
        digest.update(memoryview(data)[offsets[first] : offsets[last]])
    return digest.hexdigest()


@dataclass(frozen=True)
class Run:
    """What a ranker found: ``docs`` int32[Q, K] (indices into the collection, -1 is padding), ``scores`` float32[Q, K].

    Always in canonical order: score descending, then document id descending by its UTF-8 bytes, as trec_eval does;
    padding last. Build one with ``Run.ranked``; the plain constructor trusts its caller.
    """

    docs: Int32
    scores: Float32

    @classmethod
    def ranked(cls, docs: ArrayLike, scores: ArrayLike, doc_order: Int32) -> "Run":
        """Puts rows in canonical order.

        Args:
            docs: integer[Q, K] document indices, -1 for padding, each document at most once a row.
            scores: real[Q, K]; cast to float32 before ranking, so that every tool that stores float32 agrees.
            doc_order: int32[D], ``Collection.doc_order``.

        Raises:
            DataError: a score is NaN or infinite, a document stands twice in a row, or an index is out of range.
        """
        doc, score = np.asarray(docs), np.asarray(scores)
        if doc.ndim != 2 or doc.shape != score.shape:
            raise DataError(f"a run needs docs and scores of one shape [Q, K]; found {doc.shape} and {score.shape}")
        doc = np.ascontiguousarray(doc, np.int32)
        with np.errstate(over="ignore"):
            score = np.ascontiguousarray(score, np.float32)
        return cls(*_canonical(doc, score, doc_order))

    @property
    def depth(self) -> int:
        """K, the number of columns."""
        return int(self.docs.shape[1])

    def top(self, k: int) -> "Run":
        """The first k columns."""
        return self if k >= self.depth else Run(self.docs[:, :k], self.scores[:, :k])


_BLOCK = 1 << 17  # elements a block, so that temporary arrays stay in the cache
_PARALLEL = 1 << 18  # elements above which threads pay


def _canonical(doc: Int32, score: Float32, doc_order: Int32) -> tuple[Int32, Float32]:
    """Sorts each row, in blocks of rows; rows that are in order already are only read."""
    if not doc.size:
        return doc, score
    step = max(1, _BLOCK // doc.shape[1])
    starts = range(0, len(doc), step)

    def blocks(part: range) -> list[tuple[Int64, Int32, Float32]]:
        found = [(at, _sorted_rows(doc[at : at + step], score[at : at + step], at, doc_order)) for at in part]
        return [(at + block[0], *block[1:]) for at, block in found if block is not None]

    workers = min(4, os.cpu_count() or 1) if doc.size > _PARALLEL else 1
    if workers == 1:
        changed = blocks(starts)
    else:
        share = -(-len(starts) // workers)
        with ThreadPoolExecutor(workers) as pool:
            parts = pool.map(blocks, (starts[at : at + share] for at in range(0, len(starts), share)))
            changed = [block for part in parts for block in part]
    if changed:
        doc, score = doc.copy(), score.copy()
    for rows, d, s in changed:
        doc[rows], score[rows] = d, s
    return doc, score


def _sorted_rows(d: Int32, s: Float32, first_row: int, doc_order: Int32) -> tuple[Int64, Int32, Float32] | None:
    """The rows of a block that are out of order, if any, and what stands there in canonical order."""
    low, high = int(d.min()), int(d.max())
    if high >= len(doc_order) or low < -1:
        wrong = high if high >= len(doc_order) else low
        raise DataError(f"a run names document {wrong}; the collection has 0..{len(doc_order) - 1}")
    falls = _neighbours(np.greater, s, True)
    falling = low >= 0 and bool(falls.all())
    if not (falling and np.isfinite(s[:, 0]).all() and np.isfinite(s[:, -1]).all()):  # what falls between is finite
        _refuse_infinite(d, s, first_row)
    _refuse_duplicates(d, first_row)
    if falling:
        return None
    rows = np.flatnonzero(~falls.all(axis=1) | (d.min(axis=1) < 0))
    rows = rows[_out_of_order(d[rows], s[rows], doc_order)]
    if not len(rows):
        return None
    d, s = d[rows], s[rows]
    real = d >= 0
    order = _row_order(d, s, real, doc_order)
    ranked = np.where(np.take_along_axis(real, order, 1), np.take_along_axis(s, order, 1), 0)
    return rows, np.take_along_axis(d, order, 1), ranked


def _neighbours(compare: np.ufunc, rows: NDArray[Any], last: bool) -> NDArray[np.bool_]:
    """``compare`` of each element with the next of its row, ``last`` in the last column: bool of the same shape."""
    flat = rows.ravel()
    result = np.empty(rows.shape, np.bool_)
    compare(flat[:-1], flat[1:], out=result.ravel()[:-1])  # in one dimension twice as quick as in two
    result[:, -1] = last
    return result


def _refuse_infinite(d: Int32, s: Float32, first_row: int) -> None:
    wrong = ~np.isfinite(s) & (d >= 0)
    if wrong.any():
        row, col = np.argwhere(wrong)[0]
        raise DataError(
            f"score {s[row, col]} of document {d[row, col]} for query {first_row + row} is not a finite number; "
            "a ranker must give finite scores"
        )


def _row_order(d: Int32, s: Float32, real: NDArray[np.bool_], doc_order: Int32) -> Int64:
    """The canonical order of each row: one sort of 64-bit keys, score above, place of the id below."""
    bits = (s + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0, which equals it
    ascending = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    place = doc_order[d].astype(np.int64) if len(doc_order) else np.zeros(d.shape, np.int64)
    key = -((ascending << 32) + place)
    key[~real] = np.iinfo(np.int64).max
    return np.argsort(key, axis=1)


def _out_of_order(d: Int32, s: Float32, doc_order: Int32) -> Int64:
    """The rows that are not in canonical order, rows with padding among them."""
    wrong = np.asarray((d < 0).any(axis=1) | (s[:, :-1] < s[:, 1:]).any(axis=1))
    row, col = np.nonzero((s[:, :-1] == s[:, 1:]) & ~wrong[:, None])
    wrong[row[doc_order[d[row, col]] < doc_order[d[row, col + 1]]]] = True
    return np.flatnonzero(wrong)


def _refuse_duplicates(d: Int32, first_row: int) -> None:
    ascending = np.sort(d, axis=1)
    same = _neighbours(np.equal, ascending, False)
    if not same.any():
        return
    twice = same & (ascending >= 0)
    if twice.any():
        row, col = np.argwhere(twice)[0]
        raise DataError(
            f"document {ascending[row, col]} stands more than once in the ranking of query {first_row + row}; "
            "expected each document at most once"
        )


@dataclass(frozen=True)
class Report:
    """What a run is worth: one row a (dataset, query), one float64 column a measure, and a header to repeat it by.

    ``queries`` has the columns dataset, ranker, query_id, the query's labels, where there is evidence doc_id,
    span_start, span_end, doc_chars and doc_tokens, and one column for each name in ``measures``. Every mean, bin and
    interval is derived from these rows.
    """

    header: Mapping[str, Any]
    measures: tuple[str, ...]
    queries: pa.Table

    def values(self, measure: str) -> Float64:
        """The per-query values of one measure: float64[Q]."""
        if measure not in self.measures:
            raise DataError(f"the report has no measure {measure!r}; it has {', '.join(self.measures)}")
        column = self.queries[measure].to_numpy()
        return np.asarray(column, np.float64)

    def long(self) -> pa.Table:
        """The tidy form, one row a (dataset, ranker, query_id, measure, value)."""
        keys = self.queries.select(["dataset", "ranker", "query_id"])
        parts = [
            keys.append_column("measure", pa.array([name] * len(keys), pa.string())).append_column(
                "value", self.queries[name]
            )
            for name in self.measures
        ]
        empty = pa.schema([*keys.schema, ("measure", pa.string()), ("value", pa.float64())]).empty_table()
        return pa.concat_tables(parts) if parts else empty

    @staticmethod
    def concat(reports: Sequence["Report"]) -> "Report":
        """Reports of several datasets or rankers, with the same measures, as one; the first one's header is kept."""
        first = reports[0]
        for other in reports[1:]:
            if other.measures != first.measures:
                raise DataError(f"reports have different measures: {first.measures} and {other.measures}")
        tables = [report.queries for report in reports]
        return replace(first, queries=pa.concat_tables(tables, promote_options="default"))


class Ranker(Protocol):
    """The one extension point: anything with these two methods ranks."""

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The ranking of every query; a retriever ignores the candidates, a reranker needs them."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Everything that changes the numbers: weights, versions, prompts, lengths. JSON-serialisable."""
        ...


Progress = Callable[[str, int], Callable[[int], None]]
"""``progress(title, total)`` begins a bar and returns ``advance(n)``."""


def no_progress(title: str, total: int) -> Callable[[int], None]:
    """A Progress that shows nothing."""
    return lambda n: None


def distinct(values: Iterable[str]) -> list[str]:
    """The distinct values in the order of their first appearance."""
    return list(dict.fromkeys(values))
