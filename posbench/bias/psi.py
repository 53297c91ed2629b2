"""PSI told from noise: its null, the figure without what noise adds, and an interval of the true PSI."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from posbench.bias import posir
from posbench.bias.placed import MIN_QUERIES
from posbench.bias.shuffle import one_sided
from posbench.bias.shuffled import BINS, Shuffled
from posbench.types import Float64, Int64

_STEP = 2.0**-12  # to which the interval is searched


def figure(found: Shuffled, group: int) -> dict[str, Any] | None:
    """PSI against its null, or None where a bin has too few queries, few documents, or the largest mean is 0."""
    counts = found.counts[group]
    if found.documents[group] < MIN_QUERIES:
        return None
    used = counts[counts > 0]
    seen, null = found.psi(group)
    if len(used) < 2 or used.min() < MIN_QUERIES or np.isnan(seen) or np.isnan(null).any():
        return None
    noise = noise_of(null)
    return {
        "value": seen,
        "null_mean": float(null.mean()),
        "null_95": float(np.quantile(null, 0.95)),
        "p": one_sided(seen, null),
        "noise": noise,
        "debiased": float(debiased(seen, noise)),
        "interval": _interval(found, group, seen),
        "queries": int(counts.sum()),
        "documents": int(found.documents[group]),
        "smallest_bin": int(used.min()),
        "bins": len(used),
    }


def debiased(value: ArrayLike, noise: ArrayLike) -> Float64:
    """PSI without what noise adds to it: sign(d) sqrt |d| with d = PSI^2 - c^2, where c is the noise.

    Noise and bias add up about as squares do. Taking the null's mean away instead would halve a PSI of .15 at 150
    queries a bin.
    """
    d = np.square(value) - np.square(noise)
    return np.asarray(np.sign(d) * np.sqrt(np.abs(d)), np.float64)


def noise_of(null: Float64) -> float:
    """The c with which the debiased PSI has mean 0 over the null: then it is neither cut at zero nor biased there.

    Simulations (benchmarks/bias.py) show how close it comes elsewhere.
    """
    low, high = float(null.min()), float(null.max())
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if debiased(null, middle).mean() > 0 else (low, middle)
    return (low + high) / 2


def _interval(found: Shuffled, group: int, seen: float) -> list[float]:
    """95% interval of the PSI of the true means: the values that what was seen does not contradict.

    For a PSI of t, means of the fitted parabola's shape with that PSI are taken, the noise of the shuffles is added,
    and t is kept if the PSI seen lies in the middle 95% of what results (0 is kept up to the null's 95th percentile).
    """
    n = found.counts[group]
    used = n > 0
    mean = float(found.cells[group].sum() / n.sum())
    noise = found.null_cells[:, group][:, used] / n[used] - mean
    curve = _fitted(np.flatnonzero(used), found.cells[group][used] / n[used], n[used])

    def share_below(t: float) -> float:
        """How much of the PSI that a true PSI of t gives lies below what was seen."""
        shape = 1 - t * curve
        given = posir.psi(mean * shape / np.average(shape, weights=n[used]) + noise)
        return float((np.count_nonzero(given < seen) + 0.5 * np.count_nonzero(given == seen)) / len(given))

    least = 0.0 if share_below(0.0) <= 0.95 else _STEP
    return [max(least, _first(share_below, 0.975)), _first(share_below, 0.025)]


def _first(share_below: Callable[[float], float], level: float) -> float:
    """The smallest t in [0, 1) at which the share, which falls with t, is at or below the level."""
    low, high = 0.0, 1.0
    if share_below(0.0) <= level:
        return 0.0
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if share_below(middle) > level else (low, middle)
    return high


def _fitted(bins: Int64, means: Float64, counts: Int64) -> Float64:
    """A parabola through bin means, turned so that its largest value is 0 and its smallest 1."""
    x = (bins + 0.5) / BINS
    curve = np.polyval(np.polyfit(x, means, min(2, len(x) - 1), w=np.sqrt(counts)), x)
    spread = float(curve.max() - curve.min())
    return np.asarray((curve.max() - curve) / spread if spread > 0 else np.linspace(0, 1, len(x)))
