"""Every error that posbench raises on purpose.

PosbenchError
├── RecipeError       a recipe file is wrong, or a name is unknown
├── DataError         a collection, run or result file is wrong
├── MissingPartError  an optional package, weights or a program is not there
├── BackendError      a model server or engine does not answer, or not as its protocol says
└── UsageError        the command or call asks for something impossible

Each message says what was found, what was expected and what to do. The command line prints it in one line and exits
with 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class PosbenchError(Exception):
    """Base of all errors that are the caller's to mend."""


class RecipeError(PosbenchError):
    """A recipe file is wrong, or a name is unknown."""


class DataError(PosbenchError):
    """A collection, run or result file is wrong."""


class MissingPartError(PosbenchError):
    """An optional package, weights or a program is not there."""


class BackendError(PosbenchError):
    """A model server or engine does not answer, or not as its protocol says."""


class UsageError(PosbenchError):
    """The command or call asks for something impossible."""


def missing_extra(feature: str, extra: str) -> MissingPartError:
    """The error for a feature whose optional packages are not installed."""
    return MissingPartError(f"{feature} needs packages that are not installed: pip install 'posbench[{extra}]'")


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str) -> RecipeError:
    """The error for a name that no recipe has, with the nearest names that one has."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.5)
    guess = f" (did you mean {' or '.join(near)}?)" if near else ""
    return RecipeError(f"no {kind} {name!r}{guess}; {hint}")
