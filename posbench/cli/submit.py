"""Check stored results (hashes, collection, every measure computed again) and enter them in the leaderboard."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posbench.cli import common

if TYPE_CHECKING:
    from posbench.store import Result
    from posbench.types import Collection, Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench submit``."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT", help="result folders (see `posbench runs`)")
    parser.add_argument(
        "--to", type=Path, default=common.ENTRIES, metavar="DIR", help=f"folder of entries (default {common.ENTRIES})"
    )
    parser.add_argument("--board", default="", metavar="NAME", help="default: the first part of the dataset's name")
    parser.add_argument(
        "--setting", default="", metavar="NAME", help="the language pair of a dataset that does not say its own"
    )
    parser.add_argument("--name", default="", metavar="NAME", help="of the entry's file (default: the dataset's)")
    parser.add_argument("--here", action="store_true", help="the project's own run, not one that was submitted to it")
    parser.add_argument("--replace", action="store_true", help="overwrite an entry that is there with other content")
    common.add_dataset(parser, "", "what the result names")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Checks, writes and says what to commit."""
    from posbench.leaderboard import submit
    from posbench.leaderboard.folder import save
    from posbench.store import result_in

    new = []
    with common.progress(args) as progress:
        for folder in args.results:
            result = result_in(folder)
            submit.check_files(result)
            collections = _load(args, result, progress) if result.kind == "eval" else ()
            how = {"board": args.board, "setting": args.setting, "name": args.name}
            new.append(submit.new(result, collections, origin="here" if args.here else "submitted", **how))
    written = [str(path) for path in save(new, args.to, args.replace)]
    if args.json:
        common.print_json({"written": written, "checked": [one.entry.details["checked"] for one in new]})
        return 0
    for path in written:
        common.echo(path)
    common.remark(args, f"commit these: git add {' '.join(map(shlex.quote, written))}")
    return 0


def _load(args: argparse.Namespace, result: "Result", progress: "Progress") -> "Sequence[Collection]":
    """The collections of a result, by what the caller says, what its command said, or what it is named."""
    from posbench import loaders
    from posbench.errors import PosbenchError, UsageError

    typed = _typed(str(result.manifest.get("command", "")))
    options = argparse.Namespace(
        documents=args.documents or typed.documents,
        split=args.split or typed.split,
        drop_faults=args.drop_faults or typed.drop_faults,
    )
    part = result.manifest["dataset"]["parts"][0]["source"]
    if part.get("qrels"):
        raise UsageError(
            f"{result.folder} was made from qrels alone; `posbench import --as trec --dataset` makes one to submit"
        )
    names = [args.dataset] if args.dataset else [typed.dataset, result.manifest["dataset"]["name"], part.get("path")]
    reasons = []
    for name in dict.fromkeys(filter(None, names)):
        try:
            return loaders.load(str(name), common.load_options(options), progress)
        except PosbenchError as error:
            if args.dataset:
                raise
            reasons.append(str(error))
    raise UsageError(f"{result.folder}: its collection is not found ({'; '.join(reasons)}); say --dataset PATH")


def _typed(command: str) -> argparse.Namespace:
    """The dataset's options in a command, defaults where it has none or cannot be read."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    common.add_dataset(parser, "")
    try:
        return parser.parse_known_args(shlex.split(command)[2:])[0]
    except (argparse.ArgumentError, ValueError):
        return parser.parse_args([])
