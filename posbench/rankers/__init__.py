"""Rankers: ``build`` turns a recipe into something with ``rank`` and ``describe``; heavy parts load when first used."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import msgspec

from posbench import recipe as recipes
from posbench.errors import RecipeError, UsageError, unknown_name
from posbench.listwise import ListwiseRecipe
from posbench.recipe import Bm25Recipe, DenseRecipe, Encode, HnswRecipe, PythonRecipe, RankerRecipe, Source
from posbench.reranking import PointwiseRecipe, Rerank
from posbench.types import Progress, Ranker, no_progress


def resolve(name: str) -> tuple[str, RankerRecipe]:
    """A short name and the recipe for a recipe name, a recipe file, ``module:Class``, a model folder or a hub id.

    Raises:
        RecipeError: nothing of that name is known.
    """
    path = Path(name)
    if path.suffix == ".toml":
        return path.stem, recipes.read(path, "rankers")
    if path.is_dir():
        return path.resolve().name, _bare_model(Source(path=str(path.resolve())), name)
    if ":" in name:
        return name, recipes.PythonRecipe(description=f"the class {name}", target=name)
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return name, _bare_model(Source(hub=name), name)
    if "/" in name:
        raise unknown_name(
            "model folder", name, (), "give a folder that exists, a hub id or a name of `posbench list rankers`"
        )
    return name, recipes.ranker(name)


def windowed(
    name: str, recipe: RankerRecipe, window: str, tokens: int = 0, stride: int = 0
) -> tuple[str, RankerRecipe]:
    """A dense ranker's recipe with another treatment of long documents, and a name that says so ("e5+max-256").

    Args:
        name: the ranker's.
        recipe: the ranker's.
        window: "truncate", "average" or "max"; "" leaves it as the recipe has it.
        tokens: of a window, prompt and special tokens included; 0 is all that the model reads.
        stride: tokens from one window's start to the next one's, at most; 0 is as few windows as will do.

    Raises:
        UsageError: the ranker is not dense, or the three do not fit together or the model.
    """
    if not (window or tokens or stride):
        return name, recipe
    if not isinstance(recipe, DenseRecipe):
        raise UsageError(f"windows are for dense rankers; {name} is none")
    changes = {"window": window or recipe.window, "window_tokens": tokens, "stride": stride}
    try:
        changed = msgspec.structs.replace(recipe, **changes)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    if changed == recipe:
        return name, recipe
    parts = [changed.window, *([str(tokens)] if tokens else []), *([f"s{stride}"] if stride else [])]
    return f"{name}+{'-'.join(parts)}", changed


def indexed(name: str, recipe: RankerRecipe, index: str) -> tuple[str, RankerRecipe]:
    """A dense ranker's recipe behind an index: ``posbench.rankers.indexes.indexed``."""
    from posbench.rankers import indexes

    return indexes.indexed(name, recipe, index)


def reranked(name: str, recipe: RankerRecipe, wish: Rerank | None) -> tuple[str, RankerRecipe]:
    """A ranker's recipe before a reranker: ``posbench.rankers.reranks.reranked``."""
    from posbench.rankers import reranks

    return reranks.reranked(name, recipe, wish)


def dense_of(recipe: HnswRecipe, name: str) -> tuple[str, DenseRecipe]:
    """The dense ranker behind an index, and its name.

    Raises:
        RecipeError: there is no ranker of that name.
        UsageError: it is not dense.
    """
    found: tuple[str, RankerRecipe] = (
        (name, recipe.ranker) if not isinstance(recipe.ranker, str) else resolve(recipe.ranker)
    )
    if not isinstance(found[1], DenseRecipe):
        raise UsageError(f"{name} indexes {found[0]}, which is no dense ranker; an index needs one vector a document")
    return found[0], found[1]


def build(
    recipe: RankerRecipe,
    *,
    depth: int,
    cache: Path,
    devices: Sequence[str] = ("cpu",),
    remote_code: bool = False,
    progress: Progress = no_progress,
    name: str = "model",
) -> Ranker:
    """The ranker of a recipe; imports no model library yet."""
    if isinstance(recipe, DenseRecipe | HnswRecipe):
        from posbench.rankers.dense import DenseRanker

        inner = dense_of(recipe, name) if isinstance(recipe, HnswRecipe) else (name, recipe)
        dense = DenseRanker(
            inner[1],
            depth=depth,
            cache=cache,
            devices=devices,
            remote_code=remote_code,
            progress=progress,
            name=inner[0],
        )
        if not isinstance(recipe, HnswRecipe):
            return dense
        from posbench.rankers.hnsw import HnswRanker

        return HnswRanker(recipe, dense, depth=depth, cache=cache, progress=progress)
    if isinstance(recipe, Bm25Recipe):
        from posbench.rankers.bm25 import Bm25Ranker

        return Bm25Ranker(recipe, depth=depth, cache=cache, progress=progress)
    if isinstance(recipe, PointwiseRecipe):
        from posbench.rankers.pointwise import PointwiseRanker

        return PointwiseRanker(recipe, cache=cache, device=devices[0], progress=progress, name=name)
    if isinstance(recipe, ListwiseRecipe):
        from posbench.rankers.listwise.ranker import ListwiseRanker

        return ListwiseRanker(recipe, cache=cache, device=devices[0], progress=progress, name=name)
    if isinstance(recipe, PythonRecipe):
        return _user_class(recipe.target, recipe.args)
    raise UsageError(f"{name}: a {recipe.__struct_config__.tag} is put together by posbench.experiment")


def devices() -> tuple[str, ...]:
    """The torch devices of this machine: all its GPUs, else the CPU. Torch is only imported where there is a GPU."""
    import os

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        count = len([part for part in visible.split(",") if part.strip() not in {"", "-1"}])
    else:
        count = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    if not count:
        return ("cpu",)
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count())) or ("cpu",)


def check_devices(names: Sequence[str]) -> None:
    """Refuses devices that torch does not have here.

    Raises:
        UsageError: a name is none of cpu, cuda, cuda:N and mps, or there is no such device.
    """
    others = [name for name in names if name != "cpu"]
    if not others:
        return
    import torch

    here = (
        ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))] if torch.cuda.is_available() else []
    )
    here += ["mps"] if torch.backends.mps.is_available() else []
    for name in others:
        if name not in here:
            raise UsageError(f"device {name!r} is not here; found {', '.join(['cpu', *here])}")


def _bare_model(source: Source, name: str) -> DenseRecipe:
    """A model without a recipe: pooling, length and prompts as its own files say."""
    return DenseRecipe(
        description=f"{name}, as its own files say",
        licence="see the model",
        source=(source,),
        encode=Encode(max_tokens=0),
    )


def _user_class(target: str, arguments: dict[str, object]) -> Ranker:
    module, _, attribute = target.partition(":")
    try:
        ranker: Ranker = getattr(import_module(module), attribute)(**arguments)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"ranker {target!r} cannot be loaded: {error}; expected module:Class") from error
    for method in ("rank", "describe"):
        if not callable(getattr(ranker, method, None)):
            raise UsageError(f"ranker {target!r} has no method {method}(); see posbench.types.Ranker")
    return ranker
