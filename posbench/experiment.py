"""One evaluation from names to a stored result: load, rank, measure, store. What every command and study runs."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import bias, controls, gains, indexed, loaders, manifest, measures, pmrr, rankers, recipe, reranked, stats
from posbench.compare import bias_of_stages
from posbench.errors import UsageError
from posbench.evaluate import allowed, evaluate, most_excluded
from posbench.rankers.pipeline import Pipeline
from posbench.recipe import Bm25Recipe, HnswRecipe, PipelineRecipe, RankerRecipe, digest
from posbench.reranking import Rerank
from posbench.rewards import Constants
from posbench.store import RESULTS, Cache, Result, Results, default_cache, sha256_of
from posbench.stored import run_table, stored_run
from posbench.types import Collection, Int64, Progress, Ranker, Report, Run, no_progress
from posbench.versions import installed, own_code


@dataclass(frozen=True)
class Settings:
    """How to run, apart from what to run.

    ``window``, ``window_tokens`` and ``stride`` go before a dense ranker's recipe (``rankers.windowed``); ``index``
    puts it behind an index (``rankers.indexed``) and has what that costs measured; ``rerank`` has its top reranked
    (``rankers.reranked``) and the first stage measured too, and ``reward`` holds the constants of a pointwise
    reranker's reward (``rewards``); ``controls`` adds the scores of ``posbench.controls``;
    ``again`` computes a finished result anew; ``command`` is recorded in the manifest as it was typed.
    """

    measures: tuple[str, ...] = measures.DEFAULT
    depth: int = 1000
    seed: int = 0
    out: Path = RESULTS
    cache: Path = field(default_factory=default_cache)
    devices: tuple[str, ...] = ()
    window: str = ""
    window_tokens: int = 0
    stride: int = 0
    index: str = ""
    rerank: Rerank | None = None
    reward: Constants = field(default_factory=Constants)
    controls: bool = False
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


def run(
    dataset: str,
    model: str,
    settings: Settings | None = None,
    progress: Progress = no_progress,
    *,
    collections: Sequence[Collection] = (),
) -> Outcome:
    """Evaluates one ranker on one dataset, or reads the finished result.

    Args:
        dataset: a dataset recipe's name, with a subset after "/", or a path.
        model: a ranker recipe's name, a recipe file, a model folder, a hub id or ``module:Class``.
        settings: how to run.
        progress: shows long steps.
        collections: what is searched, instead of what ``dataset`` names.
    """
    settings = settings or Settings()
    clock = _Clock()
    name, chosen = reranked.resolve(model)
    name, chosen = rankers.windowed(name, chosen, settings.window, settings.window_tokens, settings.stride)
    name, chosen = rankers.indexed(name, chosen, settings.index)
    name, chosen = rankers.reranked(name, chosen, settings.rerank)
    if settings.controls and isinstance(chosen, HnswRecipe | PipelineRecipe):
        part = "its index: run --controls without --index" if isinstance(chosen, HnswRecipe) else "a pipeline"
        raise UsageError(f"controls are of the ranker, not of {part}")
    rankers.check_devices(settings.devices)
    devices = settings.devices or rankers.devices()
    make = partial(
        reranked.build,
        cache=settings.cache,
        devices=devices,
        remote_code=settings.remote_code,
        progress=progress,
        name=name,
    )
    ranker = make(chosen, depth=settings.depth)
    with clock.phase("load"):
        collections = collections or loaders.load(dataset, settings.options, progress)
    spare = max(map(most_excluded, collections))
    if spare:  # so that as many as wanted are left
        ranker = make(chosen, depth=max(settings.depth, getattr(chosen, "depth", 0)) + spare)
    reranked.check_reward(ranker, settings.reward)
    if settings.controls:
        controls.check(collections)
    job = _Job(common_name(collections), name, collections, chosen, ranker, make, settings, devices, clock)
    results = Results(settings.out)
    found = None if settings.again else results.find(job.dataset, job.name, job.fingerprint)
    fresh = found is None
    if found is None:
        found = _compute(job, results)
    elif _lacks(found, settings):
        found = _complete(job, found, results)
    report = _select(found.report(), settings.measures)
    return Outcome(found, report, _summary(job, found, report), fresh)


@dataclass(frozen=True)
class _Job:
    """What is evaluated, resolved."""

    dataset: str
    name: str
    collections: Sequence[Collection]
    recipe: RankerRecipe
    ranker: Ranker
    make: Callable[..., Ranker]
    settings: Settings
    devices: tuple[str, ...]
    clock: "_Clock"

    @cached_property
    def bm25(self) -> Ranker | None:
        """The ranker of the control, or None where it is the one under test."""
        return (
            None if isinstance(self.recipe, Bm25Recipe) else self.make(recipe.ranker("bm25"), depth=self.settings.depth)
        )

    @cached_property
    def exact(self) -> Ranker | None:
        """The dense ranker behind the index, by exact search and deep enough to judge the index by; else None."""
        if not isinstance(self.recipe, HnswRecipe):
            return None
        name, dense = rankers.dense_of(self.recipe, self.name)
        spare = max(map(most_excluded, self.collections))
        return self.make(dense, depth=max(self.settings.depth, *indexed.CUTOFFS) + spare, name=name)

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


def common_name(collections: Sequence[Collection]) -> str:
    """The longest common path of the collections' names."""
    if len(collections) == 1:
        return collections[0].name
    return os.path.commonpath([collection.name for collection in collections]) or "several"


