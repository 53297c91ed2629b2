"""Composed documents to Collections: one part a length and position, with the same queries in each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.compose.documents import Document
from posbench.compose.evidence import Chosen, Passage
from posbench.compose.filler import Count
from posbench.types import Collection, Evidence, Int32, Int64, Qrels, Strings, strings

LABELS = ("method", "length", "position", "source_doc")
"""What every composed query carries beside its source's labels."""


@dataclass(frozen=True)
class Cell:
    """One part: what the queries' labels say of it, a document for each passage, and further texts with their ids."""

    length: str
    position: str
    documents: Sequence[Document]
    more: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """Everything that the parts of one composition share."""

    source: Collection
    passages: Sequence[Passage]
    spanned: bool
    method: str
    provenance: Mapping[str, Any]
    count: Count

    def part(self, cell: Cell, notes: Mapping[str, int]) -> Collection:
        """The collection of one cell."""
        ids = [self._id(passage) for passage in self.passages]
        texts = [document.text for document in cell.documents]
        rows = sorted((query, n) for n, passage in enumerate(self.passages) for query in passage.queries)
        asked = np.array([query for query, _ in rows], np.int64)
        owner = np.array([n for _, n in rows], np.int64)
        starts = {
            query: document.start + start - passage.start
            for passage, document in zip(self.passages, cell.documents, strict=True)
            for query, (start, _) in zip(passage.queries, passage.spans, strict=True)
        }
        sizes = {
            query: end - start
            for passage in self.passages
            for query, (start, end) in zip(passage.queries, passage.spans, strict=True)
        }
        start = np.array([starts[query] for query in asked.tolist()], np.int32)
        end = start + np.array([sizes[query] for query in asked.tolist()], np.int32)
        chars = np.array([len(text) for text in texts], np.int32)[owner]
        tokens = np.asarray(self.count(texts), np.int32)[owner]
        evidence = Evidence(np.arange(len(asked), dtype=np.int32), owner.astype(np.int32), start, end, chars, tokens)
        docs = [passage.doc for passage in self.passages]
        return self.collection(
            cell,
            strings([*ids, *cell.more]),
            strings([*texts, *cell.more.values()]),
            asked,
            self._qrels(asked, owner),
            evidence,
            self.source.doc_ids.take(pa.array(np.asarray(docs, np.int64)[owner])),
            notes,
        )

    def collection(
        self,
        cell: Cell,
        ids: Strings,
        texts: Strings,
        asked: Int64,
        qrels: Qrels,
        evidence: Evidence,
        source_docs: Strings,
        notes: Mapping[str, int],
    ) -> Collection:
        """Queries by their index in the source, with documents, judgements and evidence of a part."""
        taken = pa.array(asked)
        labels = {name: strings(column.take(taken)) for name, column in self.source.query_labels.items()}
        n = len(asked)
        labels |= dict(
            zip(
                LABELS,
                (
                    strings([self.method] * n),
                    strings([cell.length] * n),
                    strings([cell.position] * n),
                    strings(source_docs),
                ),
                strict=True,
            )
        )
        return Collection(
            name=f"{self.source.name}/{cell.length}/{cell.position}",
            doc_ids=ids,
            docs=texts,
            query_ids=strings(self.source.query_ids.take(taken)),
            queries=strings(self.source.queries.take(taken)),
            qrels=qrels,
            evidence=evidence,
            query_labels=labels,
            doc_labels=self._language(len(ids)),
            notes=notes,
            source=self.provenance,
        )

    def _id(self, passage: Passage) -> str:
        name: str = self.source.doc_ids[passage.doc].as_py()
        return f"{name}@{passage.start}-{passage.end}" if self.spanned else name

    def _language(self, n: int) -> dict[str, Strings]:
        """The documents' language, where all of the source's have one: analysers ask for it."""
        column = self.source.doc_labels.get("language")
        found = pa.compute.unique(column).to_pylist() if column is not None else []
        return {"language": strings(found * n)} if len(found) == 1 else {}

    def _qrels(self, asked: Int64, owner: Int64) -> Qrels:
        """A query's own passage; without spans, too, the other passages that are documents relevant to it."""
        grades = _grades(self.source.qrels)
        if self.spanned:
            own = [grades[query, self.passages[n].doc] for query, n in zip(asked.tolist(), owner.tolist(), strict=True)]
            return Qrels.from_pairs(np.arange(len(asked)), owner, own, len(asked))
        number = {passage.doc: n for n, passage in enumerate(self.passages)}
        row = {query: n for n, query in enumerate(asked.tolist())}
        pairs = [(row[q], number[d], grade) for (q, d), grade in grades.items() if q in row and d in number]
        q, d, grade = zip(*pairs, strict=True)
        return Qrels.from_pairs(q, d, grade, len(asked))


def _grades(qrels: Qrels) -> dict[tuple[int, int], int]:
    """The grade of every relevant pair of query and document."""
    keep = qrels.grades > 0
    columns: tuple[Int32, ...] = (qrels.queries[keep], qrels.docs[keep], qrels.grades[keep])
    return {(q, d): grade for q, d, grade in zip(*(column.tolist() for column in columns), strict=True)}


def only(qrels: Qrels, asked: Int64, new_index: Int64) -> Qrels:
    """The judgements of some queries; ``new_index`` int64[D] renumbers documents, -1 for one that is left out."""
    row = np.full(len(qrels.indptr) - 1, -1)
    row[asked] = np.arange(len(asked))
    query = row[qrels.queries]
    query, docs, grades = query[query >= 0], qrels.docs[query >= 0], qrels.grades[query >= 0]
    absent = docs >= len(new_index)
    doc = np.where(absent, -1, new_index[np.where(absent, 0, docs)])
    # Judged documents that the source lacks stay behind the last one: relevant, never found.
    _, first, number = np.unique(docs[absent], return_index=True, return_inverse=True)
    doc[absent] = int(new_index.max(initial=-1)) + 1 + np.argsort(np.argsort(first))[number]
    keep = doc >= 0
    return Qrels.from_pairs(query[keep], doc[keep], grades[keep], len(asked))


def dropped(chosen: Chosen, more: Mapping[str, int]) -> dict[str, int]:
    """Counts of what was left out, by reason; reasons that did not occur are not named."""
    counts = dict(chosen.dropped)
    for reason, n in more.items():
        counts[reason] = counts.get(reason, 0) + n
    return {reason: int(n) for reason, n in counts.items() if n}
