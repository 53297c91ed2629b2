"""Evaluate a ranker on a dataset: rank, measure, show position bias, store. A finished result is not computed again."""

import argparse

from posbench.cli import common

DATASET = "posir-mini"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench eval``."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="a ranker recipe, a .toml, a model folder, a hub id or module:Class",
    )
    parser.add_argument(
        "--dataset", default=DATASET, metavar="NAME", help=f"a dataset recipe, or a path (default {DATASET})"
    )
    parser.add_argument(
        "--measures", default="", metavar="LIST", help="as ir-measures names them (default nDCG@10,RR@10,AP,R@100)"
    )
    parser.add_argument("--depth", type=int, default=1000, metavar="K", help="documents ranked a query (default 1000)")
    parser.add_argument(
        "--documents", choices=("paragraph", "article"), default="", help="SQuAD files: what a document is"
    )
    parser.add_argument("--split", default="", help="of the qrels, where the dataset has several")
    parser.add_argument(
        "--drop-faults", action="store_true", help="leave out broken rows, counted, rather than refuse them"
    )
    parser.add_argument(
        "--device",
        default="",
        metavar="LIST",
        help="torch devices, for example cuda:0,cuda:1 (default: all GPUs, else cpu)",
    )
    parser.add_argument(
        "--window",
        choices=("truncate", "average", "max"),
        default="",
        help="long documents of dense rankers: cut off, the mean of their windows, or their best window",
    )
    parser.add_argument(
        "--window-tokens", type=int, default=0, metavar="N", help="of a window (default: all that the model reads)"
    )
    parser.add_argument(
        "--stride", type=int, default=0, metavar="N", help="tokens between windows' starts, at most (default: a window)"
    )
    parser.add_argument(
        "--controls", action="store_true", help="score bare evidence spans and bm25 too, to tell difficulty from bias"
    )
    parser.add_argument("--again", action="store_true", help="compute a finished result anew")
    parser.add_argument("--trust-remote-code", action="store_true", help="let a model run code from its own files")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints."""
    from posbench import experiment, measures
    from posbench.errors import UsageError
    from posbench.loaders import LoadOptions

    if args.depth < 1:
        raise UsageError(f"--depth {args.depth}; expected 1 or more")
    settings = experiment.Settings(
        measures=measures.parse(args.measures) or measures.DEFAULT,
        depth=args.depth,
        seed=args.seed,
        out=args.out,
        cache=args.cache,
        devices=tuple(part for part in args.device.split(",") if part),
        window=args.window,
        window_tokens=args.window_tokens,
        stride=args.stride,
        controls=args.controls,
        again=args.again,
        remote_code=args.trust_remote_code,
        options=LoadOptions(documents=args.documents, drop_faults=args.drop_faults, split=args.split),
        command=args.command,
    )
    with common.progress(args) as progress:
        outcome = experiment.run(args.dataset, args.model, settings, progress)
    if args.json:
        common.print_json(dict(outcome.summary))
        return 0
    from posbench.cli.summary import print_summary

    print_summary(outcome.summary, outcome.fresh)
    return 0
