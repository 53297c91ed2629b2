"""The grid of an HNSW study as a TOML file: vectors x insertion orders x indexes x seeds.

orders = ["random", "lid-ascending"]        # names of posbench.hnsw.orders, or "file:PATH" of a permutation

[[vectors]]                                 # made
synthetic = "subspaces"
parameters = { low = 2, high = 128 }

[[vectors]]                                 # models on a dataset
models = ["e5", "all-minilm-l6-v2"]
dataset = "xquad/en"

[[vectors]]                                 # a file
file = "sift-128-euclidean.hdf5"

[[index]]                                   # all combinations of the lists, or preset = "pgvector"
library = ["hnswlib"]
m = [16]
ef_construction = [128]
ef_search = [10, 32, 64]
"""

import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from posbench import recipe
from posbench.errors import PosbenchError, RecipeError, UsageError, unknown_name
from posbench.hnsw import graphs, orders
from posbench.hnsw.graphs import Build, Library
from posbench.hnsw.presets import ByDepth, preset
from posbench.hnsw.synthetic import KINDS

FILE = "file:"
BASELINE = "random"


class Vectors(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where vectors come from: exactly one of ``synthetic``, ``models`` (with ``dataset``) and ``file``.

    ``documents`` and ``queries`` are of synthetic sets; of a file without queries so many are held out. ``null`` marks
    a set on which no order should matter. ``orders`` replaces the grid's; those that a set has no facts for (no
    categories, no evidence) are refused.
    """

    name: str = ""
    synthetic: str = ""
    parameters: dict[str, Any] = {}
    documents: int = 10_000
    models: tuple[str, ...] = ()
    dataset: str = ""
    file: str = ""
    labels: str = ""
    queries: int = 500
    orders: tuple[str, ...] = ()
    null: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.synthetic, self.models, self.file))) != 1:
            raise ValueError("vectors have exactly one of synthetic, models and file")
        if bool(self.models) != bool(self.dataset):
            raise ValueError("models and dataset go together")
        if self.documents < 1 or self.queries < 1:
            raise ValueError(f"{self.documents} documents and {self.queries} queries; expected 1 or more of both")


class Index(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Indexes: all combinations of the lists, or a preset's parameters (its ef follows k where the preset says so)."""

    preset: str = ""
    library: tuple[str, ...] = ("auto",)
    m: tuple[int, ...] = ()
    ef_construction: tuple[int, ...] = ()
    ef_search: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.library:
            raise ValueError('library is empty; expected one or more, or "auto"')
        if not self.preset and not (self.m and self.ef_construction and self.ef_search):
            raise ValueError("an index has m, ef_construction and ef_search, a list each, or a preset")


