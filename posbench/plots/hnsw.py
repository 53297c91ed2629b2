"""HNSW studies: recall by efSearch and order of insertion, by LID, and the ranks of models under each index."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from posbench.plots.style import COLOURS, DASHES, FAINT, HEIGHT, INK, WIDTH, Chart, chart
from posbench.studies.hnsw.grid import BASELINE, FILE

Row = Mapping[str, Any]

_FIGURES = (("mean", "recall"), ("low", "95% low"), ("high", "95% high"))
_SIZES = {1: (WIDTH, HEIGHT), 2: (310, 220), 3: (225, 180)}
"""Width and height of a panel in px by panels in a row."""
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)


def recall_curves(sets: Sequence[Row], k: int, about: str) -> Chart:
    """Mean recall by efSearch, a line an order of insertion; a panel a kind of vectors and build.

    Every panel has a recall axis of its own, as long as its differences need, and says where it begins.

    Args:
        sets: as ``studies.hnsw.summary.summary`` has them: ``vectors``, ``null``, ``arms`` and ``effects``.
        k: depth of the recall.
        about: what was searched, for the title.
    """
    shown, left_out = _shown(sets)
    builds = list(dict.fromkeys(build_name(arm) for one in sets for arm in one["arms"]))
    drawn = []
    for one in sets:
        for build in dict.fromkeys(build_name(arm) for arm in one["arms"]):
            arms = [arm for arm in one["arms"] if build_name(arm) == build and arm["order"] in shown]
            about_set = ["no order should matter" if one["null"] else "", build if len(builds) > 1 else ""]
            drawn.append(((one, about_set), arms))
    columns = len(builds) if len(builds) in (2, 3) else _columns(len(drawn))  # a row a set where that fits
    titles = _titled([heading for heading, _ in drawn])
    panels = [
        {"title": title, **_recall_panel(arms, shown, k, columns)}
        for title, (_, arms) in zip(titles, drawn, strict=True)
    ]
    counts = {arm["builds"] for one in sets for arm in one["arms"]}
    numbers = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(min(counts))
    lines = [
        ", ".join([about, *(builds if len(builds) == 1 else [])]),
        f"Means over {numbers} builds an order with 95% intervals"
        + ("; axes of recall differ between panels" if len(drawn) > 1 else ""),
        *_left_out(left_out),
    ]
    return chart(f"recall@{k} by efSearch and order of insertion", lines, _tiled(panels, columns))


def build_name(row: Row) -> str:
    """How an index was built, in a few words."""
    return f"{row['library']} M {row['m']} efConstruction {row['ef_construction']}"


def _shown(sets: Sequence[Row]) -> tuple[list[str], list[str]]:
    """The orders drawn, the reference first: all, or those that change recall most where they are too many."""
    orders = list(dict.fromkeys(arm["order"] for one in sets for arm in one["arms"] if arm["order"] != BASELINE))
    if len(orders) < len(COLOURS):
        return [BASELINE, *orders], []
    most = {order: 0.0 for order in orders}
    for effect in (effect for one in sets for effect in one["effects"]):
        most[effect["order"]] = max(most[effect["order"]], abs(effect["recall"]["value"]))
    kept = sorted(orders, key=lambda order: -most[order])[: len(COLOURS) - 1]
    return [BASELINE, *(o for o in orders if o in kept)], [o for o in orders if o not in kept]


def _left_out(orders: Sequence[str]) -> list[str]:
    names = ", ".join(order_name(order) for order in orders)
    return [f"Left out, for they change recall least: {names}"] if orders else []


def order_name(order: str) -> str:
    """An order, one from a file without the file's folder."""
    if not order.startswith(FILE):
        return order
    return FILE + order.removeprefix(FILE).replace("\\", "/").rpartition("/")[2]


def _titled(panels: Sequence[tuple[Row, Sequence[str]]]) -> list[dict[str, Any]]:
    """The titles of panels: a set and lines of what is particular; as many lines in each, so that they stand even."""
    texts = []
    for one, more in panels:
        name, _, dataset = str(one["vectors"]).partition(" on ")
        lines = [f"on {dataset}" if dataset else "", *more]
        texts.append((name, [line for line in lines if line]))
    most = max(len(lines) for _, lines in texts)
    style = {"anchor": "start", "frame": "group", "fontSize": 13, "offset": 8, "subtitlePadding": 3}
    below = [{"subtitle": [*lines, *([""] * (most - len(lines)))]} if most else {} for _, lines in texts]
    return [{"text": name, **some, **style} for (name, _), some in zip(texts, below, strict=True)]


