"""How many of a selection each stratum gets: shares turned into whole numbers, and what happens where texts run out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from posbench.errors import UsageError
from posbench.types import Int64


@dataclass(frozen=True)
class Strata:
    """The stratum of each text and how many texts each stratum gives.

    ``names`` in byte order; ``codes`` int64[N], an index into ``names``; ``quotas`` int64[S], adding up to k.
    """

    names: tuple[str, ...]
    codes: Int64
    quotas: Int64


def apportion(k: int, shares: ArrayLike) -> Int64:
    """Shares of k in whole numbers: the largest remainders are rounded up (Hamilton's method), ties to the first.

    Args:
        k: how many, 0 or more.
        shares: float[S], 0 or more, not all 0, in any unit. Whole numbers that add up to k stay as they are.

    Returns:
        int64[S], adding up to k.
    """
    share = np.asarray(shares, np.float64)
    if not (np.isfinite(share).all() and (share >= 0).all() and share.sum() > 0):
        raise UsageError(f"shares must be finite, 0 or more and not all 0; found {share.tolist()}")
    exact = k * (share / share.sum())
    whole: Int64 = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.argsort(-np.round(exact - whole, 9), kind="stable")[: k - int(whole.sum())]
    whole[rest] += 1
    return whole


def spread(k: int, shares: ArrayLike, sizes: ArrayLike) -> Int64:
    """``apportion``, but no stratum gives more than it has: what it lacks is apportioned among the others, by share.

    Where the strata with a share are all used up, the rest comes from those without one, by size.

    Args:
        k: how many, at most the sum of ``sizes``.
        shares: float[S].
        sizes: int[S], texts in each stratum.
    """
    share, size = np.asarray(shares, np.float64), np.asarray(sizes, np.int64)
    if k > size.sum():
        raise UsageError(f"{k} texts were asked for, and the strata hold {size.sum()}; ask for fewer")
    given = np.zeros(len(size), np.int64)
    while (left := k - int(given.sum())) > 0:
        open_ = given < size
        weight = np.where(open_, share, 0.0)
        given += apportion(left, weight if weight.sum() > 0 else size - given)
        given = np.minimum(given, size)
    return given


def strata(
    labels: Sequence[str],
    k: int,
    by: str | Mapping[str, float] = "raw",
    target: Sequence[str] = (),
    spill: bool = False,
) -> Strata:
    """Strata of labelled texts with their quotas.

    Args:
        labels: one label a text.
        k: the size of the selection.
        by: "raw" keeps the shares that the labels have, "target" gives those of ``target``, "equal" gives each the
            same, and a mapping gives shares or numbers by label (a label that it leaves out gets nothing).
        target: the labels of the target's texts.
        spill: where a stratum has fewer texts than its quota, take the rest from the others, in proportion to their
            shares; otherwise that is an error.

    Raises:
        UsageError: an unknown ``by``, a stratum that is too small without ``spill``, or k above the number of texts.
    """
    wanted = _wanted(labels, by, target)
    names = tuple(sorted(set(labels) | set(wanted), key=str.encode))
    place = {name: i for i, name in enumerate(names)}
    codes = np.fromiter((place[label] for label in labels), np.int64, len(labels))
    sizes = np.bincount(codes, minlength=len(names))
    shares = np.array([wanted.get(name, 0.0) for name in names], np.float64)
    quotas = apportion(k, shares) if k else np.zeros(len(names), np.int64)
    if (quotas > sizes).any():
        if not spill:
            lacking = [f"{names[i]!r} has {sizes[i]} of {quotas[i]}" for i in np.flatnonzero(quotas > sizes)]
            raise UsageError(
                f"strata too small for their quotas: {', '.join(lacking)}; ask for fewer texts, give other shares, or "
                "let the rest come from the other strata (spill)"
            )
        quotas = spread(k, shares, sizes)
    return Strata(names, codes, quotas)


def _wanted(labels: Sequence[str], by: str | Mapping[str, float], target: Sequence[str]) -> dict[str, float]:
    """The share of each label, in any unit."""
    if isinstance(by, Mapping):
        return {str(name): float(share) for name, share in by.items()}
    if by == "equal":
        return dict.fromkeys(labels, 1.0)
    if by not in ("raw", "target"):
        raise UsageError(f"no quota rule {by!r}; there are raw, target, equal, or shares by label")
    source = labels if by == "raw" else target
    if not len(source):
        raise UsageError(f"quotas by the shares of the {by} texts need their labels; none were given")
    names, counts = np.unique(np.asarray(source, object).astype(str), return_counts=True)
    return {str(name): float(count) for name, count in zip(names, counts, strict=True)}


def bands(values: ArrayLike, like: ArrayLike, count: int = 8) -> tuple[Int64, Int64]:
    """Cuts numbers (lengths) into bands that hold about equally many of ``like``.

    Args:
        values: float[N], for example the tokens of raw texts.
        like: float[M], M >= 1, the same of the target's texts.
        count: bands, fewer where ``like`` repeats values.

    Returns:
        The band of each of ``values``, int64[N] from 0, and how many of ``like`` fall into each, int64[bands].
    """
    edges = np.unique(np.quantile(np.asarray(like, np.float64), np.arange(1, count) / count))
    codes = np.searchsorted(edges, np.asarray(values, np.float64))
    return codes, np.bincount(np.searchsorted(edges, np.asarray(like, np.float64)), minlength=len(edges) + 1)
