"""Draw stored results: position curves, heatmap, distance from the start, PSI against noise, pairs, studies."""

import argparse
from pathlib import Path

from posbench.cli import common

KINDS = (
    "composed",
    "curves",
    "divergence",
    "forest",
    "heatmap",
    "lid",
    "mini",
    "null",
    "offsets",
    "ranks",
    "recall",
    "saliency",
    "slope",
    "weights",
    "words",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench plot``."""
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT", help="result folders; `posbench runs` lists them"
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="curves",
        help="means by place of the evidence (curves, the default), by length and place (heatmap), by tokens from the "
        "start (offsets), PSI beside what noise gives (null), two results side by side (slope), paired differences "
        "(forest), composed documents paired by query (composed), results of posbench saliency (saliency); "
        "of posbench mini: tau by share of the queries (mini); "
        "of posbench hnsw: recall by efSearch and order of insertion (recall), by LID (lid), ranks of models (ranks); "
        "of posbench select: distance to the target by size and selector (divergence), log weights, n-grams (words)",
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="to write: .png, .svg, .html (interactive), .json"
    )
    parser.add_argument("--measure", default="", metavar="NAME", help="default nDCG@10, else the results' first")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Writes the chart and says where."""
    from posbench import plots
    from posbench.plots.render import check_suffix
    from posbench.store import result_in

    check_suffix(args.to)
    results = [result_in(folder) for folder in args.results]
    with common.progress(args) as progress:
        chart = plots.draw(results, args.kind, args.measure, args.seed, progress)
    plots.save(chart, args.to)
    if args.json:
        common.print_json({"written": [str(args.to)]})
    else:
        common.echo(str(args.to))
    return 0
