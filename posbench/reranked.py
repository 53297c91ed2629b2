"""What reranking changed: rankers in stages, and each query's measures before it and under the best and worst of ties.

Columns beside a pipeline's, as those of ``indexed`` are beside an indexed ranker's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from posbench import rankers, stored
from posbench.errors import UsageError
from posbench.evaluate import evaluate
from posbench.gains import BEST, FIRST, WORST
from posbench.rankers.pipeline import Pipeline, ties_of
from posbench.recipe import PipelineRecipe, RankerRecipe
from posbench.reranking import RunRecipe
from posbench.rewards import Constants, listwise_reward
from posbench.staged import KEPT
from posbench.types import Collection, Float64, Int64, Ranker, Report, Run

TIED, REWARD = "tied", "listwise_reward"


def resolve(name: str) -> tuple[str, RankerRecipe]:
    """As ``rankers.resolve``, for run files and stored results too."""
    return stored.resolve(name) or rankers.resolve(name)


def build(recipe: RankerRecipe, *, depth: int, name: str, **how: Any) -> Ranker:
    """As ``rankers.build``, for pipelines and what was ranked before too."""
    if isinstance(recipe, RunRecipe):
        return stored.StoredRanker(recipe)
    if not isinstance(recipe, PipelineRecipe):
        return rankers.build(recipe, depth=depth, name=name, **how)
    (first_name, first), (own_name, own) = stages(recipe)
    deep = build(first, depth=max(depth, recipe.depth), name=first_name, **how)
    return Pipeline(recipe, deep, build(own, depth=recipe.depth, name=own_name, **how), (first_name, own_name))


def stages(recipe: PipelineRecipe) -> tuple[tuple[str, RankerRecipe], tuple[str, RankerRecipe]]:
    """The names and recipes of the first stage and of the reranker."""
    return _named(recipe.names[0], recipe.first), _named(recipe.names[1], recipe.rerank)


def _named(name: str, recipe: str | RankerRecipe) -> tuple[str, RankerRecipe]:
    found = resolve(recipe) if isinstance(recipe, str) else (str(recipe.__struct_config__.tag), recipe)
    return name or found[0], found[1]


def by_first(
    report: Report, collection: Collection, ranked: Run, first: Run, scored: int = 0, reward: Constants | None = None
) -> Report:
    """A report with more columns a query: what the first stage earns, and what ties leave open.

    ``<measure>:first`` is the first stage's; ``<measure>:best_ties`` and ``:worst_ties`` are those of the reranked run
    with every tie ordered by relevance and against it; ``tied`` is the share of its documents that stand in a tie.
    ``scored`` above 0 is how many documents a pointwise reranker scored: ``listwise_reward`` is what they earn by the
    constants of ``reward``.
    """
    table = report.queries
    judged = np.flatnonzero(np.diff(collection.qrels.indptr) > 0)
    runs = {FIRST: first, BEST: in_ties(ranked, collection, -1), WORST: in_ties(ranked, collection, 1)}
    for kind, run in runs.items():
        values = evaluate(collection, run, report.measures)
        for name in report.measures:
            table = table.append_column(f"{name}:{kind}", pa.array(values.values(name)))
    table = table.append_column(TIED, pa.array(tied(ranked)[judged]))
    if scored:
        earned = rewards_of(ranked.top(scored), collection, reward)[judged]
        table = table.append_column(REWARD, pa.array(earned, from_pandas=True))
    return Report(report.header, report.measures, table)


def scored_alone(pipeline: Pipeline) -> int:
    """How many documents a query are scored one by one: the depth where the reranker is pointwise, else 0."""
    return pipeline.recipe.depth if pipeline.reranker.describe().get("kind") == "pointwise" else 0


def check_reward(ranker: Ranker, reward: Constants) -> None:
    """Refuses constants of a reward where none is given.

    Raises:
        UsageError: the ranker is no pipeline with a pointwise reranker.
    """
    if reward != Constants() and not (isinstance(ranker, Pipeline) and scored_alone(ranker)):
        raise UsageError("--reward is for a pointwise reranker: say --rerank NAME too, for example erank-4b")


def reward_differs(header: Mapping[str, Any], reward: Constants) -> bool:
    """Whether a finished result has a reward, and by other constants."""
    said = header.get("rerank", {}).get("reward")
    return said is not None and said != asdict(reward)


def rewards_of(run: Run, collection: Collection, reward: Constants | None = None) -> Float64:
    """The mean of ``rewards.listwise_reward`` over each query's documents: float64[Q], NaN without a relevant one.

    The run is taken as one rollout a document, with equal scores where it has ties. It does not tell which documents
    have the fallback score, nor is there a reference, so only the ranks bear on this mean.
    """
    how = asdict(reward or Constants())
    ties, relevant = ties_of(run), grades_of(run, collection) > 0
    found = np.full(len(run.docs), np.nan)
    for row in np.flatnonzero(relevant.any(axis=1)).tolist():
        real = run.docs[row] >= 0
        scores = -ties[row, real, None].astype(np.float64)
        found[row] = listwise_reward(scores, relevant[row, real], **how).mean()
    return found


def in_ties(run: Run, collection: Collection, sign: int) -> Run:
    """The run with the documents of each tie by grade times sign, ascending."""
    grades = grades_of(run, collection) * sign
    order = np.lexsort((np.broadcast_to(np.arange(run.depth), run.docs.shape), grades, ties_of(run)), axis=1)
    return Run(np.take_along_axis(run.docs, order, 1), run.scores)


def grades_of(run: Run, collection: Collection) -> Int64:
    """The grade of each document of a run, 0 where it is not relevant: int64[Q, K]."""
    qrels, size = collection.qrels, max(len(collection.docs), int(collection.qrels.docs.max(initial=-1)) + 1)
    keys = qrels.queries.astype(np.int64) * size + qrels.docs
    wanted = np.arange(len(run.docs))[:, None] * size + run.docs
    if not len(keys):
        return np.zeros(run.docs.shape, np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    hit = (keys[place] == wanted) & (run.docs >= 0)
    return np.where(hit, np.maximum(qrels.grades[place], 0), 0).astype(np.int64)


def tied(run: Run) -> Float64:
    """The share of each query's documents that stand in a tie: float64[Q]."""
    ties, real = ties_of(run), run.docs >= 0
    same = np.zeros(run.docs.shape, bool)
    if run.depth > 1:
        pair = (ties[:, 1:] == ties[:, :-1]) & real[:, 1:]
        same[:, 1:] |= pair
        same[:, :-1] |= pair
    return np.asarray(same.sum(axis=1) / np.maximum(1, real.sum(axis=1)))


