"""Show a recipe: everything that `posbench eval` will do with a name."""

import argparse
from pathlib import Path
from typing import Literal

from posbench.cli import common

Kind = Literal["datasets", "rankers"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench show``."""
    parser.add_argument("name", help="of a dataset or ranker, or a ranker's .toml")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the recipe of that name."""
    import msgspec

    from posbench import recipe

    found = _named(args.name)
    if args.json:
        common.print_json({kind: msgspec.to_builtins(recipe.read(path, kind)) for kind, path in found.items()})
        return 0
    for kind, path in found.items():
        recipe.read(path, kind)
        common.echo(f"# {kind[:-1]} recipe: {path}\n{path.read_text(encoding='utf-8').rstrip()}")
    return 0


def _named(name: str) -> "dict[Kind, Path]":
    """The files of the recipes of a name, by kind; a path of a recipe file, as eval takes one, is a ranker's.

    Raises:
        RecipeError: there is none.
    """
    from posbench import recipe
    from posbench.errors import unknown_name

    if name.endswith(".toml"):
        return {"rankers": Path(name)}
    kinds: tuple[Kind, ...] = ("datasets", "rankers")
    found = {kind: path for kind in kinds if (path := recipe.path_of(name, kind)) is not None}
    if not found:
        known = [*recipe.names("datasets"), *recipe.names("rankers")]
        raise unknown_name("recipe", name, known, "`posbench list datasets` and `posbench list rankers` show all")
    return found
