"""What an HNSW index, its parameters and the order of insertion cost: a grid of builds against exact search."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posbench.cli import common

if TYPE_CHECKING:
    from posbench.studies.hnsw.grid import Grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench hnsw``."""
    what = parser.add_argument_group("vectors")
    what.add_argument(
        "--grid", default="", metavar="NAME", help="a shipped grid or a .toml file; the options below change it"
    )
    what.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="an embedding model; several: also their ranks"
    )
    common.add_dataset(parser)
    what.add_argument("--vectors", type=Path, metavar="FILE", help=".npy, .fvecs or ann-benchmarks .hdf5")
    how = parser.add_argument_group("builds")
    how.add_argument("--orders", default="", metavar="LIST", help="of insertion, by name, or file:PATH (random,given)")
    how.add_argument("--preset", default="", metavar="NAME", help="of the index; `posbench list presets`")
    how.add_argument("--library", default="", metavar="LIST", help="hnswlib, faiss, faiss-once, cagra (auto)")
    how.add_argument("--m", default="", metavar="LIST", help="links of a node (16)")
    how.add_argument("--ef-construction", default="", metavar="LIST", help="candidates of an insertion (128)")
    how.add_argument("--ef-search", default="", metavar="LIST", help="candidates of a search (10,32,64,128)")
    how.add_argument("--level-seeds", type=int, default=0, metavar="N", help="builds of each cell (5)")
    how.add_argument("--data-seeds", type=int, default=0, metavar="N", help="sets made of each synthetic kind (3)")
    how.add_argument("--k", type=int, default=0, metavar="K", help="depth of recall and nDCG (10)")
    how.add_argument("--probe", type=int, default=-1, metavar="N", help="documents asked for by their own vector (500)")
    how.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one a core)")
    how.add_argument("--target", type=float, default=0.95, metavar="R", help="recall that the advice is for (.95)")
    common.add_devices(parser)
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Builds, measures and prints."""
    from posbench.errors import UsageError
    from posbench.studies.hnsw import study

    if not 0 < args.target <= 1 or args.jobs < 0:
        raise UsageError(f"--target {args.target} --jobs {args.jobs}; expected a share up to 1, and 0 or more")
    name, grid = _grid(args)
    with common.progress(args) as progress:
        outcome = study.run(name, grid, common.settings(args), jobs=args.jobs, target=args.target, progress=progress)
    if args.json:
        common.print_json(dict(outcome.summary))
        return 0
    from posbench.cli.hnsw_tables import print_study

    print_study(outcome.summary, outcome.fresh)
    return 0


def _grid(args: argparse.Namespace) -> "tuple[str, Grid]":
    """The grid named, or one of the vectors and the index that the options say."""
    from posbench.errors import UsageError
    from posbench.studies.hnsw import grid as grids

    ways = [bool(args.grid), bool(args.model), args.vectors is not None]
    if sum(ways) != 1:
        known = ", ".join(grids.names())
        raise UsageError(f"found {sum(ways)} of --grid, --model and --vectors; expected one (grids: {known})")
    index = _index(args)
    if args.grid:
        name, grid = grids.read(args.grid)
        others = (grids.Index(**index),) if args.preset else [_replaced(one, index) for one in grid.index]
        return name, _changed(args, _replaced(grid, {"index": tuple(dict.fromkeys(others))}))
    if not args.preset:
        index = {"m": (16,), "ef_construction": (128,), "ef_search": (10, 32, 64, 128)} | index
    if args.model:
        vectors = grids.Vectors(models=tuple(args.model), dataset=args.dataset)
        name = Path(args.dataset).stem if Path(args.dataset).exists() else args.dataset
    else:
        vectors, name = grids.Vectors(file=str(args.vectors)), args.vectors.stem
    return name, _changed(args, grids.Grid(vectors=(vectors,), index=(grids.Index(**index),)))


def _index(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say of the index."""
    lists = {"m": args.m, "ef_construction": args.ef_construction, "ef_search": args.ef_search}
    found: dict[str, Any] = {key: _whole(f"--{key.replace('_', '-')}", text) for key, text in lists.items() if text}
    if args.library:
        found["library"] = tuple(args.library.split(","))
    if args.preset:
        found["preset"] = args.preset
    return found


def _changed(args: argparse.Namespace, grid: "Grid") -> "Grid":
    """The grid with what the options say of orders, seeds, depth and probe."""
    given = {"level_seeds": args.level_seeds, "data_seeds": args.data_seeds, "k": args.k}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value}
    if args.probe >= 0:
        changes["probe"] = args.probe
    if args.orders:
        changes["orders"] = tuple(args.orders.split(","))
        changes["vectors"] = tuple(_replaced(vectors, {"orders": ()}) for vectors in grid.vectors)
    changed: Grid = _replaced(grid, changes)
    return changed


def _replaced(part: Any, changes: Mapping[str, Any]) -> Any:
    """Part of a grid with other values, which are checked as a file's are."""
    import msgspec

    from posbench.errors import UsageError

    try:
        return msgspec.structs.replace(part, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _whole(option: str, text: str) -> tuple[int, ...]:
    from posbench.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} {text}; expected whole numbers with commas between") from error
