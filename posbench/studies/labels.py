"""Complete rankings of candidates by a teacher, as labels to train full-list rerankers on.

A pass of sliding windows settles the first ten of a list, and the next pass ranks only what is behind them: 45 windows
for 100 candidates in windows of 20 by 10, where nine whole passes take 81 (``strategies.multipass``).
"""

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from posbench.errors import UsageError
from posbench.experiment import Settings
from posbench.rankers.listwise.ranker import Reranked
from posbench.reranking import Rerank
from posbench.store import written
from posbench.studies import listed
from posbench.studies.input_order import ranks
from posbench.types import Progress, no_progress

_BLOCK = 64


def make(
    dataset: str,
    model: str,
    wish: Rerank,
    target: Path,
    settings: Settings | None = None,
    *,
    queries: int = 0,
    whole: bool = False,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Ranks each query's candidates completely and writes one JSON object a query: qid, initial_list, final_list.

    Calls are cached, so that an interrupted run goes on where it stopped.

    Args:
        dataset: as ``experiment.run`` takes it.
        model: the first stage: a ranker, a run file or a stored result.
        wish: the teacher, a listwise reranker, and how deep it reranks.
        target: the file, .jsonl.
        settings: how to run.
        queries: labelled, drawn at random; 0 are all that are judged.
        whole: keep the teacher's own strategy instead of the passes over the tail.
        progress: shows queries.

    Returns:
        What was done: queries, windows, malformed answers, agreement with the first stage, tokens.

    Raises:
        UsageError: the teacher is not listwise or ranks only a top, or the file cannot be named so.
    """
    settings = settings or Settings()
    if target.suffix != ".jsonl":
        raise UsageError(f"--to {target}: expected a name that ends in .jsonl")
    work = listed.stages(dataset, model, wish, settings, progress)
    if work.listwise.top:
        raise UsageError(f"{wish.name} names only the {work.listwise.top} best; labels need all: top = 0")
    teacher = work.listwise if whole else msgspec.structs.replace(work.listwise, strategy="multipass")
    ranker, start = work.reranker(teacher), time.perf_counter()
    totals: Counter[str] = Counter()
    agreement: list[tuple[float, float]] = []
    with written(target) as part, part.open("w", encoding="utf-8") as file:
        for ids, one in _ranked(work, ranker, queries, settings.seed, progress):
            file.write(_line(ids, one))
            totals.update(queries=1, windows=one.calls, clean=set(one.kinds) <= {"ok"})
            agreement += [_agreement(one)] if one.calls else []
    tau, overlap = np.mean(agreement, axis=0).tolist() if agreement else (None, None)
    return {
        "dataset": work.dataset,
        "ranker": work.name,
        "queries": totals["queries"],
        "windows": totals["windows"],
        "clean": totals["clean"],
        "tau": tau,
        "overlap@10": overlap,
        **_facts(ranker),
        "seconds": round(time.perf_counter() - start, 3),
        "file": str(target),
    }


def _facts(ranker: Any) -> dict[str, Any]:
    facts = ranker.facts()
    strategy = dict(ranker.describe()["strategy"])
    return {"strategy": strategy, "answers": facts["answers"], "cost": facts["cost"]}


def _line(ids: tuple[str, list[str]], one: Reranked) -> str:
    final = [ids[1][place] for place in one.order]
    return json.dumps({"qid": ids[0], "initial_list": ids[1], "final_list": final}, ensure_ascii=False) + "\n"


def _agreement(one: Reranked) -> tuple[float, float]:
    """Kendall's tau and overlap@10 of a ranking with the order given."""
    both = np.stack([np.arange(len(one.order)), np.asarray(one.order, np.int64)])
    return float(ranks.taus(both)[0, 1]), float(ranks.overlaps(both, 10)[0, 1])


def _ranked(
    work: listed.Stages, ranker: Any, queries: int, seed: int, progress: Progress
) -> Iterator[tuple[tuple[str, list[str]], Reranked]]:
    """The ids of each query and its candidates, and their ranking."""
    parts = work.parts(queries, seed)
    advance = progress("queries labelled", sum(len(part.rows) for part in parts))
    for part in parts:
        for first in range(0, len(part.rows), _BLOCK):
            chunk = range(first, min(len(part.rows), first + _BLOCK))
            found = ranker.rerank([part.listed(row, work.recipe.depth) for row in chunk])
            yield from ((part.ids(row), one) for row, one in zip(chunk, found, strict=True))
            advance(len(chunk))


def told(summary: Mapping[str, Any]) -> Iterator[str]:
    """The lines that a person reads."""
    yield f"{summary['ranker']} on {summary['dataset']}: {summary['queries']:,} complete rankings in {summary['file']}"
    yield f"{summary['windows']:,} windows; all answers well formed for {summary['clean']:,} queries"
    if summary["tau"] is not None:
        yield f"with the first stage: Kendall's tau {summary['tau']:.3f}, overlap@10 {summary['overlap@10']:.3f}"
    cost = summary["cost"]
    yield (
        f"{cost['calls']:,} calls, {cost['cached']:,} of them known before; {cost['prompt_tokens']:,} tokens read, "
        f"{cost['answer_tokens']:,} written"
    )
