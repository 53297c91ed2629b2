"""Compose documents with the same evidence at chosen places, so that position bias is measured query by query."""

import argparse
from pathlib import Path
from typing import Any

from posbench.cli import common
from posbench.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench compose``."""
    common.add_dataset(parser)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write, for eval --dataset")
    parser.add_argument(
        "--method",
        choices=("insert", "move", "mirror"),
        default="insert",
        help="evidence among filler, moved in its own document, or documents in reverse order (default insert)",
    )
    parser.add_argument(
        "--lengths", default="256,512,1024", metavar="LIST", help="insert: tokens of a document (default 256,512,1024)"
    )
    parser.add_argument(
        "--positions",
        default="0,0.25,0.5,0.75,1",
        metavar="LIST",
        help="share of the other text before the evidence (default 0,0.25,0.5,0.75,1)",
    )
    parser.add_argument(
        "--filler",
        choices=("random", "topic", "hard"),
        default="random",
        help="insert: any other text, of the same topic, or what bm25 finds for the query (default random)",
    )
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="at most so many (default: all)")
    parser.add_argument(
        "--distractors",
        type=int,
        default=None,
        metavar="N",
        help="further documents without evidence (default: insert none, else all there are)",
    )
    parser.add_argument(
        "--tokenizer", default="e5", metavar="NAME", help="the ranker whose tokens are counted (default e5)"
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Composes, writes and says what it left out."""
    from posbench.compose import Plan
    from posbench.studies import composition

    plan = Plan(
        method=args.method,
        lengths=tuple(int(_number("--lengths", text, whole=True)) for text in args.lengths.split(",")),
        positions=tuple(_number("--positions", text) for text in args.positions.split(",")),
        filler=args.filler,
        queries=args.queries,
        distractors=args.distractors,
        seed=args.seed,
    )
    options = common.load_options(args)
    order = composition.Order(args.dataset, args.to, plan, args.tokenizer, options, args.cache)
    with common.progress(args) as progress:
        found, fresh = composition.run(order, progress)
    if args.json:
        common.print_json({"folder": str(args.to), "fresh": fresh, **found})
        return 0
    _print(args, found, fresh)
    return 0


def _number(option: str, text: str, whole: bool = False) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}; expected numbers separated by commas") from error


def _print(args: argparse.Namespace, found: Any, fresh: bool) -> None:
    for part in found["parts"]:
        common.echo(f"{part['folder']:<24} {part['queries']:>7,} queries {part['documents']:>9,} documents")
    notes: dict[str, int] = {}
    for part in found["parts"]:
        for reason, count in part["notes"].items():
            notes[reason] = notes.get(reason, 0) + count
    for reason, count in notes.items():
        common.echo(f"note: {count:,} {reason.replace('_', ' ')}")
    state = "" if fresh else " (composed before)"
    common.echo(f"composed: {args.to}{state}; next: posbench eval --dataset {args.to} --model NAME")
