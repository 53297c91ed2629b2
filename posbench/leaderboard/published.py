"""Published figures as entries: what a caller says of them, and what recipes know of their models."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posbench import recipe
from posbench.errors import DataError
from posbench.leaderboard.entry import Model, Source
from posbench.recipe import DenseRecipe


@dataclass(frozen=True)
class About:
    """What a caller says of figures, instead of what their kind of file says; empty: as the file's kind has it.

    ``name`` is that of the entry's file; ``splits`` are those of MTEB's tasks that are wanted, best first.
    """

    name: str = "published"
    board: str = ""
    model: str = ""
    title: str = ""
    url: str = ""
    note: str = ""
    splits: tuple[str, ...] = ()

    def source(self, title: str, url: str, note: str) -> Source:
        """Where the figures stand; arguments are what the file's kind says."""
        if self.title or self.url:
            return Source(self.title or self.url, self.url, self.note)
        return Source(title, url, self.note or note)


def model(name: str, hub: str = "", revision: str = "", **known: Any) -> Model:
    """A model as the board shows it: what the shipped recipe of this name says, and ``known`` where there is none.

    Args:
        name: as it was published; also looked for in small letters and among aliases.
        hub: its name on the hub, where the source says it.
        revision: of its weights, where the source says it.
        known: fields of ``Model``.
    """
    path = recipe.path_of(name, "rankers") or recipe.path_of(name.lower(), "rankers")
    found = recipe.read(path, "rankers") if path else None
    if isinstance(found, DenseRecipe):
        hub = hub or next((source.hub for source in found.source if source.hub), "")
        known |= {"parameters": found.parameters, "max_tokens": found.encode.max_tokens}
        known |= {"licence": found.licence, "citation": found.citation}
    weights = f"{hub or name}, " + (f"revision {revision}" if revision else "revision not stated")
    return Model(name=name, weights=weights, **known)


def mapping(value: Any, where: str, expected: str) -> Mapping[str, Any]:
    """A JSON object that is not empty.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, dict) or not value:
        found = "an empty object" if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{where}: found {found}; expected {expected}")
    return value


def fraction(value: Any, where: str) -> float:
    """A number from 0 to 1.

    Raises:
        DataError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DataError(f"{where}: {value!r}; expected a fraction from 0 to 1")
    return float(value)