class Grid(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A study. ``k`` is the depth of recall and nDCG; seeds are 0, 1, 2, ... added to the command's.

    ``data_seeds``: synthetic sets made of each kind. ``level_seeds``: builds of each set, order and index, which differ
    in the seed of the levels, and in the shuffle where the order has one. ``probe``: documents of a build that are
    asked for by their own vector, at the largest ef. ``lid_k``: neighbours of the LID.
    """

    vectors: tuple[Vectors, ...]
    index: tuple[Index, ...]
    description: str = ""
    k: int = 10
    orders: tuple[str, ...] = (BASELINE, "given")
    data_seeds: int = 3
    level_seeds: int = 5
    probe: int = 500
    lid_k: int = 100

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("data_seeds", 1), ("level_seeds", 2), ("probe", 0), ("lid_k", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}; expected {least} or more")
        if not self.vectors or not self.index:
            raise ValueError("a grid has one or more [[vectors]] and [[index]]")


class Built(msgspec.Struct, frozen=True):
    """One way to build, without its seed, and the efs that it is searched with."""

    library: Library
    m: int
    ef_construction: int
    ef_search: tuple[int, ...]

    def seeded(self, seed: int, metric: graphs.Metric) -> Build:
        """With its seed."""
        return Build(self.library, self.m, self.ef_construction, seed, metric)


def names() -> list[str]:
    """The shipped grids."""
    return sorted(path.stem for path in _folder().glob("*.toml"))


def read(name: str) -> tuple[str, Grid]:
    """A shipped grid by name, or one from a file; its name with it.

    Raises:
        RecipeError: no grid has that name, or its file is wrong; the message names file and key.
    """
    path = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise unknown_name("grid", name, names(), "give one of them or a .toml file: " + ", ".join(names()))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        grid = msgspec.convert(table, Grid)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from error
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise RecipeError(
            f"{path}: key {where.strip('`.') or '(top level)'}: {message[:1].lower()}{message[1:]}"
        ) from error
    try:
        return path.stem, check(_from_folder(grid, path.resolve().parent))
    except PosbenchError as error:
        raise RecipeError(f"{path}: {error}") from error


def check(grid: Grid) -> Grid:
    """The grid itself.

    Raises:
        RecipeError: an order, preset or synthetic kind is unknown.
        UsageError: a library is unknown, or a parameter of an index is out of range.
    """
    _check_orders("orders", grid.orders)
    for number, vectors in enumerate(grid.vectors):
        key = f"vectors[{number}]"
        _check_orders(f"{key}.orders", vectors.orders)
        if vectors.synthetic and vectors.synthetic not in KINDS:
            with _at(f"{key}.synthetic"):
                raise unknown_name("kind of vectors", vectors.synthetic, KINDS, f"known are {', '.join(KINDS)}")
    built(grid)
    return grid


def _check_orders(key: str, names: Iterable[str]) -> None:
    with _at(key):
        for order in names:
            if not order.startswith(FILE):
                orders.needs(order)


@contextmanager
def _at(key: str) -> Iterator[None]:
    """Names the key in errors."""
    try:
        yield
    except PosbenchError as error:
        raise type(error)(f"key {key}: {error}") from error


def orders_of(grid: Grid, vectors: Vectors) -> tuple[str, ...]:
    """The orders of one kind of vectors, the random baseline first."""
    return tuple(dict.fromkeys((BASELINE, *(vectors.orders or grid.orders))))


def built(grid: Grid) -> list[Built]:
    """The ways to build; those that differ in efs alone are one.

    Raises:
        RecipeError: a preset is unknown.
        UsageError: a library is unknown, or a parameter is out of range.
    """
    efs: dict[tuple[Library, int, int], set[int]] = {}
    for number, index in enumerate(grid.index):
        with _at(f"index[{number}]"):
            for library, m, ef_construction, ef_search in _combinations(index, grid.k):
                efs.setdefault((library, m, ef_construction), set()).add(ef_search)
                _check_range(Built(library, m, ef_construction, (ef_search,)))
    return [Built(*key, tuple(sorted(some))) for key, some in efs.items()]


def _check_range(one: Built) -> None:
    try:
        one.seeded(0, "l2")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if one.ef_search[0] < 1:
        raise UsageError(f"ef_search {one.ef_search[0]}; expected 1 or more")


def _combinations(index: Index, k: int) -> Iterator[tuple[Library, int, int, int]]:
    for name in index.library:
        library = graphs.chosen(name)
        if index.preset:
            chosen = preset(index.preset)
            m, efc = index.m or (chosen.m,), index.ef_construction or (chosen.ef_construction,)
            ef = chosen.ef_search
            yield from product((library,), m, efc, index.ef_search or (ef.at(k) if isinstance(ef, ByDepth) else ef,))
        else:
            yield from product((library,), index.m, index.ef_construction, index.ef_search)


def _folder() -> Path:
    return recipe.ROOT / "rankers" / "hnsw" / "grids"


def _from_folder(grid: Grid, folder: Path) -> Grid:
    """Files are named relative to the grid's own."""

    def placed(vectors: Vectors) -> Vectors:
        files = {key: str(folder / getattr(vectors, key)) for key in ("file", "labels") if getattr(vectors, key)}
        own = tuple(_order_from(order, folder) for order in vectors.orders)
        return msgspec.structs.replace(vectors, **files, orders=own)

    return msgspec.structs.replace(
        grid,
        vectors=tuple(map(placed, grid.vectors)),
        orders=tuple(_order_from(order, folder) for order in grid.orders),
    )


def _order_from(order: str, folder: Path) -> str:
    return f"{FILE}{folder / order.removeprefix(FILE)}" if order.startswith(FILE) else order
