"""List stored results."""

import argparse
from typing import TYPE_CHECKING

from posbench.cli import common

if TYPE_CHECKING:
    from posbench.types import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench runs``."""
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Prints one line a result: dataset, ranker, what was done if not eval, means, a pipeline's stages, folder."""
    from posbench import staged
    from posbench.manifest import shown_name
    from posbench.store import Results

    stored = Results(args.out).all()
    reports = [result.report() for result in stored]
    rows = [
        {
            "dataset": result.manifest["dataset"]["name"],
            "selection": result.manifest["dataset"].get("selection"),
            "ranker": result.manifest["ranker"]["name"],
            "kind": result.kind,
            "measures": _means(result.kind, report),
            "rerank": staged.staged(report),
            "weights": result.manifest["weights"],
            "result": str(result.folder),
        }
        for result, report in zip(stored, reports, strict=True)
    ]
    if args.json:
        common.print_json({"runs": rows})
        return 0
    if not rows:
        common.remark(args, f"no results in {args.out}; `posbench eval --model e5` makes one")
    for row, result in zip(rows, stored, strict=True):
        figures = "  ".join(f"{name} {value:.4f}" for name, value in row["measures"].items() if ":" not in name)
        kind = "" if row["kind"] == "eval" else f"{row['kind']}  "
        first = f"({staged.sentence(row['rerank'])})  " if row["rerank"] else ""
        name = shown_name(result.manifest["dataset"])
        common.echo(f"{name}  {row['ranker']}  {kind}{figures}  {first}{row['result']}")
    return 0


def _means(kind: str, report: "Report") -> dict[str, float]:
    """The means of a result's measures; of a selection its own, without what it is compared with."""
    from posbench.exports import means
    from posbench.studies.selection.summary import told

    if kind == "select":
        return dict(told(report)["divergence"]["selected"])
    return means(report)
