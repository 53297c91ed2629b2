"""Tables of documents, queries, judgements and spans to one Collection; the one place where faults are found.

Each kind of fault (duplicate_ids, empty_texts, unknown_ids, bad_spans) is refused with the place of its first case, or
dropped and counted in ``Collection.notes``, as recipe and caller say. All checks are vectorised. Where unknown ids are
to be kept, a judged document that is not there gets an index behind the last document: relevant, never found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from posbench.errors import DataError
from posbench.loaders.context import Context, Treatment
from posbench.loaders.tables import Rows
from posbench.recipe import Fault
from posbench.types import Collection, Evidence, Int32, Int64, Qrels, Strings, index_of, strings

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Texts:
    """Documents or queries as read: aligned columns, the place of each row, and the columns' names in the file."""

    ids: Strings
    texts: Strings
    rows: Rows
    labels: Mapping[str, Strings] = field(default_factory=dict)
    id_column: str = "_id"
    text_column: str = "text"

    def filter(self, keep: Mask) -> "Texts":
        """The rows where ``keep`` bool[rows] is true."""
        if keep.all():
            return self
        mask = pa.array(keep)
        labels = {name: strings(column.filter(mask)) for name, column in self.labels.items()}
        rows = self.rows.take(np.flatnonzero(keep))
        ids, texts = strings(self.ids.filter(mask)), strings(self.texts.filter(mask))
        return replace(self, ids=ids, texts=texts, rows=rows, labels=labels)


@dataclass(frozen=True)
class Judgements:
    """Judgements as read, one row each; ``grades`` int32[rows].

    With ``more_queries`` the file judges further queries by design: their rows are left out and counted.
    """

    queries: Strings
    docs: Strings
    grades: Int32
    rows: Rows
    query_column: str = "query-id"
    doc_column: str = "corpus-id"
    more_queries: bool = False


@dataclass(frozen=True)
class Spans:
    """Evidence as read; ``start`` and ``end`` are character offsets, end exclusive, int64[rows].

    ``doc_chars`` and ``doc_tokens`` are the document's lengths (-1: not known; characters are then counted). With
    ``foreign`` the offsets belong to another document than the one searched, so its text does not bound them.
    ``quotes`` is what the spans must read, where the file says so. ``ahead`` int64[rows] is how many characters of the
    document stand before the text from which the file counts (a title).
    """

    queries: Strings
    docs: Strings
    start: Int64
    end: Int64
    rows: Rows
    doc_chars: Int64
    doc_tokens: Int64
    query_column: str = "_id"
    doc_column: str = "corpus-id"
    column: str = "pos_char_span"
    foreign: bool = False
    quotes: Strings | None = None
    ahead: Int64 | None = None


class Faults:
    """Refuses a fault or counts it, as the recipe says."""

    def __init__(self, treatments: Mapping[Fault, Treatment], notes: Mapping[str, int]) -> None:
        self.treatments = treatments
        self.notes = dict(notes)

    def good(self, fault: Fault, bad: Mask, message: Callable[[int], str]) -> Mask:
        """The rows to keep: bool[rows].

        Args:
            fault: the kind.
            bad: bool[rows].
            message: the place of a bad row, what was found there and what was expected.

        Raises:
            DataError: there is a bad row, and this kind of fault is to be refused.
        """
        count = int(bad.sum())
        if not count:
            return ~bad
        treatment = self.treatments.get(fault, "refuse")
        if treatment == "refuse" or (treatment == "keep" and fault == "unknown_ids"):
            more = f" (and {count - 1} more like it)" if count > 1 else ""
            raise DataError(
                f"{message(int(np.flatnonzero(bad)[0]))}{more}; mend the file, or drop such rows with --drop-faults "
                f'(in a recipe: faults.{fault} = "drop")'
            )
        self.note(fault if treatment == "drop" else f"{fault}_kept", count)
        return ~bad if treatment == "drop" else np.ones(len(bad), bool)

    def keeps(self, fault: Fault) -> bool:
        """Whether such rows are to stay."""
        return self.treatments.get(fault) == "keep"

    def note(self, reason: str, count: int) -> None:
        """Counts what was left out or looks odd."""
        if count:
            self.notes[reason] = self.notes.get(reason, 0) + int(count)


