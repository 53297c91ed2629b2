"""What the commands share: common options, output and progress."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posbench.store import RESULTS, default_cache
from posbench.types import Progress, no_progress

if TYPE_CHECKING:
    from posbench.loaders import LoadOptions

DATASET = "posir-mini"


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options that every command takes."""
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help=f"folder of results (default {RESULTS})"
    )
    group.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="DIR", help="folder of embeddings and runs"
    )
    group.add_argument("--seed", type=_seed, default=0, help="of every random choice (default 0)")
    group.add_argument("--quiet", action="store_true", help="no progress and no remarks on standard error")
    group.add_argument("--json", action="store_true", help="print exactly one JSON object on standard output")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """What to load, and how: read back by ``load_options``."""
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "--dataset", default=DATASET, metavar="NAME", help=f"a dataset recipe, or a path (default {DATASET})"
    )
    group.add_argument(
        "--documents", choices=("paragraph", "article"), default="", help="SQuAD files: what a document is"
    )
    group.add_argument("--split", default="", help="of the qrels, where the dataset has several")
    group.add_argument(
        "--drop-faults", action="store_true", help="leave out broken rows, counted, rather than refuse them"
    )


def load_options(args: argparse.Namespace) -> "LoadOptions":
    """The caller's wishes for the loaders."""
    from posbench.loaders import LoadOptions

    return LoadOptions(documents=args.documents, drop_faults=args.drop_faults, split=args.split)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which ranker runs, and where."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="a ranker recipe, a .toml, a model folder, a hub id or module:Class",
    )
    group.add_argument(
        "--device",
        default="",
        metavar="LIST",
        help="torch devices, for example cuda:0,cuda:1 (default: all GPUs, else cpu)",
    )
    group.add_argument("--trust-remote-code", action="store_true", help="let a model run code from its own files")
    group.add_argument("--again", action="store_true", help="compute a finished result anew")


def devices(args: argparse.Namespace) -> tuple[str, ...]:
    """The devices that the caller names."""
    return tuple(part for part in args.device.split(",") if part)


def _seed(text: str) -> int:
    """A whole number from 0 on, as random generators want it."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 0 on")
    return int(text)


class _NoPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuses pandas, leaves all else to others."""
        if name == "pandas":
            raise ModuleNotFoundError(name)


def spare_pandas() -> None:
    """Lets pyarrow find no pandas when it first looks for it, at its first array; importing it takes a quarter second.

    Whoever imports pandas gets it as ever, and pyarrow's ``to_pandas`` looks again; only ``pa.array`` and ``pa.table``
    no longer know objects of pandas. So not where code of the user's own runs.
    """
    import pyarrow as pa

    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, absent := _NoPandas())
    try:
        pa.scalar(0)
    finally:
        sys.meta_path.remove(absent)


def print_json(content: Any) -> None:
    """One JSON object on standard output; a value that is not a number becomes null."""
    sys.stdout.write(json.dumps(_plain(content), ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def echo(text: str = "") -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def remark(args: argparse.Namespace, text: str) -> None:
    """One line on standard error, unless --quiet."""
    if not args.quiet:
        sys.stderr.write(text + "\n")


@contextmanager
def progress(args: argparse.Namespace) -> Iterator[Progress]:
    """Bars with a remaining time on standard error; nothing where that is not a terminal or with --quiet."""
    if args.quiet or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:

        def begin(title: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(title, total=total)
            return lambda n: bars.advance(task, n)

        yield begin
