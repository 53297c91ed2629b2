"""A page for each model: all its figures, where they come from, and what its position analysis says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from posbench.leaderboard.boards import LENGTHS, Board, Line, table
from posbench.leaderboard.entry import SCORES, WHOLE, Entry, Figure, Model, Source
from posbench.plots import position_curves, saliency_curves
from posbench.plots.style import length_name
from posbench.site.context import Page, Site, board_path, model_path
from posbench.site.drawings import SCRIPTS, Drawing, charts, drawn, typeset
from posbench.site.methods import anchor
from posbench.studies.curves import FIFTHS
from posbench.types import distinct

HEADS = {length: "all" if length == WHOLE else f"{length}: {length_name(length)}" for length in LENGTHS}
_FALTERS = (KeyError, TypeError, ValueError, IndexError, AttributeError)
"""What a position analysis that another program wrote may bring about."""


@dataclass(frozen=True)
class Table:
    """Figures of settings (rows) by lengths or measures (columns); the last row is the mean where there are several."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Figure | None, ...]], ...]
    anchor: str


@dataclass(frozen=True)
class Scores:
    """A model on one board."""

    board: str
    path: str
    origin: str
    rank: int
    of: int
    sources: tuple[Source, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Position:
    """Position analysis of one setting: sentences, curves, and cells by length and place."""

    title: str
    verdict: tuple[str, ...]
    measure: str
    curves: Drawing
    columns: tuple[str, ...]
    cells: tuple[tuple[str, tuple[Mapping[str, Any], ...]], ...]


@dataclass(frozen=True)
class Saliency:
    """Where a model's scores come from, on one dataset."""

    title: str
    verdict: tuple[str, ...]
    method: str
    pairs: int
    drawing: Drawing
    rows: tuple[tuple[str, Mapping[str, Any]], ...]


def pages(site: Site) -> Iterator[Page]:
    """The page of every model."""
    lines = {board.name: {line.model: line for line in table(board)} for board in site.boards}
    for name in site.models:
        yield _page(site, name, lines)


def _page(site: Site, name: str, lines: Mapping[str, Mapping[str, Line]]) -> Page:
    found = site.entries(name)
    entries = [one.entry for one in found]
    positions = [*_positions(name, entries)]
    saliencies = [*_saliencies(name, entries)]
    boards = [board for board in site.boards if name in board.models]
    drawings = [one.curves for one in positions] + [one.drawing for one in saliencies]
    values = {
        "model": _model(entries),
        "scores": [_scores(board, name, lines[board.name]) for board in boards],
        "heads": {length: head for length, head in HEADS.items() if length != WHOLE},
        "positions": positions,
        "saliencies": saliencies,
        "runs": [entry for entry in entries if entry.origin != "published"],
        "read": [entry for entry in entries if entry.details.get("truncation")],
        "seconds": distinct(part for entry in entries for part in _seconds(entry)),
        "origins": distinct(entry.origin for entry in entries),
        "studies": [entry for entry in entries if entry.kind not in (SCORES, "saliency")],
    }
    scripts, data = (SCRIPTS, {"charts": charts(*drawings)}) if drawings else ((), None)
    return Page(model_path(name), "model.html", name, values, scripts, data)


def _model(entries: Sequence[Entry]) -> Model:
    """What is known of a model: of each fact the first that an entry states."""
    models = [entry.model for entry in entries]
    return Model(
        name=models[0].name,
        parameters=next((one.parameters for one in models if one.parameters), ""),
        max_tokens=next((one.max_tokens for one in models if one.max_tokens), None),
        licence=next((one.licence for one in models if one.licence), ""),
        citation=next((one.citation for one in models if one.citation), ""),
        weights="; ".join(distinct(one.weights for one in models if one.weights)),
    )


def _seconds(entry: Entry) -> Sequence[str]:
    found = entry.details.get("seconds")
    return [str(part) for part in found] if isinstance(found, Mapping) else []


def _scores(board: Board, model: str, lines: Mapping[str, Line]) -> Scores:
    sources = dict.fromkeys(found.entry.source for found in board.entries[model] if found.entry.source)
    ranked = sum(line.rank > 0 for line in lines.values())
    return Scores(
        board=board.name,
        path=board_path(board.name),
        origin=board.origin(model),
        rank=lines[model].rank,
        of=ranked,
        sources=tuple(sources),
        tables=tuple(_tables(board, model, lines[model])),
    )


def _tables(board: Board, model: str, line: Line) -> Iterator[Table]:
    """A table of all measures without lengths, then one of each measure that has them."""
    order = sorted(board.figures, key=lambda name: (name != board.measure, not name.startswith(board.measure)))
    known = {name: ~np.isnan(board.figures[name][board.models.index(model), :, :, 0]) for name in order}
    settings = [name for s, name in enumerate(board.settings) if any(cells[s].any() for cells in known.values())]
    whole = [name for name, cells in known.items() if cells.any() and not cells[:, 1:].any()]
    long = [name for name, cells in known.items() if cells[:, 1:].any()]
    for name in long:
        lengths = [length for k, length in enumerate(LENGTHS) if known[name][:, k].any()]
        cells = [[board.cell(name, model, setting, length) for length in lengths] for setting in settings]
        mean = [_mean(line, name, LENGTHS.index(length)) for length in lengths]
        yield _table(name, lengths, settings, cells, mean, anchor(name))
    if whole:
        cells = [[board.cell(name, model, setting) for name in whole] for setting in settings]
        mean = [_mean(line, name, 0) for name in whole]
        yield _table("Other measures" if long else "Measures", whole, settings, cells, mean, "measures")


def _table(
    caption: str,
    columns: Sequence[str],
    settings: Sequence[str],
    cells: Sequence[Sequence[Figure | None]],
    mean: Sequence[Figure | None],
    anchor: str,
) -> Table:
    rows = [(setting, tuple(row)) for setting, row in zip(settings, cells, strict=True)]
    if len(rows) > 1 and any(mean):
        rows.append(("mean", tuple(mean)))
    return Table(caption, tuple(columns), tuple(rows), anchor)


def _mean(line: Line, measure: str, length: int) -> Figure | None:
    value, low, high = line.figures[measure][length].tolist()
    if np.isnan(value):
        return None
    return Figure(value) if np.isnan(low) else Figure(value, low, high)


def _positions(model: str, entries: Sequence[Entry]) -> Iterator[Position]:
    analysed = [(entry, setting, found) for entry in entries for setting, found in _analyses(entry)]
    for number, (entry, setting, report) in enumerate(analysed):
        try:
            yield _position(model, entry, setting, report, f"position-{number}")
        except _FALTERS:
            continue  # a submitted analysis of another form: its figures stand in the tables all the same


def _analyses(entry: Entry) -> list[tuple[str, Any]]:
    found = entry.details.get("bias")
    return list(found.items()) if isinstance(found, Mapping) else []


def _position(model: str, entry: Entry, setting: str, report: Mapping[str, Any], key: str) -> Position:
    about = f"{entry.data.board}, {setting}" if setting != WHOLE else entry.data.board
    lengths = distinct(str(cell["length"]) for cell in report["cells"])
    by_length = {name: [cell for cell in report["cells"] if cell["length"] == name] for name in lengths}
    columns = [_place(cell) for cell in by_length[lengths[0]]]
    return Position(
        title=about,
        verdict=tuple(map(typeset, report["verdict"])),
        measure=str(report["measure"]),
        curves=drawn(key, position_curves({model: report}, about), about),
        columns=tuple(columns),
        cells=tuple((length_name(name), tuple(map(_shaded, cells))) for name, cells in by_length.items()),
    )


def _place(cell: Mapping[str, Any]) -> str:
    return "all places" if cell["whole"] else f"{100 * cell['low']:.0f}–{cell['high']:.0%}"


def _shaded(cell: Mapping[str, Any]) -> dict[str, Any]:
    """A cell with its tint, one of ten steps from 0 to 1."""
    mean, (low, high) = cell["mean"], cell["interval"] or (None, None)
    tint = None if mean is None else min(9, max(0, int(10 * mean)))
    return {"value": mean, "low": low, "high": high, "queries": int(cell["queries"]), "tint": tint}


def _saliencies(model: str, entries: Sequence[Entry]) -> Iterator[Saliency]:
    for number, entry in enumerate(one for one in entries if one.kind == "saliency"):
        try:
            yield _saliency(model, entry, f"saliency-{number}")
        except _FALTERS:
            continue


def _saliency(model: str, entry: Entry, key: str) -> Saliency:
    found = entry.details["summary"]
    pairs, method = int(found["pairs"]), found["method"]
    about = f"{entry.data.name}, {pairs:,} queries and their documents"
    rows = [(fifth, _estimate(mass)) for fifth, mass in zip(FIFTHS, found["mass"], strict=True)]
    others = {"centroid": "centroid", "first": "share of the first unit", "read": "share of the document read"}
    rows += [(name, _estimate(found[key])) for key, name in others.items()]
    return Saliency(
        title=entry.data.name,
        verdict=tuple(map(typeset, found["verdict"])),
        method=str(method["name"] if isinstance(method, Mapping) else method),
        pairs=pairs,
        drawing=drawn(key, saliency_curves({model: found}, about), about),
        rows=tuple((name.replace("-", "–"), row) for name, row in rows),
    )


def _estimate(figure: Mapping[str, Any]) -> dict[str, Any]:
    p = figure.get("p_holm", figure.get("p"))
    return {"value": figure["mean"], "interval": figure["interval"], "even": figure.get("even"), "p": p}
