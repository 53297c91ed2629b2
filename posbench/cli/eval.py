"""Evaluate a ranker on a dataset: rank, measure, show position bias, store. A finished result is not computed again."""

import argparse
from dataclasses import replace

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench eval``."""
    common.add_model(parser)
    common.add_dataset(parser)
    parser.add_argument(
        "--measures", default="", metavar="LIST", help="as ir-measures names them (default nDCG@10,RR@10,AP,R@100)"
    )
    parser.add_argument(
        "--depth",
        type=int,
        metavar="K",
        help="documents ranked a query (default 1000); with --rerank those that are reranked (default 100)",
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
        "--index",
        default="",
        metavar="NAME",
        help="find a dense ranker's documents through an index and measure what that costs against exact search: "
        "hnsw:PRESET (hnsw:pgvector, hnsw:weaviate, ...) or hnsw:m=16,ef_construction=64,ef_search=40[,library=faiss]"
        "[,order=random][,seed=N]",
    )
    parser.add_argument(
        "--controls", action="store_true", help="score bare evidence spans and bm25 too, to tell difficulty from bias"
    )
    common.add_rerank(parser)
    parser.add_argument(
        "--reward",
        default="",
        metavar="LIST",
        help="constants of a pointwise reranker's listwise reward, which the paper's text does not give: "
        "penalty=X,outranks=worst|best (default penalty=1,outranks=worst)",
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints."""
    from posbench import experiment, measures, rewards
    from posbench.errors import UsageError

    if args.depth is not None and args.depth < 1:
        raise UsageError(f"--depth {args.depth}; expected 1 or more")
    rerank = common.rerank(args)
    settings = replace(
        common.settings(args),
        measures=measures.parse(args.measures) or measures.DEFAULT,
        depth=max(1000, args.depth or 0) if rerank else args.depth or 1000,
        rerank=rerank,
        reward=rewards.constants(args.reward),
        window=args.window,
        window_tokens=args.window_tokens,
        stride=args.stride,
        index=args.index,
        controls=args.controls,
    )
    with common.progress(args) as progress:
        outcome = experiment.run(args.dataset, args.model, settings, progress)
    summary = dict(outcome.summary)
    if "index" in outcome.result.manifest:
        from posbench.studies import indexes

        summary["index"] = indexes.cost(outcome.report, seed=args.seed)
    if args.json:
        common.print_json(summary)
        return 0
    from posbench.cli.summary import print_summary

    print_summary(summary, outcome.fresh)
    return 0
