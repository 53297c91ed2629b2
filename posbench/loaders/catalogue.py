"""Which reader a name, a recipe or a path belongs to."""

import os
from pathlib import Path

from posbench import recipe as recipes
from posbench.errors import DataError, RecipeError, unknown_name
from posbench.loaders import beir, bright, composed, followir, jsonl, posir, selection, squad, trec_folder
from posbench.loaders.context import LoadOptions, of_path, of_recipe
from posbench.recipe import DatasetRecipe
from posbench.types import Collection, Progress

_FROM_RECIPE = {
    "posir": posir.from_recipe,
    "beir": beir.from_recipe,
    "squad": squad.from_recipe,
    "trec": trec_folder.from_recipe,
    "jsonl": jsonl.from_recipe,
    "bright": bright.from_recipe,
    "followir": followir.from_recipe,
}

_FROM_PATH = (
    (selection.recognised, selection.from_path),
    (composed.recognised, composed.from_path),  # its parts look like PosIR's
    # PosIR has files named queries and corpus, BEIR's parquet has folders of these names: posir looks for files.
    (posir.recognised, posir.from_path),
    (bright.recognised, bright.from_path),
    (followir.recognised, followir.from_path),  # BEIR's layout too, but for its judgements
    (beir.recognised, beir.from_path),
    (squad.recognised, squad.from_path),
    (jsonl.recognised, jsonl.from_path),
    (trec_folder.recognised, trec_folder.from_path),
)


def is_recipe(name: str) -> bool:
    """Whether a dataset recipe of this name is shipped."""
    return name in recipes.names("datasets")


def shipped(name: str, subset: str, options: LoadOptions, progress: Progress) -> list[Collection]:
    """The collections of a shipped recipe."""
    return _by_recipe(recipes.dataset(name), name, subset, recipes.ROOT / "datasets", options, progress)


def own(path: Path, subset: str, options: LoadOptions, progress: Progress) -> list[Collection]:
    """The collections of a recipe file of the user's own; relative paths start at its folder."""
    recipe: DatasetRecipe = recipes.read(path, "datasets")
    return _by_recipe(recipe, path.stem, subset, path.resolve().parent, options, progress)


def path(name: str, options: LoadOptions, progress: Progress) -> list[Collection]:
    """The collections of a file or folder, by what is there.

    Raises:
        DataError: nothing is there, or nothing of a known layout.
    """
    place = Path(name).expanduser()
    if not place.exists():
        if name.startswith((".", os.sep, "~")) or place.suffix:
            raise DataError(f"{name}: no such file or folder")
        first = name.split("/")[0]
        raise unknown_name(
            "dataset", first, recipes.names("datasets"), "`posbench list datasets` shows all, or give a path"
        )
    context = of_path(str(place), place.stem if place.is_file() else place.resolve().name, options, progress)
    for recognised, read in _FROM_PATH:
        if recognised(place):
            return read(place, context)
    there = ", ".join(sorted(item.name for item in place.iterdir())[:8]) if place.is_dir() else "a file"
    raise DataError(
        f"{place}: no known layout; found {there or 'nothing'}; expected PosIR (queries.parquet, corpus.parquet, "
        "qrels/test.parquet), BEIR (corpus.jsonl, queries.jsonl, qrels/test.tsv), SQuAD (.json), JSONL "
        "(documents.jsonl, queries.jsonl), BRIGHT (documents/, examples/), FollowIR (qrels_og/, qrels_changed/) or "
        "TREC (documents, topics, qrels)"
    )


def _by_recipe(
    recipe: DatasetRecipe, name: str, subset: str, base: Path, options: LoadOptions, progress: Progress
) -> list[Collection]:
    if options.documents and recipe.kind != "squad":
        raise RecipeError(f"{name} has no choice of documents; --documents is for SQuAD files, this is {recipe.kind}")
    context = of_recipe(name, recipe, options, progress)
    context = context.named(name, fingerprint=recipes.fingerprint(recipe))
    return _FROM_RECIPE[recipe.kind](recipe, subset, base, context)
