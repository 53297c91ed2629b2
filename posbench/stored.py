"""What was ranked before, as a ranker: a TREC run file, or a stored result. And a run as a stored table."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench.errors import DataError
from posbench.evaluate import constant
from posbench.loaders import trec
from posbench.reranking import RunRecipe
from posbench.store import result_in, sha256_of
from posbench.types import Collection, Int32, Run, Strings, index_of, strings


def resolve(name: str) -> tuple[str, RunRecipe] | None:
    """A short name and the recipe of what a path holds: a stored result or a run file; None for anything else."""
    path = Path(name)
    if path.is_dir() and (path / "manifest.json").is_file():
        result = result_in(path)
        return str(result.manifest["ranker"]["name"]), RunRecipe(f"the stored result {path.name}", str(path))
    if path.is_file() and path.suffix != ".toml" and (path.suffix or "/" in name):
        return path.stem, RunRecipe(f"the run file {path.name}", str(path))
    return None


class StoredRanker:
    """A run that is read, not made."""

    def __init__(self, recipe: RunRecipe) -> None:
        self._path = Path(recipe.path)

    def describe(self) -> Mapping[str, Any]:
        """A hash of the run's content."""
        folder = self._path.is_dir()
        return {
            "kind": "run",
            "engine": f"{'stored result' if folder else 'run file'} {self._path.name}",
            "sha256": sha256_of(self._path / "run.parquet" if folder else self._path),
        }

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The run of a collection's queries; one that it lacks has an empty row.

        Raises:
            DataError: it has none of the queries, documents that the collection lacks, or one twice for a query.
        """
        if self._path.is_dir():
            run = stored_run(result_in(self._path).run(), collection)
            found = Run.ranked(run.docs, run.scores, collection.doc_order)
        else:
            found = self._from_rows(collection)
        if len(collection.queries) and not (found.docs >= 0).any():
            raise DataError(f"{self._path}: ranks none of the {len(collection.queries)} queries of {collection.name}")
        return found

    @cached_property
    def _rows(self) -> trec.RunRows:
        return trec.read_run(self._path)

    def _from_rows(self, collection: Collection) -> Run:
        rows = self._rows
        query = index_of(collection.query_ids, rows.queries)
        mine = np.flatnonzero(query >= 0)
        docs = rows.docs.take(pa.array(mine))
        doc = _known(docs, collection, str(self._path))
        pairs = query[mine].astype(np.int64) * len(collection.doc_ids) + doc
        trec.refuse_repeats(self._path, pairs, rows.queries, rows.docs, mine)
        return trec.ranked(query[mine], doc, rows.scores[mine], len(collection.queries), collection.doc_order)


def _known(docs: Strings, collection: Collection, source: str) -> Int32:
    """The numbers of documents in a collection.

    Raises:
        DataError: it lacks some.
    """
    doc = index_of(collection.doc_ids, docs)
    if (doc < 0).any():
        one = docs[int(np.flatnonzero(doc < 0)[0])].as_py()
        raise DataError(
            f"{source}: {int((doc < 0).sum())} lines name documents that {collection.name} lacks, the first "
            f"{one!r}; expected a run of the same documents"
        )
    return doc


def run_table(collection: Collection, ranked: Run) -> pa.Table:
    """A run as a long table: dataset, query_id, doc_id, rank (from 1), score; padding left out."""
    row, column = np.nonzero(ranked.docs >= 0)
    query_ids = pa.DictionaryArray.from_arrays(pa.array(row.astype(np.int32)), collection.query_ids.cast(pa.string()))
    used, place = np.unique(ranked.docs[row, column], return_inverse=True)
    doc_ids = collection.doc_ids.take(pa.array(used)).cast(pa.string())
    return pa.table(
        {
            "dataset": constant(collection.name, len(row)),
            "query_id": query_ids,
            "doc_id": pa.DictionaryArray.from_arrays(pa.array(place.astype(np.int32)), doc_ids),
            "rank": pa.array((column + 1).astype(np.int32)),
            "score": pa.array(ranked.scores[row, column]),
        }
    )


def stored_run(table: pa.Table, collection: Collection) -> Run:
    """The run of one collection from a stored table; queries that the collection lacks are left out.

    Raises:
        DataError: it has documents that the collection lacks.
    """
    mine = table.filter(pc.equal(table["dataset"].cast(pa.string()), collection.name))
    query = index_of(collection.query_ids, _column(mine, "query_id"))
    if (query < 0).any():
        mine, query = mine.filter(pa.array(query >= 0)), query[query >= 0]
    docs = _column(mine, "doc_id")
    doc = _known(docs, collection, "the stored result")
    rank = mine["rank"].to_numpy() - 1
    shape = (len(collection.query_ids), int(rank.max(initial=-1)) + 1)
    docs, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    docs[query, rank], scores[query, rank] = doc, mine["score"].to_numpy()
    return Run(docs, scores)


def _column(table: pa.Table, name: str) -> Strings:
    return strings(table[name].cast(pa.string()))
