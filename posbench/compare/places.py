"""Position bias compared: differences of the signed index and of the debiased PSI, paired by document.

Both rankers see the same queries at the same places, so both figures are differences of sums over documents.

Signed index. index = slope / (2 mean) is a ratio, and two rankers with one index need not have one mean, so the sign of
a document's difference in score may not be flipped. What is flipped is its contribution to the difference of indices
(its influence), sum_i x_i e_i / (2 S m) - index (s_i / m - 1) / n of one ranker less that of the other, with s the
score, m its mean, x the place less what levels and a bend explain, S = sum x^2, and e the score less what levels and a
bend explain (sign flips of effective scores: Hemerik, Goeman and Finos 2020). The null is "the indices are equal",
whatever the means, the noise and the shapes; it holds in the limit of many documents.

PSI. Two rankers are first divided by their means, which leaves PSI as it is; then documents' scores are exchanged
between them. The null is stronger: "relative to their means the two have one curve and one noise".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench import paired, stats
from posbench.bias import LENGTHS, Placed, posir
from posbench.bias.levels import Levels
from posbench.bias.psi import debiased
from posbench.bias.shuffle import without
from posbench.bias.shuffled import freed
from posbench.types import Float64

BINS = posir.POSITION_BINS
GROUPS = ("all", *LENGTHS)
PSI_FLIPS = 2000


@dataclass(frozen=True)
class Figures:
    """One figure of R rankers in five length groups (all, Q1..Q4).

    ``values`` float64[R, 5]; ``resampled`` float64[B, R, 5] over one set of resamples; ``p`` float64[R, R, 5] of the
    pairwise differences.
    """

    values: Float64
    resampled: Float64
    p: Float64


@dataclass(frozen=True)
class _Design:
    """What the index needs of the places, which are the same for all rankers."""

    levels: Levels
    line: Float64  # [Q] the place less what levels and a bend explain
    bend: Float64  # [Q]
    member: NDArray[np.bool_]  # [5, Q]
    wider: float  # what fitting the levels took from the spread

    @classmethod
    def of(cls, queries: Placed) -> "_Design":
        levels = Levels.of(queries)
        place, bend = levels.without(queries.relative), levels.without((queries.relative - 0.5) ** 2)
        n = len(place)
        member = np.stack([np.ones(n, bool), *(queries.length == k for k in range(len(LENGTHS)))])
        return cls(levels, without(place, bend), bend, member, freed(queries))


def signed_index(
    queries: Placed,
    scores: Float64,
    *,
    seed: int = 0,
    flips: int = paired.FLIPS,
    replicates: int = stats.REPLICATES,
) -> Figures:
    """The signed index of float64[Q, R] scores; tests flip each document's contribution to a difference."""
    design = _Design.of(queries)
    rankers = scores.shape[1]
    columns = [_index_sums(design, score, design.levels.without(score)) for score in scores.T]
    sums = np.stack(columns, axis=1).reshape(len(queries.score), -1)
    clustered = paired.cluster_sums(sums, queries.cluster)
    weights = stats.resamples(queries.cluster, queries.stratum, replicates=replicates, seed=seed)
    resampled = np.concatenate([block.astype(np.float64) @ clustered for block in weights])
    shape = (-1, rankers, len(GROUPS), 4)
    seen = _indices(clustered.sum(axis=0).reshape(shape))[0]
    spread = seen + design.wider * (_indices(resampled.reshape(shape)) - seen)
    parts = [_influence(design, score, index) for score, index in zip(scores.T, seen, strict=True)]
    influence = paired.cluster_sums(np.concatenate(parts, axis=1), queries.cluster)
    null = design.wider * paired.flip_sums(influence, flips, seed)
    total = influence.sum(axis=0).reshape(rankers, -1)
    return Figures(seen, spread, pairwise(total, null.reshape(len(null), rankers, -1)))


def _index_sums(design: _Design, score: Float64, rest: Float64) -> Float64:
    """What the index is a ratio of, by group: float64[Q, 5 x (x e, x^2, s, 1)]."""
    parts = [design.line * rest, design.line**2, score, np.ones(len(score))]
    return np.stack([np.where(member, part, 0.0) for member in design.member for part in parts], axis=1)


