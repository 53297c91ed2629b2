"""The density ratio of target and raw text by regularised logistic regression on n-grams.

A classifier that tells target from raw text with both classes weighted alike has the log odds ln(p(x) / q(x))
(Sugiyama, Suzuki and Kanamori 2012, Density Ratio Estimation in Machine Learning, chapter 4). Unlike the product of
n-gram probabilities it is bounded where raw text holds some of the target: p(x) / q(x) is at most 1 over the target's
share of the raw text. So the weights do not collapse, and Gumbel noise matters.

A text is the vector of ln(1 + count) of its n-gram buckets, scaled to length 1: neither its length nor a repeated word
decides. Among counts so damped, their square roots and presence, scaled to length 1 or to sum 1, this had the lowest
held-out loss on two of three targets, and one within .0005 of the lowest on the third.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

from posbench.dsir.features import Features
from posbench.errors import DataError
from posbench.types import Float64, Int64

STRENGTHS = (1e-1, 1e-2, 10**-2.5, 1e-3, 10**-3.5, 1e-4, 10**-4.5, 1e-5, 1e-6)
"""The L2 penalties that are tried, strongest first, until the held-out loss rises."""
ALONE = 1e-2
"""The penalty where a side has one text only, so that nothing can be held out."""
FOLDS = 5
TARGET_ROWS = 20_000
"""A larger target is fitted on so many of its texts, chosen by the hash of their n-grams."""
RAW_ROWS = 20_000
"""As many raw texts at most are fitted on; ``raw_rows`` says how many for a target."""
_BLOCK = 1 << 22  # n-grams scored at a time
_NEWTON_STEPS = 50
_CG_STEPS = 200


def raw_rows(target: int) -> int:
    """How many raw texts a target of so many texts is fitted against: five times as many, within 5,000 to 20,000.

    With 1,000 target texts, 2,500 to 20,000 raw ones made no difference to a selection that could be measured.
    """
    return int(np.clip(5 * target, 5_000, RAW_ROWS))


@dataclass(frozen=True)
class Logistic:
    """A fitted log density ratio: ``intercept`` + x . ``coefficients`` (float64[B]) of a text's scaled vector x.

    ``strength`` is the penalty that held-out texts chose, ``loss`` their mean loss under it (ln 2 = .693 is chance).
    """

    coefficients: Float64
    intercept: float
    strength: float
    loss: float

    @classmethod
    def fit(cls, target: Features, raw: Features, seed: int = 0) -> "Logistic":
        """Fits on texts of both sides; the order of either side's texts does not matter.

        The penalty is the one with the lowest loss on held-out texts: one fifth of both sides, or several fifths in
        turn where the target has fewer than 500 texts. Then all texts are fitted.

        Args:
            target: more than ``TARGET_ROWS`` texts are sampled.
            raw: the caller bounds how many (``raw_rows``).
            seed: for the folds and the sample of a large target.

        Raises:
            DataError: a side has no text with n-grams.
        """
        sides = [_canonical(target, seed)[:TARGET_ROWS], _canonical(raw, seed)]
        if not all(map(len, sides)):
            raise DataError(
                f"a density ratio needs texts with n-grams on both sides; found {len(sides[0])} of the target and "
                f"{len(sides[1])} raw texts"
            )
        first, second = (scaled(part.take(rows)) for part, rows in zip((target, raw), sides, strict=True))
        strength, loss = _strength(first, second)
        w = _minimise(*_stack(first, second), strength, np.zeros(first.shape[1] + 1))
        w = w.astype(np.float32).astype(np.float64)  # so that the last bits of an optimiser do not show
        return cls(w[:-1], float(w[-1]), strength, loss)

    def log_ratio(self, features: Features) -> Float64:
        """ln(p(x) / q(x)) of each text, float64[N]; one without n-grams has the intercept alone."""
        parts = [scaled(block) @ self.coefficients for block in _blocks(features)]
        return np.asarray(np.concatenate([*parts, np.zeros(0)]) + self.intercept)


def scaled(features: Features) -> Any:
    """The texts as rows of a scipy CSR matrix, float64[N, B]: ln(1 + count), each row of Euclidean length 1."""
    matrix = counted(features)
    matrix.data = np.log1p(matrix.data)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    norm = np.sqrt(np.bincount(rows, matrix.data**2, minlength=matrix.shape[0]))
    matrix.data /= norm[rows]
    return matrix


def counted(features: Features) -> Any:
    """The texts as rows of a scipy CSR matrix, float64[N, B]: how often each bucket occurs, buckets ascending."""
    from scipy.sparse import csr_matrix

    entries = np.asarray(features.buckets).astype(np.int64)
    start = int(features.indptr[0])
    matrix = csr_matrix(
        (np.ones(len(entries)), entries, np.asarray(features.indptr, np.int64) - start),
        shape=(len(features), features.size),
    )
    matrix.sum_duplicates()
    return matrix


def _blocks(features: Features) -> Iterator[Features]:
    """The texts in runs of about ``_BLOCK`` n-grams."""
    ends = np.searchsorted(features.indptr, np.arange(_BLOCK, int(features.indptr[-1]), _BLOCK))
    cuts = np.unique(np.concatenate([[0], ends, [len(features)]]))
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        yield features.take(np.arange(first, last))


def _canonical(features: Features, seed: int) -> Int64:
    """The rows that hold n-grams, in the order of a hash of their n-grams: int64[rows], whatever the order given."""
    secret = str(int(seed)).encode()[:64]
    entries, ends = np.ascontiguousarray(features.buckets), features.indptr.tolist()
    digests = [
        blake2b(entries[a:b].tobytes(), digest_size=8, key=secret).digest() if b > a else b""
        for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    order = sorted((digest, i) for i, digest in enumerate(digests) if digest)
    return np.array([i for _, i in order], np.int64)


def _stack(first: Any, second: Any) -> tuple[Any, Float64]:
    """Both sides as one matrix, and which side (+1 the first, -1 the second) each row is of."""
    from scipy.sparse import vstack

    return vstack([first, second]).tocsr(), np.repeat([1.0, -1.0], [first.shape[0], second.shape[0]])


def _dot(a: Float64, b: Float64) -> float:
    return float((a * b).sum())


def _share(side: Float64) -> Float64:
    """The weight of each row: half for each side, however many texts it has."""
    return np.asarray(np.where(side > 0, 0.5 / (side > 0).sum(), 0.5 / (side < 0).sum()))


def objective(w: Float64, x: Any, side: Float64, strength: float) -> tuple[float, Float64]:
    """Mean logistic loss, each side half of it, + strength / 2 |coefficients|^2; and its gradient by ``w``.

    ``w`` is float64[B + 1], the intercept last and not penalised.
    """
    share = _share(side)
    margin = side * (x @ w[:-1] + w[-1])
    pull = -share * side * np.exp(-np.logaddexp(0, margin))
    value = _dot(share, np.logaddexp(0, -margin)) + strength / 2 * _dot(w[:-1], w[:-1])
    return value, np.concatenate([x.T @ pull + strength * w[:-1], [pull.sum()]])


def _minimise(x: Any, side: Float64, strength: float, start: Float64, tolerance: float = 1e-7) -> Float64:
    """The minimum of ``objective``, to a largest entry of the gradient, by Newton's method.

    The steps are solved by conjugate gradients, the looser the farther from the minimum, and halved until the value
    falls (Lin, Weng and Keerthi 2008, Trust region Newton method for large-scale logistic regression, compare such
    methods): to the same gradient about as many passes over the texts as L-BFGS, and next to nothing beside them.
    Sums are numpy's own, not a BLAS's, so that the number of threads changes neither the result nor, on a busy machine,
    the time.
    """
    share, turned, w = _share(side), x.T.tocsr(), start
    value, gradient = objective(w, x, side, strength)
    first = _dot(gradient, gradient)
    for _ in range(_NEWTON_STEPS):
        size = _dot(gradient, gradient)
        if np.abs(gradient).max() <= tolerance:
            break
        odds = np.exp(-np.logaddexp(0, -(x @ w[:-1] + w[-1])))
        curve = share * odds * (1 - odds)

        def bend(v: Float64, curve: Float64 = curve) -> Float64:
            pull = curve * (x @ v[:-1] + v[-1])
            return np.concatenate([turned @ pull + strength * v[:-1], [pull.sum()]])

        step = _solve(bend, -gradient, min(0.01, np.sqrt(size / first)) * size)
        length, slope = 1.0, _dot(gradient, step)
        new, at = objective(w + step, x, side, strength)
        while new > value + 1e-4 * length * slope and length > 1e-6:
            length /= 2
            new, at = objective(w + length * step, x, side, strength)
        w, value, gradient = w + length * step, new, at
    return w


def _solve(matrix: Callable[[Float64], Float64], wanted: Float64, tolerance: float) -> Float64:
    """The x with |matrix(x) - wanted|^2 <= tolerance, by at most ``_CG_STEPS`` conjugate gradients."""
    x, rest, way = np.zeros(len(wanted)), wanted, wanted
    square = _dot(rest, rest)
    for _ in range(_CG_STEPS):
        bent = matrix(way)
        pace = square / _dot(way, bent)
        x, rest = x + pace * way, rest - pace * bent
        square, before = _dot(rest, rest), square
        if square <= tolerance:
            break
        way = rest + square / before * way
    return x


def _strength(first: Any, second: Any) -> tuple[float, float]:
    """The penalty with the lowest held-out loss, and that loss."""
    folds = min(FOLDS, first.shape[0], second.shape[0])
    if folds < 2:
        return ALONE, float("nan")
    turns = int(np.clip(np.ceil(500 / first.shape[0]), 1, FOLDS))
    parts = [_part(first, second, turn, folds) for turn in range(min(turns, folds))]
    starts = [np.zeros(first.shape[1] + 1) for _ in parts]
    best = (float("inf"), 0.0)
    for strength in STRENGTHS:
        starts = [_minimise(x, side, strength, w, 1e-5) for w, (x, side, _, _) in zip(starts, parts, strict=True)]
        losses = [objective(w, held, of, 0.0)[0] for w, (_, _, held, of) in zip(starts, parts, strict=True)]
        loss = float(np.mean(losses))
        if loss > best[0]:
            break
        best = (loss, strength)
    return best[1], best[0]


def _part(first: Any, second: Any, turn: int, folds: int) -> tuple[Any, Float64, Any, Float64]:
    """Matrix and sides to fit on, and those to judge by: every fifth text of both sides, in canonical order."""
    held = [np.arange(side.shape[0]) % folds == turn for side in (first, second)]
    return (*_stack(first[~held[0]], second[~held[1]]), *_stack(first[held[0]], second[held[1]]))
