"""Measures against pytrec_eval: nDCG@10, RR, R@100 and AP, values compared to the last bit.

python benchmarks/measures.py            (needs pytrec-eval-terrier)

The peer gets its dictionaries ready and its qrels preloaded; ours a Run of integer arrays and its Qrels. The further
rows add what makes a Run of raw arrays: the check that they are in canonical order, or the sort where they are not.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytrec_eval

from posbench import measures
from posbench.types import Qrels, Run, byte_order, strings

NAMES = {"nDCG@10": "ndcg_cut_10", "RR": "recip_rank", "R@100": "recall_100", "AP": "map"}


def best(function: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The shortest of several runs, and the last result."""
    seconds = []
    result: Any = None
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def case(queries: int, depth: int, documents: int, seed: int = 0) -> None:
    """One comparison, printed."""
    rng = np.random.default_rng(seed)
    docs = np.stack([rng.choice(documents, depth, replace=False) for _ in range(queries)]).astype(np.int32)
    scores = -np.sort(-rng.random((queries, depth)).astype(np.float32), axis=1)
    ids = [f"doc{n:07d}" for n in range(documents)]
    order = byte_order(strings(ids))
    judged = [np.unique(np.r_[rng.choice(row, 12), rng.integers(0, documents, 12)]) for row in docs]
    query = np.repeat(np.arange(queries), [len(row) for row in judged])
    grades = rng.integers(0, 4, len(query))
    qrels = Qrels.from_pairs(query, np.concatenate(judged), grades, queries)
    measures.score(Run(docs[:1], scores[:1]), Qrels.from_pairs([0], [0], [1], 1), list(NAMES))  # warm imports
    _ = qrels.ideal

    def ours(docs: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
        return measures.score(Run.ranked(docs, scores, order), qrels, list(NAMES))

    shuffle = rng.permuted(np.tile(np.arange(depth), (queries, 1)), axis=1)
    mixed = np.take_along_axis(docs, shuffle, 1), np.take_along_axis(scores, shuffle, 1)
    ready = Run.ranked(docs, scores, order)
    seconds, values = best(lambda: measures.score(ready, qrels, list(NAMES)), 7)
    docs, scores = ready.docs, ready.scores  # ties included, in canonical order
    checked, _ = best(lambda: ours(docs, scores), 7)
    shuffled, again = best(lambda: ours(*mixed), 5)

    run = {
        str(q): dict(zip(map(ids.__getitem__, docs[q].tolist()), scores[q].tolist(), strict=True))
        for q in range(queries)
    }
    truth: dict[str, dict[str, int]] = {str(q): {} for q in range(queries)}
    for q, d, g in zip(query.tolist(), np.concatenate(judged).tolist(), grades.tolist(), strict=True):
        truth[str(q)][ids[d]] = g
    peer = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut.10", "recip_rank", "recall.100", "map"})
    theirs, expected = best(lambda: peer.evaluate(run), 2)

    for name, trec in NAMES.items():
        wanted = [expected[str(q)][trec] for q in range(queries)]
        assert values[name].tolist() == wanted == again[name].tolist(), name
    print(f"{queries:,} x {depth:,}: pytrec_eval {theirs:.3f} s; all values equal to the last bit")
    for what, ours_seconds in (
        ("measures", seconds),
        ("with the check", checked),
        ("shuffled, with the sort", shuffled),
    ):
        print(f"    posbench, {what}: {ours_seconds:.3f} s, {theirs / ours_seconds:.0f} times as fast")


if __name__ == "__main__":
    case(100_000, 100, 200_000)
    case(1_000, 1_000, 200_000)
