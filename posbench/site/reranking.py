"""The page of rerankers: quality beside tokens and seconds, the first stage, strategies, and bias of input order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from posbench.leaderboard.entry import Entry
from posbench.plots import quality_by_cost
from posbench.site.context import Page, Site, model_path
from posbench.site.drawings import SCRIPTS, Drawing, charts, drawn

_FALTERS = (KeyError, TypeError, ValueError, IndexError, AttributeError)
_COSTS = (("tokens", "tokens a query, read and written"), ("seconds", "seconds a query"))


@dataclass(frozen=True)
class Reranked:
    """A first stage and a reranker on one dataset; tokens and seconds are of a query, None where unknown."""

    model: str
    path: str
    dataset: str
    first: str
    reranker: str
    depth: int
    measure: str
    queries: int
    before: float
    after: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    p: float
    tokens: float | None
    seconds: float | None


@dataclass(frozen=True)
class Strategies:
    """Strategies of listwise reranking side by side."""

    entry: Entry
    summary: Mapping[str, Any]
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Measure:
    """One of the seven measures of input-order bias: its rows of name, estimate and remark."""

    name: str
    anchor: str
    rows: tuple[tuple[str, Mapping[str, Any], str], ...]


@dataclass(frozen=True)
class InputOrder:
    """What the order of its input does to one reranker."""

    entry: Entry
    summary: Mapping[str, Any]
    measures: tuple[Measure, ...]


def pages(site: Site) -> Iterator[Page]:
    """The page of all rerankers."""
    unread: list[str] = []
    scored = {
        id(found.entry): found.entry for board in site.boards for some in board.entries.values() for found in some
    }
    pipelines = [entry for entry in scored.values() if "rerank" in entry.details]
    studies = {kind: [one.entry for one in site.studies if one.entry.kind == kind] for kind in _STUDIES}
    rows = [row for entry in pipelines for row in _read(_rows, entry, unread)]
    strategies = [one for entry in studies["rerank-strategies"] for one in _read(_strategies, entry, unread)]
    orders = [one for entry in studies["input-order"] for one in _read(_orders, entry, unread)]
    drawings = [*_drawings(rows), *(one for study in strategies for one in study.drawings)]
    values = {
        "rows": sorted(rows, key=lambda row: (row.dataset, -row.after)),
        "drawings": _drawings(rows),
        "strategies": strategies,
        "orders": orders,
        "unread": unread,
    }
    scripts, data = (SCRIPTS, {"charts": charts(*drawings)}) if drawings else ((), None)
    yield Page("rerankers.html", "rerankers.html", "Rerankers", values, scripts, data)


_STUDIES = ("rerank-strategies", "input-order")


def _read(how: Any, entry: Entry, unread: list[str]) -> list[Any]:
    """What an entry says; nothing, with a remark, where its details are of another form."""
    try:
        return list(how(entry))
    except _FALTERS:
        unread.append(f"{entry.model.name} on {entry.data.name}")
        return []


def _rows(entry: Entry) -> Iterator[Reranked]:
    said = entry.details["rerank"]
    everything = entry.details["counts"]["judged_queries"]
    gain = next(one for one in said["gains"] if one["queries"] == "all" or one["count"] == everything)
    measure, queries = str(gain["measure"]), int(gain["count"])
    settings = [figures["all"] for figures in entry.figures[measure].values()]
    cost = said["facts"].get("cost") or {}
    tokens = cost.get("prompt_tokens", 0) + cost.get("answer_tokens", 0)
    ends = (settings[0].low, settings[0].high) if len(settings) == 1 else (None, None)
    low, high = (end if end is not None else float(gain["reranked"]) for end in ends)
    yield Reranked(
        model=entry.model.name,
        path=model_path(entry.model.name),
        dataset=entry.data.name,
        first=str(said["first"]["name"]),
        reranker=str(said["reranker"]["name"]),
        depth=int(said["depth"]),
        measure=measure,
        queries=queries,
        before=float(gain["first"]),
        after=float(gain["reranked"]),
        interval=(low, high),
        gain=float(gain["difference"]),
        gain_interval=(float(gain["interval"][0]), float(gain["interval"][1])),
        p=float(gain["p"]),
        tokens=tokens / queries if tokens else None,
        seconds=_seconds(cost, entry, queries),
    )


def _seconds(cost: Mapping[str, Any], entry: Entry, queries: int) -> float | None:
    """Seconds of the model a query, those of new calls for all; of the whole ranking where calls were not timed."""
    made = cost.get("calls", 0) - cost.get("cached", 0)
    if made > 0 and cost.get("seconds"):
        return float(cost["seconds"]) / float(made) * float(cost["calls"]) / queries
    whole = (entry.details.get("seconds") or {}).get("rank")
    return float(whole) / queries if whole else None


def _drawings(rows: list[Reranked]) -> list[Drawing]:
    """For each dataset and cost a chart."""
    found = []
    for number, dataset in enumerate(dict.fromkeys(row.dataset for row in rows)):
        for cost, title in _COSTS:
            drawable = [row for row in rows if row.dataset == dataset and getattr(row, cost)]
            points = [
                {
                    "name": row.model,
                    "cost": getattr(row, cost),
                    "value": row.after,
                    "low": row.interval[0],
                    "high": row.interval[1],
                    "first": row.before,
                }
                for row in drawable
            ]
            if points:
                chart = quality_by_cost(points, title, drawable[0].measure, dataset)
                found.append(drawn(f"{cost}-{number}", chart, dataset))
    return found


def _strategies(entry: Entry) -> Iterator[Strategies]:
    summary = entry.details["summary"]
    drawings = []
    for cost, title in _COSTS:
        points = [
            {
                "name": arm["arm"],
                "cost": arm[cost],
                "value": arm["value"],
                "low": arm["interval"][0],
                "high": arm["interval"][1],
                "first": summary["first_stage"],
            }
            for arm in summary["arms"]
            if arm[cost]
        ]
        if points:
            about = f"{entry.model.name} on {entry.data.name}"
            chart = quality_by_cost(points, title, str(summary["measure"]), about)
            key = f"strategies-{cost}-{entry.details['result']['fingerprint']}"
            drawings.append(drawn(key, chart, f"strategies of {about}"))
    yield Strategies(entry, summary, tuple(drawings))


def _orders(entry: Entry) -> Iterator[InputOrder]:
    found = entry.details["summary"]
    yield InputOrder(
        entry,
        found,
        (
            Measure("Quality by order", "order-quality", _quality(found["quality"])),
            Measure(
                "Consistency",
                "consistency",
                tuple(
                    (f"{name}, {label}", one[kind], "")
                    for name, one in found["consistency"].items()
                    for kind, label in _AGREEMENTS.items()
                ),
            ),
            Measure(
                "Anchoring to the input",
                "anchoring",
                tuple(
                    (_ANCHORS.get(name, name), one, "0: blind to order, 1: copies it")
                    for name, one in found["anchoring"].items()
                ),
            ),
            Measure("Exposure", "exposure", _exposure(found["exposure"])),
            Measure(
                "A relevant document at each place",
                "places",
                tuple(
                    (f"{label}, at {one['place']:.0%} of the list", one[name], "")
                    for one in found["places"]
                    for name, label in (("rank", "mean rank"), ("first", "share put first"))
                ),
            ),
            Measure("Malformed answers", "malformed", _malformed(found["malformed"])),
            Measure(
                "Bias to identifiers",
                "identifiers",
                tuple((f"agreement with {name}s", one, "0: none") for name, one in found["names"].items()),
            ),
        ),
    )


_AGREEMENTS = {
    "shuffles": "between shuffles",
    "repeats": "between repeats (noise floor)",
    "reversed": "original and reversed",
    "lost_to_order": "lost to order",
}
_ANCHORS = {
    "anchoring": "tau with the input, whole list",
    "anchoring:top10": "tau with the input, top 10",
    "anchoring:said": "tau with the input, before repair",
}


def _quality(found: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any], str], ...]:
    rows = [("first stage", found["first_stage"], "")]
    for one in found["orders"]:
        change = one["change"]
        said = "" if change is None else f"change {_signed(change['value'])}, p {one['p']:.3f} (Holm)"
        rows.append((one["order"], one, said))
    spread, gates = found["of_the_mean"], found["gates"]
    rows += [
        (f"{name} of the mean over shuffles", {"value": spread[name], "interval": None}, _gate(gates[name]))
        for name in ("sd", "range")
    ]
    rows += [(f"{name} of a query over shuffles", found["of_a_query"][name], "") for name in ("sd", "range")]
    return tuple(rows)


def _gate(gate: Mapping[str, Any]) -> str:
    return f"{'holds' if gate['held'] else 'fails'} the gate of {gate['at_most']}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _exposure(found: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any], str], ...]:
    names = {
        "total_variation": "total variation",
        "slope": "slope",
        "edge_minus_middle": "edge minus middle",
        "entropy_ratio": "entropy ratio",
    }
    rows = []
    for kind in ("repaired", "said"):
        one = found[kind]
        if one["curve"] is None:
            continue
        for key, name in names.items():
            by_chance = one[key].get("by_chance")
            said = "" if by_chance is None else f"by chance {by_chance:.3f}, p {one[key]['p']:.3f}"
            rows.append((f"{name}{', before repair' if kind == 'said' else ''}", one[key], said))
    return tuple(rows)


def _malformed(found: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any], str], ...]:
    answers = [(f"answers: {kind}", one, "share of calls") for kind, one in found["answers"].items()]
    names = {
        "named": "share of the list named",
        "repeated": "named twice",
        "outside": "identifiers outside the list",
        "longest_run": "longest run counted up",
        "tail": "run counted up at the end",
    }
    return (*answers, *((name, found[key], "") for key, name in names.items()))
