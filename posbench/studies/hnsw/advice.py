"""For each set of vectors: the cheapest parameters that reach a target recall, and whether shuffling first pays."""

from collections.abc import Mapping, Sequence
from typing import Any

from posbench.studies.hnsw.grid import BASELINE

_DROP = 0.01  # a loss of recall that is worth a sentence


def advice(one: Mapping[str, Any], target: float, k: int) -> list[str]:
    """Sentences with the figures.

    Args:
        one: a set, as ``summary`` has it.
        target: mean recall that the lower end of an interval must reach.
        k: depth of the recall.
    """
    return [_cheapest(one["arms"], target, k), *_shuffling(one)]


def _cheapest(arms: Sequence[Mapping[str, Any]], target: float, k: int) -> str:
    """The quickest index whose random order reaches the target."""
    random = [arm for arm in arms if arm["order"] == BASELINE]
    enough = [arm for arm in random if arm["recall"]["low"] >= target]
    if not enough:
        best = max(random, key=lambda arm: float(arm["recall"]["value"]))
        return (
            f"no index tried reaches a recall@{k} of {target:.3g} for sure: the best, {index_name(best)}, has "
            f"{best['recall']['value']:.3f} ({between(best['recall'])}); try a larger ef_search, m or ef_construction"
        )
    chosen = min(enough, key=lambda arm: float(arm["milliseconds"]["value"]))
    text = (
        f"cheapest tried with a recall@{k} of {target:.3g} or more, documents shuffled: {index_name(chosen)}, "
        f"recall {chosen['recall']['value']:.3f} ({between(chosen['recall'])}), "
        f"{_cost(chosen['milliseconds'])} ms a query in one thread, {_cost(chosen['build_seconds'])} s to build, "
        f"{chosen['bytes'] / 2**20:.1f} MiB"
    )
    if "ndcg_loss" in chosen:
        loss = chosen["ndcg_loss"]
        text += f"; nDCG@{k} {chosen['ndcg']['value']:.4f} ({between(chosen['ndcg'], 4)}) against "
        text += f"{chosen['ndcg_exact']:.4f} by exact search, a loss of {loss['value'] + 0.0:.4f} ({between(loss, 4)})"
    return text


def _shuffling(one: Mapping[str, Any]) -> list[str]:
    """What each order changes at the ef where it changes most, and whether a larger ef mends it."""
    effects = one["effects"]
    orders = list(dict.fromkeys(effect["order"] for effect in effects))
    found = []
    for order in orders:
        mine = [effect for effect in effects if effect["order"] == order]
        real = [effect for effect in mine if effect["recall"]["p_holm"] <= 0.05]
        if not real:
            found.append(f"order {order}: {_undecided(mine, len(effects))}")
            continue
        worst = min(real, key=lambda effect: float(effect["recall"]["value"]))
        best = max(real, key=lambda effect: float(effect["recall"]["value"]))
        if worst["recall"]["value"] < 0:
            pays = "shuffling pays" if worst["recall"]["value"] < -_DROP else "shuffling hardly pays"
            found.append(
                f"order {order}: {pays}: {points(worst['recall'])} at {index_name(worst)}{_mended(worst, mine)}"
            )
        else:
            found.append(f"order {order}: better than a shuffle by {points(best['recall'])} at {index_name(best)}")
    return found


def _undecided(mine: Sequence[Mapping[str, Any]], tests: int) -> str:
    """What an order may change whose differences are not told from chance."""
    apart = [effect for effect in mine if effect["recall"]["low"] > 0 or effect["recall"]["high"] < 0]
    most = max(apart or mine, key=lambda effect: abs(float(effect["recall"]["value"])))
    seen = f"{points(most['recall'])} at {index_name(most)}"
    if apart:
        return f"undecided: {seen}, which the correction for {tests} comparisons does not tell from chance"
    return f"no difference from a shuffle that can be told from none; the largest seen is {seen}"


def _mended(worst: Mapping[str, Any], mine: Sequence[Mapping[str, Any]]) -> str:
    """What is left of a loss at the largest ef of the same index, or that it is no smaller than at the smallest."""
    same = [e for e in mine if all(e[key] == worst[key] for key in ("library", "m", "ef_construction"))]
    least, most = (choose(same, key=lambda effect: int(effect["ef_search"])) for choose in (min, max))
    if most["ef_search"] > worst["ef_search"]:
        return f"; {points(most['recall'])} left at ef {most['ef_search']}"
    if len(same) > 1 and worst["recall"]["value"] <= least["recall"]["value"]:
        return ", the largest ef tried: more of it does not mend this"
    return ""


def index_name(row: Mapping[str, Any]) -> str:
    """An index in a few words."""
    return f"{row['library']} M {row['m']} efConstruction {row['ef_construction']} efSearch {row['ef_search']}"


def between(estimate: Mapping[str, Any], places: int = 3) -> str:
    """An interval."""
    return f"{estimate['low']:.{places}f} to {estimate['high']:.{places}f}"


def _cost(estimate: Mapping[str, Any]) -> str:
    """A cost with its interval, three figures each."""
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def points(estimate: Mapping[str, Any]) -> str:
    """A difference of recall in percentage points with its interval."""
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return f"{value + 0.0:+.1f} points ({low + 0.0:+.1f} to {high + 0.0:+.1f})"
