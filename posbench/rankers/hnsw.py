"""Dense retrieval through an HNSW index: what a vector database finds, instead of exact search.

The index gives the documents; their scores are computed again exactly, as ``topk`` does, and decide the order. Graphs
are cached by all that they depend on: vectors, build, order and the library's version.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posbench import topk
from posbench.errors import UsageError
from posbench.hnsw import graphs
from posbench.hnsw.graphs import Build, Graph, Metric
from posbench.hnsw.presets import ByDepth, preset
from posbench.hnsw.vectors import metric_of
from posbench.rankers.dense import DenseRanker
from posbench.recipe import HnswRecipe, digest
from posbench.store import Cache, written
from posbench.types import Collection, Float32, Int64, Progress, Run, no_progress, texts_hash

_METRIC = {
    "l2": "Euclidean distance; all vectors have length 1, so its order is that of the inner product",
    "ip": "inner product, which is no metric: the graph may serve it worse than it would serve a distance",
}


class HnswRanker:
    """A dense ranker behind an index."""

    def __init__(
        self,
        recipe: HnswRecipe,
        dense: DenseRanker,
        *,
        depth: int = 1000,
        cache: Path,
        progress: Progress = no_progress,
    ) -> None:
        if dense.recipe.window == "max":
            raise UsageError(
                "an index holds one vector a document; documents found by their best window have several: "
                "use window average, or leave out the index"
            )
        self.recipe = recipe
        self.dense = dense
        self.weights = dense.weights
        self._cache = Cache(cache)
        self._progress = progress
        self._library = graphs.chosen(recipe.library)
        graphs.require(self._library)
        self._parameters = _parameters(recipe)
        ef = self._parameters["ef_search"]
        self.ef_search = ef.at(depth) if isinstance(ef, ByDepth) else ef
        self.depth = min(depth, self.ef_search)
        self._last: tuple[str, Graph] | None = None
        self._build("l2")  # refuses parameters out of range before anything is embedded

    def describe(self) -> Mapping[str, Any]:
        """The dense ranker, and the index with its library's version."""
        return {"kind": "hnsw", "ranker": dict(self.dense.describe()), "index": self.settings()}

    def settings(self) -> dict[str, Any]:
        """The index's parameters as they are used."""
        how = self._build("l2")
        return {
            "preset": self.recipe.preset,
            "library": how.library,
            "versions": graphs.versions(how),
            "m": how.m,
            "ef_construction": how.ef_construction,
            "ef_search": self.ef_search,
            "ef_search_rule": msgspec.to_builtins(self._parameters["ef_search"]),
            "order": self.recipe.order,
            "seed": how.seed,
        }

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The documents that the index finds for every query, ``depth`` at most, by their exact scores."""
        depth = min(self.depth, len(collection.docs))
        if not depth or not len(collection.queries):
            shape = (len(collection.queries), depth)
            return Run(np.full(shape, -1, np.int32), np.zeros(shape, np.float32))
        vectors = self._vectors(collection)
        queries = np.asarray(self.dense.embeddings(collection.queries, "query")["vectors"], np.float32)
        found = self._graph(collection, vectors).search(queries, depth, self.ef_search).docs
        return Run.ranked(found, topk.rescore(queries, vectors, found), collection.doc_order)

    def index(self, collection: Collection) -> dict[str, Any]:
        """What the index of a collection is.

        Returns:
            ``documents``, ``metric`` with its reason, ``bytes``, ``build_seconds`` and ``not_repeatable``, the reason
            why another build may differ, or "".
        """
        graph = self._graph(collection, self._vectors(collection))
        return {
            "documents": len(collection.docs),
            "metric": graph.how.metric,
            "metric_reason": _METRIC[graph.how.metric],
            "bytes": graph.bytes,
            "build_seconds": round(graph.seconds, 3),
            "not_repeatable": graphs.not_repeatable(graph.how, 1),
        }

    def audit(self, collection: Collection) -> dict[str, Any]:
        """What the dense ranker does not see of the documents: ``DenseRanker.audit``."""
        return self.dense.audit(collection)

    def _vectors(self, collection: Collection) -> Float32:
        return self.dense.documents(collection.docs)[0]

    def _build(self, metric: Metric) -> Build:
        try:
            return Build(
                self._library,
                m=self._parameters["m"],
                ef_construction=self._parameters["ef_construction"],
                seed=self.recipe.seed,
                metric=metric,
            )
        except ValueError as error:
            raise UsageError(f"index: {error}") from error

    def _graph(self, collection: Collection, vectors: Float32) -> Graph:
        """The collection's graph: the last one, a stored one, or a new one, which is stored."""
        how = self._build(metric_of(vectors))
        content = [self.dense.describe(), texts_hash(collection.docs), msgspec.to_builtins(how), graphs.versions(how)]
        key = digest([*content, self.recipe.order])
        if self._last is None or self._last[0] != key:
            self._last = key, self._stored(key, how, vectors)
        return self._last[1]

    def _stored(self, key: str, how: Build, vectors: Float32) -> Graph:
        folder = self._cache.folder("graphs", key)
        if folder.is_dir():
            return graphs.load(folder, how)
        graph = graphs.build(vectors, self._order(len(vectors)), how, progress=self._progress)
        with written(folder) as part:
            graph.save(part)
        return graph

    def _order(self, n: int) -> Int64 | None:
        if self.recipe.order == "given":
            return None
        return np.random.default_rng(self.recipe.seed).permutation(n).astype(np.int64)


def _parameters(recipe: HnswRecipe) -> dict[str, Any]:
    """m, ef_construction and ef_search: the recipe's own, else those of its preset."""
    own = {name: getattr(recipe, name) for name in ("m", "ef_construction", "ef_search")}
    if not recipe.preset:
        return own
    named = preset(recipe.preset)
    return {name: value or getattr(named, name) for name, value in own.items()}
