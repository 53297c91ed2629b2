"""Write stored results or leaderboard entries as CSV, parquet, LaTeX, Markdown, TREC runs or MTEB result JSON."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from posbench.cli import common

if TYPE_CHECKING:
    from posbench.leaderboard.boards import Found
    from posbench.leaderboard.tables import Table
    from posbench.store import Result

TABLES = ("latex", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench export``."""
    parser.add_argument(
        "results", nargs="*", type=Path, metavar="RESULT", help="result folders (default: all under --out)"
    )
    parser.add_argument("--format", choices=("csv", "parquet", *TABLES, "trec", "mteb-json"))
    parser.add_argument(
        "--to",
        type=Path,
        metavar="PATH",
        help="the file or (trec, mteb-json) folder to write; latex and markdown go to standard output without it",
    )
    parser.add_argument("--schema", action="store_true", help="print the columns of CSV and parquet, and write nothing")
    parser.add_argument(
        "--entries", type=Path, metavar="DIR", help="export the leaderboard's entries under DIR instead of results"
    )
    chosen = parser.add_argument_group("a part (each a name, or several separated by commas)")
    chosen.add_argument(
        "--dataset", default="", metavar="LIST", help="datasets or families of them; of entries: boards"
    )
    chosen.add_argument("--model", default="", metavar="LIST", help="rankers")
    chosen.add_argument("--measure", default="", metavar="LIST", help="measures")
    tables = parser.add_argument_group("tables (latex, markdown)")
    tables.add_argument(
        "--baseline",
        default="",
        metavar="MODEL",
        help="mark what differs from it (default: what is worse than the best)",
    )
    tables.add_argument(
        "--common", action="store_true", help="over the queries that all results of a dataset share, rather than refuse"
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the files and says which."""
    from posbench.errors import UsageError

    if args.schema:
        return _schema(args)
    if not args.format or not (args.to or args.format in TABLES):
        missing = "--format" if not args.format else "--to PATH"
        raise UsageError(
            f"found no {missing}; expected --format csv|parquet|latex|markdown|trec|mteb-json and --to PATH"
        )
    if args.format in TABLES:
        return _text(args)
    if args.entries:
        written = _entries(args)
    else:
        from posbench import exports

        written = exports.write(_results(args), args.format, args.to, _list(args.measure))
    if args.json:
        common.print_json({"written": [str(path) for path in written]})
        return 0
    for path in written:
        common.echo(str(path))
    return 0


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _results(args: argparse.Namespace) -> "list[Result]":
    from posbench import exports
    from posbench.errors import UsageError
    from posbench.store import Results, result_in

    results = [result_in(folder) for folder in args.results] if args.results else Results(args.out).all()
    if not results:
        raise UsageError(f"no results in {args.out}; `posbench eval --model e5` makes one")
    return exports.chosen(results, _list(args.dataset), _list(args.model), _list(args.measure))


def _found(args: argparse.Namespace) -> "Sequence[Found]":
    from posbench.errors import UsageError
    from posbench.leaderboard import tidy

    if args.results:
        raise UsageError("--entries exports entries instead of results; found result folders too")
    boards, models = _list(args.dataset), _list(args.model)
    every = tidy.read(args.entries)
    found = [one for one in every if not boards or one.entry.data.board in boards]
    found = [one for one in found if not models or one.entry.model.name in models]
    if not found:
        known = ", ".join(dict.fromkeys(one.entry.data.board for one in every)) or "none"
        raise UsageError(
            f"{args.entries}: no entry fits; found the boards {known}; expected some of --dataset, --model"
        )
    return found


def _entries(args: argparse.Namespace) -> list[Path]:
    from posbench import exports
    from posbench.errors import UsageError
    from posbench.leaderboard import tidy

    if args.format not in ("csv", "parquet"):
        raise UsageError(f"entries hold no runs to write as {args.format}; expected csv, parquet, latex or markdown")
    table = tidy.table([one.entry for one in _found(args)], _list(args.measure))
    exports.write_table(tidy.guarded(table) if args.format == "csv" else table, args.format, args.to)
    return [args.to]


def _text(args: argparse.Namespace) -> int:
    """Tables for papers and pages, to a file or standard output."""
    from posbench.leaderboard import tables
    from posbench.store import written

    found = _tables(args)
    text = tables.latex(found) if args.format == "latex" else tables.markdown(found)
    if args.to:
        with written(args.to) as part:
            part.write_text(text, encoding="utf-8")
    if args.json:
        common.print_json({"written": [str(args.to)] if args.to else [], "text": text})
    elif args.to:
        common.echo(str(args.to))
    else:
        sys.stdout.write(text)
    return 0


def _tables(args: argparse.Namespace) -> "list[Table]":
    from posbench.leaderboard import boards, tables

    measures = _list(args.measure)
    if args.entries:
        return [tables.of_board(one, measures, baseline=args.baseline) for one in boards.boards(_found(args))]
    results = _results(args)
    return tables.of_results(results, measures, baseline=args.baseline, common=args.common, seed=args.seed)


def _schema(args: argparse.Namespace) -> int:
    from posbench import exports
    from posbench.leaderboard import tidy

    kinds = {"results": exports.COLUMNS, "entries": tidy.COLUMNS}
    if args.json:
        rows = {
            kind: [{"column": name, "type": str(of), "meaning": meaning} for name, of, meaning in columns]
            for kind, columns in kinds.items()
        }
        common.print_json(rows)
        return 0
    for kind, columns in kinds.items():
        common.echo(f"{kind}: a row a " + ("query and measure" if kind == "results" else "figure (--entries)"))
        for name, of, meaning in columns:
            common.echo(f"  {name:<10} {of!s:<7} {meaning}")
    return 0