def _columns(panels: int) -> int:
    return {1: 1, 2: 2, 4: 2}.get(panels, 3)


def _tiled(panels: Sequence[Mapping[str, Any]], columns: int) -> dict[str, Any]:
    """Panels in rows; what they share has one legend."""
    return {"concat": list(panels), "columns": columns, "spacing": {"row": 28, "column": 24}}


def _by_order(orders: Sequence[str]) -> dict[str, Any]:
    """Colours and dashes of the orders: the reference in black and unbroken."""
    colours = [COLOURS[-1], *COLOURS[:-1]][: len(orders)]
    dashes = [list(dash) for dash in DASHES[: len(orders)]]
    names = f"replace(datum.label, /^{FILE}.*[\\\\/]/, '{FILE}')"
    key = {
        "orient": "top",
        "direction": "horizontal",
        "title": None,
        "labelFontSize": 13,
        "labelLimit": 0,
        "labelExpr": names,
        "symbolSize": 700,
        "symbolStrokeWidth": 2.5,
        "symbolType": "stroke",
        "symbolOpacity": 1,
        "labelColor": INK,
        "padding": 8,
        "columns": 4,
    }
    field = {"field": "order", "type": "nominal", "legend": key}
    return {
        "color": {**field, "scale": {"domain": list(orders), "range": colours}},
        "strokeDash": {**field, "scale": {"domain": list(orders), "range": dashes}},
    }


def _recall_panel(arms: Sequence[Row], orders: Sequence[str], k: int, columns: int) -> dict[str, Any]:
    efs = sorted({arm["ef_search"] for arm in arms})
    apart = 1.1 if len(efs) == 1 else 1.0  # orders side by side where no line tells them apart
    rows = []
    for arm in sorted(arms, key=lambda arm: orders.index(arm["order"])):
        row = {"order": arm["order"], "ef": arm["ef_search"], "builds": arm["builds"]}
        row |= {"mean": arm["recall"]["value"], "low": arm["recall"]["low"], "high": arm["recall"]["high"]}
        rows.append({**row, "at": arm["ef_search"] * apart ** (orders.index(arm["order"]) - (len(orders) - 1) / 2)})
    low, high = recall_domain(rows)
    width, height = _SIZES[columns]
    domain = [efs[0], efs[-1]] if len(efs) > 1 else [efs[0] / 2, 2 * efs[0]]
    x = {
        "field": "at",
        "type": "quantitative",
        "title": "efSearch",
        "scale": {"type": "log", "base": 2, "domain": domain, "nice": False, "padding": 10},
        "axis": {"values": efs, "format": ",d", "labelOverlap": "greedy", "labelFlush": False, "grid": False},
    }
    start = f", from {low:g}" if low else ""
    y = {
        "field": "mean",
        "type": "quantitative",
        "title": f"recall@{k}{start}",
        "scale": {"domain": [low, high], "nice": False, "zero": False, "clamp": True},
        "axis": {"tickCount": 5},
    }
    tooltip = [
        {"field": "order"},
        {"field": "ef", "title": "efSearch"},
        *({"field": name, "format": ".3f", "title": title} for name, title in _FIGURES),
        {"field": "builds"},
    ]
    plain = {"color": _by_order(orders)["color"]}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    band = {"mark": {"type": "area", "opacity": 0.14}, "encoding": {"x": x, **ends, **plain}}
    bar = {"mark": {"type": "rule", "strokeWidth": 1.5}, "encoding": {"x": x, **ends, **plain}}
    line = {
        "mark": {"type": "line", "strokeWidth": 2.2},
        "encoding": {"x": x, "y": y, **_by_order(orders)},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
        "encoding": {"x": x, "y": y, "tooltip": tooltip, **plain},
    }
    layers = [band, line, point] if len(efs) > 1 else [bar, line, point]
    return {"width": width, "height": height, "data": {"values": rows}, "layer": layers}


