"""Strategies of listwise reranking side by side: quality, tokens, calls, serial depth and seconds, at one budget."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from posbench.cli import common
from posbench.cli.input_order import add_stages, studied

_LIST = "full, sliding, top-down, consistency, multipass"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench rerank-strategies``."""
    add_stages(parser)
    how = parser.add_argument_group("strategies")
    how.add_argument(
        "--strategies",
        default="full,sliding,top-down,consistency",
        metavar="LIST",
        help=f"of {_LIST}; others are compared with the first",
    )
    how.add_argument(
        "--budget",
        type=float,
        default=0.0,
        metavar="TOKENS",
        help="a query: what takes more is run again with fewer candidates (default: what the first strategy takes)",
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Reranks with each, measures and prints."""
    from posbench.studies import strategies

    names = [part.strip() for part in args.strategies.split(",") if part.strip()]
    return studied(args, strategies.run, _print, names=names, budget=args.budget)


def _print(summary: Mapping[str, Any], fresh: bool) -> None:
    from posbench.cli.tables import plain_table, terminal

    common.echo(f"{summary['ranker']} on {summary['dataset']}, {summary['queries']:,} queries; {summary['weights']}")
    common.echo(f"first stage {summary['measure']} {summary['first_stage']:.4f}; tokens, calls and the like a query")
    table = plain_table(
        "strategy@candidates", summary["measure"], "change", "p", "read", "written", "calls", "depth", "seconds", "bad"
    )
    for row in _rows(summary):
        table.add_row(*row)
    terminal().print(table)
    common.echo(
        f"* above the budget of {summary['budget']:,.0f} tokens; run again with as many candidates as it pays for"
    )
    common.echo(f"intervals: 95%, documents resampled, seed {summary['seed']}; p by sign flips, Holm")
    common.echo(f"{'stored in' if fresh else 'read from'} {summary['result']}")


def _rows(summary: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The rows of the table, as its columns are named."""
    for one in summary["arms"]:
        low, high = one["interval"]
        yield (
            f"{one['arm']}{'' if one['within_budget'] else ' *'}",
            f"{one['value']:.4f} ({low:.3f}..{high:.3f})",
            "" if one["change"] is None else f"{one['change']:+.4f}",
            "" if one["change"] is None else f"{one['p']:.3f}",
            f"{one['prompt_tokens']:,.0f}",
            f"{one['answer_tokens']:,.0f}",
            f"{one['calls']:.1f}",
            f"{one['rounds']:.1f}",
            "-" if one["seconds"] is None else f"{one['seconds']:.3f}",
            f"{one['malformed']:.1%}",
        )
