"""Simulated scores of composed collections with known truth, and how often the paired analysis errs on them."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from posbench.bias import cuts
from posbench.bias.composed import analyse
from posbench.bias.grid import Grid
from posbench.studies.simulated import scores
from posbench.types import Float64

_DOMAINS = np.linspace(-0.75, 0.75, 8)  # what each domain adds to difficulty, the same in every collection


@dataclass(frozen=True)
class Truth:
    """What is put into the scores of a composed collection.

    ``primacy`` is what evidence at the very end loses against the start, in nDCG, along a straight line (its mean over
    documents is exactly that); ``uneven`` the standard deviation of the documents' own slopes about it, in the same
    unit; ``hard_middle`` what questions about the middle of their source document lose, wherever their evidence is put;
    ``noise`` the standard deviation of what a place's neighbours do to a query's difficulty, beside the noise of ranks;
    ``cut`` the tokens that the ranker reads (0: all).
    """

    primacy: float = 0.0
    uneven: float = 0.0
    hard_middle: float = 0.0
    noise: float = 0.5
    cut: int = 0


def simulate(queries: int, truth: Truth, seed: int, *, lengths: tuple[int, ...] = (256, 1024), places: int = 5) -> Grid:
    """A grid of so many queries, 1 to 4 a source document, whose difficulty varies by document, query and length.

    A score is nDCG@10 of one relevant document. Bias takes scores away at random, so that their mean is a line in the
    position for each query. The mean is near .6 without bias.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, queries)
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), queries)) + 1]
    doc = np.repeat(np.arange(len(sizes)), sizes)[:queries]
    domain = rng.integers(0, len(_DOMAINS), len(sizes))
    hard = rng.normal(0, 1, len(sizes))[doc] + _DOMAINS[domain[doc]] + rng.normal(0, 1, queries)
    hard += truth.hard_middle * (1 - 4 * (rng.random(queries) - 0.5) ** 2)
    position = np.linspace(0, 1, places)
    shape = (queries, len(lengths), places)
    longer = 0.4 * np.arange(len(lengths))[None, :, None]
    cells = hard[:, None, None] + longer + rng.normal(0, truth.noise, shape)
    found = scores(cells.ravel(), rng).reshape(shape)
    slope = truth.primacy + truth.uneven * rng.normal(0, 1, len(sizes))[doc]
    found = np.where(rng.random(shape) < _lost(slope, position, float(found.mean()))[:, None, :], 0.0, found)
    tokens = np.broadcast_to(np.array(lengths)[None, :, None], shape)
    relative = np.broadcast_to(0.05 + 0.9 * position, shape)
    if truth.cut:  # a blind score for each query and length, the same wherever the evidence stands unseen
        blind = scores(hard + 3, rng)[:, None] * np.ones(len(lengths))
        found = np.where(relative * tokens > truth.cut, blind[:, :, None], found)
    names = tuple(f"{place:g}" for place in position)
    labels = tuple(str(length) for length in lengths)
    return Grid(labels, names, found, relative, tokens, doc.astype(np.int64), domain[doc].astype(np.int64), 0)


def _lost(slope: Float64, position: Float64, mean: float) -> Float64:
    """How likely each query loses its score at each position: float64[N, K]; rising or falling with the slope."""
    chance = np.abs(slope)[:, None] * np.where(slope[:, None] >= 0, position, 1 - position) / max(mean, 1e-9)
    return np.clip(chance, 0, 1)


@dataclass(frozen=True)
class Outcome:
    """What the analysis said of one simulated collection.

    ``line``, ``bend``, ``spread`` (the range), ``length`` and ``step`` are p-values; ``covered`` and ``index_covered``
    say whether the intervals of slope and signed index hold the truth.
    """

    line: float
    bend: float
    spread: float
    length: float
    step: float
    covered: bool
    index_covered: bool
    shape: str
    cut: str


def outcome(queries: int, truth: Truth, seed: int, shuffles: int = 300, replicates: int = 1000) -> Outcome:
    """Analyses one simulated collection."""
    grid = simulate(queries, truth, seed)
    found = analyse(grid, seed, shuffles, replicates)
    step = cuts.search(grid, seed=seed, shuffles=shuffles)
    signed, edges, spread = (found["tests"]["all"][name] for name in ("signed", "edges", "range"))
    low, high = signed["slope_interval"]
    below, above = signed["interval"]
    return Outcome(
        line=signed["p"],
        bend=edges["p"],
        spread=spread["p"],
        length=found["length"]["p"],
        step=step["p"] if step else 1.0,
        covered=bool(low <= -truth.primacy <= high),
        index_covered=bool(below <= _index(truth) <= above),
        shape=found["tests"]["all"]["shape"],
        cut=step["called"] if step else "",
    )


@cache
def _index(truth: Truth) -> float:
    """The signed index that such collections have on average over documents."""
    return -truth.primacy / (2 * float(simulate(200_000, truth, 1 << 30).score.mean()))
