"""The ranks of models under exact search and under each index and order of insertion of an HNSW study."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from posbench.plots.hnsw import build_name, order_name
from posbench.plots.style import COLOURS, DASHES, FAINT, RULE, Chart, chart

Row = Mapping[str, Any]

SWAP = 0.05
"""The probability of changing places from which on a pair is named."""
_COLUMN, _RANK, _LINE = 98, 42, 16  # px from column to column, rank to rank and line to line of type
_COLUMNS = 8  # in a panel, beside exact search
_NAMED = 5  # pairs beneath a column


def rank_shifts(shifts: Sequence[Row], k: int, about: str) -> Chart:
    """A bump chart: a line a model from its rank under exact search through its ranks under each index and order.

    Args:
        shifts: of ``studies.hnsw.summary.summary``: ``dataset``, the index, ``order``, ``models`` and ``swaps``.
        k: depth of the nDCG that ranks them.
        about: what was searched, for the title.
    """
    models = sorted({model["ranker"] for row in shifts for model in row["models"]})
    panels = []
    for (dataset, build), group in groupby(shifts, key=lambda row: (row["dataset"], build_name(row))):
        rows = list(group)
        panels += [_panel(dataset, build, part, models) for part in _parts(rows)]
    lines = [
        f"{about}; at the ends the mean nDCG@{k} under exact search, and in the last column",
        f"Beneath a column: pairs, by rank under exact search, that change places with a probability of {SWAP:.0%} or "
        "more,",
        "the larger of the shares of builds and of resampled queries",
    ]
    return chart(f"Ranks of models by nDCG@{k}, exact search and HNSW", lines, {"vconcat": panels, "spacing": 36})


def _parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Columns of one panel each, whole efs together where they fit."""
    orders = len({row["order"] for row in rows})
    size = orders * (_COLUMNS // orders) or _COLUMNS
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _panel(dataset: str, build: str, rows: Sequence[Row], models: Sequence[str]) -> dict[str, Any]:
    names = [model["ranker"] for model in rows[0]["models"]]
    bottom = _RANK * len(names)
    layers = [
        *_heads(rows, bottom),
        _lines(rows, models),
        _ends(rows[0]["models"], "exact", 0),
        _ends(rows[-1]["models"], "index", len(rows)),
        *_swaps(rows, bottom),
    ]
    style = {"anchor": "start", "fontSize": 13, "offset": 10, "subtitlePadding": 3}
    title = {"text": dataset, "subtitle": [build], **style}
    return {"title": title, "width": _COLUMN * len(rows), "height": bottom, "layer": layers}


def _place(field: str) -> dict[str, Any]:
    """A position in px."""
    return {"field": field, "type": "quantitative", "scale": None, "axis": None}


def _height(rank: int) -> float:
    return _RANK * (rank - 0.5)


def _text(rows: Sequence[Row], **mark: Any) -> dict[str, Any]:
    """Labels at their places."""
    place = {"x": _place("x"), "y": _place("y"), "text": {"field": "label"}}
    return {"data": {"values": list(rows)}, "mark": {"type": "text", "baseline": "middle", **mark}, "encoding": place}


def _heads(rows: Sequence[Row], bottom: float) -> list[dict[str, Any]]:
    """Names of columns, of the efs above them, and rules between."""
    texts = ["exact\nsearch", *(order_name(row["order"]).replace("-", "-\n") for row in rows)]
    lines = [text.count("\n") for text in texts]
    # Text of several lines grows downwards, so it begins higher.
    names = [{"x": _COLUMN * i, "y": -5 - _LINE * line, "label": texts[i]} for i, line in enumerate(lines)]
    top = -5 - _LINE * (max(lines) + 1.5)
    efs, rules, first = [], [], 1
    for ef, group in groupby(rows, key=lambda row: int(row["ef_search"])):
        last = first + len(list(group)) - 1
        efs.append({"x": _COLUMN * (first + last) / 2, "y": top, "label": f"efSearch {ef}"})
        rules.append({"x": _COLUMN * (first - 0.5), "y": top - _LINE / 2, "to": bottom})
        first = last + 1
    rule = {
        "data": {"values": rules},
        "mark": {"type": "rule", "color": RULE, "strokeWidth": 1.5},
        "encoding": {"x": _place("x"), "y": _place("y"), "y2": {"field": "to"}},
    }
    return [rule, _text(names, lineBreak="\n", lineHeight=_LINE, limit=_COLUMN), _text(efs, fontWeight="bold")]


def _lines(rows: Sequence[Row], models: Sequence[str]) -> dict[str, Any]:
    values = [
        {"model": m["ranker"], "x": 0, "y": _height(m["exact_rank"]), "rank": m["exact_rank"], "ndcg": m["exact"]}
        | {"at": "exact search"}
        for m in rows[0]["models"]
    ]
    for i, row in enumerate(rows):
        at = f"efSearch {row['ef_search']}, {order_name(row['order'])}"
        values += [
            {"model": m["ranker"], "x": _COLUMN * (i + 1), "y": _height(m["index_rank"]), "rank": m["index_rank"]}
            | {"ndcg": m["index"], "at": at}
            for m in row["models"]
        ]
    number = len(models)
    colours = [COLOURS[i % len(COLOURS)] for i in range(number)]
    dashes = [list(DASHES[i // len(COLOURS) % len(DASHES)]) for i in range(number)]
    who = {"field": "model", "type": "nominal", "legend": None}
    colour = {**who, "scale": {"domain": list(models), "range": colours}}
    dash = {**who, "scale": {"domain": list(models), "range": dashes}}
    place = {"x": _place("x"), "y": _place("y"), "color": colour}
    tooltip = [{"field": "model"}, {"field": "at"}, {"field": "rank"}, {"field": "ndcg", "format": ".4f"}]
    line = {
        "mark": {"type": "line", "strokeWidth": 3, "interpolate": "monotone"},
        "encoding": {**place, "strokeDash": dash},
    }
    point = {
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
        "encoding": {**place, "tooltip": tooltip},
    }
    return {"data": {"values": values}, "layer": [line, point]}


def _ends(models: Sequence[Row], side: str, column: int) -> dict[str, Any]:
    """Rank, name and mean beside the ends of the lines: under exact search on the left, else on the right."""
    rows = []
    for model in models:
        rank, mean = model[f"{side}_rank"], f"{model[side]:.4f}"
        label = f"{mean}  {model['ranker']}" if column else f"{rank}  {model['ranker']}  {mean}"
        rows.append({"x": _COLUMN * column, "y": _height(rank), "label": label})
    align = {"align": "left", "dx": 14} if column else {"align": "right", "dx": -14}
    return _text(rows, fontSize=13, **align)


def _swaps(rows: Sequence[Row], bottom: float) -> list[dict[str, Any]]:
    """The likeliest pairs beneath each column, and what these are."""
    noted = [(i + 1, line, text) for i, row in enumerate(rows) for line, text in enumerate(_pairs(row))]
    if not noted:
        return []
    values = [
        {"x": _COLUMN * column, "y": bottom + 12 + _LINE * line, "label": text, "swap": True}
        for column, line, text in noted
    ]
    head = {"x": -14, "y": bottom + 12, "label": "change places"}
    return [_text(values, color=FAINT), _text([head], color=FAINT, align="right")]


def _pairs(row: Row) -> list[str]:
    ranks = {model["ranker"]: model["exact_rank"] for model in row["models"]}
    likely = [(max(swap["builds"], swap["resampled"]), swap) for swap in row["swaps"]]
    likely = sorted((pair for pair in likely if pair[0] >= SWAP), key=lambda pair: -pair[0])
    texts = [f"{ranks[swap['first']]} and {ranks[swap['second']]}: {p:.0%}" for p, swap in likely]
    return texts if len(texts) <= _NAMED else [*texts[: _NAMED - 1], f"{len(texts) - _NAMED + 1} more"]
