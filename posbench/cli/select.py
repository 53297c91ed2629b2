"""Select documents that look like your own and say how near they are; or a benchmark that does (--collection)."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posbench.cli import common, select_benchmark

if TYPE_CHECKING:
    from posbench.studies.selection import Order


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench select``."""
    what = parser.add_argument_group("what")
    source = "JSONL, parquet, a text file or a folder of them, documents:DATASET or queries:DATASET; may be repeated"
    what.add_argument("--raw", action="append", default=[], metavar="SOURCE", help=f"to select from: {source}")
    what.add_argument("--target", action="append", default=[], metavar="SOURCE", help="to look like: as --raw")
    what.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write")
    what.add_argument("--size", type=int, default=0, metavar="N", help="documents to select")
    what.add_argument("--share", type=float, default=0.0, metavar="S", help="of the raw documents, instead of --size")
    what.add_argument("--text-field", default="text", metavar="NAME", help="of JSONL and parquet (text)")
    what.add_argument(
        "--id-field", default="", metavar="NAME", help="(id, _id, doc_id, docno, else the hash of the text)"
    )
    what.add_argument("--labels", default="", metavar="LIST", help="further fields of the raw text for the report")
    what.add_argument("--drop-faults", action="store_true", help="leave out broken records, counted")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--selector", default="", metavar="NAME", help="greedy (default), logistic, dsir, tempered, top-k, random"
    )
    how.add_argument(
        "--targets", choices=("joint", "separate"), default="joint", help="several are one, or each has its part"
    )
    how.add_argument("--proportions", default="", metavar="LIST", help="separate: the part of each (by n-grams)")
    how.add_argument("--strata", default="", metavar="NAME", help="length, or a field: quotas for its values")
    how.add_argument(
        "--quotas", default="target", metavar="RULE", help="target, raw, equal or NAME=SHARE,NAME=SHARE (target)"
    )
    how.add_argument("--distinct", action="store_true", help="select no text twice")
    how.add_argument("--held-out", type=float, default=0.25, metavar="S", help="part of the target to judge by (.25)")
    how.add_argument("--min-tokens", type=int, default=1, metavar="N", help="leave out shorter documents (1)")
    how.add_argument("--max-tokens", type=int, default=0, metavar="N", help="leave out longer documents (0: no limit)")
    _add_features(parser)
    select_benchmark.add_arguments(parser.add_argument_group("a benchmark that looks like the target"))
    run = parser.add_argument_group("running")
    run.add_argument("--compare", action=argparse.BooleanOptionalAction, default=None, help="report all selectors")
    run.add_argument("--workers", type=int, default=1, metavar="N", help="processes that read and featurise (1)")
    run.add_argument("--ray", default="", metavar="ADDRESS", help="featurise on a Ray cluster: local, auto, address")
    common.add_common(parser)


def _add_features(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("features and weights")
    group.add_argument("--features", choices=("fast", "official"), default="fast", help="official: data-selection's")
    group.add_argument("--ngrams", type=int, default=2, metavar="N", help="n-grams of up to so many tokens (2)")
    group.add_argument("--buckets", type=int, default=10_000, metavar="N", help="that n-grams are hashed to (10000)")
    group.add_argument("--laplace", type=float, default=0.0, metavar="A", help="added to each bucket of the target (0)")
    group.add_argument("--mix", type=float, default=0.0, metavar="S", help="part of raw text in the target (0)")
    group.add_argument("--epsilon", type=float, default=1e-8, metavar="E", help="inside logarithms (1e-8)")
    group.add_argument(
        "--ess", type=float, default=1.0, metavar="F", help="tempered: effective size, times the size (1)"
    )


def run(args: argparse.Namespace) -> int:
    """Selects, writes and prints."""
    from posbench.studies import selection

    if args.collection:
        return _benchmark(args)
    with common.progress(args) as progress:
        outcome = selection.run(_order(args), progress)
    if args.json:
        common.print_json(dict(outcome.summary))
        return 0
    from posbench.cli.select_table import print_selection

    print_selection(outcome.summary, outcome.fresh)
    return 0


def _benchmark(args: argparse.Namespace) -> int:
    """A smaller benchmark of a collection, whose queries and distractors look like the target."""
    from dataclasses import replace

    from posbench.dsir.selectors import DEFAULT
    from posbench.errors import UsageError
    from posbench.studies.selection import target_of

    unused = {"--raw": args.raw, "--size": args.size, "--share": args.share, "--labels": args.labels}
    unused |= {"--quotas": args.quotas != "target", "--proportions": args.proportions, "--distinct": args.distinct}
    unused |= {"--targets separate": args.targets == "separate"}
    given = [name for name, value in unused.items() if value]
    if given or not args.target:
        found = f"{', '.join(given) or 'no --target'} with --collection"
        raise UsageError(
            f"{found}; expected --target, --queries and --distractors: what to select from is the collection"
        )
    order = replace(_order(args), selector=args.selector or DEFAULT, raw=(args.collection,))
    with common.progress(args) as progress:
        target = target_of(order, progress)
    return select_benchmark.run(args, order, target)


def _order(args: argparse.Namespace) -> "Order":
    from posbench.dsir.features import FeatureSpec
    from posbench.dsir.pool import Limits, Reading
    from posbench.dsir.scorers import Settings
    from posbench.dsir.sources import Fields
    from posbench.dsir.workers import Crew
    from posbench.errors import UsageError
    from posbench.loaders import LoadOptions
    from posbench.studies.selection import Order

    if not args.collection and not (args.raw and args.target):
        raise UsageError("expected --raw and --target: paths, documents:DATASET or queries:DATASET")
    fields = Fields(args.text_field, args.id_field, (), args.drop_faults)
    spec = FeatureSpec(args.features, args.ngrams, args.buckets)
    return Order(
        raw=tuple(args.raw),
        targets=tuple(args.target),
        to=args.to,
        size=args.size,
        share=args.share,
        selector=args.selector,
        seed=args.seed,
        joint=args.targets == "joint",
        proportions=tuple(_numbers("--proportions", args.proportions)),
        reading=Reading(fields, spec, Limits(args.min_tokens, args.max_tokens)),
        labels=tuple(filter(None, args.labels.split(","))),
        settings=Settings(args.laplace, args.mix, args.epsilon, args.ess),
        distinct=args.distinct,
        strata=args.strata,
        quotas=_quotas(args.quotas),
        held_out=args.held_out,
        compare=args.compare,
        crew=Crew(args.workers, args.ray),
        options=LoadOptions(drop_faults=args.drop_faults),
        out=args.out,
        cache=args.cache,
        command=args.command,
    )


def _numbers(option: str, text: str) -> list[float]:
    from posbench.errors import UsageError

    try:
        return [float(part) for part in text.split(",") if part]
    except ValueError as error:
        raise UsageError(f"{option} {text!r}; expected numbers with commas between") from error


def _quotas(text: str) -> Any:
    """A rule, or shares by stratum."""
    if "=" not in text:
        return text
    pairs = (part.rpartition("=") for part in text.split(","))
    return {name: _numbers("--quotas", share)[0] for name, _, share in pairs}