def facts(
    pipeline: Pipeline, weights: Callable[[Ranker], str], each: Mapping[str, Any], reward: Constants
) -> dict[str, Any]:
    """What the manifest says of a pipeline; ``each`` is what the reranker said of each collection."""
    recipe = pipeline.recipe
    return {
        "first": {"name": pipeline.names[0], "weights": weights(pipeline.first)},
        "reranker": {"name": pipeline.names[1], "weights": weights(pipeline.reranker)},
        "depth": recipe.depth,
        "weight": recipe.weight,
        "normalise": recipe.normalise if recipe.weight else "",
        "ties": recipe.ties,
        "reward": asdict(reward) if scored_alone(pipeline) else None,
        "collections": dict(each),
    }


def added(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of several collections as one: counts, tokens, seconds and prices added; shares are left to each."""
    total: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            if isinstance(value, Mapping):
                total[key] = added([total.get(key, {}), value])
            elif isinstance(value, int | float) and key not in ("score_mass", "held_mass"):
                total[key] = total.get(key, 0) + value
    return total


def summary(manifest: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """What a pipeline's report says of its stages: the first stage's means, the range that ties leave, and the cost."""
    said = manifest["rerank"]
    means = {
        kind: {name: float(np.mean(report.queries[f"{name}:{kind}"].to_numpy())) for name in report.measures}
        for kind in (FIRST, BEST, WORST)
    }
    kept = {key: said[key] for key in KEPT}
    tie = float(np.mean(report.queries[TIED].to_numpy()))
    facts = added(list(said["collections"].values()))
    return {**kept, "measures": means, TIED: tie, REWARD: _reward(report, said.get("reward")), "facts": facts}


def _reward(report: Report, constants: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The mean reward, how many queries have one, and by which constants; None where none has."""
    if REWARD not in report.queries.column_names:
        return None
    values = report.queries[REWARD].drop_null().to_numpy()
    if not len(values):
        return None
    return {"mean": float(values.mean()), "queries": len(values), "constants": constants or asdict(Constants())}
