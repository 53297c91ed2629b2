"""Boards: the entries of one benchmark as a table of models by settings and lengths."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from posbench.compare.align import clusters_of, keys_of, strata_of
from posbench.errors import DataError
from posbench.leaderboard import ranks
from posbench.leaderboard.entry import SCORES, WHOLE, Entry, Figure
from posbench.types import Float64, Int64, distinct

LENGTHS = (WHOLE, "Q1", "Q2", "Q3", "Q4")
MAIN = "nDCG@10"
OF_TWO_SIGNS = ("PSI debiased", "signed index", "p-MRR")
"""Measures that may be below 0, whatever they are on a board."""


@dataclass(frozen=True)
class Found:
    """An entry, the file or result folder that it was read from, and the parquet file of its per-query values, if any.

    That file has the columns of ``Report.queries``; ``entry.details["settings"]`` says which of its datasets belongs to
    which setting.
    """

    entry: Entry
    path: Path
    table: Path | None = None


@dataclass(frozen=True)
class Board:
    """One benchmark.

    ``figures`` has, by measure, value, low and high as float64[M, S, L] (models, settings, ``LENGTHS``; NaN where there
    is none) and the number of queries. ``margins`` float64[M, S] are those of ``ranks``, NaN where per-query values are
    not at hand. ``pairs`` has, by setting, the models that were compared and how. ``remarks`` says what was left out.
    """

    name: str
    measure: str
    models: tuple[str, ...]
    settings: tuple[str, ...]
    entries: Mapping[str, tuple[Found, ...]]
    figures: Mapping[str, Float64]
    margins: Float64
    pairs: Mapping[str, tuple[tuple[str, ...], ranks.Compared]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def by_queries(self) -> bool:
        """Whether every figure of the measure has a margin, so that models are compared over queries."""
        known = ~np.isnan(self.figures[self.measure][:, :, 0, 0])
        return bool(known.any() and not np.isnan(self.margins[known]).any())

    def is_fraction(self, measure: str) -> bool:
        """Whether the measure runs from 0 to 1, so that intervals of its means must end there."""
        values = self.figures[measure][..., 0]
        known = values[~np.isnan(values)]
        return measure not in OF_TWO_SIGNS and bool(((known >= 0) & (known <= 1)).all())

    def origin(self, model: str) -> str:
        """Where a model's figures come from; "mixed" where its entries differ."""
        kinds = {found.entry.origin for found in self.entries[model]}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    def cell(self, measure: str, model: str, setting: str, length: str = WHOLE) -> Figure | None:
        """One figure as it is stored, None where there is none."""
        for found in self.entries[model]:
            figure = found.entry.figures.get(measure, {}).get(setting, {}).get(length)
            if figure is not None:
                return figure
        return None


@dataclass(frozen=True)
class Line:
    """One model over the chosen settings, by measure and length: value, ends of the interval (NaN: none); its rank."""

    model: str
    rank: int
    figures: Mapping[str, Float64]


def table(board: Board, settings: Sequence[str] = ()) -> list[Line]:
    """The board over the chosen settings (default: all), best first; each line's figures are float64[L, 3] by measure.

    A model that lacks one of the settings has no mean over them: it stands last, without a rank.
    """
    chosen = [board.settings.index(name) for name in settings or board.settings]
    means = {name: _mean(values[:, chosen], board.is_fraction(name)) for name, values in board.figures.items()}
    main = means[board.measure][:, 0, 0]
    order = np.lexsort((np.arange(len(main)), np.where(np.isnan(main), np.inf, -main)))
    rank = rank_of(board, chosen)
    return [
        Line(board.models[m], int(rank[m]), {name: values[m] for name, values in means.items()}) for m in order.tolist()
    ]


def rank_of(board: Board, chosen: Sequence[int]) -> Int64:
    """The shared rank of each model by the board's measure over the chosen settings: int64[M], 0 without a mean."""
    values = board.figures[board.measure][:, chosen, 0, 0]
    if board.by_queries:
        return ranks.by_margins(values.mean(axis=1), board.margins[:, chosen].mean(axis=1))
    return ranks.by_settings(values)


def better(board: Board, chosen: Sequence[int]) -> NDArray[np.bool_]:
    """Whether row is better than column by the board's measure, by the rule that its ranks follow: bool[M, M]."""
    values = board.figures[board.measure][:, chosen, 0, 0]
    if board.by_queries:
        return ranks.better_by_margins(values.mean(axis=1), board.margins[:, chosen].mean(axis=1))
    return ranks.better_by_settings(values)


def _mean(values: Float64, fraction: bool) -> Float64:
    """Means over settings of value, low and high, float64[M, S, L, 3] -> float64[M, L, 3].

    The mean of the ends is an interval of the mean that holds however the settings depend on each other. Where a
    setting has no interval, that of the mean is over settings, by ``ranks.interval_over_settings``; that of a
    ``fraction`` is cut at 0 and 1.
    """
    mean: Float64 = values.mean(axis=1)
    for m, k in np.argwhere(np.isnan(mean[:, :, 1]) & ~np.isnan(mean[:, :, 0])).tolist():
        ends = ranks.interval_over_settings(values[m, :, k, 0]) or (np.nan, np.nan)
        mean[m, k, 1:] = np.clip(ends, 0.0, 1.0) if fraction else ends
    return mean


