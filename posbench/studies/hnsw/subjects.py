"""What a grid indexes: sets of vectors, each with what is known of its documents and queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from posbench import loaders, manifest, rankers
from posbench.errors import UsageError
from posbench.experiment import Settings
from posbench.hnsw import dimension, orders
from posbench.hnsw.exact import Neighbours, neighbours
from posbench.hnsw.orders import Facts
from posbench.hnsw.synthetic import generate
from posbench.hnsw.vectors import VectorSet, metric_of, read_vectors
from posbench.recipe import digest
from posbench.store import Cache
from posbench.studies import embedder
from posbench.studies.dimension import How, measured
from posbench.studies.hnsw.grid import FILE, Grid, Vectors
from posbench.types import Collection, Float64, Int64, Progress, no_progress

_LABELS = ("group", "domain", "language")  # what documents may be labelled with, the first that is there


@dataclass(frozen=True)
class Subject:
    """One set of vectors that is indexed.

    Sets of one ``name`` differ in ``data_seed`` alone. ``ranker`` is the model, "" where vectors are made or read;
    ``collection`` what it embedded. ``weights`` is what the model ran on. ``null``: no order should matter.
    """

    name: str
    ranker: str
    data_seed: int
    vectors: VectorSet
    collection: Collection | None = None
    weights: str = ""
    null: bool = False

    @property
    def dataset(self) -> str:
        """What was embedded, or the set itself."""
        return self.name if self.collection is None else self.collection.name


@dataclass(frozen=True)
class Known:
    """What is measured of a set before it is indexed: exact neighbours of the queries, LID, and the orders' facts.

    ``lid`` float64[n] of the documents and ``query_lid`` float64[Q], NaN where there are too few documents; ``whole``
    the dimension of the set in two ways, by name.
    """

    exact: Neighbours
    lid: Float64
    query_lid: Float64
    whole: dict[str, dimension.Estimate]
    facts: Facts


def subjects(vectors: Vectors, grid: Grid, settings: Settings, progress: Progress = no_progress) -> Iterator[Subject]:
    """The sets that an entry of a grid stands for; each is made or embedded when it is asked for.

    Raises:
        UsageError: a model does not embed, or gives a document several vectors.
    """
    if vectors.synthetic:
        for seed in range(settings.seed, settings.seed + grid.data_seeds):
            made = generate(vectors.synthetic, vectors.documents, vectors.queries, seed, **vectors.parameters)
            yield Subject(vectors.name or vectors.synthetic, "", seed, made, null=vectors.null)
    elif vectors.file:
        labels = Path(vectors.labels) if vectors.labels else None
        read = read_vectors(Path(vectors.file), labels=labels)
        if not len(read.queries):
            read = read.hold_out(vectors.queries, settings.seed)
        yield Subject(vectors.name or read.name, "", settings.seed, read, null=vectors.null)
    else:
        collections = loaders.load(vectors.dataset, settings.options, progress)
        for model in vectors.models:
            yield from _embedded(vectors, model, collections, settings, progress)


def _embedded(
    vectors: Vectors, model: str, collections: Any, settings: Settings, progress: Progress
) -> Iterator[Subject]:
    name, recipe = rankers.resolve(model)
    ranker = embedder.build(name, recipe, settings, progress)
    for collection in collections:
        docs, asked = embedder.vectors(ranker, collection, name)
        labels = next((collection.doc_labels[key] for key in _LABELS if key in collection.doc_labels), None)
        found = VectorSet(collection.name, docs, asked, metric_of(docs), _codes(labels)).check()
        where = vectors.name if vectors.name and len(collections) == 1 else collection.name
        whole = f"{name} on {where}"
        yield Subject(whole, name, settings.seed, found, collection, manifest.weights(ranker), vectors.null)


def _codes(labels: Any) -> Int64 | None:
    """Labels as integers; None where there is one at most."""
    if labels is None or pc.count_distinct(labels).as_py() < 2:
        return None
    return np.asarray(labels.dictionary_encode("encode").indices.to_numpy(zero_copy_only=False), np.int64)


def check_depth(subject: Subject, k: int) -> None:
    """Refuses a set of fewer documents than the study's k, with UsageError."""
    n = len(subject.vectors.docs)
    if n < k:
        raise UsageError(f"{subject.name} has {n} documents; recall@{k} needs {k}")


