"""Selections: distance to the target by size and selector, the log weights, and the n-grams that come and go."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from posbench.plots.hnsw import ticks
from posbench.plots.style import BARS, FAINT, HEIGHT, WIDTH, Chart, by_series, chart, end_labels, figure

Row = Mapping[str, Any]

_WORDS = 12  # n-grams of either side


def divergence(summary: Row, about: str) -> Chart:
    """KL(target || selection) by size, a line a selector; random selections as a band.

    Args:
        summary: as ``studies.selection.summary.told`` has it, with two sizes or more.
        about: what was selected from, for the title.
    """
    rows = summary["comparison"]
    held = all(target["held_out"] for target in summary["targets"])
    measure = "KL held out" if held else "KL fitted"
    lines = [_point(row, measure) for row in rows]
    names = list(dict.fromkeys(row["series"] for row in lines))
    sizes = sorted({row["size"] for row in lines})
    low, high = min(row["low"] for row in lines), max(row["high"] for row in lines)
    x = {
        "field": "size",
        "type": "quantitative",
        "title": "documents selected",
        "scale": {"type": "log", "domain": [sizes[0], sizes[-1]], "nice": False},
        "axis": {"values": sizes, "format": ",d", "grid": False},
    }
    part = "held-out" if held else "fitted"
    y = {
        "field": "mean",
        "type": "quantitative",
        "title": f"KL to {part} target documents (nats, log scale)",
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"values": ticks(low, high), "format": "~g"},
    }
    ends = [{**row, "label": row["series"]} for row in lines if row["size"] == sizes[-1]]
    return chart(
        "Distance to the target by selector and size",
        [about, f"Mean over targets; random: mean of {_draws(rows)} draws, band where 95% of single draws lie"],
        {"width": WIDTH, "height": HEIGHT, "layer": [*_curves(lines, names, x, y), *_labels(ends, x, y)]},
    )


def _labels(ends: Sequence[Mapping[str, Any]], x: Row, y: Row) -> list[dict[str, Any]]:
    """Names at the ends of lines; ``end_labels`` moves them apart in even steps, which on this axis are logarithms."""
    low, high = (math.log(value) for value in y["scale"]["domain"])
    even = {**y, "scale": {"domain": [low, high]}}
    (found,) = end_labels([{**end, "mean": math.log(end["mean"])} for end in ends], x, even, width=WIDTH, height=HEIGHT)
    for row in found["data"]["values"]:
        row["mean"], row["at"] = math.exp(row["mean"]), math.exp(row["at"])
    lead, text = found["layer"]
    lead["encoding"]["y"] = y
    text["encoding"]["y"] = {**y, "field": "at"}
    return [found]


def _point(row: Row, measure: str) -> dict[str, Any]:
    value = row[measure]
    if isinstance(value, Mapping):
        low = max(value["single_low"], value["mean"] / 10)
        figures = {"mean": value["mean"], "low": low, "high": value["single_high"]}
    else:
        figures = {"mean": value, "low": value, "high": value}
    return {"series": row["selector"], "size": row["size"], **figures}


def _draws(rows: Sequence[Row]) -> int:
    return next(int(row["KL fitted"]["draws"]) for row in rows if row["selector"] == "random")


def _curves(lines: Sequence[Row], names: Sequence[str], x: Row, y: Row) -> list[dict[str, Any]]:
    tooltip = [{"field": "series", "title": "selector"}, {"field": "size", "format": ","}]
    tooltip += [{"field": name, "format": ".3f"} for name in ("mean", "low", "high")]
    ends = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": by_series(names)["color"]}
    return [
        {
            "data": {"values": [row for row in lines if row["series"] == "random"]},
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": ends,
        },
        {
            "data": {"values": list(lines)},
            "layer": [
                {"mark": {"type": "line", "strokeWidth": 2.2}, "encoding": {"x": x, "y": y, **by_series(names)}},
                {
                    "mark": {"type": "point", "filled": True, "size": 36, "opacity": 1},
                    "encoding": {"x": x, "y": y, "tooltip": tooltip, "color": by_series(names)["color"]},
                },
            ],
        },
    ]


def log_weights(histograms: Sequence[Row], effective: Sequence[Row], targets: Sequence[str], about: str) -> Chart:
    """How DSIR's log weights lie, a panel a target, with their effective sample size.

    Args:
        histograms: ``edges`` and ``counts`` a target.
        effective: ``dsir`` and ``drawn`` effective sample sizes a target.
        targets: their names.
        about: what was weighed, for the title.
    """
    panels = []
    for found, size, name in zip(histograms, effective, targets, strict=True):
        edges, counts = found["edges"], found["counts"]
        rows = [
            {"low": low, "high": high, "mean": count}
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ]
        x = {"field": "low", "type": "quantitative", "title": "log weight (nats)", "scale": {"zero": False}}
        text = f"{name}: effective sample size {size['dsir']:,.1f}; of the weights drawn by {size['drawn']:,.1f}"
        panels.append(
            {
                "title": {"text": text, "anchor": "start", "fontSize": 13, "fontWeight": "normal"},
                "width": WIDTH,
                "height": HEIGHT * 2 // 3,
                "data": {"values": rows},
                "mark": {"type": "bar", "color": BARS, "stroke": FAINT, "strokeWidth": 0.5},
                "encoding": {
                    "x": {**x, "bin": {"binned": True}},
                    "x2": {"field": "high"},
                    "y": {"field": "mean", "type": "quantitative", "title": "documents", "axis": {"format": "~s"}},
                },
            }
        )
    line = "Gumbel noise has a standard deviation of 1.28: where weights spread far wider, a draw is a ranking"
    return chart("Importance weights of the raw text", [about, line], {"vconcat": panels})


def words(ngrams: Sequence[Row], about: str) -> Chart:
    """The n-grams that a selection has more and less of than a random one: share in selected, random and target.

    Args:
        ngrams: as ``studies.selection.drift.gained`` has them.
        about: what was selected, for the title.
    """
    sides = ("selected", "random", "target")
    shown = [row for up in (True, False) for row in [row for row in ngrams if row["gained"] is up][:_WORDS]]
    rows = [
        {"ngram": row["ngram"][:40], "place": place, "series": side, "mean": row[side], "label": figure(row[side])}
        for place, row in enumerate(shown)
        for side in sides
    ]
    y = {
        "field": "ngram",
        "type": "nominal",
        "sort": {"field": "place", "op": "min"},  # a list of names fails where one has a quotation mark in it
        "title": None,
        "axis": {"labelLimit": 260, "labelPadding": 8, "grid": True, "ticks": False, "domain": False},
    }
    encoding = by_series(sides, mark="point")
    for key in ("color", "shape"):
        encoding[key] = {**encoding[key], "legend": {"orient": "top", "title": None, "labelFontSize": 13}}
    body = {
        "width": WIDTH,
        "height": {"step": 17},
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
        "encoding": {
            "x": {
                "field": "mean",
                "type": "quantitative",
                "title": "occurrences in a million n-grams",
                "scale": {"type": "symlog"},
                "axis": {"values": [0, 1, 10, 100, 1000, 10000], "format": ",d"},
            },
            "y": y,
            **encoding,
        },
    }
    return chart("N-grams gained (above) and lost (below)", [about, "By their part in the divergence"], body)
