"""The study from names to a stored result: candidates, orders, rankings, rows, and what they say."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from posbench import measures
from posbench.evaluate import constant
from posbench.experiment import Outcome, Settings
from posbench.rankers.listwise.ranker import Listed, Reranked
from posbench.recipe import digest
from posbench.reranking import Rerank
from posbench.store import Results
from posbench.studies import listed
from posbench.studies.input_order import rows
from posbench.studies.input_order.orders import Arrangement, Plan, arrangements
from posbench.studies.input_order.rows import Seen
from posbench.studies.input_order.summary import summary
from posbench.types import Int32, Progress, Report, no_progress

MEASURE = f"nDCG@{rows.TOP}"
_QUERIES = 16  # whose lists are reranked side by side


def run(
    dataset: str,
    model: str,
    wish: Rerank,
    settings: Settings | None = None,
    *,
    plan: Plan | None = None,
    queries: int = 0,
    progress: Progress = no_progress,
) -> Outcome:
    """Reranks every query's candidates in several orders, or reads the finished result.

    Args:
        dataset: as ``experiment.run`` takes it.
        model: the first stage: a ranker, a run file or a stored result.
        wish: the listwise reranker and how deep it reranks.
        settings: how to run; measures do not matter.
        plan: how many orders of each kind.
        queries: looked at, drawn at random; 0 are all that are judged.
        progress: shows long steps.

    Raises:
        UsageError: the reranker is not listwise, or the plan cannot be.
    """
    settings, plan = settings or Settings(), plan or Plan()
    plan.check()
    work = listed.stages(dataset, model, wish, settings, progress)
    ranker = work.reranker()
    prints = [one.fingerprint for one in work.collections]
    who = [dict(work.first.describe()), dict(ranker.describe()), work.recipe.depth]
    fingerprint = digest(["input-order", prints, who, asdict(plan), queries, settings.seed])
    results = Results(settings.out)
    found = None if settings.again else results.find(work.dataset, f"{work.name}+input-order", fingerprint)
    fresh = found is None
    if found is None:
        report = _compute(work, ranker, plan, queries, settings, progress)
        found = results.write(work.dataset, f"{work.name}+input-order", fingerprint, report, None)
    report = found.report()
    return Outcome(found, report, {**summary(report, settings.seed), "result": str(found.folder)}, fresh)


def _compute(
    work: listed.Stages, ranker: Any, plan: Plan, queries: int, settings: Settings, progress: Progress
) -> Report:
    start = time.perf_counter()
    parts = work.parts(queries, settings.seed)
    first_stage = time.perf_counter()
    advance = progress("queries reranked in all orders", sum(len(part.rows) for part in parts))
    clusters, tables, at = listed.clusters(parts), [], 0
    for part in parts:
        observed: list[list[Seen]] = []
        moved: list[int] = []
        for chunk in _chunks(len(part.rows)):
            asked = [(row, _arranged(part, row, plan, settings.seed)) for row in chunk]
            observed += _observe(ranker, part, asked)
            moved += [_moved(part, row) for row in chunk]
            advance(len(chunk))
        tables.append(_table(part, observed, moved, clusters[at : at + len(part.rows)], work.name))
        at += len(part.rows)
    table = pa.concat_tables(tables, promote_options="default").unify_dictionaries()
    names = [name for name in table.column_names if name not in ("dataset", "ranker", "query_id", "cluster")]
    end = time.perf_counter()
    header = {
        **work.header("input-order", settings),
        "measures": names,
        "plan": asdict(plan),
        "strategy": msgspec.to_builtins(work.listwise)["strategy"],
        "facts": ranker.facts(),
        "seconds": {"first stage": round(first_stage - start, 3), "rerank": round(end - first_stage, 3)},
    }
    return Report(header, tuple(names), table)


def _chunks(n: int) -> Iterator[range]:
    yield from (range(at, min(n, at + _QUERIES)) for at in range(0, n, _QUERIES))


def _moved(part: listed.Part, row: int) -> int:
    """The candidate that is moved: the first of the highest grade; -1 where none is relevant."""
    grades = part.grades(row)
    return int(grades.argmax()) if grades.max(initial=0) > 0 else -1


def _arranged(part: listed.Part, row: int, plan: Plan, seed: int) -> list[Arrangement]:
    n = int((part.docs[row] >= 0).sum())
    return arrangements(n, _moved(part, row), plan, (seed, int(part.rows[row])))


def _observe(ranker: Any, part: listed.Part, asked: Sequence[tuple[int, Sequence[Arrangement]]]) -> list[list[Seen]]:
    """The rankings of the lists of some queries, all asked for together."""
    lists = []
    for row, orders in asked:
        given = part.listed(row, part.docs.shape[1])
        for one in orders:
            shown = tuple(given.passages[item] for item in one.items.tolist())
            lists.append(Listed(given.query, shown, one.shuffle, one.sample))
    found: Iterator[Reranked] = iter(ranker.rerank(lists))
    return [[_seen(order, next(found)) for order in orders] for _, orders in asked]


def _seen(shown: Arrangement, came: Reranked) -> Seen:
    return Seen(shown, came.order, came.said, came.kinds, came.names, came.repeated, came.outside)


def _table(part: listed.Part, observed: list[list[Seen]], moved: list[int], clusters: Any, name: str) -> pa.Table:
    """One row a query: quality in every order, and ``rows.columns``."""
    found: dict[str, Any] = {
        "dataset": constant(part.collection.name, len(part.rows)),
        "ranker": constant(name, len(part.rows)),
        "query_id": part.collection.query_ids.cast(pa.string()).take(pa.array(part.rows)),
        "cluster": pa.array(clusters),
        MEASURE: pa.nulls(len(part.rows), pa.float64()),
        f"{MEASURE}:first": _quality(part, part.docs),
    }
    named = [{one.shown.name: one.items for one in lists} for lists in observed]
    for order in dict.fromkeys(order for orders in named for order in orders):
        docs = np.full_like(part.docs, -1)
        for row, orders in enumerate(named):
            if order in orders:
                docs[row, : len(orders[order])] = part.docs[row][orders[order]]
        values = _quality(part, docs)
        there = np.array([order in orders for orders in named])
        found[rows.quality_name(MEASURE, order)] = np.where(there, values, np.nan)
    each = [rows.columns(lists, item) for lists, item in zip(observed, moved, strict=True)]
    found |= {column: np.array([one[column] for one in each], np.float64) for column in each[0]}
    return pa.table(found)


def _quality(part: listed.Part, docs: Int32) -> Any:
    return measures.score(part.run(docs), part.qrels, (MEASURE,))[MEASURE]
