"""Saliency: which parts of a document move its score. One study from names to a stored result, for any embedding model.

The methods are PosIR's gradient norm, integrated gradients, and occlusion of segments, which asks nothing of a model
but vectors. All run in float32: differences of scores and long sums of gradients are noise in bfloat16.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import pyarrow as pa

from posbench import loaders, manifest, rankers
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.experiment import Outcome, Settings, common_name
from posbench.rankers.encoders import layered
from posbench.recipe import DenseRecipe, RankerRecipe, digest
from posbench.store import Cache, Result, Results
from posbench.studies import curves, embedder, gradients
from posbench.studies.curves import Attribution
from posbench.studies.gradients import Differentiable
from posbench.studies.occlusion import occlude
from posbench.studies.pairs import Pairs, Selection, select
from posbench.types import Collection, Progress, Report, distinct, no_progress, strings, texts_hash

MethodName = Literal["gradient", "integrated", "occlusion"]
METHODS: tuple[MethodName, ...] = get_args(MethodName)
_TYPES = {"curve": pa.list_(pa.float64()), "evidence": pa.float64()}
_OPTIONS = {"gradient": (), "integrated": ("steps", "baseline"), "occlusion": ("segments",)}


@dataclass(frozen=True)
class Method:
    """How: ``steps`` and ``baseline`` are of integrated gradients, ``segments`` of occlusion.

    ``max_tokens`` cuts documents before the model's own limit; 0 for that limit.
    """

    name: MethodName = "gradient"
    steps: int = 32
    baseline: Literal["zero", "mean"] = "zero"
    segments: int = 20
    max_tokens: int = 0

    def used(self) -> dict[str, Any]:
        """What matters for this method."""
        return {name: getattr(self, name) for name in ("name", "max_tokens", *_OPTIONS[self.name])}


_OFFICIAL, _PAIRS = Method(), Selection()


def run(
    dataset: str,
    model: str,
    method: Method = _OFFICIAL,
    selection: Selection = _PAIRS,
    settings: Settings | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Computes the saliency of one model on one dataset, or reads the finished result.

    Args:
        dataset: a dataset recipe's name, with a subset after "/", or a path; it needs evidence.
        model: a ranker recipe's name, a recipe file, a model folder, a hub id or ``module:Class``; it needs to embed.
        method: how each pair is attributed.
        selection: which pairs.
        settings: how to run; measures and depth do not matter.
        progress: shows long steps.

    Raises:
        UsageError: the model cannot do what the method needs, or no pair qualifies.
    """
    settings = settings or Settings()
    name, recipe = rankers.resolve(model)
    recipe = _exact(recipe)
    devices = settings.devices or rankers.devices()
    ranker = embedder.build(name, recipe, settings, progress)
    collections = loaders.load(dataset, settings.options, progress)
    whole = common_name(collections)
    job = _Job(whole, name, collections, ranker, recipe, method, selection, settings, devices, progress)
    results = Results(settings.out)
    result = None if settings.again else results.find(job.dataset, name, job.fingerprint)
    fresh = result is None
    if result is None:
        result = _compute(job, results)
    report = result.report()
    about = {"dataset": job.dataset, "ranker": name, "weights": result.manifest["weights"]}
    about["dataset_selection"] = result.manifest["dataset"].get("selection")
    figures = curves.summary(report, seed=settings.seed)
    return Outcome(result, report, {**about, **figures, "seed": settings.seed, "result": str(result.folder)}, fresh)


@dataclass(frozen=True)
class _Job:
    """What is computed, resolved."""

    dataset: str
    name: str
    collections: Sequence[Collection]
    ranker: Any
    recipe: RankerRecipe
    method: Method
    selection: Selection
    settings: Settings
    devices: tuple[str, ...]
    progress: Progress

    @property
    def used(self) -> dict[str, Any]:
        """The ranker's own description, in the precision of this study."""
        return {**self.ranker.describe(), "precision": "float32"}

    @property
    def fingerprint(self) -> str:
        """Identifies the result: same collections, ranker, method and sample, same values."""
        parts = [collection.fingerprint for collection in self.collections]
        seed = self.settings.seed if self.selection.pairs else 0
        return digest(["saliency", parts, self.used, self.method.used(), asdict(self.selection), seed])


def _exact(recipe: RankerRecipe) -> RankerRecipe:
    """The recipe of a dense ranker with its weights in float32."""
    if not isinstance(recipe, DenseRecipe):
        return recipe
    arguments = {**recipe.encode.model_args, "dtype": "float32"}
    return msgspec.structs.replace(recipe, encode=msgspec.structs.replace(recipe.encode, model_args=arguments))


