"""Find the smallest part of a dataset's queries that ranks a set of rankers as all queries do, and write it."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posbench.cli import common
from posbench.errors import UsageError

if TYPE_CHECKING:
    from posbench.dsir.features import Features, FeatureSpec
    from posbench.store import Result
    from posbench.studies.mini.study import Plan
    from posbench.types import Collection, Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench mini``."""
    parser.add_argument(
        "results",
        nargs="*",
        metavar="RESULT",
        help="result folders, or names of rankers with finished results under --out (default: all of the dataset)",
    )
    common.add_dataset(parser)
    parser.set_defaults(dataset="")
    how = parser.add_argument_group("choices")
    how.add_argument("--measure", default="nDCG@10", metavar="NAME", help="that ranks the rankers (default nDCG@10)")
    how.add_argument(
        "--sizes",
        default="0.02,0.05,0.1,0.2,0.3,0.5",
        metavar="LIST",
        help="shares of the queries, or numbers of them (default 0.02,0.05,0.1,0.2,0.3,0.5)",
    )
    how.add_argument(
        "--selectors", default="", metavar="LIST", help="as the table names them (default all that the queries allow)"
    )
    how.add_argument(
        "--by",
        choices=("documents", "queries"),
        default="documents",
        help="what a query looks like: its relevant documents (default) or its own text",
    )
    how.add_argument(
        "--target",
        default="",
        metavar="NAME",
        help="a dataset whose documents dsir and its kin look for (default: the queries' own distribution)",
    )
    how.add_argument("--seeds", type=int, default=100, metavar="N", help="choices of each kind and size (default 100)")
    how.add_argument("--resamples", type=int, default=500, metavar="N", help="of the queries (default 500)")
    how.add_argument("--tau", type=float, default=0.9, metavar="T", help="Kendall's tau to keep (default 0.9)")
    how.add_argument(
        "--pool-depth",
        type=int,
        default=0,
        metavar="K",
        help="shrink the corpus too: to what is judged and the first K documents of each stored run",
    )
    how.add_argument(
        "--distractors", type=int, default=0, metavar="N", help="and to so many random documents besides (default 0)"
    )
    to = parser.add_argument_group("mini-benchmark")
    to.add_argument("--to", type=Path, default=None, metavar="DIR", help="write it, for eval --dataset")
    to.add_argument(
        "--selector", default="", metavar="NAME", help="that chooses it (default: of the smallest that will do)"
    )
    to.add_argument("--size", type=float, default=0, metavar="N", help="share or number of queries (default: likewise)")
    parser.add_argument("--again", action="store_true", help="compute a finished result anew")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Tries, prints, and writes if asked."""
    from posbench.experiment import Settings
    from posbench.studies.mini import chosen, study

    plan = _plan(args)
    with common.progress(args) as progress:
        results, collections = _subject(args, progress)
        target = _target(args, plan.spec, progress)
        settings = Settings(out=args.out, cache=args.cache, seed=args.seed, again=args.again, command=args.command)
        outcome = study.run(results, collections, plan, settings, target=target, progress=progress)
    found = dict(outcome.summary)
    if args.to is not None:
        order = chosen.Order(args.to, args.selector, args.size, args.seed)
        found["written"] = chosen.write(order, found, results, collections, plan, target)
    if args.json:
        common.print_json(found)
        return 0
    from posbench.cli.mini_tables import print_mini

    print_mini(found, outcome.fresh)
    return 0


def _plan(args: argparse.Namespace) -> "Plan":
    from posbench import measures
    from posbench.studies.mini.reduced import Corpus
    from posbench.studies.mini.study import Plan

    names = measures.parse(args.measure)
    if len(names) != 1:
        raise UsageError(f"--measure {args.measure!r}; expected one measure, by which the rankers are ranked")
    if args.distractors < 0 or args.pool_depth < 0 or (args.distractors and not args.pool_depth):
        raise UsageError("--distractors needs --pool-depth, and both are 0 or more")
    return Plan(
        measure=names[0],
        sizes=tuple(_number(text) for text in args.sizes.split(",")),
        selectors=tuple(name.strip() for name in args.selectors.split(",") if name.strip()),
        by=args.by,
        seeds=args.seeds,
        resamples=args.resamples,
        wanted=args.tau,
        corpus=Corpus(args.pool_depth, args.distractors) if args.pool_depth else None,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--sizes {text!r}; expected numbers separated by commas") from error


def _subject(args: argparse.Namespace, progress: "Progress") -> "tuple[Mapping[str, Result], Sequence[Collection]]":
    """The results and what they searched, read from the dataset's name or else from where the results say it was."""
    from posbench import experiment, loaders
    from posbench.compare import choose
    from posbench.store import Results

    options, stored = common.load_options(args), Results(args.out)
    if args.dataset:
        collections = loaders.load(args.dataset, options, progress)
        return choose(stored, args.results, experiment.common_name(collections)), collections
    results = choose(stored, args.results)
    about = next(iter(results.values())).manifest["dataset"]
    return results, loaders.load(about["parts"][0]["source"].get("path") or about["name"], options, progress)


def _target(args: argparse.Namespace, spec: "FeatureSpec", progress: "Progress") -> "Features | None":
    from posbench import loaders
    from posbench.dsir.features import Features, featurise

    if not args.target:
        return None
    return Features.concat([featurise(part.docs, spec) for part in loaders.load(args.target, progress=progress)])