def _compute(job: _Job, results: Results) -> Result:
    runs, reports = [], []
    audits = []
    for collection in job.collections:
        with job.clock.phase("rank"):
            ranked = _ranked(job, collection, job.ranker, candidates=_first(job, collection))
        reports.append(_measured(job, collection, ranked, job.settings.measures, job.settings.controls))
        runs.append(run_table(collection, ranked))
        audit = getattr(job.ranker, "audit", None)
        if audit is not None:
            with job.clock.phase("audit"):
                audits.append(audit(collection))
    report = replace(Report.concat(reports), header=_header(job, manifest.truncation(audits)))
    return results.write(job.dataset, job.name, job.fingerprint, report, pa.concat_tables(runs).unify_dictionaries())


def _ranked(job: _Job, collection: Collection, ranker: Ranker, depth: int = 0, candidates: Run | None = None) -> Run:
    """A run of one collection, kept in the cache so that a dataset of many parts goes on where it stopped.

    ``depth`` 0 is that of the settings. What a ranker says of its last run is kept beside it.
    """
    cache = Cache(job.settings.cache)
    depth = depth or job.settings.depth
    key = _run_key(collection, ranker, depth)
    stored = None if job.settings.again else cache.load("runs", key)
    if stored is not None:
        return Run(np.asarray(stored["docs"]), np.asarray(stored["scores"]))
    ranked = allowed(collection, ranker.rank(collection, candidates)).top(depth)
    if hasattr(ranker, "facts"):
        cache.note("facts", key, ranker.facts())
    cache.save("runs", key, {"docs": ranked.docs, "scores": ranked.scores})
    return ranked


def _run_key(collection: Collection, ranker: Ranker, depth: int) -> str:
    return digest([collection.fingerprint, ranker.describe(), depth])


def _first(job: _Job, collection: Collection) -> Run | None:
    """The run of a pipeline's first stage; None for other rankers."""
    if not isinstance(job.ranker, Pipeline):
        return None
    return _ranked(job, collection, job.ranker.first, max(job.settings.depth, job.ranker.recipe.depth))


def _measured(job: _Job, collection: Collection, ranked: Run, names: tuple[str, ...], controlled: bool) -> Report:
    """The measures of one collection's run, with those of the controls if wanted and possible."""
    with job.clock.phase("measure"):
        report = evaluate(collection, ranked, names, ranker=job.name)
    if job.exact is not None:
        with job.clock.phase("exact search"):
            exact = _ranked(job, collection, job.exact, max(job.settings.depth, *indexed.CUTOFFS))
        reach = int(getattr(job.ranker, "depth", 0))
        report = indexed.by_exact(report, collection, ranked, exact, job.settings.depth, reach)
    first = _first(job, collection)
    if first is not None and isinstance(job.ranker, Pipeline):
        scored = reranked.scored_alone(job.ranker)
        top = first.top(job.settings.depth)
        report = reranked.by_first(report, collection, ranked, top, scored, job.settings.reward)
    if not controlled or not controls.possible(collection):
        return report
    with job.clock.phase("controls"):
        deeper = partial(job.make, job.recipe)
        report = controls.by_span(report, collection, ranked, job.ranker, deeper, job.settings.depth)
        if job.bm25 is not None:
            report = controls.by_bm25(report, collection, _ranked(job, collection, job.bm25))
    return report


def _lacks(found: Result, settings: Settings) -> bool:
    """Whether a finished result has not all that is asked for, or a reward by other constants."""
    have, control = found.manifest["measures"], found.manifest.get("controls")
    wanted = not set(settings.measures) <= set(have) or (settings.controls and control is None)
    return wanted or reranked.reward_differs(found.manifest, settings.reward)


def _complete(job: _Job, found: Result, results: Results) -> Result:
    """Adds measures and controls to a finished result from its stored run; it is not ranked again."""
    old = {key: value for key, value in found.manifest.items() if key not in {"format", "fingerprint", "files"}}
    names = tuple(dict.fromkeys([*old["measures"], *job.settings.measures]))
    controlled = job.settings.controls or old.get("controls") is not None
    table = found.run()
    reports = [_measured(job, part, stored_run(table, part), names, controlled) for part in job.collections]
    header = {**old, "measures": list(names), "controls": _controls(job) if controlled else None}
    if reranked.reward_differs(old, job.settings.reward):
        header["rerank"] = {**old["rerank"], "reward": asdict(job.settings.reward)}
    return results.write(job.dataset, job.name, job.fingerprint, replace(Report.concat(reports), header=header), None)