def _compute(job: _Job, results: Results) -> Result:
    start = time.perf_counter()
    pairs = select(job.collections, job.ranker, job.selection, job.method.max_tokens, job.settings.seed)
    cache = Cache(job.settings.cache)
    keys: list[str] = []
    if job.method.name == "occlusion":
        found = _occluded(job, pairs)
    else:
        found = _differentiated(job, pairs, cache, keys)
    rows = _rows(job.name, pairs, found)
    header = {
        "kind": "saliency",
        "dataset": manifest.dataset(job.dataset, job.collections),
        "ranker": {"name": job.name, "recipe": msgspec.to_builtins(job.recipe), "used": job.used},
        "weights": manifest.weights(job.ranker),
        "measures": list(curves.MEASURES),
        "method": job.method.used(),
        "selection": {
            **asdict(job.selection),
            "with_evidence": pairs.judged,
            "qualify": pairs.found,
            "without_curve": len(found) - len(rows),
        },
        "seed": job.settings.seed,
        "command": job.settings.command,
        "devices": list(job.devices),
        "seconds": {"saliency": round(time.perf_counter() - start, 3)},
        "peak_memory_mb": manifest.peak_memory(),
        "versions": manifest.versions(),
    }
    report = Report(header, curves.MEASURES, rows)
    result = results.write(job.dataset, job.name, job.fingerprint, report, None)
    cache.drop("saliency", keys)
    return result


def _rows(name: str, pairs: Pairs, found: Sequence[Attribution]) -> pa.Table:
    """One row a pair that has a curve.

    Raises:
        UsageError: none has.
    """
    usable = [i for i, attribution in enumerate(found) if attribution.usable]
    if not usable:
        raise UsageError(
            f"none of {len(found)} pairs has a saliency curve: documents of fewer than two tokens, or of no effect"
        )
    table = pairs.table.take(pa.array(usable))
    rows = [curves.row(found[i], len(pairs.documents[i]), pairs.spans[i]) for i in usable]
    table = table.add_column(1, "ranker", constant(name, len(rows)))
    for column in rows[0]:
        values = [row[column] for row in rows]
        table = table.append_column(column, pa.array(values, _TYPES.get(column)))
    return table


def _queries(job: _Job, pairs: Pairs) -> Any:
    """The vector of each pair's query: float32[pairs, d]."""
    asked = distinct(pairs.queries)
    vectors = np.asarray(job.ranker.embeddings(strings(asked), "query")["vectors"], np.float32)
    place = {query: i for i, query in enumerate(asked)}
    return vectors[[place[query] for query in pairs.queries]]


def _occluded(job: _Job, pairs: Pairs) -> list[Attribution]:
    texts = list(zip(pairs.queries, pairs.documents, strict=True))
    return occlude(job.ranker, texts, job.method.segments, _kept(job))


def _kept(job: _Job) -> Callable[[str], int]:
    """How many leading characters of a document the model reads."""
    encoder, limit = getattr(job.ranker, "encoder", None), job.method.max_tokens
    if not limit:
        return len if encoder is None else partial(encoder.kept_chars, role="document")
    encoder = layered(encoder)
    if encoder is None:
        raise UsageError(f"--max-tokens {limit}; expected none with {job.name}, whose texts cannot be cut by tokens")
    model = Differentiable(encoder, limit)
    return lambda text: int(model.read([text]).spans[..., 1].max())


def _differentiated(job: _Job, pairs: Pairs, cache: Cache, keys: list[str]) -> list[Attribution]:
    """Gradients, batch by batch; finished batches are cached, so that an interrupted run goes on."""
    how = job.method
    model = Differentiable(getattr(job.ranker, "encoder", None), how.max_tokens)
    method = gradients.norm if how.name == "gradient" else gradients.integrated(how.steps, how.baseline)
    queries = _queries(job, pairs)
    lengths = model.encoder.lengths(pairs.documents, "document")
    budget = gradients.BATCH_TOKENS["cuda" if job.devices[0].startswith("cuda") else "cpu"]
    advance = job.progress("differentiating pairs", len(pairs.documents))
    found: dict[int, Attribution] = {}
    for batch in gradients.batches(lengths, model.max_tokens, budget):
        documents = [pairs.documents[i] for i in batch]
        texts = texts_hash(strings([*documents, *(pairs.queries[i] for i in batch)]))
        keys.append(digest([job.used, how.used(), job.devices[0], texts]))
        stored = cache.load("saliency", keys[-1])
        if stored is None:
            stored = _packed(gradients.attribute(model, documents, queries[batch], method))
            cache.save("saliency", keys[-1], stored)
        found.update(zip(batch, _unpacked(stored), strict=True))
        advance(len(batch))
    return [found[i] for i in range(len(pairs.documents))]


def _packed(found: Sequence[Attribution]) -> dict[str, Any]:
    """A batch as arrays."""
    return {
        "values": np.concatenate([one.values for one in found]),
        "spans": np.concatenate([one.spans for one in found]),
        "ends": np.cumsum([len(one.values) for one in found]),
        "scores": np.array([[one.score, one.baseline] for one in found]),
    }


def _unpacked(arrays: Mapping[str, Any]) -> Iterator[Attribution]:
    begin = 0
    for end, (score, baseline) in zip(arrays["ends"].tolist(), arrays["scores"].tolist(), strict=True):
        yield Attribution(np.array(arrays["values"][begin:end]), np.array(arrays["spans"][begin:end]), score, baseline)
        begin = end