def _indices(sums: Float64) -> Float64:
    """The index, slope / (2 mean), of sums float64[..., 4]; NaN where undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = sums[..., 0] / sums[..., 1] / (2 * sums[..., 2] / sums[..., 3])
    return np.where(np.isfinite(value), value, np.nan)


def _influence(design: _Design, score: Float64, index: Float64) -> Float64:
    """Each query's contribution to its ranker's index: float64[Q, 5]."""
    rest = without(design.levels.without(score), design.bend)
    out = np.zeros((len(score), len(GROUPS)))
    for k, member in enumerate(design.member):
        n, power, total = int(member.sum()), float((design.line[member] ** 2).sum()), float(score[member].sum())
        if n and power > 0 and total > 0:
            mean = total / n
            slope = design.line * rest / (2 * power * mean)
            out[:, k] = np.where(member, slope - index[k] * (score / mean - 1) / n, 0.0)
    return out


def pairwise(seen: Float64, null: Float64) -> Float64:
    """p-values of all pairwise differences: float64[R, R, G] of seen float64[R, G] and null float64[B, R, G]."""
    rankers = len(seen)
    p = np.ones((rankers, rankers, seen.shape[1]))
    for a in range(rankers):
        for b in range(a + 1, rankers):
            p[a, b] = p[b, a] = paired.two_sided(seen[a] - seen[b], null[:, a] - null[:, b])
    return p


def psi(
    queries: Placed,
    scores: Float64,
    noise: Float64,
    *,
    seed: int = 0,
    flips: int = PSI_FLIPS,
    replicates: int = stats.REPLICATES,
) -> Figures:
    """The debiased PSI of float64[Q, R] scores; tests exchange documents between two rankers.

    Resampled bin means would hold the noise twice, of the sample and of the draw, and PSI feeds on noise. So the draw's
    noise alone is added to a parabola through the means, and ``resampled`` is the value seen less the error that the
    debiased PSI then makes (a basic bootstrap around a smooth curve).

    Args:
        queries: the places.
        scores: float64[Q, R].
        noise: float64[R, 5], the c of each ranker's debiasing (see ``bias.psi``), by length group.
        seed: of the random generators.
        flips: how many exchanges.
        replicates: how many resamples.
    """
    rankers = scores.shape[1]
    cells, clusters = _cells(queries, scores)
    totals = _by_length(np.asarray(cells.sum(axis=1)).reshape(rankers + 1, -1))
    sums, counts = totals[:rankers], totals[rankers]
    weights = _products(cells, stats.resamples(queries.cluster, queries.stratum, replicates=replicates, seed=seed))
    drawn = _by_length(weights.reshape(len(weights), rankers + 1, -1))
    means = _ratio(sums, counts)
    smooth = _smooth(means, counts)
    resampled = posir.psi(np.maximum(_ratio(drawn[:, :rankers], drawn[:, rankers:]) - means + smooth, 0.0))
    signs = _products(cells[: -5 * BINS], paired.signs(clusters, flips, seed))
    null = _by_length(signs.reshape(flips, rankers, -1))
    values = debiased(posir.psi(means), noise)
    errors = debiased(resampled, noise) - posir.psi(smooth)
    return Figures(values, values - errors, _exchanged(values, sums, null, counts, noise))


def _cells(queries: Placed, scores: Float64) -> tuple[Any, int]:
    """Sums by cell and document as a sparse matrix [(R + 1) x 100, C], the last 100 rows counts; and C."""
    from scipy.sparse import csr_matrix, vstack

    clusters = int(queries.cluster.max()) + 1
    row = (queries.length + 1) * BINS + queries.bins(BINS)
    shape = (5 * BINS, clusters)
    columns = [*scores.T, np.ones(len(row))]
    return vstack([csr_matrix((column, (row, queries.cluster)), shape) for column in columns], "csr"), clusters


def _products(cells: Any, blocks: Iterable[NDArray[Any]]) -> Float64:
    """Cell sums under the weights of each row of the blocks: float64[B, rows of cells]."""
    return np.concatenate([np.asarray(cells @ block.T.astype(np.float64)).T for block in blocks])


def _smooth(means: Float64, counts: Float64) -> Float64:
    """A parabola through the bin means of each ranker and length, not below 0; NaN where there are no queries."""
    x = (np.arange(BINS) + 0.5) / BINS
    out = np.full(means.shape, np.nan)
    for r, k in np.ndindex(means.shape[:2]):
        used = counts[k] > 0
        if used.any():
            degree = min(2, int(used.sum()) - 1)
            curve = np.polyval(np.polyfit(x[used], means[r, k][used], degree, w=np.sqrt(counts[k][used])), x)
            out[r, k] = np.where(used, np.maximum(curve, 0.0), np.nan)
    return out


def _by_length(rows: Float64) -> Float64:
    """Cells float64[..., 100] of unknown length and Q1..Q4 as float64[..., 5, 20] of all and Q1..Q4."""
    cells = np.asarray(rows).reshape(*np.shape(rows)[:-1], 5, BINS)
    return np.concatenate([cells.sum(axis=-2, keepdims=True), cells[..., 1:, :]], axis=-2)


def _ratio(above: Float64, below: Float64) -> Float64:
    below = np.broadcast_to(below, above.shape)
    return np.asarray(np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0))


def _exchanged(values: Float64, sums: Float64, null: Float64, counts: Float64, noise: Float64) -> Float64:
    """p-values of differences of the debiased PSI: float64[R, R, 5]."""
    rankers = len(values)
    total = sums.sum(axis=-1, keepdims=True)
    relative = _ratio(sums, np.broadcast_to(total, sums.shape))
    turned = _ratio(null, np.broadcast_to(total, null.shape))
    p = np.ones((rankers, rankers, len(GROUPS)))
    for a in range(rankers):
        for b in range(a + 1, rankers):
            middle, half = (relative[a] + relative[b]) / 2, (turned[:, a] - turned[:, b]) / 2
            mixed = np.sqrt((noise[a] ** 2 + noise[b] ** 2) / 2)
            one, other = (debiased(posir.psi(_ratio(middle + s * half, counts)), mixed) for s in (1, -1))
            p[a, b] = p[b, a] = paired.two_sided(values[a] - values[b], one - other)
    return p