def assemble(
    context: Context,
    docs: Texts,
    queries: Texts,
    judgements: Judgements,
    spans: Spans | None = None,
    only_judged: bool = False,
    notes: Mapping[str, int] | None = None,
) -> Collection:
    """One Collection, with its faults refused or dropped.

    Args:
        context: the name, the treatment of faults and the provenance.
        docs: the documents, in the order of the collection.
        queries: the queries, in the order of the collection.
        judgements: which documents answer which query.
        spans: where the answers stand, if that is known.
        only_judged: leave out queries without judgements, which belong to another split.
        notes: what the reader left out already, by reason.

    Raises:
        DataError: a fault that is to be refused, or nothing is left to evaluate.
    """
    faults = Faults(context.faults, notes or {})
    named_docs, named_queries = _texts(docs, faults), _texts(queries, faults)
    query, doc, grade = _judged(judgements, named_queries, named_docs, faults)
    asked = named_queries.kept
    judged = np.bincount(query, minlength=len(asked.ids)) > 0
    if only_judged and not judged.all():
        faults.note("queries_without_judgements_left_out", int((~judged).sum()))
        asked = asked.filter(judged)
        query = (np.cumsum(judged) - 1)[query]
    else:
        faults.note("queries_without_judgements", int((~judged).sum()))
    found = replace(named_queries, kept=asked)
    return Collection(
        name=context.name,
        doc_ids=named_docs.kept.ids,
        docs=named_docs.kept.texts,
        query_ids=asked.ids,
        queries=asked.texts,
        qrels=Qrels.from_pairs(query, doc, grade, len(asked.ids)),
        evidence=None if spans is None else _evidence(spans, found, named_docs, faults),
        query_labels=asked.labels,
        doc_labels=named_docs.kept.labels,
        notes=faults.notes,
        source=context.source,
    )


@dataclass(frozen=True)
class _Named:
    """The texts that stay, and the ids of those that went."""

    kept: Texts
    gone: Strings


def _texts(texts: Texts, faults: Faults) -> _Named:
    def repeated(row: int) -> str:
        first = texts.rows.at(int(index_of(texts.ids, texts.ids.slice(row, 1))[0]))
        return (
            f"{texts.rows.at(row)}, column {texts.id_column}: id {texts.ids[row].as_py()!r} stands in {first} already"
        )

    def empty(row: int) -> str:
        name = texts.ids[row].as_py()
        return (
            f"{texts.rows.at(row)}, column {texts.text_column}: {texts.texts[row].as_py()!r} (id {name!r}) is no text"
        )

    if not len(texts.ids):
        raise DataError(f"{', '.join(map(str, texts.rows.files))}: no rows; expected at least one text")
    unique = faults.good("duplicate_ids", _repeats(texts.ids), repeated)
    blank = pc.or_(pc.equal(pc.binary_length(texts.texts), 0), pc.utf8_is_space(texts.texts))
    full = faults.good("empty_texts", blank.to_numpy(zero_copy_only=False) & unique, empty)
    return _Named(texts.filter(unique & full), strings(texts.ids.filter(pa.array(~full))))


def _repeats(ids: Strings) -> Mask:
    """Which ids stood before: bool[rows]."""
    again = np.zeros(len(ids), bool)
    if len(pc.unique(ids)) == len(ids):
        return again
    codes = ids.dictionary_encode().indices.to_numpy()
    again[:] = True
    again[np.unique(codes, return_index=True)[1]] = False
    return again


def _known(ids: Strings, texts: _Named, faults: Faults, what: str, unknown: Callable[[int], str]) -> tuple[Int32, Mask]:
    """The index of each id among the texts that stay, and which rows stay: the rest name what is not there."""
    index = index_of(texts.kept.ids, ids)
    missing = index < 0
    if not missing.any():
        return index, ~missing
    dropped = missing & (index_of(texts.gone, ids) >= 0)
    faults.note(f"{what}_of_dropped_texts", int(dropped.sum()))
    good = faults.good("unknown_ids", missing & ~dropped, unknown)
    return index, good & ~missing


def _with_absent(ids: Strings, docs: _Named, faults: Faults) -> tuple[Int32, Mask]:
    """As ``_known``, but ids that are not there are numbered on from the last document, as trec_eval counts them."""
    index = index_of(docs.kept.ids, ids)
    dropped = index_of(docs.gone, ids) >= 0
    faults.note("judgements_of_dropped_texts", int((dropped & (index < 0)).sum()))
    absent = (index < 0) & ~dropped
    faults.note("judgements_of_absent_documents", int(absent.sum()))
    names = ids.filter(pa.array(absent)).dictionary_encode()
    index = index.copy()
    index[absent] = len(docs.kept.ids) + names.indices.to_numpy()
    return index, ~(dropped & (index < 0))


def _judged(rows: Judgements, queries: _Named, docs: _Named, faults: Faults) -> tuple[Int64, Int64, Int32]:
    """Aligned query indices, document indices and grades of the judgements that stay."""

    def unknown(column: str, ids: Strings, what: str) -> Callable[[int], str]:
        return lambda row: f"{rows.rows.at(row)}, column {column}: no {what} has the id {ids[row].as_py()!r}"

    def again(row: int) -> str:
        pair = f"query {rows.queries[row].as_py()!r} and document {rows.docs[row].as_py()!r}"
        return f"{rows.rows.at(row)}, column {rows.doc_column}: {pair} are judged already"

    if rows.more_queries:
        query = index_of(queries.kept.ids, rows.queries)
        keep = query >= 0
        faults.note("judgements_of_other_queries", int((~keep).sum()))
    else:
        message = unknown(rows.query_column, rows.queries, "query")
        query, keep = _known(rows.queries, queries, faults, "judgements", message)
    at = np.flatnonzero(keep)
    part = strings(rows.docs.take(pa.array(at)))
    lost = unknown(rows.doc_column, rows.docs, "document")
    if faults.keeps("unknown_ids"):
        doc, stay = _with_absent(part, docs, faults)
    else:
        doc, stay = _known(part, docs, faults, "judgements", lambda row: lost(int(at[row])))
    at, doc = at[stay], doc[stay].astype(np.int64)
    pair = (query[at].astype(np.int64) << 32) + doc
    new = faults.good("duplicate_ids", _seen(pair), lambda row: again(int(at[row])))
    at, doc = at[new], doc[new]
    if not len(at):
        files = ", ".join(map(str, rows.rows.files))
        raise DataError(f"{files}: none of the {len(rows.queries)} judgements names a query and a document of this set")
    return query[at].astype(np.int64), np.asarray(doc, np.int64), rows.grades[at]


