"""Simulated rankers with known truth, to check what the bias statistics find and how often they err."""

from dataclasses import dataclass

import numpy as np

from posbench.bias import Placed
from posbench.types import Float64

_DOMAINS = 31
_LENGTHS = (512, 1024, 1536, 4096)


@dataclass(frozen=True)
class Truth:
    """What is put into a collection of simulated scores.

    ``primacy`` is what evidence at the very end loses against the start, in units of nDCG, along a straight line;
    ``cut`` the tokens that the ranker reads (0: all); ``hard_middle`` what questions about the middle lose, for every
    ranker; ``level`` moves all scores (0 gives a mean nDCG@10 near .6).
    """

    primacy: float = 0.0
    cut: int = 0
    hard_middle: float = 0.0
    level: float = 0.0


@dataclass(frozen=True)
class Simulated:
    """Queries of one simulated collection, and the scores of the same queries for two controls.

    ``span`` and ``lexical`` are what a ranker without any bias makes of the bare evidence and of the whole document;
    ``mean`` is the mean score before anything was taken away.
    """

    queries: Placed
    span: Float64
    lexical: Float64
    mean: float


def simulate(n: int, truth: Truth, seed: int) -> Simulated:
    """About n queries, 1 to 6 a document, with difficulty by document, query, domain and length but not by place.

    A score is nDCG@10 of one relevant document whose rank follows from the difficulty; primacy takes scores away at
    random, so that their mean is exactly a line in the place. Documents' places are clustered.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, n)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), n)) + 1]
    docs = len(sizes)
    doc = np.repeat(np.arange(docs), sizes)
    domain, bucket = rng.integers(0, _DOMAINS, docs), rng.integers(0, 4, docs)
    low = np.array([150, 513, 1025, 1537])[bucket]
    tokens = (low + rng.random(docs) * (np.array(_LENGTHS)[bucket] - low)).astype(np.int64)
    # Half of a document's places lie close together, as questions about one passage do.
    near = np.clip(rng.random(docs)[doc] + rng.normal(0, 0.08, len(doc)), 0, 1)
    place = np.where(rng.random(len(doc)) < 0.5, near, rng.random(len(doc)))
    hard = rng.normal(0, 1, docs)[doc] + rng.normal(0, 0.5, _DOMAINS)[domain[doc]] + 0.4 * bucket[doc]
    hard += rng.normal(0, 1, len(doc)) + truth.hard_middle * (1 - 4 * (place - 0.5) ** 2)
    score = scores(hard - truth.level, rng)
    mean = float(score.mean())
    lost = rng.random(len(doc)) < truth.primacy * place / max(mean, 1e-9)
    if truth.cut:
        unseen = place * tokens[doc] > truth.cut
        lost |= unseen & (rng.random(len(doc)) < 0.8)
    score = np.where(lost, 0.0, score)
    queries = Placed(score, place, tokens[doc], doc.astype(np.int64), domain[doc].astype(np.int64))
    span, lexical = scores(hard - truth.level - 1, rng), scores(hard - truth.level + 0.5, rng)
    return Simulated(queries, span, lexical, mean)


def scores(hard: Float64, rng: np.random.Generator) -> Float64:
    """nDCG@10 of one relevant document: the harder, the more others stand before it."""
    before = rng.poisson(np.exp(np.clip(hard + rng.normal(0, 1, len(hard)) - 0.4, -20, 8)))
    return np.where(before < 10, 1 / np.log2(before + 2.0), 0.0)
