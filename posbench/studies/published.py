"""Reads published figures: PosIR's per model and language setting, MTEB's per model and task."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posbench.bias import LENGTHS
from posbench.errors import DataError, UsageError
from posbench.store import read_json
from posbench.types import Float64, distinct

GROUPS = ("all", *LENGTHS)
SCORE, PSI = "nDCG@10", "PSI"
_COLUMNS = ("posir_name", "task", "main_score")


@dataclass(frozen=True)
class Posir:
    """The paper's table: ``scores`` and ``psi`` float64[models, settings, 5], by length (all, Q1..Q4)."""

    models: tuple[str, ...]
    settings: tuple[str, ...]
    scores: Float64
    psi: Float64

    def mean_of(self, group: str) -> list[int]:
        """The settings that a name stands for: one of them, "monolingual" (x-x) or "cross-lingual" (x-y).

        Raises:
            UsageError: there is none of that name.
        """
        pairs = [name.split("-") for name in self.settings]
        if group in ("monolingual", "cross-lingual"):
            found = [i for i, (query, doc) in enumerate(pairs) if (query == doc) == (group == "monolingual")]
        else:
            found = [i for i, name in enumerate(self.settings) if name == group]
        if not found:
            known = ", ".join(("monolingual", "cross-lingual", *self.settings))
            raise UsageError(f"no setting {group!r} in the PosIR file; expected one of {known}")
        return found


@dataclass(frozen=True)
class Mteb:
    """``scores`` float64[models, tasks]."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    scores: Float64


def read_posir(path: Path) -> Posir:
    """A JSON object: model -> setting ("eng-eng") -> figure ("nDCG@10", "PSI", each also "(Q1)".."(Q4)") -> fraction.

    Raises:
        DataError: the file is not that; the message names the key.
    """
    content = read_json(path)
    models = tuple(_mapping(path, "the file", content))
    settings = tuple(_mapping(path, models[0], content[models[0]]))
    for name in settings:
        if len(name.split("-")) != 2:
            raise DataError(f"{path}: setting {name!r}; expected query and document language, as in eng-eng")
    tables = {kind: np.empty((len(models), len(settings), len(GROUPS))) for kind in (SCORE, PSI)}
    for m, model in enumerate(models):
        row = _mapping(path, model, content[model])
        if set(row) != set(settings):
            odd = sorted(set(row) ^ set(settings))
            raise DataError(f"{path}: {model} and {models[0]} differ in their settings ({', '.join(odd)})")
        for s, setting in enumerate(settings):
            figures = _mapping(path, f"{model} > {setting}", row[setting])
            for kind, table in tables.items():
                for g, group in enumerate(GROUPS):
                    key = kind if group == "all" else f"{kind}({group})"
                    table[m, s, g] = _fraction(f"{path}: {model} > {setting} > {key}", figures.get(key))
    return Posir(models, settings, tables[SCORE], tables[PSI])


def read_mteb(path: Path, models: Sequence[str]) -> Mteb:
    """A CSV file with the columns posir_name, task and main_score (a fraction), one row a model and task.

    Args:
        path: the file.
        models: the names in posir_name that are needed; rows of others are passed over.

    Raises:
        DataError: a column, a model or a score is missing, stands twice, or is no fraction.
    """
    rows = csv_rows(path, _COLUMNS)
    found: dict[tuple[str, str], float] = {}
    for line, row in enumerate(rows, 2):
        key = (row["posir_name"], row["task"])
        if key in found:
            raise DataError(f"{path}: line {line}: {key[0]} on {key[1]} stands twice; expected one row each")
        found[key] = _fraction(f"{path}: line {line}: main_score", row["main_score"])
    tasks = distinct(task for model, task in found if model in models)
    for model in models:
        lacking = [task for task in tasks if (model, task) not in found]
        if lacking or not tasks:
            raise DataError(f"{path}: {model} has no row for {', '.join(lacking) or 'any task'}; expected every model")
    return Mteb(tuple(models), tuple(tasks), np.array([[found[m, t] for t in tasks] for m in models]))


def csv_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, by the names in its first line.

    Raises:
        DataError: it cannot be read, has no row, lacks one of the columns, or has a row of another length.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable CSV file: {error}") from error
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise DataError(f"{path}: found no row, or no column {', '.join(missing)}; expected {', '.join(columns)}")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise DataError(f"{path}: line {line}: found another number of columns than in the first line")
    return rows


def _mapping(path: Path, where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        raise DataError(
            f"{path}: {where} holds {type(value).__name__}; expected an object, model -> setting -> figure -> fraction"
        )
    return value


def _fraction(where: str, value: Any) -> float:
    try:
        number = float("nan") if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= 1:
        raise DataError(f"{where}: {value!r}; expected a fraction from 0 to 1")
    return number
