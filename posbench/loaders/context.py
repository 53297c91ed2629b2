"""What every layout's reader is told besides where its files are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from posbench.errors import RecipeError, UsageError, unknown_name
from posbench.recipe import DatasetRecipe, Fault
from posbench.types import Progress, no_progress

Treatment = Literal["refuse", "drop", "keep"]


@dataclass(frozen=True)
class LoadOptions:
    """The caller's wishes, which go before the recipe's.

    ``documents`` is "paragraph" or "article" (SQuAD files only); ``split`` names the judgements; with ``drop_faults``
    every fault is dropped and counted rather than refused.
    """

    documents: str = ""
    drop_faults: bool = False
    split: str = ""

    def __post_init__(self) -> None:
        """Refuses unknown values.

        Raises:
            UsageError: ``documents`` is neither empty, "paragraph" nor "article".
        """
        if self.documents not in ("", "paragraph", "article"):
            raise UsageError(f"documents {self.documents!r}; expected paragraph or article")


@dataclass(frozen=True)
class Context:
    """The name, the rules and the provenance of what is being read.

    ``split`` is empty where neither the caller nor a recipe names one; ``faults`` says what happens to each kind of
    fault, "refuse" where it is silent; ``source`` becomes ``Collection.source``.
    """

    name: str
    split: str = ""
    documents: str = "paragraph"
    faults: Mapping[Fault, Treatment] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = no_progress

    def named(self, name: str, **source: Any) -> "Context":
        """The same rules for a collection of this name, with more provenance."""
        return replace(self, name=name, source={**self.source, **source})

    def keeping(self, fault: Fault) -> "Context":
        """The same, but a fault of which neither recipe nor caller says anything is counted and kept."""
        keep: Treatment = "keep"
        return replace(self, faults={fault: keep, **self.faults})


def subset_of(recipe: DatasetRecipe, name: str, subset: str) -> str:
    """The subset that a spelling stands for, the default where there is none.

    Raises:
        RecipeError: there is no such subset, or none is named and there is no default.
    """
    found = recipe.aliases.get(subset, subset) or recipe.default
    hint = f"`posbench show {name}`"
    if not found:
        first = next(iter(recipe.subsets), "SUBSET")
        raise RecipeError(
            f"{name} has {len(recipe.subsets)} subsets and no default; name one, as {name}/{first}; {hint}"
        )
    if found not in recipe.subsets:
        raise unknown_name(f"subset of {name}", found, [*recipe.subsets, *recipe.aliases], hint)
    return found


_DROP_ALL: Mapping[Fault, Treatment] = {
    "duplicate_ids": "drop",
    "empty_texts": "drop",
    "unknown_ids": "drop",
    "bad_spans": "drop",
}


def of_path(path: str, name: str, options: LoadOptions, progress: Progress) -> Context:
    """The context of files that no recipe describes."""
    faults = _DROP_ALL if options.drop_faults else {}
    return Context(name, options.split, options.documents or "paragraph", faults, {"path": path}, progress)


def of_recipe(name: str, recipe: DatasetRecipe, options: LoadOptions, progress: Progress) -> Context:
    """The context of a family of collections."""
    faults: Mapping[Fault, Treatment] = _DROP_ALL if options.drop_faults else {**recipe.faults}
    source = {"recipe": name, "kind": recipe.kind, "licence": recipe.licence}
    split, documents = options.split or recipe.split, options.documents or recipe.documents
    return Context(name, split, documents, faults, source, progress)
