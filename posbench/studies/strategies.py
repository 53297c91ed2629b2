"""Strategies of listwise reranking side by side: quality and cost, at full depth and at one budget of tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import measures, paired, stats
from posbench.errors import UsageError
from posbench.evaluate import constant
from posbench.experiment import Outcome, Settings
from posbench.listwise import STRATEGIES, ListwiseRecipe
from posbench.rankers.listwise import planning
from posbench.recipe import digest
from posbench.reranking import Rerank
from posbench.stats import Bootstrap
from posbench.store import Results
from posbench.studies import listed
from posbench.types import Int32, Progress, Report, no_progress

MEASURE = "nDCG@10"
DEFAULT = ("full", "sliding", "top-down", "consistency")
COSTS = ("prompt_tokens", "answer_tokens", "calls", "rounds", "malformed")
_PLANNED = 50  # queries of which costs are planned
_BLOCK = 64
_LEEWAY = 1.02  # of the budget, before a strategy is run at a smaller depth


@dataclass(frozen=True)
class _Arm:
    """One strategy at one depth, and what a query's list cost on average."""

    name: str
    recipe: ListwiseRecipe
    depth: int
    rows: pa.Table
    seconds: float | None

    @property
    def tokens(self) -> float:
        return sum(float(self.rows[name].to_numpy().mean()) for name in ("prompt_tokens", "answer_tokens"))


def run(
    dataset: str,
    model: str,
    wish: Rerank,
    settings: Settings | None = None,
    *,
    names: Sequence[str] = DEFAULT,
    budget: float = 0.0,
    queries: int = 0,
    progress: Progress = no_progress,
) -> Outcome:
    """Runs strategies with one model and prompt, or reads the finished result.

    Args:
        dataset: as ``experiment.run`` takes it.
        model: the first stage: a ranker, a run file or a stored result.
        wish: the listwise reranker, whose own strategy does not matter, and how deep it reranks.
        settings: how to run; measures do not matter.
        names: of the strategies; the first is what others are compared with.
        budget: tokens a query, read and written; 0 is what the first strategy takes.
        queries: looked at, drawn at random; 0 are all that are judged.
        progress: shows long steps.

    Raises:
        UsageError: there is no such strategy, or the reranker is not listwise.
    """
    settings = settings or Settings()
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown or len(set(names)) < len(names) or not names or budget < 0:
        raise UsageError(f"found strategies {', '.join(names)}; expected some of {', '.join(STRATEGIES)}, each once")
    work = listed.stages(dataset, model, wish, settings, progress)
    prints = [one.fingerprint for one in work.collections]
    who = [dict(work.first.describe()), dict(work.reranker().describe()), msgspec.to_builtins(work.listwise)]
    key = digest(["strategies", prints, who, work.recipe.depth, list(names), budget, queries, settings.seed])
    results, label = Results(settings.out), f"{work.name}+strategies"
    found = None if settings.again else results.find(work.dataset, label, key)
    fresh = found is None
    if found is None:
        report = _compute(work, names, budget, queries, settings, progress)
        found = results.write(work.dataset, label, key, report, None)
    report = found.report()
    return Outcome(found, report, {**summary(report, settings.seed), "result": str(found.folder)}, fresh)


def _compute(
    work: listed.Stages, names: Sequence[str], budget: float, queries: int, settings: Settings, progress: Progress
) -> Report:
    parts = work.parts(queries, settings.seed)
    arms = [_arm(work, name, work.recipe.depth, parts, progress) for name in names]
    limit = budget or arms[0].tokens
    for arm in arms[: len(names)]:
        shorter = _within(work, arm, limit, parts, progress) if arm.tokens > limit * _LEEWAY else None
        arms += [] if shorter is None else [shorter]
    header = {
        **work.header("rerank-strategies", settings),
        "measures": [MEASURE, f"{MEASURE}:first", *COSTS],
        "budget": limit,
        "arms": [_about(arm, limit) for arm in arms],
    }
    table = pa.concat_tables([arm.rows for arm in arms]).unify_dictionaries()
    return Report(header, tuple(header["measures"]), table)


def _about(arm: _Arm, limit: float) -> dict[str, Any]:
    return {
        "arm": f"{arm.name}@{arm.depth}",
        "strategy": arm.name,
        "depth": arm.depth,
        "tokens": arm.tokens,
        "within_budget": arm.tokens <= limit * _LEEWAY,
        "seconds": arm.seconds,
    }


def _arm(work: listed.Stages, name: str, depth: int, parts: Sequence[listed.Part], progress: Progress) -> _Arm:
    """One strategy over all queries."""
    recipe = msgspec.structs.replace(work.listwise, strategy=name)
    ranker = work.reranker(recipe)
    advance = progress(f"{name}, {depth} candidates", sum(len(part.rows) for part in parts))
    tables, clusters, at = [], listed.clusters(parts), 0
    for part in parts:
        docs, costs = part.docs.copy(), []
        for first in range(0, len(docs), _BLOCK):
            chunk = range(first, min(len(docs), first + _BLOCK))
            for row, one in zip(chunk, ranker.rerank([part.listed(row, depth) for row in chunk]), strict=True):
                docs[row, : len(one.order)] = docs[row][list(one.order)]
                wrong = sum(count for kind, count in one.kinds.items() if kind != "ok")
                costs.append((*one.tokens, one.calls, one.rounds, wrong / max(1, one.calls)))
            advance(len(chunk))
        tables.append(_rows(part, docs, costs, f"{name}@{depth}", clusters[at : at + len(docs)]))
        at += len(docs)
    return _Arm(name, recipe, depth, pa.concat_tables(tables), _seconds(ranker.facts()["cost"], len(clusters)))


