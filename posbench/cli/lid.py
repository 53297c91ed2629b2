"""Show the intrinsic dimension of vectors: local (LID) at every document and query, and of the whole set.

Recall of an HNSW index follows it. Give a model and a dataset, or vectors in a file.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench lid``."""
    common.add_model(parser, required=False)
    common.add_dataset(parser)
    files = parser.add_argument_group("vectors, in place of a model and a dataset")
    files.add_argument("--vectors", type=Path, metavar="FILE", help=".npy, .fvecs, or .hdf5 of ann-benchmarks")
    files.add_argument("--queries", type=Path, metavar="FILE", help="vectors of queries (default: those of an .hdf5)")
    how = parser.add_argument_group("neighbours")
    how.add_argument("--k", type=int, default=100, metavar="N", help="nearest neighbours of each (default 100)")
    how.add_argument(
        "--sample",
        type=int,
        default=0,
        metavar="N",
        help="look for the documents' neighbours among so many random ones: quicker, and the error is shown (default "
        "all)",
    )
    files = parser.add_argument_group("output")
    files.add_argument("--to", type=Path, metavar="FILE", help="LID of every document, .parquet or .csv")
    files.add_argument("--queries-to", type=Path, metavar="FILE", help="LID at every query, .parquet or .csv")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Computes, writes and prints."""
    from posbench.studies import dimension

    _check(args)
    for target in (args.to, args.queries_to):
        dimension.check_target(target)
    how = dimension.How(args.k, args.sample)
    with common.progress(args) as progress:
        if args.vectors:
            found = dimension.of_vectors(args.vectors, args.queries, how, common.settings(args), progress)
        else:
            found = dimension.of_model(args.dataset, args.model, how, common.settings(args), progress)
    for table, target in ((found.documents, args.to), (found.queries, args.queries_to)):
        if target is not None:
            dimension.write(table, target)
            common.remark(args, f"wrote {target}: {len(table):,} rows")
    if args.json:
        common.print_json(dict(found.summary))
    else:
        _print(found.summary)
    return 0


def _check(args: argparse.Namespace) -> None:
    from posbench.errors import UsageError

    if bool(args.model) == bool(args.vectors):
        found = "both" if args.model else "neither"
        raise UsageError(f"found {found} of --model and --vectors; expected one: a model (and a dataset), or a file")
    if args.queries and not args.vectors:
        raise UsageError("--queries without --vectors; expected both: a dataset has its own queries")
    if args.sample < 0:
        raise UsageError(f"--sample {args.sample}; expected 0 (all documents) or more")


def _print(summary: Mapping[str, Any]) -> None:
    of = f"{summary['ranker']} on {summary['dataset']}" if summary["ranker"] else summary["dataset"]
    common.echo(f"{of}: intrinsic dimension of vectors, Euclidean distance; {summary['weights']}")
    for part in summary["parts"]:
        common.echo()
        common.echo(f"{part['dataset']}: {part['documents']:,} documents of {part['width']} numbers")
        of = f" in a random sample of {summary['sample']:,} documents" if summary["sample"] else ""
        common.echo(f"LID of a document, {part['neighbours']} neighbours{of}: {_spread(part['lid'])}")
        if part["error"] is not None:
            common.echo(f"- {_error(part['error'], summary['k'])}")
        if part["queries"] is not None:
            asked = part["queries"]
            common.echo(f"LID at {asked['count']:,} queries, {summary['k']} neighbours: {_spread(asked)}")
        for name, text in (("mle", "maximum likelihood"), ("two-nn", "two-NN")):
            common.echo(f"whole set, {text}: {_estimate(part['whole'][name])}")
    common.echo()
    common.echo("LID falls short of the true dimension, the more the higher that is: read it as a rank")
    common.echo(
        f"intervals: 95%, documents resampled, seed {summary['seed']}; shared neighbours make them rather narrow"
    )


def _spread(figures: Mapping[str, Any]) -> str:
    if figures["median"] is None:
        text = "undefined for all"
    else:
        text = f"median {figures['median']:.1f}, nine in ten from {figures['p5']:.1f} to {figures['p95']:.1f}"
        text += f"; undefined for {figures['undefined']:,}" if figures["undefined"] else ""
    return text + f"; {figures['with_duplicates']:,} have duplicates at distance zero, left out"


def _error(error: Mapping[str, Any], k: int) -> str:
    low, high = error["interval"]
    return (
        f"against exact LID (k {k}) of {error['documents']:,} documents: Spearman {error['spearman']:.2f} "
        f"({low:.2f}..{high:.2f}), off by {error['relative']:.0%} in the median"
    )


def _estimate(estimate: Mapping[str, Any]) -> str:
    if estimate["documents"] < 2:
        return f"undefined, {estimate['documents']} documents have a value"
    return f"{estimate['value']:.1f} ({estimate['low']:.1f}..{estimate['high']:.1f})"