def recall_domain(rows: Sequence[Row]) -> tuple[float, float]:
    """A recall axis that all means and intervals fill, on round numbers within 0 and 1."""
    low, high = max(0.0, min(row["low"] for row in rows)), min(1.0, max(row["high"] for row in rows))
    step = next((step for step in _STEPS if (high - low) / step <= 6), _STEPS[-1])
    first = min(math.floor(low / step + 1e-9), round(1 / step) - 1)
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return round(first * step, 6), min(1.0, round(last * step, 6))


def lid_recall(sets: Sequence[Row], k: int, about: str, seed: int = 0) -> Chart:
    """The mean recall of each query under the random order by the LID around it, and means by tenths of LID.

    Args:
        sets: as ``studies.hnsw.lid.by_lid`` has them, of one index.
        k: depth of the recall.
        about: what was searched, for the title.
        seed: chooses the queries that stand as points where they are too many.
    """
    columns = _columns(len(sets))
    titles = _titled([(one, _correlation(one["spearman"])) for one in sets])
    panels = [{"title": title, **_lid_panel(one, k, columns, seed)} for title, one in zip(titles, sets, strict=True)]
    first = sets[0]
    lines = [
        f"{about}, {build_name(first)} efSearch {first['ef_search']}, random order; a point is a query, its recall the "
        "mean of the builds" + (f" ({_POINTS} of a set are drawn)" if _many(sets) else ""),
        "Lines are means by parts of the queries in order of LID, tenths where there are enough; "
        "bands are 95% intervals",
    ]
    return chart(f"recall@{k} by local intrinsic dimension (LID) at the query", lines, _tiled(panels, columns))


_POINTS = 400  # queries of a set that are drawn one by one


def _many(sets: Sequence[Row]) -> bool:
    return any(len(one["lid"]) > _POINTS for one in sets)


def _correlation(found: Row | None) -> list[str]:
    if found is None:
        return ["no correlation: recall or LID is constant", ""]
    interval = f"[{found['low']:.2f}, {found['high']:.2f}]"
    text = f"Spearman {found['rho']:.2f} {interval}".replace("-", "\N{MINUS SIGN}")
    return [text, f"{found['queries']:,} queries"]


def _lid_panel(one: Row, k: int, columns: int, seed: int) -> dict[str, Any]:
    width, height = _SIZES[columns]
    low, high = min(one["lid"]), max(one["lid"])
    domain = [low, high] if low < high else [low / 2, 2 * low]
    x = {
        "field": "lid",
        "type": "quantitative",
        "title": "LID",
        "scale": {"type": "log", "domain": domain, "nice": False, "padding": 8},
        "axis": {"values": ticks(*domain), "format": "~g", "labelOverlap": "greedy", "grid": False},
    }
    y = {
        "field": "mean",
        "type": "quantitative",
        "title": f"recall@{k}",
        "scale": {"domain": [0, 1], "clamp": True},
        "axis": {"tickCount": 5},
    }
    number = len(one["lid"])
    chosen = sorted(random.Random(seed).sample(range(number), min(_POINTS, number)))
    points = {
        "data": {"values": [{"lid": one["lid"][i], "mean": one["recall"][i]} for i in chosen]},
        "mark": {"type": "point", "filled": True, "size": 14, "opacity": 0.3, "color": FAINT},
        "encoding": {"x": x, "y": y},
    }
    tooltip = [
        {"field": "lid", "title": "median LID", "format": ".1f"},
        *({"field": name, "format": ".3f", "title": title} for name, title in _FIGURES),
        {"field": "queries", "format": ","},
    ]
    ends = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    trend = {
        "data": {"values": one["parts"]},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.25, "color": COLOURS[0]}, "encoding": ends},
            {"mark": {"type": "line", "strokeWidth": 2.2, "color": COLOURS[0]}, "encoding": {"x": x, "y": y}},
            {
                "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1, "color": COLOURS[0]},
                "encoding": {"x": x, "y": y, "tooltip": tooltip},
            },
        ],
    }
    return {"width": width, "height": height, "layer": [points, trend]}


def ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis: 1, 2, 5 and their decades, finer where it spans less."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        found = [round(step * 10.0**decade, 9) for decade in decades for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) > 2:
            return found
    step = 10.0 ** math.floor(math.log10((high - low) / 3 or 1))
    step *= next((more for more in (5, 2) if (high - low) / (step * more) >= 3), 1)
    return [round(i * step, 9) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
