"""What the commands share: common options, output and progress."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posbench.store import RESULTS, default_cache
from posbench.types import Progress, no_progress

if TYPE_CHECKING:
    from posbench.experiment import Settings
    from posbench.loaders import LoadOptions
    from posbench.reranking import Rerank

DATASET = "posir-mini"
ENTRIES = Path("leaderboard/results")


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


def add_dataset(parser: argparse.ArgumentParser, default: str = DATASET, otherwise: str = "") -> None:
    """What to load, and how: read back by ``load_options``; ``otherwise`` says what an empty default stands for."""
    group = parser.add_argument_group("dataset")
    told = f"a dataset recipe, or a path (default {default or otherwise})"
    group.add_argument("--dataset", default=default, metavar="NAME", help=told)
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


def add_model(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Which ranker runs, and where."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        required=required,
        metavar="NAME",
        help="a ranker recipe, a .toml, a model folder, a hub id or module:Class",
    )
    add_devices(group)


def add_devices(group: "argparse._ActionsContainer") -> None:
    """Where models run, and whether what is finished is computed again."""
    group.add_argument(
        "--device",
        default="",
        metavar="LIST",
        help="torch devices, for example cuda:0,cuda:1 (default: all GPUs, else cpu)",
    )
    group.add_argument("--trust-remote-code", action="store_true", help="let a model run code from its own files")
    group.add_argument("--again", action="store_true", help="compute a finished result anew")


def add_rerank(parser: argparse.ArgumentParser) -> None:
    """What reranks the top of a run: read back by ``rerank``."""
    group = parser.add_argument_group("reranking")
    group.add_argument(
        "--rerank",
        default="",
        metavar="NAME",
        help="a reranker recipe, or the folder of a cross-encoder, for the top of the model's run; --model may then be "
        "a TREC run file or a stored result",
    )
    group.add_argument(
        "--fuse",
        type=float,
        default=0.0,
        metavar="W",
        help="W times the first stage's score + (1-W) times the reranker's, normalised a query (default 0: not)",
    )
    group.add_argument("--normalise", choices=("zscore", "minmax"), default="", help="before --fuse (default zscore)")
    group.add_argument(
        "--ties", choices=("first", "docid"), default="", help="what orders equal scores (default first: stage)"
    )
    group.add_argument(
        "--score", default="", metavar="NAME", help="published, expected, integer; margin, probability; mean, sum"
    )
    add_server(group)


def add_server(group: "argparse._ActionsContainer") -> None:
    """What is asked instead of the recipe's prompt and model: read back by ``asked``."""
    group.add_argument("--prompt", default="", metavar="FILE", help="a prompt instead of the recipe's")
    group.add_argument("--server", default="", metavar="URL", help="ask this OpenAI-compatible server, up to /v1")
    group.add_argument("--server-model", default="", metavar="NAME", help="the server's name for the model")
    group.add_argument("--key-env", default="", metavar="VAR", help="the environment variable with the server's key")
    group.add_argument(
        "--dialect",
        choices=("vllm", "openai"),
        default="",
        help="what the server understands: vLLM's constraints, openings and given texts besides, or OpenAI's protocol "
        "alone (default vllm)",
    )


def asked(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of ``Rerank`` that ``add_server`` asks for."""
    return {name: getattr(args, name) for name in ("prompt", "server", "server_model", "key_env", "dialect")}


def rerank(args: argparse.Namespace) -> "Rerank | None":
    """The caller's wishes for a reranker, None where there is none."""
    from posbench.errors import UsageError
    from posbench.reranking import Rerank

    texts = {"score": args.score, **asked(args)}
    ways = {name: value for name in ("normalise", "ties") if (value := getattr(args, name))}
    if not args.rerank:
        alone = [name for name, value in {**texts, **ways, "fuse": args.fuse}.items() if value]
        if alone:
            raise UsageError(f"--{alone[0].replace('_', '-')} is for a reranker: say --rerank NAME too")
        return None
    return Rerank(args.rerank, args.depth or 100, weight=args.fuse, **ways, **texts)


def settings(args: argparse.Namespace) -> "Settings":
    """How to run, from the options that model, dataset and common options share."""
    from posbench.experiment import Settings

    return Settings(
        seed=args.seed,
        out=args.out,
        cache=args.cache,
        devices=devices(args),
        again=args.again,
        remote_code=args.trust_remote_code,
        options=load_options(args),
        command=args.command,
    )


def devices(args: argparse.Namespace) -> tuple[str, ...]:
    """The devices that the caller names."""
    return tuple(part for part in args.device.split(",") if part)


def _seed(text: str) -> int:
    """A whole number from 0 on, as random generators want it."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 0 on")
    return int(text)


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
            over = (one.id for one in bars.tasks if one.description == title and one.finished)
            if (task := next(over, None)) is None:
                task = bars.add_task(title, total=total)
            else:  # what is begun again and again takes one line
                bars.reset(task, total=total)
            return lambda n: bars.advance(task, n)

        yield begin
