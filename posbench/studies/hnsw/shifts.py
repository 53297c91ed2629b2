"""Whether an index changes which model looks better: ranks, and the probability that two models change places."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from posbench.stats import Bootstrap
from posbench.types import Float64, Int64

RESAMPLES = 1000


def shifts(
    exact: Mapping[str, Float64], found: Mapping[str, Float64], clusters: Int64, seed: int = 0
) -> dict[str, Any]:
    """Models on the same queries under exact search and under an index.

    Args:
        exact: of each model float64[Q].
        found: of each model float64[L, Q], one row a build.
        clusters: int64[Q], the queries that are resampled together.
        seed: of the resamples.

    Returns:
        ``models``: name, the mean and rank under exact search, the mean over builds and its rank, in exact order;
        ``largest``, the largest change of rank; ``swaps``, of each pair the difference (first less second, first the
        better under exact search) both ways, ``builds``, the share of pairs of builds in which the sign is not the
        exact one, and ``resampled``, the same over resamples of the queries, each against exact search on its queries.
    """
    names = sorted(exact, key=lambda name: (-exact[name].mean(), name))
    means = {name: float(found[name].mean()) for name in names}
    after = sorted(names, key=lambda name: (-means[name], name))
    models = [
        {
            "ranker": name,
            "exact": float(exact[name].mean()),
            "exact_rank": place + 1,
            "index": means[name],
            "index_rank": after.index(name) + 1,
        }
        for place, name in enumerate(names)
    ]
    largest = max(abs(after.index(name) - place) for place, name in enumerate(names))
    bootstrap = Bootstrap(clusters, None, RESAMPLES, seed)
    drawn = {name: (bootstrap.means(exact[name][:, None]), bootstrap.means(found[name].T)) for name in names}
    swaps = [_swap(pair, exact, found, drawn) for pair in combinations(names, 2)]
    return {"models": models, "largest": largest, "swaps": swaps}


def _swap(
    pair: tuple[str, str],
    exact: Mapping[str, Float64],
    found: Mapping[str, Float64],
    drawn: Mapping[str, Sequence[Float64]],
) -> dict[str, Any]:
    first, second = pair
    one, other = found[first].mean(axis=1), found[second].mean(axis=1)
    gap = float(exact[first].mean() - exact[second].mean())
    (before, after), (before_other, after_other) = drawn[first], drawn[second]
    sign = np.sign(before - before_other)[:, :, None]
    return {
        "first": first,
        "second": second,
        "exact": gap,
        "index": float(one.mean() - other.mean()),
        "builds": _against(np.sign(gap), one[:, None] - other[None, :]),
        "resampled": _against(sign, after[:, :, None] - after_other[:, None, :]),
    }


def _against(sign: Any, differences: Float64) -> float:
    """The share of differences of another sign; one that is exactly 0 on one side counts half."""
    product = sign * np.sign(differences)
    return float((product < 0).mean() + 0.5 * (product == 0).mean())