def _seen(keys: Int64) -> Mask:
    """Which keys stood before: bool[rows]."""
    again = np.ones(len(keys), bool)
    again[np.unique(keys, return_index=True)[1]] = False
    return again


def _evidence(spans: Spans, queries: _Named, docs: _Named, faults: Faults) -> Evidence:
    """The spans that stay, by query and document."""

    def unknown(column: str, ids: Strings, what: str) -> Callable[[int], str]:
        return lambda row: f"{spans.rows.at(row)}, column {column}: no {what} has the id {ids[row].as_py()!r}"

    def again(row: int) -> str:
        pair = f"query {spans.queries[row].as_py()!r} and document {spans.docs[row].as_py()!r}"
        return f"{spans.rows.at(row)}, column {spans.column}: {pair} have a span already"

    query, keep = _known(
        spans.queries, queries, faults, "evidence", unknown(spans.query_column, spans.queries, "query")
    )
    doc, stay = _known(spans.docs, docs, faults, "evidence", unknown(spans.doc_column, spans.docs, "document"))
    at = np.flatnonzero(keep & stay)
    repeated = _seen((query[at].astype(np.int64) << 32) + doc[at])
    at = at[faults.good("duplicate_ids", repeated, lambda row: again(int(at[row])))]
    chars, actual = _lengths(spans, doc, at, docs, faults)
    at, chars = _inside(spans, doc, at, chars, actual, docs, faults)
    order = np.lexsort((doc[at], query[at]))
    at, chars = at[order], chars[order]
    start, end = spans.start[at] + _ahead(spans, at), spans.end[at] + _ahead(spans, at)
    columns: list[Any] = [query[at], doc[at], start, end, chars, spans.doc_tokens[at]]
    return Evidence(*(np.ascontiguousarray(column, np.int32) for column in columns))


def _ahead(spans: Spans, at: Int64) -> Int64:
    return np.zeros(len(at), np.int64) if spans.ahead is None else spans.ahead[at]


def _lengths(spans: Spans, doc: Int32, at: Int64, docs: _Named, faults: Faults) -> tuple[Int64, Int64]:
    """The length in characters that each span's document is said to have, and the one that bounds the span."""
    said = spans.doc_chars[at]
    if spans.foreign:
        return said, said
    used, inverse = np.unique(doc[at], return_inverse=True)
    counted = pc.utf8_length(docs.kept.texts.take(pa.array(used))).to_numpy(zero_copy_only=False)[inverse]
    faults.note("lengths_that_differ_from_the_text", int(((said >= 0) & (said != counted)).sum()))
    return np.where(said < 0, counted, said), np.where(said < 0, counted, np.minimum(said, counted))


def _inside(
    spans: Spans, doc: Int32, at: Int64, chars: Int64, limit: Int64, docs: _Named, faults: Faults
) -> tuple[Int64, Int64]:
    """The spans that lie in their document and are not empty, and their documents' lengths."""

    def outside(row: int) -> str:
        span = f"[{spans.start[at[row]]}, {spans.end[at[row]]}]"
        name = spans.queries[int(at[row])].as_py()
        wish = f"0 <= start < end <= {limit[row]}, the text's characters"
        return f"{spans.rows.at(int(at[row]))}, column {spans.column}: span {span} of query {name!r}; expected {wish}"

    def misquoted(row: int) -> str:
        quote = spans.quotes[int(at[row])].as_py() if spans.quotes is not None else ""
        found = text_of(row)
        return f"{spans.rows.at(int(at[row]))}, column {spans.column}: the span reads {found!r}; expected {quote!r}"

    def text_of(row: int) -> str:
        text: str = docs.kept.texts[int(doc[at[row]])].as_py()
        return text[_ahead(spans, at)[row] :][spans.start[at[row]] : spans.end[at[row]]]

    start, end, limit = spans.start[at], spans.end[at], limit - _ahead(spans, at)
    good = faults.good("bad_spans", (start < 0) | (end <= start) | (end > limit), outside)
    at, chars, limit = at[good], chars[good], limit[good]
    if spans.quotes is not None:
        wanted = spans.quotes.take(pa.array(at)).to_pylist()
        wrong = np.array([text_of(row) != quote for row, quote in enumerate(wanted)], bool)
        good = faults.good("bad_spans", wrong, misquoted)
        at, chars = at[good], chars[good]
    return at, chars
