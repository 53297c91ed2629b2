"""The columns of a board's table, for the page as it is written and for the script that works them out anew."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from posbench.leaderboard.boards import LENGTHS, Board, Line, table
from posbench.leaderboard.derive import DEBIASED, PSI, SIGNED
from posbench.leaderboard.entry import WHOLE
from posbench.plots.style import length_name
from posbench.types import Float64

FEW = 2  # other boards that are shown unasked


@dataclass(frozen=True)
class Column:
    """One column of figures: float64[models, 3] (value, low, high), in the order of the lines.

    ``key`` names it in addresses; ``over`` stands above ``label`` where that alone says too little; ``shown`` says
    whether it is there before a reader chooses. A column of means over the chosen settings has its ``measure`` and the
    place of its ``length`` in ``LENGTHS``; others have no measure.
    """

    key: str
    group: str
    over: str
    label: str
    about: str
    shown: bool
    figures: Float64
    measure: str = ""
    length: int = 0


def columns(board: Board, lines: Sequence[Line], others: Sequence[Board]) -> list[Column]:
    """All columns of a board that hold a figure: means, lengths, bias, further measures, settings, other boards.

    The first is the board's measure, by which lines are in order, even if no model has a mean over all settings.
    """
    found = [*_means(board, lines), *_settings(board, lines), *_others(board, lines, others)]
    return [column for i, column in enumerate(found) if i == 0 or not np.isnan(column.figures[:, 0]).all()]


def _means(board: Board, lines: Sequence[Line]) -> Iterator[Column]:
    main = board.measure
    over = "over the chosen settings" if len(board.settings) > 1 else "of all queries"
    kinds = [
        ("Mean", main, (WHOLE,), True, f"mean {main} {over}"),
        (f"{main} by length", main, LENGTHS[1:], True, f"mean {main} of queries whose document has so many tokens"),
        ("Bias", PSI, (WHOLE,), True, "position sensitivity index, 0 (none) to 1; chance alone makes it more than 0"),
        ("PSI by length", PSI, LENGTHS[1:], False, "the same, of queries whose document has so many tokens"),
        (
            "Bias",
            DEBIASED,
            (WHOLE,),
            True,
            "PSI less what chance alone makes of it; the interval is of the true PSI, which is never below 0",
        ),
        (
            "Bias",
            SIGNED,
            (WHOLE,),
            True,
            "below 0: evidence at the start of documents is found better; above: at the end",
        ),
    ]
    named = {main, PSI, DEBIASED, SIGNED}
    kinds += [("Measures", name, (WHOLE,), False, f"mean {name} {over}") for name in board.figures if name not in named]
    for group, measure, lengths, shown, about in kinds:
        for length in lengths if measure in board.figures else ():
            k = LENGTHS.index(length)
            label = measure if length == WHOLE else f"{length} {length_name(length)}"
            key = measure if length == WHOLE else f"{measure} {length}"
            figures = np.stack([line.figures[measure][k] for line in lines])
            over = "" if length == WHOLE else measure
            yield Column(key, group, over, label, about, shown, figures, measure, k)


def _settings(board: Board, lines: Sequence[Line]) -> Iterator[Column]:
    order = [board.models.index(line.model) for line in lines]
    for s, setting in enumerate(board.settings if len(board.settings) > 1 else ()):
        figures = board.figures[board.measure][order, s, 0]
        about = f"{board.measure} in this setting alone"
        yield Column(f"in {setting}", f"{board.measure} by setting", board.measure, setting, about, False, figures)


def _others(board: Board, lines: Sequence[Line], others: Sequence[Board]) -> Iterator[Column]:
    for other in others:
        means = {line.model: line.figures[other.measure][0] for line in table(other)}
        figures = np.stack([means.get(line.model, np.full(3, np.nan)) for line in lines])
        about = f"the same model's mean {other.measure} on {other.name}, over all its settings"
        shown = len(others) <= FEW
        yield Column(f"on {other.name}", "Other boards", other.name, other.measure, about, shown, figures)


def others_of(board: Board, boards: Sequence[Board]) -> list[Board]:
    """The boards that share a model with this one."""
    return [other for other in boards if other is not board and set(other.models) & set(board.models)]
