"""How a ranker that comes later fares on a mini-benchmark whose corpus is smaller too."""

from collections.abc import Mapping, Sequence

import numpy as np

from posbench.correlation import ranks
from posbench.dsir.noise import Keys
from posbench.studies.mini import agreement, reduced
from posbench.studies.mini.draws import Draw
from posbench.studies.mini.reduced import Corpus
from posbench.studies.mini.subject import Subject
from posbench.types import Float64

COLUMNS = ("later_tau", "later_shift", "later_rise", "documents", "short")
"""Of a choice: tau with all queries and the full corpus when one ranker is new, mean over who is; the most ranks that a
new one moves against its place on the same queries and the full corpus; how much its mean rises, mean over rankers;
documents of the corpus; rankings that ended too early."""


def score(
    subject: Subject, draw: Draw, sizes: Sequence[int], keys: Mapping[int, Keys], corpus: Corpus
) -> Mapping[str, Float64]:
    """``COLUMNS`` of a choice of each size a seed, whose ``keys`` are by seed: float64[seeds, sizes] each."""
    queries, rows = subject.queries, np.arange(len(subject.queries.values))
    runs = [subject.runs(part) for part in range(len(subject.collections))]
    found = np.zeros((len(keys), len(sizes), len(COLUMNS)))
    for i, (seed, mine) in enumerate(keys.items()):
        shuffled = [reduced.shuffled_documents(part, seed) for part in subject.collections]
        for j, picks in enumerate(draw.picks(rows, mine, sizes)):
            values, documents, short = np.zeros((len(picks), len(subject.rankers))), 0, 0
            picks = np.sort(picks)
            for part, collection in enumerate(subject.collections):
                here = np.flatnonzero(subject.part[picks] == part)
                if len(here):
                    asked = subject.row[picks[here]]
                    scored = reduced.score(collection, runs[part], asked, corpus, subject.measure, shuffled[part])
                    values[here] = scored.values
                    documents, short = documents + scored.documents, short + scored.short
            means = queries.values[picks].mean(axis=0)
            found[i, j] = (*_as_new(means, values.mean(axis=0), queries.values.mean(axis=0)), documents, short)
    return {name: found[:, :, i] for i, name in enumerate(COLUMNS)}


def _as_new(means: Float64, new: Float64, full: Float64) -> tuple[float, float, float]:
    """Tau, largest shift and rise, each ranker in turn having its score on the smaller corpus."""
    one_new = np.where(np.eye(len(means), dtype=bool), new, means)
    shift = np.abs(np.diagonal(ranks(one_new)) - ranks(means))
    return float(agreement.tau_b(one_new, full).mean()), float(shift.max()), float((new - means).mean())
