"""What studies of listwise rerankers share: the two stages, the queries looked at, and their candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import loaders, manifest, rankers, reranked, stats
from posbench.errors import UsageError
from posbench.evaluate import allowed, most_excluded
from posbench.experiment import Settings, common_name
from posbench.listwise import ListwiseRecipe
from posbench.rankers.listwise.ranker import Listed
from posbench.recipe import PipelineRecipe
from posbench.reranking import Rerank
from posbench.types import Collection, Int32, Int64, Progress, Qrels, Ranker, Run, no_progress


@dataclass(frozen=True)
class Part:
    """The queries of one collection that are looked at, and their candidates.

    ``rows`` int64[Q] are their numbers in the collection, ``docs`` int32[Q, K] what the first stage found, ``clusters``
    int64[Q] groups of queries that share a relevant document.
    """

    collection: Collection
    rows: Int64
    docs: Int32
    clusters: Int64

    @property
    def qrels(self) -> Qrels:
        """The judgements of the queries looked at, numbered from 0."""
        whole = self.collection.qrels
        keep = np.isin(whole.queries, self.rows)
        query = np.searchsorted(self.rows, whole.queries[keep])
        return Qrels.from_pairs(query, whole.docs[keep], whole.grades[keep], len(self.rows))

    def run(self, docs: Int32) -> Run:
        """Documents in order as a run: int32[Q, K], -1 for padding, last."""
        return Run(docs, np.where(docs >= 0, np.arange(docs.shape[1], 0, -1), 0).astype(np.float32))

    def listed(self, row: int, depth: int) -> Listed:
        """The list of a query's first ``depth`` candidates."""
        docs = self.docs[row, :depth]
        texts = self.collection.docs.take(pa.array(docs[docs >= 0])).to_pylist()
        return Listed(self.collection.queries[int(self.rows[row])].as_py(), tuple(texts))

    def ids(self, row: int) -> tuple[str, list[str]]:
        """The id of a query, and those of its candidates."""
        docs = self.docs[row][self.docs[row] >= 0]
        names: list[str] = self.collection.doc_ids.take(pa.array(docs)).to_pylist()
        return self.collection.query_ids[int(self.rows[row])].as_py(), names

    def grades(self, row: int) -> Int64:
        """The grade of each candidate of a query, 0 where it is not judged: int64[K]."""
        qrels, query = self.collection.qrels, self.rows[row]
        mine = slice(qrels.indptr[query], qrels.indptr[query + 1])
        known = dict(zip(qrels.docs[mine].tolist(), qrels.grades[mine].tolist(), strict=True))
        return np.array([known.get(doc, 0) for doc in self.docs[row].tolist() if doc >= 0], np.int64)


@dataclass(frozen=True)
class Stages:
    """A first stage and a listwise reranker, on a dataset."""

    dataset: str
    name: str
    recipe: PipelineRecipe
    first: Ranker
    listwise: ListwiseRecipe
    collections: Sequence[Collection]
    how: Mapping[str, Any] = field(default_factory=dict)

    def reranker(self, recipe: ListwiseRecipe | None = None) -> Any:
        """The reranker, or one with a changed recipe: a ``rankers.listwise.ranker.ListwiseRanker``."""
        return rankers.build(recipe or self.listwise, depth=self.recipe.depth, name=self.recipe.names[1], **self.how)

    def parts(self, queries: int, seed: int) -> list[Part]:
        """The judged queries of each collection, or ``queries`` of all drawn at random, with their candidates."""
        judged = [np.flatnonzero(np.diff(one.qrels.indptr) > 0) for one in self.collections]
        total = sum(map(len, judged))
        if queries and queries < total:
            drawn = np.sort(np.random.default_rng(seed).permutation(total)[:queries])
            edges = np.cumsum([0, *map(len, judged)])
            chosen = [drawn[(drawn >= a) & (drawn < b)] - a for a, b in zip(edges, edges[1:], strict=False)]
            judged = [rows[mine] for rows, mine in zip(judged, chosen, strict=True)]
        found, offset = [], 0
        for collection, rows in zip(self.collections, judged, strict=True):
            cluster = stats.clusters_of(collection.qrels)[0] + offset
            offset = int(cluster.max(initial=offset - 1)) + 1
            if len(rows):
                docs = allowed(collection, self.first.rank(collection)).top(self.recipe.depth).docs[rows]
                found.append(Part(collection, rows, docs, cluster[rows]))
        if not found:
            raise UsageError(f"{self.dataset} has no judged query; expected one at least")
        return found

    def header(self, kind: str, settings: Settings) -> dict[str, Any]:
        """What every manifest of such a study says."""
        ranker = self.reranker()
        return {
            "kind": kind,
            "dataset": manifest.dataset(self.dataset, self.collections),
            "ranker": {
                "name": self.name,
                "recipe": msgspec.to_builtins(self.recipe),
                "used": {"first": dict(self.first.describe()), "rerank": dict(ranker.describe())},
            },
            "weights": f"{manifest.weights(self.first)}; then {manifest.weights(ranker)}",
            "depth": self.recipe.depth,
            "seed": settings.seed,
            "command": settings.command,
            "peak_memory_mb": manifest.peak_memory(),
            "versions": manifest.versions(),
        }


def stages(dataset: str, model: str, wish: Rerank, settings: Settings, progress: Progress = no_progress) -> Stages:
    """Finds both stages and loads the dataset.

    Args:
        dataset: as ``experiment.run`` takes it.
        model: the first stage: a ranker, a run file or a stored result.
        wish: the listwise reranker, its depth and what is changed of it.
        settings: how to run.
        progress: shows long steps.

    Raises:
        UsageError: the reranker is not listwise.
    """
    first_name, first = reranked.resolve(model)
    name, pipeline = rankers.reranked(first_name, first, wish)
    assert isinstance(pipeline, PipelineRecipe)
    (_, first), (own_name, own) = reranked.stages(pipeline)
    if not isinstance(own, ListwiseRecipe):
        raise UsageError(
            f"{own_name} scores one document at a time, so that the order of its input is nothing to it; "
            "expected a reranker of kind listwise"
        )
    devices = settings.devices or rankers.devices()
    how = {"cache": settings.cache, "devices": devices, "remote_code": settings.remote_code, "progress": progress}
    collections = loaders.load(dataset, settings.options, progress)
    depth = wish.depth + max(map(most_excluded, collections))  # so that as many as wanted are left
    deep = reranked.build(first, depth=depth, name=first_name, **how)
    return Stages(common_name(collections), name, pipeline, deep, own, collections, how)


def clusters(parts: Sequence[Part]) -> Int64:
    """The cluster of each query of all parts, numbered from 0."""
    found: Int64 = np.unique(np.concatenate([part.clusters for part in parts]), return_inverse=True)[1].astype(np.int64)
    return found
