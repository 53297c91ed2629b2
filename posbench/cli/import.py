"""Bring in results of others: files of PosIR and MTEB become leaderboard entries, TREC runs stored results."""

import argparse
from pathlib import Path

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench import``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="files, or folders of them")
    parser.add_argument(
        "--as",
        dest="kind",
        required=True,
        choices=("posir", "mteb", "trec"),
        help="posir: all_eval_metrics.json, or the per-query files of PosIR's eval.py; mteb: TASK.json files of its "
        "results repository, folders of them (--split LIST: of tasks with several, best first), or a CSV of scores; "
        "trec: run files, evaluated on --dataset or by --qrels",
    )
    entries = parser.add_argument_group("published figures (posir, mteb)")
    entries.add_argument(
        "--to", type=Path, default=common.ENTRIES, metavar="DIR", help=f"folder of entries (default {common.ENTRIES})"
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
    runs = parser.add_argument_group("TREC runs (trec)")
    runs.add_argument("--qrels", type=Path, metavar="FILE", help="judgements, where the dataset is not at hand")
    runs.add_argument(
        "--measures", default="", metavar="LIST", help="as ir-measures names them (default nDCG@10,RR@10,AP,R@100)"
    )
    runs.add_argument("--depth", type=int, default=1000, metavar="K", help="documents kept a query (default 1000)")
    runs.add_argument("--again", action="store_true", help="compute a finished result anew")
    common.add_dataset(parser, "", "none")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Reads, writes and says what was written."""
    written, remarks = _runs(args) if args.kind == "trec" else _entries(args)
    if args.json:
        common.print_json({"written": written, "remarks": remarks})
        return 0
    for path in written:
        common.echo(path)
    for remark in remarks:
        common.remark(args, f"note: {remark}")
    return 0


def _entries(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Published figures as entries: the files written, and remarks."""
    from posbench.errors import UsageError
    from posbench.leaderboard import mteb, posir
    from posbench.leaderboard.folder import save
    from posbench.leaderboard.published import About

    if args.qrels or args.dataset:
        raise UsageError(f"--qrels and --dataset are for --as trec; found --as {args.kind}")
    splits = tuple(filter(None, args.split.split(",")))
    about = About(args.name, args.board, args.of, args.title, args.url, args.note, splits)
    remarks: list[str] = []
    if args.kind == "posir":
        found = posir.read(args.files, about, args.seed)
    else:
        found, remarks = mteb.read(args.files, about)
    return [str(path) for path in save(found, args.to, args.replace)], remarks


def _runs(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """TREC runs as stored results: their folders, and remarks."""
    from posbench import experiment, measures
    from posbench.errors import UsageError
    from posbench.loaders import trec

    if bool(args.dataset) == bool(args.qrels):
        raise UsageError("found " + ("both" if args.qrels else "none") + " of --dataset and --qrels; expected one")
    missing = [str(path) for path in args.files if not path.is_file()]
    if missing or args.depth < 1:
        raise UsageError(
            f"no such run file: {', '.join(missing)}" if missing else f"--depth {args.depth}; expected 1 or more"
        )
    settings = experiment.Settings(
        measures=measures.parse(args.measures) or measures.DEFAULT,
        depth=args.depth,
        seed=args.seed,
        out=args.out,
        cache=args.cache,
        again=args.again,
        options=common.load_options(args),
        command=args.command,
    )
    collections = [trec.without_texts(args.qrels, args.files)] if args.qrels else []
    written = []
    with common.progress(args) as progress:
        for path in args.files:
            name = str(path) if path.suffix or path.parent != Path() else f"./{path}"  # never taken for a recipe's name
            outcome = experiment.run(args.dataset, name, settings, progress, collections=collections)
            written.append(str(outcome.result.folder))
    return written, ["without texts: no position analysis, and nothing to submit"] if args.qrels else []
