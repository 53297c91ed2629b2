"""The study from stored results to a stored result: choices of every size, and how they rank."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from posbench import experiment, manifest
from posbench.dsir import noise
from posbench.dsir.features import Features, FeatureSpec
from posbench.dsir.scorers import Settings as Weighing
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.experiment import Outcome, Settings
from posbench.recipe import digest
from posbench.store import Result, Results, sha256_of
from posbench.studies.mini import later, trials
from posbench.studies.mini.draws import Draw, draws
from posbench.studies.mini.reduced import Corpus, cut_of
from posbench.studies.mini.subject import Subject, subject
from posbench.studies.mini.summary import summary
from posbench.types import Collection, Float64, Progress, Report, no_progress

NAME = "mini"
SIZES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_ON_COLLECTION = -1  # in the column resample


@dataclass(frozen=True)
class Plan:
    """What to try.

    Attributes:
        measure: by which the rankers are ranked.
        sizes: shares of the queries below 1, or numbers of queries from 1 on.
        selectors: by name (``draws.names``); all where empty.
        by: the text of a query, its relevant "documents" or the "queries"' own.
        seeds: choices of each selector and size on the collection.
        resamples: of the queries, with one choice each.
        wanted: the tau that a mini-benchmark is to keep.
        corpus: also score each ranker on a smaller corpus, as if it were new; None for the full one alone.

    Raises:
        UsageError: a value is out of range.
    """

    measure: str = "nDCG@10"
    sizes: tuple[float, ...] = SIZES
    selectors: tuple[str, ...] = ()
    by: str = "documents"
    seeds: int = 100
    resamples: int = 500
    wanted: float = 0.9
    corpus: Corpus | None = None
    spec: FeatureSpec = field(default_factory=FeatureSpec)

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.resamples < 20 or not 0 < self.wanted <= 1:
            raise UsageError(
                f"found {self.seeds} seeds, {self.resamples} resamples and a wanted tau of {self.wanted}; expected "
                "1 or more, 20 or more, and above 0 up to 1"
            )
        wrong = [size for size in self.sizes if size <= 0 or (size >= 1 and size != int(size))]
        if wrong or not self.sizes:
            raise UsageError(f"sizes {self.sizes}; expected shares below 1, or whole numbers of queries")
        if self.corpus is not None and self.corpus.depth < cut_of(self.measure):
            raise UsageError(f"a pool of depth {self.corpus.depth} is below the cut of {self.measure}; pool more")

    def counts(self, queries: int) -> list[int]:
        """The sizes as numbers of queries, ascending.

        Raises:
            UsageError: one is not below the number of queries.
        """
        found = sorted({max(1, round(size * queries)) if size < 1 else int(size) for size in self.sizes})
        if found[-1] >= queries:
            raise UsageError(f"a selection of {found[-1]} queries; the collection has {queries}: expected fewer")
        return found


def run(
    results: Mapping[str, Result],
    collections: Sequence[Collection],
    plan: Plan,
    settings: Settings | None = None,
    *,
    target: Features | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Tries mini-benchmarks of some rankers' common dataset, or reads the finished result.

    Args:
        results: of three or more rankers on one dataset, by the name that each is shown with.
        collections: what they searched.
        plan: what to try.
        settings: ``out``, ``seed``, ``again`` and ``command`` are used.
        target: features, by ``plan.spec``, of texts that the weighted selectors look for; by default all queries' own.
        progress: counts selectors.

    Raises:
        UsageError: the results do not belong together, or the plan asks for what they lack.
    """
    settings = settings or Settings()
    start = time.perf_counter()
    job = _Job(subject(results, collections, plan.measure, settings.seed), plan, settings, target, progress)
    fingerprint = digest(_identity(job))
    store, dataset = Results(settings.out), experiment.common_name(collections)
    found = None if settings.again else store.find(dataset, NAME, fingerprint)
    fresh = found is None
    if found is None:
        table = _compute(job)
        report = Report(_header(job, dataset, time.perf_counter() - start), trials.MEASURES, table)
        found = store.write(dataset, NAME, fingerprint, report, None)
    report = found.report()
    return Outcome(found, report, {**summary(report), "result": str(found.folder)}, fresh)


@dataclass(frozen=True)
class _Job:
    subject: Subject
    plan: Plan
    settings: Settings
    target: Features | None
    progress: Progress

    @property
    def sizes(self) -> list[int]:
        return self.plan.counts(len(self.subject.queries.values))

    def draws(self) -> list[Draw]:
        plan, seed = self.plan, self.settings.seed
        facts = self.subject.facts(plan.by, plan.spec, self.target, seed)
        return draws(facts, plan.selectors, self.sizes, seed)


