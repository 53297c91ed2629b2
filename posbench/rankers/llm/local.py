"""What the engines of this process share: a model's files, its tokenizer, its room."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from posbench.rankers import weights
from posbench.rankers.llm.gguf import unpacked
from posbench.rankers.llm.tokens import Tokens
from posbench.reranking import Backend
from posbench.versions import installed


class LocalModel:
    """A recipe's model in a folder of this machine; ``NUMBERS_FROM`` are the packages that compute."""

    ENGINE: ClassVar[str]
    NUMBERS_FROM: ClassVar[tuple[str, ...]]

    def __init__(self, recipe: Backend, cache: Path) -> None:
        self.recipe = recipe
        self.weights = weights.find(recipe.source, recipe.model or "the language model")
        self._cache = cache

    def describe(self) -> Mapping[str, Any]:
        """Weights, the arguments of engine and template, and the versions of the packages that compute."""
        return {
            "engine": self.ENGINE,
            "weights": dict(self.weights.identity),
            "template_args": self.recipe.template_args,
            "engine_args": self.recipe.engine_args,
            "versions": installed(self.NUMBERS_FROM),
        }

    def faults(self) -> Mapping[str, int]:
        """None: nothing is sent anywhere."""
        return {}

    @cached_property
    def folder(self) -> Path:
        """Where the model's files are."""
        return unpacked(self.weights, self._cache)

    @cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer."""
        return Tokens(self.folder, self.recipe.template_args)

    @cached_property
    def context(self) -> int:
        """As the recipe says, else the model's own positions; 0 where neither does."""
        return self.recipe.context or _positions(self.folder)


def _positions(folder: Path) -> int:
    """The positions of a model, from its config.json; 0 where it does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or config.get("text_config", {}).get("max_position_embeddings", 0))
