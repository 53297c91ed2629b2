"""Position bias before and after reranking as a table."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from posbench.bias import headline
from posbench.cli.tables import LENGTH_LABELS, curve, plain_table, probability


def print_stages(console: Console, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Both curves by place of the evidence, and the paired change of the signed index.

    Args:
        console: to print on.
        before: what ``compare.bias_of_stages`` says.
        after: the analysis of the reranked run.
    """
    reports = {"first stage": before["first"], "reranked": after}
    console.print()
    console.print(_curves(reports))
    console.print()
    console.print(_indices(reports, before))
    if before["change"] is None:
        console.print(f"the change is withheld: {before['withheld']}", markup=False, soft_wrap=True)


def _curves(reports: Mapping[str, Mapping[str, Any]]) -> Table:
    (first, after), known = reports, [_means(report) for report in reports.values()]
    heads = known[0][0]
    table = plain_table("document tokens", "ranked by", *heads, "curve")
    for length in known[0][1]:
        for stage, label, (_, means) in zip(
            (first, after), (LENGTH_LABELS.get(length, length), ""), known, strict=True
        ):
            shown = ("-" if mean is None else f"{mean:.3f}" for mean in means[length])
            table.add_row(label, stage, *shown, curve(means[length]))
    table.title = f"{reports[first]['measure']} by place of the evidence, before and after reranking"
    return table


def _indices(reports: Mapping[str, Mapping[str, Any]], before: Mapping[str, Any]) -> Table:
    """The signed index and shape of both over all lengths, and the paired change."""
    table = plain_table("position bias", "signed index", "95% interval", "p", "shape")
    for (stage, report), shape in zip(reports.items(), before["shapes"].values(), strict=True):
        signed = headline(report)["signed"]
        table.add_row(stage, *(_figures(signed, signed["value"]) if signed else ("-", "", "")), shape)
    if before["change"]:
        table.add_row("change", *_figures(before["change"], before["change"]["difference"]), "")
    return table


def _figures(figure: Mapping[str, Any], value: float) -> tuple[str, str, str]:
    low, high = figure["interval"]
    return f"{value:+.4f}", f"{low:+.4f}..{high:+.4f}", probability(figure["p"])


def _means(report: Mapping[str, Any]) -> tuple[list[str], dict[str, list[float | None]]]:
    """The names of the places, and the means at them by length; of composed documents paired by query."""
    paired = report["composed"]
    if paired is None:
        cells = [cell for cell in report["cells"] if not cell["whole"]]
        names = [f"{100 * cell['low']:.0f}-{100 * cell['high']:.0f}%" for cell in cells]
    elif paired["method"] == "mirror":
        return ["original", "mirrored"], {"all": paired["means"]}
    else:
        cells = paired["curve"]
        names = [f"{100 * cell['position']:.0f}%" for cell in cells]
    means: dict[str, list[float | None]] = {}
    for cell in cells:
        means.setdefault(cell["length"], []).append(cell["mean"])
    return list(dict.fromkeys(names)), means
