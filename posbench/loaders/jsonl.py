"""A user's own collection: documents.jsonl, queries.jsonl and judgements, with spans where they are known.

documents.jsonl: {"id", "text", "title"?, "domain"?, "language"?, "group"?}; queries.jsonl: {"id", "text",
"positives"?: [document ids], "domain"?, "language"?, "group"?, "type"?, "evidence"?: {"doc", "start", "end"}}.
Evidence may also stand in evidence.jsonl: {"query", "doc", "start", "end"}. Offsets count from the start of "text",
also where there is a title. Judgements: qrels.txt (four TREC columns) or qrels.tsv (query, document and grade by tab)
where there is one, else the positives, else the documents of the evidence. Each file may be gzipped, with ".gz"
appended.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from posbench.errors import DataError
from posbench.loaders import beir, hub, trec
from posbench.loaders.assemble import Judgements, Spans, assemble
from posbench.loaders.context import Context
from posbench.loaders.lines import numbered, present, records, separated, texts_of
from posbench.loaders.tables import Rows
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, Strings, index_of, strings


class _Document(msgspec.Struct):
    id: str
    text: str
    title: str = ""
    domain: str = ""
    language: str = ""
    group: str = ""


class _Place(msgspec.Struct):
    doc: str
    start: int
    end: int


class _Evidence(msgspec.Struct):
    query: str
    doc: str
    start: int
    end: int


class _Query(msgspec.Struct):
    id: str
    text: str
    positives: list[str] = []
    evidence: _Place | None = None
    domain: str = ""
    language: str = ""
    group: str = ""
    type: str = ""


def from_recipe(recipe: DatasetRecipe, subset: str, base: Path, context: Context) -> list[Collection]:
    """The collection of a subset's folder under the source, or of the source's folder itself."""
    place = recipe.subsets.get(subset or recipe.default, subset)
    found = hub.find(context.name, recipe.source, base, [f"{place}/*" if place else "*"])
    name = f"{context.name}/{subset}" if subset else context.name
    return from_path(found.folder / place, context.named(name, **found.provenance))


def from_path(path: Path, context: Context) -> list[Collection]:
    """The collection of a folder."""
    docs, doc_rows = records(_file(path, "documents"), _Document)
    queries, rows = records(_file(path, "queries"), _Query)
    heads = [f"{row.title.strip()}\n" if row.title.strip() else "" for row in docs]
    texts = [head + row.text for head, row in zip(heads, docs, strict=True)]
    read_docs = texts_of([row.id for row in docs], texts, doc_rows, labels=_labels(docs), id_column="id")
    spans = _from_evidence_file(_file(path, "evidence")) or _spans(queries, rows)
    if spans is not None:
        ahead = np.array([*map(len, heads), 0], np.int64)  # an unknown document, index -1, has no title
        spans = replace(spans, ahead=ahead[index_of(read_docs.ids, spans.docs)])
    asked = [row.text for row in queries]
    read_queries = texts_of([row.id for row in queries], asked, rows, labels=_labels(queries), id_column="id")
    return [assemble(context, read_docs, read_queries, _judgements(path, queries, rows), spans)]


def recognised(path: Path) -> bool:
    """Whether a folder has this layout."""
    return _file(path, "documents").is_file()


def _file(path: Path, name: str) -> Path:
    plain = path / f"{name}.jsonl"
    return present(plain) or plain


def _labels(rows: Sequence[_Document | _Query]) -> dict[str, Strings]:
    """The columns domain, language, group and, of queries, type, where any row has one."""
    named = ("domain", "language", "group", "type")
    columns = {name: [getattr(row, name, "") for row in rows] for name in named}
    return {name: strings(values) for name, values in columns.items() if any(values)}


def _judgements(path: Path, queries: list[_Query], rows: Rows) -> Judgements:
    for file in filter(None, (present(path / name) for name in ("qrels.txt", "qrels.tsv"))):
        return _from_file(file)
    pairs = [(n, doc) for n, query in enumerate(queries) for doc in query.positives]
    pairs = pairs or [(n, query.evidence.doc) for n, query in enumerate(queries) if query.evidence]
    if not pairs:
        raise DataError(f"{path}: no judgements; expected qrels.tsv, or positives or evidence in queries.jsonl")
    where = np.array([n for n, _ in pairs], np.int64)
    ids = strings([queries[n].id for n, _ in pairs])
    ones = np.ones(len(pairs), np.int32)
    return Judgements(ids, strings([doc for _, doc in pairs]), ones, rows.take(where), "id", "positives")


def _from_file(path: Path) -> Judgements:
    first = next((line for _, line in numbered(path)), b"")
    if first.count(b"\t") != 2:
        return trec.judgements(path)
    fields, rows = separated(path, 3)
    return beir.judgements(path, fields, rows)


def _from_evidence_file(path: Path) -> Spans | None:
    if not path.is_file():
        return None
    found, rows = records(path, _Evidence)
    start, end = (np.array([getattr(row, name) for row in found], np.int64) for name in ("start", "end"))
    unknown = np.full(len(found), -1, np.int64)
    queries, docs = strings([row.query for row in found]), strings([row.doc for row in found])
    return Spans(queries, docs, start, end, rows, unknown, unknown, "query", "doc", "start")


def _spans(queries: list[_Query], rows: Rows) -> Spans | None:
    found = [(n, query.id, query.evidence) for n, query in enumerate(queries) if query.evidence is not None]
    if not found:
        return None
    where = np.array([n for n, _, _ in found], np.int64)
    start = np.array([place.start for _, _, place in found], np.int64)
    end = np.array([place.end for _, _, place in found], np.int64)
    unknown = np.full(len(found), -1, np.int64)
    ids, docs = strings([name for _, name, _ in found]), strings([place.doc for _, _, place in found])
    return Spans(ids, docs, start, end, rows.take(where), unknown, unknown, "id", "evidence.doc", "evidence")
