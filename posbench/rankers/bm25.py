"""BM25 with Lucene's formula: by Lucene itself where pyserini and a Java are installed, else by bm25s."""

import logging
from array import array
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from posbench.errors import missing_extra
from posbench.rankers import analysis, lucene
from posbench.recipe import Bm25Recipe, fingerprint
from posbench.types import Collection, Float32, Int32, Int64, Progress, Run, Strings, no_progress

_TEXTS = 4096  # documents that are Python strings at one time


class Bm25Ranker:
    """A BM25 recipe on this machine's engine."""

    def __init__(self, recipe: Bm25Recipe, *, depth: int = 1000, cache: Path, progress: Progress = no_progress) -> None:
        self.recipe = recipe
        self.depth = depth
        self._cache = cache
        self._progress = progress
        self._lucene = lucene.find() if recipe.engine != "bm25s" else None
        if recipe.engine == "pyserini" and self._lucene is None:
            raise missing_extra("engine 'pyserini'", "pyserini")

    def describe(self) -> Mapping[str, Any]:
        """The engine that is really used, what its terms come from, and the parameters."""
        return {
            "kind": "bm25",
            "recipe": fingerprint(self.recipe),
            **(self._lucene.describe() if self._lucene else _describe_bm25s()),
            "k1": self.recipe.k1,
            "b": self.recipe.b,
            "language": self.recipe.language,
        }

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The best documents of every query; one that shares no term with the query is left out."""
        language = analysis.language_of(collection.doc_labels.get("language"), self.recipe.language)
        depth = min(self.depth, len(collection.docs))
        if not depth or not len(collection.queries):
            return Run(*_padding(len(collection.queries), depth))
        if self._lucene:
            return lucene.rank(
                self._lucene,
                collection,
                self.recipe,
                language=language,
                depth=depth,
                cache=self._cache,
                progress=self._progress,
            )
        return _rank_bm25s(collection, self.recipe, language, depth, self._progress)


def _describe_bm25s() -> dict[str, Any]:
    stemmer = f"PyStemmer {metadata.version('PyStemmer')}" if find_spec("Stemmer") else "none"
    return {"engine": f"bm25s {metadata.version('bm25s')}", "analyser": analysis.REVISION, "stemmer": stemmer}


def _rank_bm25s(collection: Collection, recipe: Bm25Recipe, language: str, depth: int, progress: Progress) -> Run:
    """Scores one query at a time against all documents: memory for the index and one row of scores."""
    analyse = analysis.analyser(language)
    index, vocabulary, rows = _index(collection.docs, recipe, language, progress)
    docs, scores = _padding(len(collection.queries), depth)
    advance = progress("searching with bm25s", len(docs))
    for at, query in enumerate(collection.queries):
        terms = [vocabulary[term] for term in analyse(query.as_py()) if term in vocabulary]
        if terms:
            values = index.get_scores_from_ids(terms)
            best = _best(values, rows, depth, collection.doc_order)
            docs[at, : len(best)], scores[at, : len(best)] = rows[best], values[best]
        advance(1)
    return Run.ranked(docs, scores, collection.doc_order)


def _index(texts: Strings, recipe: Bm25Recipe, language: str, progress: Progress) -> tuple[Any, dict[str, int], Int64]:
    """The index, its terms' numbers, and the documents in it: as in Lucene, one without any term does not count."""
    import bm25s

    # It logs at level DEBUG, which shows where another package has opened the root logger.
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    analyse = analysis.analyser(language)
    advance = progress("indexing with bm25s", len(texts))
    vocabulary: dict[str, int] = {}
    rows: list[int] = []
    documents: list[array[int]] = []
    for first in range(0, len(texts), _TEXTS):
        part = texts.slice(first, _TEXTS).to_pylist()
        for row, text in enumerate(part, first):
            # Arrays, not lists: four bytes a word.
            document = array("i", [vocabulary.setdefault(term, len(vocabulary)) for term in analyse(text)])
            if document:
                rows.append(row)
                documents.append(document)
        advance(len(part))
    index = bm25s.BM25(k1=recipe.k1, b=recipe.b, method="lucene")
    if documents:
        tokens = bm25s.tokenization.Tokenized(ids=documents, vocab=vocabulary)
        index.index(tokens, create_empty_token=False, show_progress=False)
    return index, vocabulary, np.array(rows, np.int64)


def _best(values: Float32, rows: Int64, depth: int, doc_order: Int32) -> Int64:
    """Where the first ``depth`` values above 0 stand, in canonical order; bm25s itself would cut ties at random."""
    found = np.flatnonzero(values > 0)
    if len(found) > depth:
        edge = np.partition(values[found], len(found) - depth)[len(found) - depth]
        found = found[values[found] >= edge]
    return found[np.lexsort((-doc_order[rows[found]], -values[found]))[:depth]]


def _padding(queries: int, depth: int) -> tuple[Int32, Float32]:
    return np.full((queries, depth), -1, np.int32), np.zeros((queries, depth), np.float32)
