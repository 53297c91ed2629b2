"""Means with intervals, shared ranks and marks of significance as LaTeX and Markdown: a table a dataset or board."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench import stats
from posbench.compare import align, labels
from posbench.compare.align import clusters_of, strata_of
from posbench.compare.scores import compare_means, significant
from posbench.errors import UsageError, unknown_name
from posbench.leaderboard import boards
from posbench.leaderboard.boards import Board
from posbench.manifest import shown_name
from posbench.store import Result
from posbench.types import Float64, Report

WORSE, BETTER, BELOW = "worst", "better", "below"
_SIGNS = {WORSE: "†", BETTER: "+", BELOW: "−"}
_MATH = {WORSE: r"\dagger", BETTER: "+", BELOW: "-"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True)
class Cell:
    """A mean, its interval (None: none), its rank (0: none), how it differs, and whether no other is higher."""

    value: float
    interval: tuple[float, float] | None = None
    rank: int = 0
    mark: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """One table: a row a model, best first, and a cell (None: no figure) a column; ``notes`` stand below.

    A column has its ranks beside it where it has any.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    notes: tuple[str, ...]

    @property
    def ranked(self) -> list[bool]:
        """Which columns have ranks."""
        columns = zip(*(cells for _, cells in self.rows), strict=True)
        return [any(cell is not None and cell.rank for cell in column) for column in columns]


def of_results(
    results: Sequence[Result], measures: Sequence[str] = (), *, baseline: str = "", common: bool = False, seed: int = 0
) -> list[Table]:
    """A table a dataset, by the paired tests of ``posbench compare``.

    Args:
        results: of ``posbench eval``; others are passed over.
        measures: which; empty: all that every result of a dataset has.
        baseline: the ranker that marks are against; empty: the best by each measure.
        common: compare over the queries that all results of a dataset share, rather than refuse them.
        seed: of resamples and flips.

    Raises:
        UsageError: nothing was ranked, or a dataset has no result of the baseline.
    """
    groups: dict[str, list[Result]] = {}
    for one in results:
        if one.kind == "eval":
            groups.setdefault(shown_name(one.manifest["dataset"]), []).append(one)
    if not groups:
        raise UsageError("nothing was ranked for these results; tables are of results of `posbench eval`")
    found = []
    for name, some in groups.items():
        reports = {label: one.report() for label, one in zip(labels(some), some, strict=True)}
        _known(baseline, list(reports), name)
        found.append(_compared(name, reports, measures, baseline, common, seed))
    return found


def _known(baseline: str, names: Sequence[str], where: str) -> None:
    if baseline and baseline not in names:
        raise unknown_name(f"result on {where} of ranker", baseline, names, f"it has {', '.join(names)}")


def _compared(
    name: str, reports: Mapping[str, Report], measures: Sequence[str], baseline: str, common: bool, seed: int
) -> Table:
    if len(reports) < 2:
        return _alone(name, reports, measures, seed)
    aligned = align(reports, measures, common=common)
    cells: dict[str, list[Cell | None]] = {label: [] for label in aligned.names}
    for part in compare_means(aligned, seed=seed):
        means = np.array([row["mean"] for row in part["rankers"]])
        differs = significant(aligned.names, part["pairs"])
        marks = _marks(means, differs & (means[:, None] > means[None, :]), list(aligned.names), baseline)
        for row, mark in zip(part["rankers"], marks, strict=True):
            low, high = row["interval"]
            best = row["mean"] == means.max()
            cells[row["name"]].append(Cell(row["mean"], (low, high), row["rank"], mark, best))
    test = f"paired randomisation tests of {aligned.resampled} differences, p (Holm) < .05, seed {seed}"
    left = [f"{n:,} queries of {label} are left out" for label, n in aligned.left_out.items()]
    notes = (f"{len(aligned.values):,} queries", _legend(baseline), test, *left)
    return Table(name, aligned.measures, _sorted(cells), notes)


def _alone(name: str, reports: Mapping[str, Report], measures: Sequence[str], seed: int) -> Table:
    """One result has nothing to be compared with."""
    label, report = next(iter(reports.items()))
    chosen = tuple(measures) or report.measures
    values = np.stack([report.values(measure) for measure in chosen], axis=1)
    low, high = stats.mean_intervals(values, clusters_of(report.queries)[0], strata_of(report.queries), seed=seed)
    cells = [Cell(float(values[:, m].mean()), (float(low[m]), float(high[m]))) for m in range(len(chosen))]
    return Table(name, chosen, ((label, tuple(cells)),), (f"{len(values):,} queries",))


def of_board(board: Board, measures: Sequence[str] = (), *, baseline: str = "") -> Table:
    """A board's means over all its settings; ranks and marks are of its main measure, by the board's own rule.

    Raises:
        UsageError: it has no such measure or baseline.
    """
    for measure in measures:
        if measure not in board.figures:
            raise UsageError(f"{board.name} has no measure {measure!r}; it has {', '.join(board.figures)}")
    _known(baseline, board.models, board.name)
    lines = boards.table(board)
    means = np.array([line.figures[board.measure][0, 0] for line in lines])
    order = [board.models.index(line.model) for line in lines]
    better = boards.better(board, range(len(board.settings)))[np.ix_(order, order)]
    marks = _marks(means, better, [line.model for line in lines], baseline)
    chosen = tuple(measures) or tuple(board.figures)
    rows = []
    for line, mark in zip(lines, marks, strict=True):
        best = bool(line.figures[board.measure][0, 0] == np.nanmax(means)) if len(means) else False
        extra = {board.measure: (line.rank, mark, best)}
        cells = (_cell(line.figures[name][0], *extra.get(name, (0, "", False))) for name in chosen)
        origin = board.origin(line.model)
        rows.append((line.model + (" (published)" if origin == "published" else ""), tuple(cells)))
    rule = (
        "simultaneous intervals of paired differences"
        if board.by_queries
        else "paired t-tests over settings (Bonferroni)"
    )
    notes = [f"means over {len(board.settings)} settings", _legend(baseline), f"{rule}, {board.measure}"]
    notes += ["published: not reproduced here"] * any(board.origin(line.model) == "published" for line in lines)
    return Table(board.name, chosen, tuple(rows), tuple(notes))


