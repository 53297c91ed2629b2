"""Write stored results as CSV, parquet, TREC runs or MTEB result JSON."""

import argparse
from pathlib import Path

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench export``."""
    parser.add_argument(
        "results", nargs="*", type=Path, metavar="RESULT", help="result folders (default: all under --out)"
    )
    parser.add_argument("--format", choices=("csv", "parquet", "trec", "mteb-json"), required=True)
    parser.add_argument(
        "--to", type=Path, required=True, metavar="PATH", help="the file (csv, parquet) or folder to write"
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and says which."""
    from posbench import exports
    from posbench.errors import UsageError
    from posbench.store import Results, result_in

    results = [result_in(folder) for folder in args.results] if args.results else Results(args.out).all()
    if not results:
        raise UsageError(f"no results in {args.out}; `posbench eval --model e5` makes one")
    written = exports.write(results, args.format, args.to)
    if args.json:
        common.print_json({"written": [str(path) for path in written]})
        return 0
    for path in written:
        common.echo(str(path))
    return 0
