"""The claims of the PosIR paper (arXiv 2601.08363) tested on its own published figures.

The models are the sample: ten are few, and what they leave open is said. Bias figures are read beside the PSI that
noise alone gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from posbench import correlation, paired, recipe, stats
from posbench.errors import DataError, RecipeError
from posbench.studies import claims
from posbench.studies.floor import CELL_QUERIES, noise_floor
from posbench.studies.published import GROUPS, Mteb, Posir, read_mteb, read_posir
from posbench.types import Float64

SETTINGS = ("monolingual", "eng-eng", "cross-lingual")


LEAST = 5
"""Models below which a rank correlation says nothing: at 4, even a perfect one has p .08."""


def findings(
    posir: Path,
    mteb: Path,
    settings: Sequence[str] = SETTINGS,
    *,
    cell_queries: int = CELL_QUERIES,
    seed: int = 0,
) -> dict[str, Any]:
    """Recomputes what can be recomputed.

    Args:
        posir: the paper's figures, see ``published.read_posir``.
        mteb: MTEB's scores of the same models, see ``published.read_mteb``.
        settings: language settings, or "monolingual" and "cross-lingual" for their means; the first is what the claims
            are tested on.
        cell_queries: queries in a cell of 20 positions x 4 lengths, for the noise of PSI.
        seed: of every random choice.

    Returns:
        ``models``, ``detectable`` (the smallest correlation that so many models show with 80% power), ``settings`` (by
        name: ``correlations`` with MTEB by length, ``first_less_last``, ``psi``), ``tasks``, ``size``, ``claims``.
    """
    table = read_posir(posir)
    scores = read_mteb(mteb, table.models)
    _check(table, scores, settings)
    whole = {name: _setting(table, scores, table.mean_of(name), cell_queries, seed) for name in settings}
    first = table.mean_of(settings[0])
    found: dict[str, Any] = {
        "models": list(table.models),
        "mteb_tasks": list(scores.tasks),
        "detectable": correlation.detectable(len(table.models)),
        "mteb_reliability": correlation.reliability(scores.scores),
        "settings": whole,
        "tested_on": settings[0],
        "tasks": _tasks(table, scores, first, seed),
        "size": _size(table, first, seed),
        "cell_queries": cell_queries,
        "seed": seed,
    }
    return found | {"claims": claims.judge(found)}


def _check(table: Posir, mteb: Mteb, settings: Sequence[str]) -> None:
    """Refuses what leaves the claims without a rank correlation."""
    if len(table.models) < LEAST:
        raise DataError(f"found {len(table.models)} models; expected {LEAST} or more for a correlation")
    columns = {"MTEB": mteb.scores.mean(axis=1)}
    for name in settings:
        means = table.scores[:, table.mean_of(name)].mean(axis=1)
        columns |= {f"{name} {GROUPS[g]}": means[:, g] for g in (1, len(GROUPS) - 1)}
    for name, values in columns.items():
        if np.ptp(values) == 0:
            raise DataError(f"{name}: all models have the score {values[0]:g}; expected scores that differ")


def _setting(table: Posir, mteb: Mteb, chosen: list[int], cell: int, seed: int) -> dict[str, Any]:
    target = mteb.scores.mean(axis=1)
    scores = table.scores[:, chosen].mean(axis=1)
    found = {group: _plain(correlation.correlate(scores[:, g], target, seed)) for g, group in enumerate(GROUPS)}
    difference = correlation.difference(scores[:, 1], scores[:, -1], target, seed)
    return {
        "settings": [table.settings[s] for s in chosen],
        "correlations": found,
        "first_less_last": _plain(difference),
        "psi": _psi(table, chosen, cell, seed),
    }


def _plain(figure: Any) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(figure).items()}


def _psi(table: Posir, chosen: list[int], cell: int, seed: int) -> dict[str, Any]:
    """Published PSI beside its noise, by model and length, and whether it grows from Q1 to Q4."""
    means, seen = table.scores[:, chosen], table.psi[:, chosen]
    cells = np.array([cell * (len(GROUPS) - 1), *[cell] * (len(GROUPS) - 1)])
    floors = [noise_floor(means[..., g], int(n), seed) for g, n in enumerate(cells)]
    noise, high = (np.stack([getattr(floor, key) for floor in floors], axis=-1) for key in ("mean", "high"))
    square = seen**2 - noise**2
    left = np.sign(square) * np.sqrt(np.abs(square))
    within = seen <= high
    return {
        "published": _by_model(table, seen.mean(axis=1)),
        "noise": _by_model(table, noise.mean(axis=1)),
        "without_noise": _by_model(table, left.mean(axis=1)),
        "within_noise": _by_model(table, within.sum(axis=1)),
        "values": int(within[..., 0].size),
        "within_noise_by_length": dict(zip(GROUPS, within.sum(axis=(0, 1)).tolist(), strict=True)),
        "growth": _growth(seen.mean(axis=1), seed),
        "growth_without_noise": _growth(left.mean(axis=1), seed),
    }


def _by_model(table: Posir, values: Float64) -> dict[str, dict[str, float]]:
    return {
        model: dict(zip(GROUPS, row, strict=True)) for model, row in zip(table.models, values.tolist(), strict=True)
    }


def _growth(psi: Float64, seed: int) -> dict[str, Any]:
    """PSI(Q4) - PSI(Q1) over models: mean, interval over resampled models, p by sign flips of models."""
    change = (psi[:, -1] - psi[:, 1])[:, None]
    models = np.arange(len(change))
    low, high = stats.mean_intervals(change, models, seed=seed)
    return {
        "mean": float(change.mean()),
        "interval": [float(low[0]), float(high[0])],
        "p": float(paired.flip_test(change, models, seed=seed)[0]),
        "models_that_grow": int((change > 0).sum()),
    }


def _tasks(table: Posir, mteb: Mteb, chosen: list[int], seed: int) -> list[dict[str, Any]]:
    """Each task alone against the shortest and the longest documents; Holm over all of them."""
    scores = table.scores[:, chosen].mean(axis=1)
    rows: list[dict[str, Any]] = []
    for t, task in enumerate(mteb.tasks):
        for g in (1, len(GROUPS) - 1):
            p = correlation.spearman_p(scores[:, g], mteb.scores[:, t], seed)
            rho = float(correlation.spearman(scores[:, g], mteb.scores[:, t]))
            rows.append({"task": task, "length": GROUPS[g], "rho": rho, "p": p})
    for row, p in zip(rows, stats.holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _size(table: Posir, chosen: list[int], seed: int) -> dict[str, Any] | None:
    """PSI(Q4) against the logarithm of the number of parameters, of the models that a recipe here knows."""
    known = {model: _parameters(model) for model in table.models}
    rows = [m for m, model in enumerate(table.models) if known[model]]
    if len(rows) < 4:
        return None
    psi = table.psi[rows][:, chosen, -1].mean(axis=1)
    size = np.log(np.array([known[table.models[m]] for m in rows]))
    return {"parameters": known, **_plain(correlation.correlate(psi, size, seed))}


_UNITS: Mapping[str, float] = {"M": 1e6, "B": 1e9}


def _parameters(model: str) -> float:
    """How many parameters a shipped recipe says that the model has; 0 where there is none."""
    for name in (model, model.lower()):
        try:
            text = getattr(recipe.ranker(name), "parameters", "")
        except RecipeError:
            continue
        if text and text[-1] in _UNITS:
            return float(text[:-1]) * _UNITS[text[-1]]
    return 0.0
