"""What becomes of scores when the corpus shrinks too: stored runs without the documents that go.

A ranker whose own run fed the pool keeps its first documents, so its scores cannot change; a ranker that comes later
can lose what it found. So each ranker is scored on the corpus that the others' runs make, as a new one would be. That
is exact for rankers whose scores of a document do not depend on the other documents; bm25's idf does.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench import measures
from posbench.dsir import noise
from posbench.dsir.subset import judged_documents, pool, query_qrels
from posbench.errors import UsageError
from posbench.types import Collection, Float64, Int64, Run


@dataclass(frozen=True)
class Corpus:
    """How the corpus shrinks: to what is judged, the first ``depth`` of each run, and ``distractors`` random others."""

    depth: int
    distractors: int = 0


@dataclass(frozen=True)
class Scored:
    """Scores on the smaller corpus.

    ``values`` float64[q, R], each ranker on a corpus that its own run did not feed; ``documents`` of the corpus that
    all runs feed; ``short`` of q x R rankings that ended above the measure's cut, so that their values are too low.
    """

    values: Float64
    documents: int
    short: int


def cut_of(measure: str) -> int:
    """The last rank that a measure reads.

    Raises:
        UsageError: it reads all of them.
    """
    found = re.search(r"@(\d+)$", measure)
    if not found:
        raise UsageError(f"{measure} reads whole rankings, which end where the stored runs do; choose one with a cut")
    return int(found[1])


def score(
    collection: Collection, runs: Sequence[Run], queries: Int64, corpus: Corpus, measure: str, shuffled: Int64
) -> Scored:
    """Scores some queries on the corpus that is made of them.

    Args:
        collection: the full one.
        runs: one a ranker, of all its queries.
        queries: int64[q], ascending.
        corpus: how it shrinks.
        measure: with a cut.
        shuffled: ``shuffled_documents``; the first that are not kept anyhow are the distractors.
    """
    cut, qrels = cut_of(measure), query_qrels(collection.qrels, queries)
    pools = [pool(collection, queries, [run], corpus.depth) for run in runs]
    values, short = [], 0
    for number, run in enumerate(runs):
        keep = _kept(collection, queries, pools[:number] + pools[number + 1 :], corpus, shuffled)
        found, ended = filtered(run, queries, keep, cut)
        values.append(measures.score(found, qrels, (measure,))[measure])
        short += int(ended.sum())
    whole = _kept(collection, queries, pools, corpus, shuffled)
    return Scored(np.stack(values, axis=1), int(whole.sum()), short)


def shuffled_documents(collection: Collection, seed: int) -> Int64:
    """All documents in a random order that their ids and the seed make: int64[D]."""
    return np.argsort(noise.keys(collection.doc_ids, seed), kind="stable")


def distractors(collection: Collection, queries: Int64, runs: Sequence[Run], corpus: Corpus, shuffled: Int64) -> Int64:
    """The random documents beside what is judged for the queries and what the runs found for them."""
    pools = [pool(collection, queries, runs, corpus.depth)]
    keep = _kept(collection, queries, pools, corpus, shuffled)
    keep[np.union1d(pools[0], judged_documents(collection, queries))] = False
    return np.flatnonzero(keep)


def _kept(
    collection: Collection, queries: Int64, pools: Sequence[Int64], corpus: Corpus, shuffled: Int64
) -> NDArray[np.bool_]:
    """The documents of the corpus: bool[D]."""
    keep = np.zeros(len(collection.doc_ids), bool)
    keep[judged_documents(collection, queries)] = True
    for docs in pools:
        keep[docs] = True
    keep[shuffled[~keep[shuffled]][: corpus.distractors]] = True
    return keep


def filtered(run: Run, queries: Int64, keep: NDArray[np.bool_], cut: int) -> tuple[Run, NDArray[np.bool_]]:
    """The first documents of a run that are kept, and the queries for which the run ends too early.

    Args:
        run: of all queries; a row with padding ranks all that its ranker would.
        queries: int64[q], rows of it.
        keep: bool[D].
        cut: documents wanted a query.

    Returns:
        The run of these queries, ``cut`` columns, and bool[q]: fewer than ``cut`` are kept, and there may be more
        beyond the run's end.
    """
    docs, scores = run.docs[queries], run.scores[queries]
    stays = np.append(keep, False)[docs]  # padding, -1, reads the last
    place = np.cumsum(stays, axis=1) - 1
    row, column = np.nonzero(stays & (place < cut))
    out = Run(np.full((len(queries), cut), -1, np.int32), np.zeros((len(queries), cut), np.float32))
    out.docs[row, place[row, column]] = docs[row, column]
    out.scores[row, place[row, column]] = scores[row, column]
    whole = (docs < 0).any(axis=1) | (run.depth >= len(keep))
    return out, (stays.sum(axis=1) < cut) & ~whole