def _seconds(cost: Mapping[str, Any], queries: int) -> float | None:
    """Seconds of the model a query: those of the calls that were made now, for all; None where none was."""
    made = cost["calls"] - cost["cached"]
    return round(cost["seconds"] / made * cost["calls"] / queries, 4) if made else None


def _rows(part: listed.Part, docs: Int32, costs: Sequence[Sequence[float]], arm: str, clusters: Any) -> pa.Table:
    n = len(part.rows)
    return pa.table(
        {
            "dataset": constant(part.collection.name, n),
            "ranker": constant(arm, n),
            "query_id": part.collection.query_ids.cast(pa.string()).take(pa.array(part.rows)),
            "cluster": pa.array(clusters),
            MEASURE: measures.score(part.run(docs), part.qrels, (MEASURE,))[MEASURE],
            f"{MEASURE}:first": measures.score(part.run(part.docs), part.qrels, (MEASURE,))[MEASURE],
            **dict(zip(COSTS, np.array(costs, np.float64).reshape(n, len(COSTS)).T, strict=True)),
        }
    )


def _within(
    work: listed.Stages, arm: _Arm, limit: float, parts: Sequence[listed.Part], progress: Progress
) -> _Arm | None:
    """The strategy with as many candidates as the limit pays for; None where it does not pay for two.

    What answers cost is not known beforehand, so that a depth may turn out too dear; then a smaller one is tried.
    """
    while arm.tokens > limit * _LEEWAY:
        depth = min(_affordable(work, arm, limit, parts), arm.depth - 1)
        if depth < 2:
            return None
        arm = _arm(work, arm.name, depth, parts, progress)
    return arm


def _affordable(work: listed.Stages, arm: _Arm, limit: float, parts: Sequence[listed.Part]) -> int:
    """The largest depth whose planned cost is within the limit; 0 where not even two candidates are.

    Plans are scaled by what the strategy really took at its depth.
    """
    backend = work.reranker(arm.recipe).asker.client.backend
    rows = [(part, row) for part in parts for row in range(len(part.rows))][:_PLANNED]

    def planned(depth: int) -> float:
        return planning.tokens(arm.recipe, backend, [part.listed(row, depth) for part, row in rows])

    scale = arm.tokens / max(1.0, planned(arm.depth))
    low, high = 0, arm.depth
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if planned(middle) * scale <= limit else (low, middle)
    return low if low >= 2 else 0


def summary(report: Report, seed: int) -> dict[str, Any]:
    """Means with intervals and, against the first arm, paired tests, corrected by Holm: a function of the rows."""
    header, label = report.header, report.queries["ranker"].cast(pa.string()).to_numpy(zero_copy_only=False)
    rows = {about["arm"]: np.flatnonzero(label == about["arm"]) for about in header["arms"]}
    clusters = report.queries["cluster"].to_numpy()[next(iter(rows.values()))]
    clusters = np.unique(clusters, return_inverse=True)[1].astype(np.int64)
    columns = {name: report.values(name) for name in report.measures}
    quality = np.stack([columns[MEASURE][mine] for mine in rows.values()], axis=1)
    changes = quality[:, 1:] - quality[:, :1]
    bootstrap = Bootstrap(clusters, seed=seed)
    low, high = bootstrap.intervals(quality)
    p_values: list[float] = []
    if changes.size:
        p_values = stats.holm(paired.flip_test(changes, clusters, paired.flips_for(changes.shape[1]), seed).tolist())
    arms = []
    for at, (about, mine) in enumerate(zip(header["arms"], rows.values(), strict=True)):
        arms.append(
            {
                **about,
                "value": float(quality[:, at].mean()),
                "interval": [float(low[at]), float(high[at])],
                **{name: float(columns[name][mine].mean()) for name in COSTS},
                **(_change(changes[:, at - 1], bootstrap, p_values[at - 1]) if at else {"change": None}),
            }
        )
    return {
        "dataset": header["dataset"]["name"],
        "ranker": header["ranker"]["name"],
        "weights": header["weights"],
        "measure": MEASURE,
        "queries": len(clusters),
        "budget": header["budget"],
        "first_stage": float(columns[f"{MEASURE}:first"][next(iter(rows.values()))].mean()),
        "arms": arms,
        "seed": seed,
    }


def _change(values: Any, bootstrap: Bootstrap, p: float) -> Mapping[str, Any]:
    low, high = bootstrap.intervals(values[:, None])
    return {"change": float(values.mean()), "change_interval": [float(low[0]), float(high[0])], "p": p}
