"""Named parameters: what vector databases use unless told otherwise, from ``rankers/hnsw/presets.toml``."""

import tomllib
from functools import cache
from pathlib import Path

import msgspec

from posbench import recipe
from posbench.errors import RecipeError, unknown_name
from posbench.hnsw.graph import M


class ByDepth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An efSearch that follows the number of results asked for."""

    factor: float
    least: int
    most: int

    def __post_init__(self) -> None:
        if self.factor <= 0 or not 1 <= self.least <= self.most:
            raise ValueError(f"factor {self.factor}, least {self.least}, most {self.most}; expected 1 <= least <= most")

    def at(self, k: int) -> int:
        """The efSearch for k results: ``factor`` k between ``least`` and ``most``, and never below k."""
        return max(k, min(self.most, max(self.least, round(self.factor * k))))


class Preset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of one product, and where they were read."""

    m: int
    ef_construction: int
    ef_search: int | ByDepth
    source: str
    note: str = ""

    def __post_init__(self) -> None:
        least = self.ef_search if isinstance(self.ef_search, int) else 1
        if not M[0] <= self.m <= M[1] or min(self.ef_construction, least) < 1:
            raise ValueError(f"m {self.m}, ef_construction {self.ef_construction}, ef_search {self.ef_search}")
        if not self.source.startswith("https://"):
            raise ValueError(f"source {self.source!r}; expected the address where the parameters were read")

    @property
    def ef_search_text(self) -> str:
        """The efSearch in words."""
        ef = self.ef_search
        if isinstance(ef, int):
            return str(ef)
        if ef.factor == 1:
            return f"as many as results asked for, at least {ef.least}"
        return f"{ef.factor:g} a result asked for, {ef.least} to {ef.most:,}"


def read(path: Path) -> dict[str, Preset]:
    """The presets of a file, by name.

    Raises:
        RecipeError: it cannot be read, or a preset is not as ``Preset`` has it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(table, dict[str, Preset])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RecipeError(f"{path}: not a file of presets: {error}") from error


@cache
def presets() -> dict[str, Preset]:
    """The presets that are shipped, by name."""
    return read(recipe.ROOT / "rankers" / "hnsw" / "presets.toml")


def preset(name: str) -> Preset:
    """The shipped preset of this name.

    Raises:
        RecipeError: there is none; the message names the nearest.
    """
    known = presets()
    if name not in known:
        raise unknown_name("index preset", name, known, f"known are {', '.join(known)}")
    return known[name]
