"""Tell position bias from noise, for stored results or any per-query table."""

import argparse
from pathlib import Path
from typing import Any

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench bias``."""
    parser.add_argument(
        "results", nargs="*", type=Path, metavar="RESULT", help="result folders (default: all under --out)"
    )
    parser.add_argument(
        "--table",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a CSV or parquet table: query_id, doc_id, domain, span_start, span_end, doc_chars, doc_tokens, score",
    )
    parser.add_argument("--measure", default="", metavar="NAME", help="of the results (default nDCG@10)")
    parser.add_argument("--bins", type=int, default=5, help="position bins of the readable table (default 5)")
    parser.add_argument("--shuffles", type=int, default=2000, metavar="N", help="and resamples (default 2000)")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Analyses and prints."""
    from posbench import biases
    from posbench.errors import UsageError

    for option, low in (("bins", 2), ("shuffles", 100)):
        if getattr(args, option) < low:
            raise UsageError(f"--{option} {getattr(args, option)}; expected {low} or more")
    subjects = biases.of_tables(args.table)
    if args.results or not args.table:
        subjects += biases.of_results(args.results, args.out, args.measure)
    found: list[dict[str, Any]] = []
    with common.progress(args) as progress:
        advance = progress("analysing", len(subjects))
        for subject in subjects:
            found.append(biases.analyse(subject, seed=args.seed, bins=args.bins, shuffles=args.shuffles))
            advance(1)
    biases.correct(found)
    for subject in subjects:
        for remark in subject.remarks:
            common.remark(args, f"{subject.name}: {remark}")
    if args.json:
        common.print_json({"results": found, "seed": args.seed})
        return 0
    from posbench.cli.bias_tables import print_all

    print_all(found)
    return 0
