"""Compare rankers over the same queries: paired differences, tests corrected for all pairs, ranks, position bias."""

import argparse

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench compare``."""
    parser.add_argument(
        "results",
        nargs="*",
        metavar="RESULT",
        help="result folders, or names of rankers with finished results under --out (default: all of the dataset)",
    )
    parser.add_argument(
        "--dataset", default="", metavar="NAME", help="whose results, where --out holds several (see `posbench runs`)"
    )
    parser.add_argument("--measures", default="", metavar="LIST", help="default: all that every result has")
    parser.add_argument(
        "--common", action="store_true", help="compare over the queries that all results share, rather than refuse"
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Compares and prints."""
    from posbench import measures
    from posbench.compare import choose, compare
    from posbench.store import Results

    chosen = choose(Results(args.out), args.results, args.dataset)
    reports = {name: result.report() for name, result in chosen.items()}
    names = measures.parse(args.measures) if args.measures else ()
    with common.progress(args) as progress:
        found = compare(reports, names, common=args.common, seed=args.seed, progress=progress)
    found["results"] = {name: str(result.folder) for name, result in chosen.items()}
    if args.json:
        common.print_json(found)
        return 0
    from posbench.cli.compared import print_comparison

    print_comparison(found)
    return 0
