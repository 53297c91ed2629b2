"""The part of ``posbench select`` that makes a smaller benchmark of a collection: options, run and output."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from posbench.cli import common
from posbench.errors import UsageError

if TYPE_CHECKING:
    from posbench.dsir.target import Target
    from posbench.studies.selection import Order
    from posbench.types import Collection, Progress


def add_arguments(group: "argparse._ActionsContainer") -> None:
    """The options for a collection: --collection, --queries, --distractors, --runs, --pool-depth, --by."""
    group.add_argument(
        "--collection", default="", metavar="NAME", help="a dataset to make a smaller benchmark of, instead of --raw"
    )
    group.add_argument("--queries", type=int, default=0, metavar="N", help="to select, with all their positives")
    group.add_argument(
        "--distractors", type=int, default=0, metavar="N", help="further documents to select (default 0)"
    )
    group.add_argument(
        "--runs",
        nargs="+",
        default=[],
        metavar="RUN",
        help="result folders or TREC runs whose first documents are kept as hard negatives",
    )
    group.add_argument("--pool-depth", type=int, default=100, metavar="K", help="of each run a query (default 100)")
    group.add_argument(
        "--by",
        choices=("documents", "queries"),
        default="documents",
        help="what a query looks like: its relevant documents (default) or its own text",
    )


def run(args: argparse.Namespace, order: "Order", target: "Target") -> int:
    """Selects, writes to ``args.to``, and says what and how near it is.

    Args:
        args: what ``add_arguments`` reads, ``to`` and the common options.
        order: how texts are weighed, and the selector; ``strata`` is a label of the queries, "length" or "position".
        target: what queries and distractors should look like; its fitted part decides.
    """
    from posbench import loaders
    from posbench.cli.select_table import print_selection
    from posbench.store import expect_writable
    from posbench.studies.selection import nearness

    expect_writable(args.to)
    with common.progress(args) as progress:
        collections = loaders.load(args.collection, order.options, progress)
        found, fresh = _selected(args, order, target, collections, progress)
        selected = loaders.load(str(args.to), order.options, progress)
        outcome = nearness(order, target, collections, selected, args.by, progress)
    if args.json:
        common.print_json({"folder": str(args.to), "fresh": fresh, **found, "nearness": dict(outcome.summary)})
        return 0
    _print(args, found, fresh)
    common.echo()
    common.echo("its queries, by the texts that they were chosen by, beside all judged queries:")
    print_selection(outcome.summary, outcome.fresh)
    return 0


def _selected(
    args: argparse.Namespace,
    order: "Order",
    target: "Target",
    collections: "Sequence[Collection]",
    progress: "Progress",
) -> tuple[Mapping[str, Any], bool]:
    """What selection.json holds, and whether it was written by this call."""
    from posbench import __version__
    from posbench.dsir import folder
    from posbench.studies import benchmark_selection as study

    wanted = _wanted(args, order.strata)
    prints = [one.fingerprint for one in target.pools]
    about = {"name": target.name, "documents": target.documents, "held_out": order.held_out, "fingerprints": prints}
    made = {"selector": order.selector, "seed": args.seed, "by": args.by, "strata": order.strata, "target": about}
    made |= {"features": order.reading.spec.describe(), "settings": asdict(order.settings)}
    runs = study.read_runs(args.runs, collections)
    recipe = {**made, "wanted": asdict(wanted), "of": [part.fingerprint for part in collections]}
    recipe |= {"runs": [[_digest(run) for run in each] for each in runs], "posbench": __version__}
    found = folder.finished(args.to, recipe)
    if found is not None:
        return found, False
    chooser = study.chooser(order.selector, target.features(), order.reading.spec, order.settings, args.seed)
    parts = study.select_benchmark(collections, chooser, chooser, wanted, runs=runs, made=made, progress=progress)
    return folder.write(args.to, parts, recipe), True


def _wanted(args: argparse.Namespace, strata: str) -> Any:
    from posbench.studies.benchmark_selection import Wanted

    if not args.queries:
        raise UsageError("--collection needs --queries: how many to select")
    return Wanted(args.queries, args.distractors, args.pool_depth, args.by, strata)


def _digest(run: Any) -> str:
    from hashlib import blake2b

    return blake2b(run.docs.tobytes(), digest_size=16).hexdigest()


def _print(args: argparse.Namespace, found: Mapping[str, Any], fresh: bool) -> None:
    if args.json:
        common.print_json({"folder": str(args.to), "fresh": fresh, **found})
        return
    for part in found["parts"]:
        entry = part["source"]["selection"]
        of = entry["of"]
        common.echo(
            f"{part['name']}: {entry['queries']:,} of {of['queries']:,} queries, {entry['documents']:,} of "
            f"{of['documents']:,} documents ({entry['judged']:,} judged, {entry['pooled']:,} pooled, "
            f"{entry['distractors']:,} distractors)"
        )
    state = "" if fresh else " (selected before)"
    common.echo(f"selected: {args.to}{state}; next: posbench eval --dataset {args.to} --model NAME")
    common.echo("its scores do not stand beside those of the full collection: less is searched, so they are higher")
