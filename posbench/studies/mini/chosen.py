"""Writes a mini-benchmark: the selection of the smallest size that will do, or of a size that the caller names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posbench import __version__
from posbench.dsir import folder, noise
from posbench.dsir.features import Features
from posbench.dsir.subset import subset
from posbench.errors import UsageError
from posbench.store import Result
from posbench.studies.mini import reduced
from posbench.studies.mini.draws import draws
from posbench.studies.mini.study import Plan
from posbench.studies.mini.subject import Subject, subject
from posbench.types import Collection, Int64


@dataclass(frozen=True)
class Order:
    """Where to write, and what: ``selector`` and ``size`` (a share or a number), empty and 0 for the best found."""

    to: Path
    selector: str = ""
    size: float = 0
    seed: int = 0


def write(
    order: Order,
    found: Mapping[str, Any],
    results: Mapping[str, Result],
    collections: Sequence[Collection],
    plan: Plan,
    target: Features | None = None,
) -> dict[str, Any]:
    """Writes the queries that a selector chooses with the order's seed, and the corpus that they are searched in.

    The seed is not tried out: the best of many would keep the ranking by luck.

    Args:
        order: what to write.
        found: the study's summary.
        results: as ``study.run`` took them, like the rest.
        collections: the full ones; without ``plan.corpus`` all their documents are kept.
        plan: of the study.
        target: of the study.

    Returns:
        ``folder``, ``selector``, ``size``, ``queries`` and ``documents``.

    Raises:
        UsageError: no size that was tried will do and none is named, or the folder holds something else.
    """
    mine = subject(results, collections, plan.measure, order.seed)
    selector, size = _which(order, found, len(mine.queries.values))
    (draw,) = draws(mine.facts(plan.by, plan.spec, target, order.seed), [selector], [size], order.seed)
    keys = noise.keys(mine.queries.ids, order.seed)
    (picks,) = draw.picks(np.arange(len(keys)), keys, [size])
    made = {
        "selector": selector,
        "seed": order.seed,
        "by": plan.by,
        "rankers": list(mine.rankers),
        "measure": plan.measure,
        "wanted": plan.wanted,
        "figures": _figures(found, selector, size),
    }
    recipe = {**made, "size": size, "of": [part.fingerprint for part in collections], "posbench": __version__}
    recipe["corpus"] = None if plan.corpus is None else [plan.corpus.depth, plan.corpus.distractors]
    if folder.finished(order.to, recipe) is None:
        folder.write(order.to, _parts(mine, picks, plan, made, order.seed), recipe)
    written = folder.finished(order.to, recipe) or {}
    sizes = {what: sum(part[what] for part in written["parts"]) for what in ("queries", "documents")}
    return {"folder": str(order.to), "selector": selector, "size": size, **sizes}


def _which(order: Order, found: Mapping[str, Any], queries: int) -> tuple[str, int]:
    best = found["best"]
    if (not order.selector or not order.size) and best is None:
        raise UsageError(
            f"no size tried keeps a tau of {found['wanted']:g} for certain, so there is nothing to write; name "
            "one with --selector and --size, or try larger --sizes"
        )
    size = order.size or best["size"]
    size = max(1, round(size * queries)) if size < 1 else int(size)
    if not 0 < size <= queries:
        raise UsageError(f"a mini-benchmark of {size} queries; the collection has {queries}")
    return order.selector or str(best["selector"]), size


def _figures(found: Mapping[str, Any], selector: str, size: int) -> Mapping[str, Any] | None:
    """What the study found for this selector and size, None where that size was not tried."""
    for one in found["selectors"]:
        for figures in one["sizes"]:
            if one["name"] == selector and figures["size"] == size:
                return {key: figures[key] for key in ("tau", "interval", "shift", "error")}
    return None


def _parts(mine: Subject, picks: Int64, plan: Plan, made: Mapping[str, Any], seed: int) -> list[Collection]:
    """The parts that hold any of the queries."""
    parts, corpus = [], plan.corpus
    for number, collection in enumerate(mine.collections):
        rows = np.sort(mine.row[picks[mine.part[picks] == number]])
        if not len(rows):
            continue
        if corpus is None:
            parts.append(subset(collection, rows, np.arange(len(collection.doc_ids)), made=made))
            continue
        runs = mine.runs(number)
        shuffled = reduced.shuffled_documents(collection, seed)
        further = reduced.distractors(collection, rows, runs, corpus, shuffled)
        parts.append(subset(collection, rows, further, runs=runs, pool_depth=corpus.depth, made=made))
    return parts