def boards(found: Sequence[Found]) -> list[Board]:
    """The boards of all entries with scores, in alphabetical order; of two entries of one cell the first counts.

    Means and ranks need every setting of a board, so one that few models have would leave the others without: settings
    that fewer models have than half of those that most have stand on a board of their own.
    """
    scored = [one for one in found if one.entry.kind == SCORES]
    made = []
    for name in sorted({one.entry.data.board for one in scored}):
        mine = [one for one in scored if one.entry.data.board == name]
        models = {(one.entry.model.name, setting) for one in mine for setting in one.entry.settings()}
        counts = Counter(setting for _, setting in models)
        few = {setting for setting, n in counts.items() if 2 * n < max(counts.values())}
        made.append(_board(name, _only(mine, counts.keys() - few)))
        if few:
            made.append(_board(f"{name}, settings of few models", _only(mine, few)))
    return made


def _only(found: Sequence[Found], settings: Set[str]) -> list[Found]:
    """The entries that have some of the settings, with those alone."""
    kept = []
    for one in found:
        parts = {
            measure: {setting: lengths for setting, lengths in by_setting.items() if setting in settings}
            for measure, by_setting in one.entry.figures.items()
        }
        figures = {measure: by_setting for measure, by_setting in parts.items() if by_setting}
        if figures:
            kept.append(replace(one, entry=msgspec.structs.replace(one.entry, figures=figures)))
    return kept


def _board(name: str, found: Sequence[Found]) -> Board:
    remarks: list[str] = []
    kept = _same_data(found, remarks)
    models = distinct(one.entry.model.name for one in kept)
    entries = {model: tuple(one for one in kept if one.entry.model.name == model) for model in models}
    settings = distinct(setting for one in kept for setting in one.entry.settings())
    measures = distinct(measure for one in kept for measure in one.entry.figures)
    measure = MAIN if MAIN in measures else measures[0]
    figures = {one: np.full((len(models), len(settings), len(LENGTHS), 3), np.nan) for one in measures}
    for m, model in enumerate(models):
        remarks += _hidden(entries[model], measure)
        for one in reversed(entries[model]):  # so that the first counts
            _fill(figures, m, settings, one.entry)
    pairs = {setting: compared for setting in settings if (compared := _compared(kept, setting, measure, remarks))}
    margins = np.full((len(models), len(settings)), np.nan)
    for setting, (names, by_queries) in pairs.items():
        margins[[models.index(one) for one in names], settings.index(setting)] = by_queries.margin
    return Board(
        name, measure, tuple(models), tuple(settings), entries, figures, margins, pairs, tuple(distinct(remarks))
    )


def _same_data(found: Sequence[Found], remarks: list[str]) -> list[Found]:
    """The entries that were made on the same content, by setting that which most have; the others are left out."""
    counts = Counter((setting, one.entry.data.fingerprint) for one in found for setting in one.entry.settings())
    kept = []
    for one in found:
        mine = one.entry.data.fingerprint
        rivals = [(n, print_) for s in one.entry.settings() for (t, print_), n in counts.items() if t == s and print_]
        if mine and mine != max(rivals, default=(0, mine))[1]:
            remarks.append(f"{one.path}: left out: other content under the name {one.entry.data.name}")
        else:
            kept.append(one)
    return kept


def _hidden(found: Sequence[Found], measure: str) -> Iterator[str]:
    """Says which of a model's entries have other values than an earlier one, which alone is shown."""
    shown: dict[str, tuple[float, Path]] = {}
    for one in found:
        for setting, lengths in one.entry.figures.get(measure, {}).items():
            if WHOLE in lengths:
                value, path = shown.setdefault(setting, (lengths[WHOLE].value, one.path))
                if value != lengths[WHOLE].value:
                    yield (
                        f"{one.path}: not shown: {measure} {lengths[WHOLE].value:.4f} of {one.entry.model.name} on "
                        f"{setting}, which {path} has as {value:.4f}; another model name shows both"
                    )


def _fill(figures: Mapping[str, Float64], m: int, settings: Sequence[str], entry: Entry) -> None:
    for measure, by_setting in entry.figures.items():
        for setting, lengths in by_setting.items():
            for length, figure in lengths.items():
                if length in LENGTHS:
                    ends = (np.nan, np.nan) if figure.low is None else (figure.low, figure.high)
                    figures[measure][m, settings.index(setting), LENGTHS.index(length)] = (figure.value, *ends)


def _compared(
    found: Sequence[Found], setting: str, measure: str, remarks: list[str]
) -> tuple[tuple[str, ...], ranks.Compared] | None:
    """The models of a setting that have values for the same queries, compared; None where there are none."""
    tables: dict[str, pa.Table] = {}
    for one in found:
        name = one.entry.model.name
        if one.table is None or setting not in one.entry.settings() or name in tables:
            continue
        try:
            tables[name] = _values(one, setting, measure)
        except DataError as error:
            remarks.append(str(error))
    if not tables:
        return None
    first = next(iter(tables.values()))
    same = {name: table for name, table in tables.items() if table["key"].equals(first["key"])}
    remarks += [
        f"{name}: not compared on {setting}: other queries than {next(iter(tables))}" for name in tables - same.keys()
    ]
    scores = np.stack([np.asarray(table[measure].to_numpy(), np.float64) for table in same.values()], axis=1)
    return tuple(same), ranks.compare(scores, first["cluster"].to_numpy(), first["stratum"].to_numpy())


def _values(one: Found, setting: str, measure: str) -> pa.Table:
    """The values of one measure in a setting, by query: the columns key, cluster, stratum and the measure, by key.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    try:
        table = pq.read_table(one.table)
        datasets = [name for name, of in one.entry.details.get("settings", {}).items() if of == setting]
        table = table.filter(pc.is_in(table["dataset"].cast(pa.string()), value_set=pa.array(datasets, pa.string())))
        clusters, strata = clusters_of(table)[0], strata_of(table)
        columns = {"key": keys_of(table), "cluster": clusters, "stratum": strata, measure: table[measure]}
        return pa.table(columns).sort_by("key")
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise DataError(f"{one.table}: not readable per-query values: {error}") from error
