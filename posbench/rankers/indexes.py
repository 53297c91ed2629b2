"""What ``--index`` says: a preset's name or parameters, as an HNSW recipe around a dense ranker's."""

from typing import Any

import msgspec

from posbench.errors import UsageError
from posbench.hnsw.presets import preset, presets
from posbench.recipe import DenseRecipe, HnswRecipe, RankerRecipe

_KIND = "hnsw"
_SHORT = {"m": "m", "ef_construction": "efc", "ef_search": "efs"}
_KEYS = ("preset", "library", *_SHORT, "order", "seed")


def indexed(name: str, recipe: RankerRecipe, index: str) -> tuple[str, RankerRecipe]:
    """A dense ranker's recipe behind an index, and a name that says so ("e5+hnsw-pgvector").

    Args:
        name: the ranker's.
        recipe: the ranker's.
        index: "hnsw:PRESET", or "hnsw:key=value,..." with m, ef_construction, ef_search, library, order, seed and
            preset as keys; "" leaves the ranker as it is.

    Raises:
        UsageError: the ranker is not dense, or the index is not written so.
        RecipeError: there is no preset of that name.
    """
    if not index:
        return name, recipe
    if not isinstance(recipe, DenseRecipe):
        raise UsageError(f"--index is for dense rankers; {name} is {'indexed already' if _has(recipe) else 'none'}")
    settings = _read(index)
    if "preset" in settings:
        preset(settings["preset"])
    fields = {"kind": _KIND, "description": f"{name} behind an index", "ranker": "", **settings}
    try:
        found = msgspec.convert(fields, HnswRecipe, strict=False)
    except msgspec.ValidationError as error:
        message, _, key = str(error).partition(" - at `$.")
        where = f"{key.strip('`')}: " if key else ""
        raise UsageError(f"--index {index}: {where}{message[:1].lower()}{message[1:]}") from error
    return f"{name}+{_name(found)}", msgspec.structs.replace(found, ranker=recipe)


def _has(recipe: RankerRecipe) -> bool:
    return isinstance(recipe, HnswRecipe)


def _read(index: str) -> dict[str, Any]:
    """The settings that an index's text holds."""
    kind, _, rest = index.partition(":")
    form = f"hnsw:PRESET ({', '.join(presets())}) or hnsw:m=16,ef_construction=64,ef_search=40"
    if kind != _KIND or not rest:
        raise UsageError(f"--index {index}; expected {form}")
    settings: dict[str, Any] = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            key, value = "preset", key
        if key not in _KEYS or not value:
            raise UsageError(f"--index {index}: found {part!r}; the keys are {', '.join(_KEYS)}")
        if key in settings:
            raise UsageError(f"--index {index} gives {key} twice")
        settings[key] = value
    return settings


def _name(recipe: HnswRecipe) -> str:
    """The index in a ranker's name: what is not as usual."""
    parts = [_KIND, *([recipe.preset] if recipe.preset else [])]
    parts += [f"{short}{getattr(recipe, key)}" for key, short in _SHORT.items() if getattr(recipe, key)]
    parts += [recipe.library] if recipe.library != "auto" else []
    parts += [recipe.order] if recipe.order != "given" else []
    parts += [f"s{recipe.seed}"] if recipe.seed else []
    return "-".join(parts)
