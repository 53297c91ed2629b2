"""What the order of its input does to a reranker that reads lists: the same candidates in several orders."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from posbench.cli import common

if TYPE_CHECKING:
    from posbench.experiment import Outcome
    from posbench.reranking import Rerank


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench input-order``."""
    add_stages(parser)
    how = parser.add_argument_group("orders, each one more list a query")
    how.add_argument("--shuffles", type=int, default=5, metavar="N", help="seeded random orders (5)")
    how.add_argument("--rotations", type=int, default=4, metavar="N", help="of the original, by equal steps (4)")
    how.add_argument("--repeats", type=int, default=2, metavar="N", help="of the original: the noise floor (2)")
    how.add_argument("--names", type=int, default=2, metavar="N", help="lists with shuffled identifiers (2)")
    how.add_argument("--no-places", action="store_true", help="do not move a relevant document to five places")
    common.add_common(parser)


def add_stages(parser: argparse.ArgumentParser) -> None:
    """First stage, listwise reranker and dataset: read back by ``wish``."""
    common.add_model(parser)
    common.add_dataset(parser)
    group = parser.add_argument_group("reranking")
    group.add_argument("--rerank", required=True, metavar="NAME", help="a listwise reranker's recipe")
    group.add_argument("--depth", type=int, default=100, metavar="K", help="candidates of a query (100)")
    group.add_argument("--queries", type=int, default=0, metavar="N", help="so many drawn at random (default: all)")
    common.add_server(group)


def wish(args: argparse.Namespace) -> "Rerank":
    """What is reranked."""
    from posbench.errors import UsageError
    from posbench.reranking import Rerank

    if args.depth < 1 or args.queries < 0:
        raise UsageError(f"--depth {args.depth} --queries {args.queries}; expected 1 or more, and 0 or more")
    return Rerank(args.rerank, args.depth, **common.asked(args))


def studied(args: argparse.Namespace, study: Callable[..., "Outcome"], show: Callable[..., None], **how: Any) -> int:
    """Runs a study of what ``add_stages`` names, and prints its summary: as JSON, or by ``show(summary, fresh)``."""
    with common.progress(args) as progress:
        outcome = study(
            args.dataset,
            args.model,
            wish(args),
            common.settings(args),
            queries=args.queries,
            progress=progress,
            **how,
        )
    if args.json:
        common.print_json(dict(outcome.summary))
    else:
        show(outcome.summary, outcome.fresh)
    return 0


def run(args: argparse.Namespace) -> int:
    """Reranks, measures and prints."""
    from posbench.cli.input_order_tables import print_study
    from posbench.studies.input_order import study
    from posbench.studies.input_order.orders import Plan

    plan = Plan(args.shuffles, args.rotations, args.repeats, not args.no_places, args.names)
    return studied(args, study.run, print_study, plan=plan)
