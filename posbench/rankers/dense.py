"""Dense retrieval: embed every text once, search exactly. Long documents are cut off, averaged or found by one window.

Identical texts are embedded once; texts are sorted by length and batched by a budget of tokens; vectors are cached by
content in shards, so that an interrupted run goes on where it stopped and a corpus is never embedded twice.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from posbench import topk
from posbench.errors import UsageError
from posbench.rankers import encoders, grouped, weights, windows
from posbench.rankers.encoders import Encoder
from posbench.rankers.tokens import Role
from posbench.recipe import DenseRecipe, digest
from posbench.store import Cache
from posbench.types import (
    Collection,
    Evidence,
    Float32,
    Int32,
    Int64,
    Progress,
    Run,
    Strings,
    no_progress,
    texts_hash,
)
from posbench.versions import installed

SHARD_TOKENS = {"cpu": 1 << 14, "cuda": 1 << 21}  # what an interrupted run loses at most: seconds
BATCH_TOKENS = {"cpu": 2048, "cuda": 1 << 16}
_PAIRS = 4096  # (query, text) pairs scored at one time
_NUMBERS_FROM = ("torch", "transformers", "sentence-transformers", "tokenizers", "numpy")


class DenseRanker:
    """A dense recipe on this machine's weights and devices."""

    def __init__(
        self,
        recipe: DenseRecipe,
        *,
        depth: int = 1000,
        cache: Path,
        devices: Sequence[str] = ("cpu",),
        remote_code: bool = False,
        progress: Progress = no_progress,
        name: str = "model",
    ) -> None:
        self.recipe = recipe
        self.depth = depth
        self.devices = tuple(devices)
        self.weights = weights.find(recipe.source, name)
        self._cache = cache
        self._remote_code = remote_code
        self._progress = progress
        self._encoders: list[Encoder] = []

    def describe(self) -> Mapping[str, Any]:
        """Weights, prompts, lengths, windows, precision and the versions of the packages that compute."""
        recipe = self.recipe
        window = {"score": recipe.window, "tokens": recipe.window_tokens, "stride": recipe.stride}
        return {**self._model(), "window": "truncate" if recipe.window == "truncate" else window}

    def _model(self) -> dict[str, Any]:
        """What the vector of a text depends on: all of ``describe`` but the windows."""
        return {
            "kind": "dense",
            "weights": dict(self.weights.identity),
            "encode": {name: getattr(self.recipe.encode, name) for name in self.recipe.encode.__struct_fields__},
            "precision": "float32" if self.devices[0] == "cpu" else "bfloat16",
            "versions": installed(_NUMBERS_FROM),
        }

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The exact nearest documents of every query, by their best window where the recipe says so."""
        vectors, bounds = self.documents(collection.docs)
        queries = np.asarray(self.embeddings(collection.queries, "query")["vectors"], np.float32)
        order, devices = collection.doc_order, self.devices
        if bounds is None:
            return topk.search(queries, vectors, self.depth, order, devices=devices)
        return grouped.search(queries, vectors, bounds, self.depth, order, devices=devices)

    def pairs(self, queries: Strings, texts: Strings) -> Float32:
        """The score of each query with the text beside it: float32[N]. No other text bears on it."""
        asked = np.asarray(self.embeddings(queries, "query")["vectors"])
        vectors, bounds = self.documents(texts)
        if bounds is None:
            bounds = np.arange(len(texts) + 1, dtype=np.int64)
        scores = np.empty(len(texts), np.float32)
        for first in range(0, len(texts), _PAIRS):
            edges = bounds[first : first + _PAIRS + 1]
            row = np.repeat(np.arange(first, first + len(edges) - 1), np.diff(edges))
            products = np.multiply(vectors[edges[0] : edges[-1]], asked[row], dtype=np.float64).sum(axis=-1)
            scores[first : first + _PAIRS] = np.maximum.reduceat(products, edges[:-1] - edges[0])
        return scores

    def documents(self, texts: Strings) -> tuple[Float32, Int64 | None]:
        """What is searched for documents.

        Returns:
            Their vectors float32[N, d] and None; where documents are scored by their best window the windows' vectors
            float32[W, d] and int64[N + 1], where the windows of each document begin and end.
        """
        if self.recipe.window == "truncate":
            return self.embeddings(texts, "document")["vectors"], None
        pieces = self.cut(texts)
        vectors = self.embeddings(windows.texts_of(texts, pieces), "document")["vectors"]
        if self.recipe.window == "average":
            return windows.average(vectors, pieces.bounds, self.recipe.encode.normalize), None
        return vectors, pieces.bounds

    def cut(self, texts: Strings) -> windows.Cut:
        """Where documents are cut into windows; cached by content."""
        recipe, cache = self.recipe, Cache(self._cache)
        key = digest([self._model(), recipe.window_tokens, recipe.stride, texts_hash(texts)])
        found = cache.load("windows", key)
        if found is None:
            model = self._load()[0]
            if recipe.window_tokens > model.max_tokens:
                raise UsageError(f"windows of {recipe.window_tokens} tokens; the model reads {model.max_tokens}")
            made = windows.cut(model, texts, recipe.window_tokens or model.max_tokens, recipe.stride, self._progress)
            limit = np.array([made.limit], np.int64)
            cache.save("windows", key, {**vars(made), "limit": limit})
            return made
        return windows.Cut(found["spans"], found["bounds"], found["tokens"], int(found["limit"][0]))

    def embeddings(self, texts: Strings, role: Role) -> Mapping[str, Any]:
        """Cached by content: ``vectors`` float32[N, d], ``tokens`` int32[N] before any cut, ``limit`` int64[1]."""
        cache = Cache(self._cache)
        key = digest([self._model(), role, texts_hash(texts)])
        found = cache.load("embeddings", key)
        if found is None:
            cache.save("embeddings", key, self._embed_column(texts, role, cache, key))
            found = cache.load("embeddings", key) or {}
        return found

    def audit(self, collection: Collection) -> dict[str, Any]:
        """What the model does not see of the documents, or what its windows part.

        Returns:
            ``max_tokens``, of a window; ``documents_cut``, the share of documents of which a part is not read;
            ``evidence_beyond``, the share of the queries with evidence whose evidence ends beyond the cut (only where
            the searched document is the one that the offsets belong to); ``documents`` and ``evidence``, the counts
            behind the shares. Where nothing is cut off but read in windows also ``window``, ``windows`` (how many),
            ``documents_windowed`` (the share that has several) and ``evidence_parted`` (the share of the queries whose
            evidence stands whole in no window).
        """
        pieces = None if self.recipe.window == "truncate" else self.cut(collection.docs)
        if pieces is None:
            found = self.embeddings(collection.docs, "document")
            limit, tokens = int(found["limit"][0]), np.asarray(found["tokens"])
        else:
            limit, tokens = pieces.limit, pieces.tokens
        over = tokens > limit
        share = float(over.mean()) if len(over) else 0.0
        audit: dict[str, Any] = {"max_tokens": limit, "documents": len(over), "documents_cut": share}
        if pieces is not None:
            audit |= {"documents_cut": 0.0, "documents_windowed": share}
            audit |= {"window": self.recipe.window, "windows": len(pieces.spans)}
        evidence = collection.evidence
        if evidence is None or not len(evidence.doc) or collection.source.get("cross_lingual"):
            return audit
        audit["evidence"] = len(evidence.doc)
        if pieces is not None:
            parted = windows.outside(pieces, evidence.doc, evidence.start, evidence.end)
            return audit | {"evidence_beyond": 0.0, "evidence_parted": len(parted) / len(evidence.doc)}
        return audit | {"evidence_beyond": self._beyond(collection, evidence, over)}

    def _beyond(self, collection: Collection, evidence: Evidence, over: NDArray[np.bool_]) -> float:
        """The share of the evidence that ends beyond the cut; ``over`` bool[D] says which documents are cut."""
        kept = np.full(len(evidence.doc), np.iinfo(np.int32).max)
        cut = np.flatnonzero(over[evidence.doc])
        places = {doc: self._kept_chars(collection, doc) for doc in np.unique(evidence.doc[cut]).tolist()}
        kept[cut] = [places[doc] for doc in evidence.doc[cut].tolist()]
        return float((evidence.end > kept).mean())

    @property
    def encoder(self) -> Encoder:
        """The model on the first device, loaded when first asked for."""
        return self._load()[0]

    def _kept_chars(self, collection: Collection, doc: int) -> int:
        return self.encoder.kept_chars(collection.docs[doc].as_py(), "document")

    def _load(self) -> list[Encoder]:
        if not self._encoders:
            self._encoders = [
                encoders.build(self.recipe, self.weights, device, self._cache, self._remote_code)
                for device in self.devices
            ]
        return self._encoders

    def _embed_column(self, texts: Strings, role: Role, cache: Cache, key: str) -> dict[str, Any]:
        """Embeds the distinct texts of a column shard by shard and spreads them over the rows."""
        models = self._load()
        encoded = texts.dictionary_encode()
        column = encoded.dictionary
        lengths = windows.token_counts(models[0], column, role)
        order = np.argsort(-lengths, kind="stable")
        shards = _shards(np.minimum(lengths[order], models[0].max_tokens), SHARD_TOKENS[self._kind])
        advance = self._progress(f"embedding {role}s", len(column))
        free: SimpleQueue[Encoder] = SimpleQueue()
        for model in models:
            free.put(model)

        def shard(number: int) -> Float32:
            rows = order[shards[number] : shards[number + 1]]
            part = f"{key}-{number}"
            stored = cache.load("shards", part)
            if stored is None:
                model = free.get()
                try:
                    vectors = _embed(model, column.take(pa.array(rows)), lengths[rows], role, BATCH_TOKENS[self._kind])
                finally:
                    free.put(model)
                cache.save("shards", part, {"vectors": vectors})
                stored = {"vectors": vectors}
            advance(len(rows))
            return np.asarray(stored["vectors"])

        with ThreadPoolExecutor(len(models)) as pool:
            parts = list(pool.map(shard, range(len(shards) - 1)))
        width = parts[0].shape[1] if parts else 0
        distinct = np.empty((len(column), width), np.float32)
        if parts:
            distinct[order] = np.concatenate(parts)
        rows = encoded.indices.to_numpy()
        cache.drop("shards", [f"{key}-{number}" for number in range(len(shards) - 1)])
        return {
            "vectors": distinct[rows],
            "tokens": lengths[rows],
            "limit": np.array([models[0].max_tokens], np.int64),
        }

    @property
    def _kind(self) -> str:
        return "cuda" if self.devices[0].startswith("cuda") else "cpu"


def _shards(lengths: Int32, size: int) -> list[int]:
    """Boundaries that cut texts into shards of about ``size`` tokens."""
    if not len(lengths):
        return [0]
    shard = np.cumsum(lengths, dtype=np.int64) // size
    return [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(lengths)]


def _embed(model: Encoder, column: Strings, lengths: Int32, role: Role, budget: int) -> Float32:
    """Vectors of texts that stand in descending length, in batches whose padded size stays within the budget."""
    texts = column.to_pylist()
    parts = []
    first = 0
    while first < len(texts):
        size = max(1, budget // max(1, min(int(lengths[first]), model.max_tokens)))
        parts.append(_embed_halving(model, texts[first : first + size], role))
        first += size
    return np.concatenate(parts)


def _embed_halving(model: Encoder, texts: list[str], role: Role) -> Float32:
    """One batch; on running out of memory its halves, down to single texts."""
    try:
        return model.embed(texts, role)
    except (RuntimeError, MemoryError) as error:
        if len(texts) == 1 or not out_of_memory(error):
            raise
        half = len(texts) // 2
    return np.concatenate([_embed_halving(model, texts[:half], role), _embed_halving(model, texts[half:], role)])


def out_of_memory(error: Exception) -> bool:
    """Whether a batch was too large for the device."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)