def _identity(job: _Job) -> list[Any]:
    """What identifies the study: values and content, and all that is asked."""
    values = [[name, sha256_of(one.folder / "queries.parquet")] for name, one in job.subject.results.items()]
    content = [part.fingerprint for part in job.subject.collections]
    return [NAME, values, content, _plain(job), job.settings.seed]


def _plain(job: _Job) -> dict[str, Any]:
    """The plan, JSON-serialisable, with the target."""
    about = "all queries" if job.target is None else digest(job.target.counts().tolist())
    weighing = asdict(Weighing())
    plan = asdict(job.plan) | {"sizes": list(job.plan.sizes), "selectors": list(job.plan.selectors)}
    return {**plan, "spec": job.plan.spec.describe(), "target": about, "weighing": weighing}


def _compute(job: _Job) -> pa.Table:
    plan, sizes = job.plan, job.sizes
    chosen, queries = job.draws(), job.subject.queries
    seeds = range(job.settings.seed, job.settings.seed + plan.seeds)
    every = {seed: noise.keys(queries.ids, seed) for seed in seeds}
    advance = job.progress("choosing", len(chosen))
    tables = []
    for draw in chosen:
        keys = dict(list(every.items())[: _fewer(draw, plan.seeds)])
        resamples = _fewer(draw, plan.resamples)
        found = trials.on_collection(queries, draw, sizes, list(keys.values()))
        more = None if plan.corpus is None else later.score(job.subject, draw, sizes, keys, plan.corpus)
        tables.append(_rows(job, draw.name, found, [_ON_COLLECTION] * len(keys), list(keys), more))
        drawn = trials.on_resamples(queries, draw, sizes, resamples, job.settings.seed)
        tables.append(_rows(job, draw.name, drawn, range(resamples), [job.settings.seed] * resamples, None))
        advance(1)
    return pa.concat_tables(tables).unify_dictionaries()


def _fewer(draw: Draw, trials: int) -> int:
    """As many trials, or a fifth where each takes long."""
    return max(1, trials // 5) if draw.slow else trials


def _rows(
    job: _Job,
    name: str,
    found: Float64,
    resample: Sequence[int],
    seeds: Sequence[int],
    more: Mapping[str, Float64] | None,
) -> pa.Table:
    """One row a trial and size of float64[T, sizes, 4]."""
    n_trials, n_sizes, _ = found.shape
    n = n_trials * n_sizes
    size, trial = np.tile(job.sizes, n_trials), np.repeat(np.arange(n_trials), n_sizes)
    drawn, seed = np.asarray(resample, np.int32)[trial], np.asarray(seeds, np.int64)[trial]
    names = [f"{name}, {k} queries, seed {s}, resample {r}" for k, s, r in zip(size, seed, drawn, strict=True)]
    extra = more or dict.fromkeys(later.COLUMNS, np.full((n_trials, n_sizes), np.nan))
    return pa.table(
        {
            "dataset": constant(experiment.common_name(job.subject.collections), n),
            "ranker": constant(NAME, n),
            "query_id": pa.array(names, pa.string()),
            "selector": constant(name, n),
            "size": pa.array(size, pa.int32()),
            "seed": pa.array(seed),
            "resample": pa.array(drawn),
            **{column: pa.array(found[:, :, i].ravel()) for i, column in enumerate(trials.MEASURES)},
            **{column: pa.array(extra[column].ravel()) for column in later.COLUMNS},
        }
    )


def _header(job: _Job, dataset: str, seconds: float) -> dict[str, Any]:
    subject, means = job.subject, job.subject.queries.values.mean(axis=0)
    return {
        "kind": NAME,
        "dataset": manifest.dataset(dataset, subject.collections),
        "ranker": {"name": NAME, "recipe": {}, "used": {}},
        "weights": f"{len(subject.rankers)} rankers",
        "measures": list(trials.MEASURES),
        "plan": _plain(job),
        "queries": len(subject.queries.values),
        "clusters": int(subject.queries.clusters.max()) + 1,
        "rankers": [
            {"name": name, "mean": float(mean), "result": one.folder.name, "weights": one.manifest["weights"]}
            for (name, one), mean in zip(subject.results.items(), means, strict=True)
        ],
        "known": [list(pair) for pair in subject.known],
        "seed": job.settings.seed,
        "command": job.settings.command,
        "seconds": {"choose and score": round(seconds, 3)},
        "peak_memory_mb": manifest.peak_memory(),
        "versions": manifest.versions(),
    }
