"""The page of HNSW indexes: what an index and the order of insertion cost in recall, and whether ranks move."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from posbench.leaderboard.entry import Entry
from posbench.plots import rank_shifts, recall_curves
from posbench.plots.hnsw import build_name, order_name
from posbench.site.context import Page, Site
from posbench.site.drawings import SCRIPTS, Drawing, charts, drawn, typeset
from posbench.studies.hnsw.advice import advice

TARGET = 0.95
"""The recall that the advice is for, as in ``posbench hnsw``."""
_FALTERS = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(frozen=True)
class Build:
    """One index under one order of insertion; ``effect`` is its difference from the mean random order."""

    index: str
    ef: int
    order: str
    arm: Mapping[str, Any]
    effect: Mapping[str, Any] | None


@dataclass(frozen=True)
class Vectors:
    """One set of vectors: sentences of advice and its builds."""

    name: str
    advice: tuple[str, ...]
    builds: tuple[Build, ...]


@dataclass(frozen=True)
class Shift:
    """Models under one index and order: rank and mean under exact search beside those under the index."""

    dataset: str
    index: str
    ef: int
    order: str
    models: tuple[Mapping[str, Any], ...]
    swaps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Study:
    """One study: a chart and a table of recall, and of ranks where it has several models."""

    entry: Entry
    title: str
    k: int
    recall: Drawing
    sets: tuple[Vectors, ...]
    ranks: Drawing | None
    shifts: tuple[Shift, ...]


def pages(site: Site) -> Iterator[Page]:
    """The page of all HNSW studies."""
    entries = [found.entry for found in site.studies if found.entry.kind == "hnsw"]
    studies, unread = [], []
    for number, entry in enumerate(entries):
        try:
            studies.append(_study(entry, number))
        except _FALTERS:
            unread.append(f"{entry.model.name} on {entry.data.name}")
    drawings = [one for study in studies for one in (study.recall, study.ranks) if one]
    scripts, data = (SCRIPTS, {"charts": charts(*drawings)}) if drawings else ((), None)
    values = {"studies": studies, "unread": unread, "target": TARGET}
    yield Page("hnsw.html", "hnsw.html", "HNSW indexes", values, scripts, data)


def _study(entry: Entry, number: int) -> Study:
    summary, k, about = entry.details["summary"], int(entry.details["grid"]["k"]), entry.data.name
    shifts = summary["shifts"]
    return Study(
        entry=entry,
        title=about,
        k=k,
        recall=drawn(f"recall-{number}", recall_curves(summary["sets"], k, about), f"{about} {number + 1}"),
        sets=tuple(_vectors(one, k) for one in summary["sets"]),
        ranks=drawn(f"ranks-{number}", rank_shifts(shifts, k, about), f"{about} {number + 1}") if shifts else None,
        shifts=tuple(map(_shift, shifts)),
    )


def _vectors(one: Mapping[str, Any], k: int) -> Vectors:
    effects = {_key(effect): effect for effect in one["effects"]}
    builds = tuple(
        Build(build_name(arm), int(arm["ef_search"]), order_name(str(arm["order"])), arm, effects.get(_key(arm)))
        for arm in one["arms"]
    )
    return Vectors(str(one["vectors"]), tuple(map(typeset, advice(one, TARGET, k))), builds)


def _key(row: Mapping[str, Any]) -> tuple[str, int, str]:
    return build_name(row), int(row["ef_search"]), str(row["order"])


def _shift(row: Mapping[str, Any]) -> Shift:
    likely = [swap for swap in row["swaps"] if max(swap["builds"], swap["resampled"]) >= 0.05]
    return Shift(
        dataset=str(row["dataset"]),
        index=build_name(row),
        ef=int(row["ef_search"]),
        order=order_name(str(row["order"])),
        models=tuple(row["models"]),
        swaps=tuple(likely),
    )
