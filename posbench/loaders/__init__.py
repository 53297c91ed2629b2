"""Files to Collections: every layout that posbench knows, from a local folder or the Hugging Face hub.

``load`` finds the layout; one module a layout reads it, and ``assemble`` finds the faults of all of them.
"""

from pathlib import Path

from posbench.loaders import catalogue
from posbench.loaders.context import LoadOptions
from posbench.types import Collection, Progress, no_progress

__all__ = ["LoadOptions", "load"]

_PLAIN = LoadOptions()


def load(name: str, options: LoadOptions = _PLAIN, progress: Progress = no_progress) -> list[Collection]:
    """The collections that a name stands for; each is searched separately.

    Args:
        name: a dataset recipe's name with an optional subset after "/" ("posir/eng/law", "beir/scifact"), a recipe file
            of the user's own ("my.toml/subset"), or a path to a file or folder, recognised by what is there.
        options: what goes before the recipe's own settings.
        progress: shows the reading.

    Raises:
        RecipeError: there is no recipe or subset of this name, or the recipe is wrong.
        MissingPartError: the files are neither here nor to be had from the hub.
        DataError: a file is wrong; the message names file, row or line, column and value.
    """
    first, _, subset = name.partition("/")
    if catalogue.is_recipe(first):
        return catalogue.shipped(first, subset, options, progress)
    head, suffix, subset = name.partition(".toml")
    if suffix and Path(head + suffix).is_file():
        return catalogue.own(Path(head + suffix), subset.strip("/"), options, progress)
    return catalogue.path(name, options, progress)
