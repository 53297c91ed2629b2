"""Bring in figures of others: result files of PosIR and MTEB become leaderboard entries."""

import argparse
from pathlib import Path
from typing import Any

from posbench.cli import common

ENTRIES = Path("leaderboard/results")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench import``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or folders of them")
    parser.add_argument(
        "--as",
        dest="kind",
        required=True,
        choices=("posir", "mteb"),
        help="posir: all_eval_metrics.json, or the per-query files of PosIR's eval.py; mteb: TASK.json files of its "
        "results repository, folders of them, or a CSV of scores",
    )
    entries = parser.add_argument_group("published figures (posir, mteb)")
    entries.add_argument(
        "--to", type=Path, default=ENTRIES, metavar="DIR", help=f"folder of entries (default {ENTRIES})"
    )
    entries.add_argument("--board", default="", metavar="NAME", help="default PosIR, MTEB retrieval")
    entries.add_argument("--name", default="published", metavar="NAME", help="of the entry's file (default published)")
    entries.add_argument("--replace", action="store_true", help="overwrite an entry with other figures")
    entries.add_argument(
        "--of", default="", metavar="MODEL", help="the model, where files do not name it or name it ill"
    )
    entries.add_argument("--title", default="", metavar="TEXT", help="of the source, where it is not the usual one")
    entries.add_argument("--url", default="", metavar="URL", help="of the source")
    entries.add_argument("--note", default="", metavar="TEXT", help="on the figures")
    entries.add_argument(
        "--split", default="", metavar="LIST", help="mteb: of tasks with several, best first (default test)"
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Reads, writes and says what was written."""
    from posbench.leaderboard import mteb, posir
    from posbench.leaderboard.folder import save
    from posbench.leaderboard.published import About

    splits = tuple(filter(None, args.split.split(",")))
    about = About(args.name, args.board, args.of, args.title, args.url, args.note, splits)
    remarks: list[str] = []
    if args.kind == "posir":
        found = posir.read(args.files, about, args.seed)
    else:
        found, remarks = mteb.read(args.files, about)
    written = save(found, args.to, args.replace)
    models = [one.entry.model.name for one in found]
    _say(args, {"written": [str(path) for path in written], "models": models, "remarks": remarks})
    return 0


def _say(args: argparse.Namespace, summary: dict[str, Any]) -> None:
    if args.json:
        common.print_json(summary)
        return
    for path in summary["written"]:
        common.echo(path)
    for remark in summary["remarks"]:
        common.remark(args, f"note: {remark}")
