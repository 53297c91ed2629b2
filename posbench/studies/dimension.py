"""Intrinsic dimension of a model's vectors on a dataset, or of vectors in a file: from names to tables and a summary.

What costs time is cached by the vectors' content, so that the same command answers at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from posbench import loaders, manifest, rankers
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.experiment import Settings, common_name
from posbench.hnsw import dimension
from posbench.hnsw.dimension import Dimension, Error
from posbench.hnsw.vectors import VectorSet, read_vectors
from posbench.recipe import digest
from posbench.store import Cache, written
from posbench.studies import embedder
from posbench.types import Collection, Progress, Strings, no_progress, strings

_QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}
FORMATS = (".parquet", ".csv")


@dataclass(frozen=True)
class How:
    """``k`` neighbours; among a random ``sample`` of documents, 0 for all; ``audit`` documents check a sample."""

    k: int = dimension.K
    sample: int = 0
    audit: int = dimension.AUDIT


_EXACT = How()


@dataclass(frozen=True)
class Surveyed:
    """What was found.

    ``documents`` has a row a document: dataset, doc_id, lid (null where undefined) and duplicates; ``queries`` the same
    with query_id: the LID at the query among the documents. ``summary`` is JSON-serialisable.
    """

    documents: pa.Table
    queries: pa.Table
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class _Part:
    """One set of vectors with the ids of its rows."""

    vectors: VectorSet
    doc_ids: Strings
    query_ids: Strings


def of_model(
    dataset: str,
    model: str,
    how: How = _EXACT,
    settings: Settings | None = None,
    progress: Progress = no_progress,
) -> Surveyed:
    """The intrinsic dimension of an embedding model's vectors of a dataset, each of its collections by itself.

    Args:
        dataset: a dataset recipe's name, with a subset after "/", or a path.
        model: a ranker recipe's name, a recipe file, a model folder, a hub id or ``module:Class``; it needs to embed.
        how: how neighbours are found.
        settings: how to run; measures, depth and controls do not matter.
        progress: shows long steps.

    Raises:
        UsageError: the model does not embed, or gives a document several vectors; or k does not fit the documents.
    """
    settings = settings or Settings()
    name, recipe = rankers.resolve(model)
    ranker = embedder.build(name, recipe, settings, progress)
    collections = loaders.load(dataset, settings.options, progress)
    parts = [_embedded(collection, ranker, name) for collection in collections]
    about = {"dataset": common_name(collections), "ranker": name, "weights": manifest.weights(ranker)}
    return _survey(parts, about, how, settings, progress)


def of_vectors(
    path: Path,
    queries: Path | None = None,
    how: How = _EXACT,
    settings: Settings | None = None,
    progress: Progress = no_progress,
) -> Surveyed:
    """The intrinsic dimension of vectors in a file (``hnsw.vectors.read_vectors``); rows are named by their number."""
    read = read_vectors(path, queries)
    ids = [strings([str(row) for row in range(len(rows))]) for rows in (read.docs, read.queries)]
    about = {"dataset": read.name, "ranker": None, "weights": f"vectors read from {path}"}
    return _survey([_Part(read, *ids)], about, how, settings or Settings(), progress)


def _embedded(collection: Collection, ranker: Any, name: str) -> _Part:
    """The vectors that the ranker searches and asks with."""
    docs, queries = embedder.vectors(ranker, collection, name)
    return _Part(VectorSet(collection.name, docs, queries).check(), collection.doc_ids, collection.query_ids)


def _survey(
    parts: Sequence[_Part], about: Mapping[str, Any], how: How, settings: Settings, progress: Progress
) -> Surveyed:
    documents, queries, figures = [], [], []
    for part in parts:
        found = measured(part.vectors.docs, part.vectors.name, how, settings, progress)
        asked = None
        if len(part.query_ids):
            asked = dimension.lid_at(part.vectors.queries, part.vectors.docs, how.k, progress)
            queries.append(_rows(part.vectors.name, "query_id", part.query_ids, asked))
        documents.append(_rows(part.vectors.name, "doc_id", part.doc_ids, found))
        figures.append(_figures(part.vectors, found, asked, settings.seed))
    none = _rows("", "query_id", strings([]), Dimension(np.empty(0), np.empty(0, np.int64), np.empty(0), how.k))
    summary = {**about, "k": how.k, "sample": how.sample, "seed": settings.seed, "parts": figures}
    return Surveyed(pa.concat_tables(documents), pa.concat_tables(queries or [none]), summary)


def measured(docs: Any, name: str, how: How, settings: Settings, progress: Progress = no_progress) -> Dimension:
    """The LID of every document, exact or sampled, cached by the vectors' content.

    Raises:
        UsageError: k or the sample does not fit the documents; the message begins with ``name``.
    """
    cache, seeded = Cache(settings.cache), [how.sample, how.audit, settings.seed] if how.sample else []
    key = digest([VectorSet(name, docs, docs[:0]).fingerprint, how.k, seeded])
    stored = None if settings.again else cache.load("lid", key)
    if stored is not None:
        return _unpacked(stored, how)
    try:
        if how.sample:
            found = dimension.sampled(docs, how.sample, how.k, settings.seed, how.audit, progress)
        else:
            found = dimension.lid(docs, how.k, progress)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error
    cache.drop("lid", [key])
    cache.save("lid", key, _packed(found))
    return found


def _packed(found: Dimension) -> dict[str, Any]:
    arrays: dict[str, Any] = {"lid": found.lid, "duplicates": found.duplicates, "ratio": found.ratio}
    arrays["k"] = np.array([found.k])
    if found.error is not None:
        error = found.error
        arrays["error"] = np.array([error.documents, error.spearman, *error.interval, error.relative])
    return arrays


def _unpacked(stored: Mapping[str, Any], how: How) -> Dimension:
    lid, duplicates, ratio = (np.array(stored[name]) for name in ("lid", "duplicates", "ratio"))
    error = None
    if "error" in stored:
        documents, spearman, low, high, relative = stored["error"].tolist()
        error = Error(int(documents), spearman, (low, high), relative)
    return Dimension(lid, duplicates, ratio, int(stored["k"][0]), how.sample, error)


def _rows(dataset: str, column: str, ids: Strings, found: Dimension) -> pa.Table:
    return pa.table(
        {
            "dataset": constant(dataset, len(ids)).cast(pa.string()),
            column: ids.cast(pa.string()),
            "lid": pa.array(found.lid, from_pandas=True),
            "duplicates": pa.array(found.duplicates),
        }
    )


def _figures(vectors: VectorSet, found: Dimension, asked: Dimension | None, seed: int) -> dict[str, Any]:
    """What the summary says of one set."""
    return {
        "dataset": vectors.name,
        "documents": len(vectors.docs),
        "width": vectors.docs.shape[1],
        "neighbours": found.k,
        "lid": _spread(found),
        "whole": {name: asdict(one) for name, one in dimension.whole(found, seed).items()},
        "queries": None if asked is None else {"count": len(asked.lid), **_spread(asked)},
        "error": None if found.error is None else asdict(found.error),
    }


def _spread(found: Dimension) -> dict[str, Any]:
    defined = found.lid[~np.isnan(found.lid)]
    quantiles = {name: float(np.quantile(defined, q)) if len(defined) else None for name, q in _QUANTILES.items()}
    return {
        **quantiles,
        "undefined": len(found.lid) - len(defined),
        "with_duplicates": int(np.count_nonzero(found.duplicates)),
    }


def check_target(path: Path | None) -> None:
    """Refuses a file that ``write`` would not know how to write.

    Raises:
        UsageError: it ends in none of ``FORMATS``.
    """
    if path is not None and path.suffix not in FORMATS:
        raise UsageError(f"{path}: found a file of kind {path.suffix or 'none'!r}; expected {' or '.join(FORMATS)}")


def write(table: pa.Table, path: Path) -> None:
    """A table as parquet or CSV, as its name says."""
    check_target(path)
    with written(path) as part:
        if path.suffix == ".csv":
            pyarrow.csv.write_csv(table, part)
        else:
            pq.write_table(table, part, compression="zstd")
