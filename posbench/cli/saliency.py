"""Show which parts of a document move its score: gradients at its tokens, or occlusion of its segments.

Without options the sample is PosIR's: documents of 1,024 tokens or more with their evidence in the middle.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench saliency``."""
    common.add_model(parser)
    common.add_dataset(parser)
    how = parser.add_argument_group("method")
    how.add_argument(
        "--method",
        choices=("gradient", "integrated", "occlusion"),
        default="gradient",
        help="gradient: PosIR's norm of the score's gradient at each token; integrated: gradients summed from a "
        "baseline, so that they add up to the score; occlusion: the fall of the score without a segment, for any model",
    )
    how.add_argument("--steps", type=int, default=32, metavar="N", help="of integrated gradients (default 32)")
    how.add_argument(
        "--baseline", choices=("zero", "mean"), default="zero", help="of integrated gradients (default zero vectors)"
    )
    how.add_argument("--segments", type=int, default=20, metavar="N", help="a document, of occlusion (default 20)")
    how.add_argument(
        "--max-tokens", type=int, default=0, metavar="N", help="tokens read of a document (default: the model's limit)"
    )
    which = parser.add_argument_group("pairs")
    which.add_argument(
        "--min-tokens", type=int, default=1024, metavar="N", help="of a document, as the dataset counts (default 1024)"
    )
    which.add_argument(
        "--evidence",
        default="0.4,0.6",
        metavar="LOW,HIGH",
        help="place of the evidence in its document (default 0.4,0.6)",
    )
    which.add_argument("--whole", action="store_true", help="only documents that the model reads to their end")
    which.add_argument("--pairs", type=int, default=0, metavar="N", help="a random sample of so many (default: all)")
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Computes and prints."""
    from posbench.studies import saliency
    from posbench.studies.pairs import Selection

    _check(args)
    method = saliency.Method(args.method, args.steps, args.baseline, args.segments, args.max_tokens)
    selection = Selection(args.min_tokens, _range(args.evidence), args.whole, args.pairs)
    with common.progress(args) as progress:
        outcome = saliency.run(args.dataset, args.model, method, selection, common.settings(args), progress)
    if args.json:
        common.print_json(dict(outcome.summary))
    else:
        _print(outcome.summary, outcome.fresh)
    return 0


def _check(args: argparse.Namespace) -> None:
    from posbench.errors import UsageError

    for name, least in (("steps", 1), ("segments", 2), ("max_tokens", 0), ("min_tokens", 0), ("pairs", 0)):
        value = getattr(args, name)
        if value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value}; expected {least} or more")


def _range(text: str) -> tuple[float, float]:
    from posbench.errors import UsageError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 1:
        raise UsageError(f"--evidence {text!r}; expected two numbers from 0 to 1, the smaller first, as 0.4,0.6")
    return low, high


def _print(summary: Mapping[str, Any], fresh: bool) -> None:
    from posbench.cli.tables import curve
    from posbench.manifest import shown_name

    chosen, method = summary["selection"], summary["method"]
    low, high = chosen["evidence"]
    dataset = shown_name({"name": summary["dataset"], "selection": summary["dataset_selection"]})
    common.echo(f"{summary['ranker']} on {dataset}: {method['name']} saliency; {summary['weights']}")
    common.echo(
        f"{summary['pairs']:,} pairs over {summary['documents']:,} documents, of {chosen['qualify']:,} that qualify "
        f"among {chosen['with_evidence']:,} (documents of {chosen['min_tokens']:,} tokens or more"
        f"{', read whole' if chosen['whole'] else ''}, evidence at {low:.0%} to {high:.0%})"
    )
    seen = f", and the evidence of {summary['evidence_read']:,} pairs" if summary["evidence_read"] is not None else ""
    common.echo(f"the model reads {summary['read']['mean']:.1%} of these documents{seen}; places are in what it reads")
    common.echo()
    _table(summary)
    common.echo()
    top = max(summary["mean"])
    means = [sum(summary["mean"][at : at + 2]) / 2 / top for at in range(0, 100, 2)]
    common.echo(f"mean curve, its highest point {top:.3f}: {curve(means)}")
    first = summary["first"]
    common.echo(f"the first unit alone: {first['mean']:.1%} of all, {first['even']:.1%} if even")
    if summary["evidence"]["mean"] is not None:
        interval = _between(summary["evidence"]["interval"], " ({:.2f}..{:.2f})")
        common.echo(f"evidence that is read: {summary['evidence']['mean']:.2f}{interval} times as salient as if even")
    if summary["completeness"]:
        error = summary["completeness"]
        common.echo(f"sum against score: off by {error['mean_error']:.1e} on average, {error['max_error']:.1e} at most")
    for sentence in summary["verdict"]:
        common.echo(f"- {sentence}")
    common.echo(f"intervals: documents resampled within domains, seed {summary['seed']}")
    common.echo(f"result: {summary['result']}{'' if fresh else ' (computed before; --again computes it anew)'}")


def _table(summary: Mapping[str, Any]) -> None:
    from posbench.studies.curves import FIFTHS

    lines: list[Sequence[str]] = [("share of saliency", *FIFTHS, "centroid")]
    for name, fifths, centre in (
        ("all units", summary["mass"], summary["centroid"]),
        ("without the first", summary["rest"], summary["centroid_rest"]),
    ):
        figures = [*fifths, centre]
        lines.append((name, *(f"{figure['mean']:.3f}" for figure in figures)))
        lines.append(("", *(_between(figure["interval"]) for figure in figures)))
        p_values = [figure.get("p_holm", figure["p"]) for figure in figures]
        lines.append(("p (fifths: Holm)", *("-" if p is None else f"{p:.3f}" for p in p_values)))
    lines.append(("even", *("0.200" for _ in FIFTHS), "0.500"))
    for label, *cells in lines:
        common.echo(f"{label:<18}" + "".join(f"{cell:>12}" for cell in cells))


def _between(interval: Sequence[float] | None, form: str = "{:.2f}..{:.2f}") -> str:
    return "" if interval is None else form.format(*interval)