def measure(subject: Subject, grid: Grid, settings: Settings, progress: Progress = no_progress) -> Known:
    """Exact neighbours and dimension of a set of at least the study's k documents, cached by its content."""
    vectors = subject.vectors
    n = len(vectors.docs)
    exact = _exact(vectors, grid.k, settings.cache, progress)
    k = min(grid.lid_k, n - 1)
    nothing = dimension.Estimate(np.nan, np.nan, np.nan, 0)
    lid, at_queries, whole = np.full(n, np.nan), np.full(len(vectors.queries), np.nan), {"mle": nothing}
    if k >= 2:
        found = measured(vectors.docs, subject.name, How(k), settings, progress)
        lid, whole = found.lid, dimension.whole(found, settings.seed)
        at_queries = dimension.lid_at(vectors.queries, vectors.docs, k, progress).lid
    return Known(exact, lid, at_queries, whole, _facts(subject, lid))


def _exact(vectors: VectorSet, k: int, folder: Path, progress: Progress) -> Neighbours:
    cache, key = Cache(folder), digest([vectors.fingerprint, k])
    stored = cache.load("neighbours", key)
    if stored is None:
        found = neighbours(vectors.queries, vectors.docs, k, vectors.metric, progress=progress)
        cache.save("neighbours", key, {"docs": found.docs, "distances": found.distances, "beyond": found.beyond})
        return found
    return Neighbours(*(np.array(stored[name]) for name in ("docs", "distances", "beyond")))


def _texts(collection: Collection | None) -> tuple[Int64 | None, Float64 | None]:
    """Lengths of documents in characters, and the mean relative position of the evidence in each."""
    if collection is None:
        return None, None
    lengths = np.asarray(pc.utf8_length(collection.docs).to_numpy(zero_copy_only=False), np.int64)
    evidence = collection.evidence
    if evidence is None or not len(evidence.doc) or collection.source.get("cross_lingual"):
        return lengths, None
    middle = (evidence.start + evidence.end) / 2 / np.maximum(evidence.doc_chars, 1)
    total = np.bincount(evidence.doc, middle, len(lengths))
    count = np.bincount(evidence.doc, minlength=len(lengths))
    return lengths, np.divide(total, count, out=np.full(len(lengths), np.nan), where=count > 0)


def _facts(subject: Subject, lid: Float64) -> Facts:
    """What orders go by; LID needs three documents."""
    lengths, positions = _texts(subject.collection)
    return Facts(subject.vectors.docs, lid if len(lid) > 2 else None, subject.vectors.labels, lengths, positions)


def check_orders(subject: Subject, names: Sequence[str]) -> None:
    """Refuses orders that the set has no facts for, before any of them is measured.

    Raises:
        UsageError: an order goes by categories, say, and there are none.
        DataError: a user's file holds no permutation of the documents.
    """
    facts = _facts(subject, np.zeros(len(subject.vectors.docs)))  # that LID will be known is enough
    for name in names:
        _insertion(facts, name, 0)


def insertion(known: Known, order: str, seed: int) -> Int64:
    """The order of insertion by name, or a user's from "file:PATH"."""
    return _insertion(known.facts, order, seed)


def _insertion(facts: Facts, order: str, seed: int) -> Int64:
    if order.startswith(FILE):
        return orders.read_order(Path(order.removeprefix(FILE)), len(facts.docs))
    return orders.insertion_order(order, facts, seed)


def query_ids(subject: Subject) -> pa.Array:
    """The queries' ids; rows of vectors are named by their number."""
    if subject.collection is not None:
        return subject.collection.query_ids.cast(pa.string())
    return pa.array([str(row) for row in range(len(subject.vectors.queries))], pa.string())
