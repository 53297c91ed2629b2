"""Make complete rankings as training labels: a teacher ranks every query's candidates in passes over the tail."""

import argparse
from pathlib import Path

from posbench.cli import common
from posbench.cli.input_order import add_stages, wish


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench labels``."""
    add_stages(parser)
    group = parser.add_argument_group("labels")
    group.add_argument("--to", type=Path, required=True, metavar="FILE", help="one JSON object a query, .jsonl")
    group.add_argument(
        "--own-strategy",
        action="store_true",
        help="as the recipe ranks, instead of passes over what is not settled yet",
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Ranks, writes and prints."""
    from posbench.studies import labels

    with common.progress(args) as progress:
        summary = labels.make(
            args.dataset,
            args.model,
            wish(args),
            args.to,
            common.settings(args),
            queries=args.queries,
            whole=args.own_strategy,
            progress=progress,
        )
    if args.json:
        common.print_json(summary)
        return 0
    for line in labels.told(summary):
        common.echo(line)
    return 0