def _controls(job: _Job) -> dict[str, Any]:
    """How the columns of the controls were made."""
    made: dict[str, Any] = {"span": {"what": controls.HOW["span"]}}
    if job.bm25 is not None:
        made["bm25"] = {"what": controls.HOW["bm25"], "used": dict(job.bm25.describe())}
    return made


def _select(report: Report, names: tuple[str, ...]) -> Report:
    return replace(report, measures=names)


def _header(job: _Job, audit: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest: everything needed to repeat the run, and what it cost."""
    header = {
        "dataset": manifest.dataset(job.dataset, job.collections),
        "ranker": {
            "name": job.name,
            "recipe": msgspec.to_builtins(job.recipe),
            "used": dict(job.ranker.describe()),
        },
        "weights": manifest.weights(job.ranker),
        "measures": list(job.settings.measures),
        "controls": _controls(job) if job.settings.controls else None,
        "depth": job.settings.depth,
        "kind": "eval",
        "seed": job.settings.seed,
        "truncation": audit,
        "command": job.settings.command,
        "devices": list(job.devices),
        "seconds": {**job.clock.seconds, **getattr(job.ranker, "seconds", {})},
        "peak_memory_mb": manifest.peak_memory(),
        "versions": manifest.versions(),
    }
    if job.exact is not None:
        header["index"] = indexed.facts(job.ranker, job.collections)
    if isinstance(job.ranker, Pipeline):
        keys = {part.name: _run_key(part, job.ranker, job.settings.depth) for part in job.collections}
        each = {name: Cache(job.settings.cache).recall("facts", key) or {} for name, key in keys.items()}
        header["rerank"] = reranked.facts(job.ranker, manifest.weights, each, job.settings.reward)
    return header


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
    topics = pmrr.topics(report.queries)
    if topics is not None:
        merged, kinds = topics, {"topic"}
    column = "domain" if "domain" in report.queries.column_names else "dataset"
    return merged, bias.codes(report.queries, column), "query" if "query" in kinds else kinds.pop()


def _summary(job: _Job, found: Result, report: Report) -> dict[str, Any]:
    analysis = _analysis(job, found, report)
    staged = analysis.pop("stages")
    return {
        "dataset": job.dataset,
        "ranker": job.name,
        "weights": found.manifest["weights"],
        **analysis,
        "truncation": found.manifest["truncation"],
        "counts": found.manifest["dataset"]["counts"],
        "selection": found.manifest["dataset"].get("selection"),
        **({"rerank": reranked.summary(found.manifest, report) | staged} if staged is not None else {}),
        "seed": job.settings.seed,
        "result": str(found.folder),
    }


def _analysis(job: _Job, found: Result, report: Report) -> dict[str, Any]:
    """``_analysed``, from the cache where the same code analysed the same values before."""
    values = sha256_of(found.folder / "queries.parquet")
    code = [own_code(), installed(["numpy"])]
    key = digest([code, found.manifest["fingerprint"], values, report.measures, job.settings.seed])
    cache = Cache(job.settings.cache)
    if job.settings.again or cache.recall("analyses", key) is None:
        cache.note("analyses", key, _analysed(job, report))
    known: dict[str, Any] = cache.recall("analyses", key)
    return known


def _macro(report: Report) -> dict[str, float] | None:
    """The mean over collections of their means, as BRIGHT and BEIR publish; None where there is one collection."""
    part = bias.codes(report.queries, "dataset")
    counts = np.bincount(part)
    if len(counts) < 2:
        return None
    return {name: float((np.bincount(part, report.values(name)) / counts).mean()) for name in report.measures}


def _analysed(job: _Job, report: Report) -> dict[str, Any]:
    """What the values of the queries say, and how sure: a function of report, collections and seed."""
    names = list(report.measures)
    clusters, strata, resampled = _groups(job.collections, report)
    values = np.stack([report.values(name) for name in names], axis=1)
    low, high = stats.mean_intervals(values, clusters, strata, seed=job.settings.seed)
    main = next((name for name in names if name == "nDCG@10"), names[0])
    found = bias.position_report(report, main, seed=job.settings.seed)
    staged = None
    if isinstance(job.ranker, Pipeline):
        gained = gains.gains(report, clusters, strata, seed=job.settings.seed)
        staged = {"gains": gained, "bias": bias_of_stages(report, found, seed=job.settings.seed)}
    return {
        "measures": {name: float(values[:, i].mean()) for i, name in enumerate(names)},
        "intervals": {name: [float(low[i]), float(high[i])] for i, name in enumerate(names)},
        "macro": _macro(report),
        "resampled": resampled,
        "bias": found,
        "stages": staged,
    }