def _cell(figure: Float64, rank: int, mark: str, best: bool) -> Cell | None:
    value, low, high = (float(part) for part in figure)
    if np.isnan(value):
        return None
    return Cell(value, None if np.isnan(low) else (low, high), rank, mark, best)


def _marks(means: Float64, better: NDArray[np.bool_], names: Sequence[str], baseline: str) -> list[str]:
    """How each differs from the baseline, or whether it is worse than the best."""
    if baseline:
        one = list(names).index(baseline)
        return [BETTER if better[m, one] else BELOW if better[one, m] else "" for m in range(len(names))]
    if not len(means) or np.isnan(means).all():
        return [""] * len(names)
    best = int(np.nanargmax(means))
    return [WORSE if better[best, m] else "" for m in range(len(names))]


def _legend(baseline: str) -> str:
    against = f"{_SIGNS[BETTER]} better, {_SIGNS[BELOW]} worse than {baseline}"
    return f"bold: best; {against if baseline else f'{_SIGNS[WORSE]} worse than the best'}"


def _sorted(cells: Mapping[str, Sequence[Cell | None]]) -> tuple[tuple[str, tuple[Cell | None, ...]], ...]:
    """Rows by their first column, best first."""
    rows = [(name, tuple(row)) for name, row in cells.items()]
    return tuple(sorted(rows, key=lambda row: -row[1][0].value if row[1] and row[1][0] else 0.0))


def latex(tables: Sequence[Table]) -> str:
    r"""Tables for ``\usepackage{booktabs}``: mean [interval] of each measure, and its rank."""
    return "\n".join(_latex_table(one) for one in tables)


def _latex_table(one: Table) -> str:
    ranked = one.ranked
    heads = [
        rf"\multicolumn{{2}}{{c}}{{{latex_text(name)}}}" if rank else latex_text(name)
        for name, rank in zip(one.columns, ranked, strict=True)
    ]
    below = [r"mean [95\% interval]" + r" & rank" * rank for rank in ranked]
    rows = [[latex_text(name), *_cells(cells, ranked, _latex_cell)] for name, cells in one.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(one.caption)}: {latex_text('; '.join(one.notes))}.}}",
        rf"\begin{{tabular}}{{l{''.join('lr' if rank else 'l' for rank in ranked)}}}",
        r"\toprule",
        rf" & {' & '.join(heads)} \\",
        rf"model & {' & '.join(below)} \\",
        r"\midrule",
        *(rf"{' & '.join(row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _cells(cells: Sequence[Cell | None], ranked: Sequence[bool], show: Callable[[Cell], str]) -> list[str]:
    """The texts of a row, with those of the ranks."""
    found = []
    for cell, rank in zip(cells, ranked, strict=True):
        found.append("--" if cell is None else show(cell))
        found += [str((cell and cell.rank) or "")] * rank
    return found


def _latex_cell(cell: Cell) -> str:
    value = rf"\textbf{{{cell.value:.4f}}}" if cell.best else f"{cell.value:.4f}"
    mark = f"$^{{{_MATH[cell.mark]}}}$" if cell.mark else ""
    return f"{value}{mark}{_ends(cell)}"


def latex_text(text: str) -> str:
    """Any text so that LaTeX sets it as it is; control characters become spaces."""
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("†", "\0").replace("−", "\1")
    escaped = "".join(_LATEX.get(sign, sign) for sign in plain)
    return escaped.replace("\0", r"$\dagger$").replace("\1", "$-$")


def markdown(tables: Sequence[Table]) -> str:
    """Tables as GitHub shows them: mean [interval] of each measure, and its rank."""
    return "\n".join(_markdown_table(one) for one in tables)


def _markdown_table(one: Table) -> str:
    ranked = one.ranked
    heads = ["model"]
    for name, rank in zip(one.columns, ranked, strict=True):
        heads += [f"{markdown_text(name)} [95% interval]", *(["rank"] * rank)]
    rows = [[markdown_text(name), *_cells(cells, ranked, _markdown_cell)] for name, cells in one.rows]
    lines = [
        f"**{markdown_text(one.caption)}**",
        "",
        f"| {' | '.join(heads)} |",
        f"|---|{''.join('---|---:|' if rank else '---|' for rank in ranked)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{markdown_text('; '.join(one.notes))}.",
        "",
    ]
    return "\n".join(lines)


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value:.4f}**" if cell.best else f"{cell.value:.4f}"
    return f"{value}{_SIGNS.get(cell.mark, '')}{_ends(cell)}"


def _ends(cell: Cell) -> str:
    return "" if cell.interval is None else f" [{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]"


def markdown_text(text: str) -> str:
    """Any text so that Markdown shows it as it is, on one line and in one cell of a table."""
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", plain).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
