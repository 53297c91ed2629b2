"""The part of ``posbench select`` that makes a smaller benchmark of a collection: options, run and output."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from posbench.cli import common
from posbench.errors import UsageError

if TYPE_CHECKING:
    from posbench.dsir.features import Features, FeatureSpec
    from posbench.dsir.scorers import Settings
    from posbench.loaders import LoadOptions


@dataclass(frozen=True)
class How:
    """How texts are weighed: the selector, and the target's features by ``spec``; ``about`` is the target's provenance.

    ``about`` identifies the target, so it holds a hash of its content.
    """

    selector: str
    target: "Features"
    spec: "FeatureSpec"
    settings: "Settings"
    about: Mapping[str, Any]


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


def run(args: argparse.Namespace, how: How, options: "LoadOptions", strata: str = "") -> int:
    """Selects, writes to ``args.to`` and says what.

    Args:
        args: what ``add_arguments`` reads, ``to`` and the common options.
        how: what decides.
        options: of the loader.
        strata: a label of the queries, "length" or "position", that keeps its shares.
    """
    from posbench import __version__, loaders
    from posbench.dsir import folder
    from posbench.store import expect_writable
    from posbench.studies import benchmark_selection as study

    expect_writable(args.to)
    wanted = _wanted(args, strata)
    with common.progress(args) as progress:
        collections = loaders.load(args.collection, options, progress)
        made = {"selector": how.selector, "seed": args.seed, "by": args.by, "strata": strata, "target": dict(how.about)}
        made |= {"features": how.spec.describe(), "settings": asdict(how.settings)}
        runs = study.read_runs(args.runs, collections)
        recipe = {**made, "wanted": asdict(wanted), "of": [part.fingerprint for part in collections]}
        recipe |= {"runs": [[_digest(run) for run in each] for each in runs], "posbench": __version__}
        found = folder.finished(args.to, recipe)
        if fresh := found is None:
            chooser = study.chooser(how.selector, how.target, how.spec, how.settings, args.seed)
            parts = study.select_benchmark(
                collections, chooser, chooser, wanted, runs=runs, made=made, progress=progress
            )
            found = folder.write(args.to, parts, recipe)
    _print(args, found or {}, fresh)
    return 0


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
