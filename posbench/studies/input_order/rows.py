"""What the rankings of one query's list in several orders say, as columns of a report; NaN where there is nothing.

Suffixes tell which rankings a figure is of. "said" figures count only what the model itself named, before anything was
repaired: repair puts what is missing in the order of the input, and so looks like bias towards it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posbench.studies.input_order import ranks
from posbench.studies.input_order.orders import ORIGINAL, PLACES, Arrangement
from posbench.types import Int64

TOP = 10
KINDS = ("ok", "wrong_format", "out_of_range", "repetition", "missing", "empty", "truncated", "too_long", "filtered")
TENTHS = range(1, ranks.BUCKETS + 1)


@dataclass(frozen=True)
class Seen:
    """One list as it was shown and as it came back.

    Attributes:
        shown: the order shown.
        order: input places, best first.
        said: how many of them the model named itself.
        kinds: of its answers, and how many had it.
        names: the identifiers of the places, where they were shuffled and there was one window.
        repeated: identifiers that an answer named twice or more, and
        outside: those out of range.
    """

    shown: Arrangement
    order: tuple[int, ...]
    said: int
    kinds: Mapping[str, int]
    names: tuple[int, ...] = ()
    repeated: int = 0
    outside: int = 0

    @property
    def items(self) -> Int64:
        """The ranking as items instead of places."""
        return np.asarray(self.shown.items[list(self.order)], np.int64)


def columns(lists: Sequence[Seen], moved: int) -> dict[str, float]:
    """All figures of one query except its quality.

    Args:
        lists: of the query; the first is the original.
        moved: the relevant item that the orders named "place-" move, -1 for none.
    """
    shuffled = [one for one in lists if one.shown.name.startswith("shuffle")]
    repeats = [one for one in lists if one.shown.name.startswith("repeat")] + [lists[0]]
    found = {f"{name}:shuffles": value for name, value in _consistency(shuffled).items()}
    found |= {f"{name}:repeats": value for name, value in _consistency(repeats).items()}
    found |= {f"{name}:reversed": value for name, value in _consistency(lists[:2]).items()}
    found |= _anchoring(shuffled)
    found |= _exposed(shuffled)
    found |= _placed(lists, moved)
    found |= _malformed(lists, shuffled)
    return found | _named([one for one in lists if one.shown.shuffle])


def _consistency(lists: Sequence[Seen]) -> dict[str, float]:
    rankings = np.stack([one.items for one in lists])
    return {
        "tau": ranks.mean_of_pairs(ranks.taus(rankings)),
        "RBO": ranks.mean_of_pairs(ranks.rbo(rankings)),
        f"overlap@{TOP}": ranks.mean_of_pairs(ranks.overlaps(rankings, TOP)),
    }


def _mean(lists: Sequence[Seen], figure: Callable[[Seen], float]) -> float:
    values = np.array([figure(one) for one in lists], np.float64)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _anchoring(shuffled: Sequence[Seen]) -> dict[str, float]:
    """Kendall's tau of output and input: 0 for a ranker to which order is nothing, 1 for one that copies."""
    return {
        "anchoring": _mean(shuffled, lambda one: ranks.tau(one.order)),
        f"anchoring:top{TOP}": _mean(shuffled, lambda one: ranks.tau(one.order[:TOP])),
        "anchoring:said": _mean(shuffled, lambda one: ranks.tau(one.order[: one.said])),
    }


def _exposed(shuffled: Sequence[Seen]) -> dict[str, float]:
    n = len(shuffled[0].order)
    k = ranks.top_of(n, TOP)
    found: dict[str, float] = {"top_size": k, "list_size": n}
    for name, depth in (("exposure", lambda one: k), ("exposure_said", lambda one: min(k, one.said))):
        curves = np.array([ranks.exposure(one.order[: depth(one)], n, k) for one in shuffled])
        found |= {f"{name}:{tenth}": float(value) for tenth, value in zip(TENTHS, curves.mean(axis=0), strict=True)}
    return found


def _placed(lists: Sequence[Seen], moved: int) -> dict[str, float]:
    """Rank from 1, reciprocal rank and success at 1 of the document that is moved, by where it was put."""
    found = {
        f"{name}:place-{one}": float("nan") for one in range(1, len(PLACES) + 1) for name in ("rank", "RR", "first")
    }
    for one in lists:
        if moved >= 0 and one.shown.name.startswith("place"):
            rank = float(np.flatnonzero(one.items == moved)[0] + 1)
            values = {"rank": rank, "RR": 1 / rank, "first": float(rank == 1)}
            found |= {f"{name}:{one.shown.name}": value for name, value in values.items()}
    return found


def _malformed(lists: Sequence[Seen], shuffled: Sequence[Seen]) -> dict[str, float]:
    """Shares of answers by kind, what is never named by tenth of the input, and how far it is only counted up."""
    answers = {kind: sum(one.kinds.get(kind, 0) for one in lists) for kind in KINDS}
    total = sum(answers.values())
    found = {f"answers:{kind}": count / total if total else float("nan") for kind, count in answers.items()}
    tenth = ranks.buckets(len(shuffled[0].order))
    missing = np.mean([_unsaid(one) for one in shuffled], axis=0)
    for place in TENTHS:
        mine = missing[tenth == place - 1]
        found[f"unnamed:{place}"] = float(mine.mean()) if len(mine) else float("nan")
    found["named"] = _mean(lists, lambda one: one.said / max(1, len(one.order)))
    found["repeated"] = _mean(lists, lambda one: one.repeated)
    found["outside"] = _mean(lists, lambda one: one.outside)
    found["longest_run"] = _mean(shuffled, lambda one: _share(one, ranks.longest_run))
    found["tail"] = _mean(shuffled, lambda one: _share(one, ranks.tail))
    return found


def _unsaid(one: Seen) -> Int64:
    """Whether each input place was left out of the answer."""
    unsaid = np.zeros(len(one.order), np.int64)
    unsaid[list(one.order[one.said :])] = 1
    return unsaid


def _share(one: Seen, of: Callable[[Sequence[int]], int]) -> float:
    """A count over what was said, as a share of it."""
    return of(one.order[: one.said]) / one.said if one.said else float("nan")


def _named(named: Sequence[Seen]) -> dict[str, float]:
    """Kendall's tau of output and place, and of output and identifier, where identifiers are shuffled.

    Several windows have names of their own each, so that there are none of the whole list.
    """
    return {
        "anchoring:slot": _mean(named, lambda one: ranks.tau(one.order)),
        "anchoring:name": _mean(
            [one for one in named if one.names], lambda one: ranks.tau([one.names[place] for place in one.order])
        ),
    }


def quality_name(measure: str, order: str) -> str:
    """The column of a measure's values in one order."""
    return measure if order == ORIGINAL else f"{measure}:{order}"
