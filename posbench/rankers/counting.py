"""A ranker's own tokenizer as a counter of tokens, for whoever needs lengths but no vectors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posbench.errors import UsageError
from posbench.rankers import encoders, resolve, weights
from posbench.recipe import DenseRecipe
from posbench.types import Int32


def counter(name: str, cache: Path) -> tuple[Callable[[Sequence[str]], Int32], Mapping[str, Any]]:
    """What counts the tokens of documents, without prompt and special tokens, and what identifies it.

    Raises:
        RecipeError: nothing of that name is known.
        UsageError: the ranker has no tokenizer.
        MissingPartError: its files are not here.
    """
    short, recipe = resolve(name)
    if not isinstance(recipe, DenseRecipe):
        raise UsageError(f"{name} has no tokenizer; name a dense ranker, for example e5 or wordllama")
    found = weights.find(recipe.source, short)
    encoder = encoders.build(recipe, found, "cpu", cache, False)
    empty = int(encoder.lengths([""], "document")[0])

    def count(texts: Sequence[str]) -> Int32:
        if not len(texts):
            return np.zeros(0, np.int32)
        return np.asarray(encoder.lengths(list(texts), "document") - empty, np.int32)

    return count, {"tokenizer_of": short, **found.identity}
