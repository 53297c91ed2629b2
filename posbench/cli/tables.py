"""Summaries as tables for a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from posbench.bias import LENGTH_NAMES, LENGTHS, MIN_QUERIES
from posbench.cli.composed_table import print_composed

_BLOCKS = "▁▂▃▄▅▆▇█"
_LABEL = dict(zip(LENGTHS, LENGTH_NAMES, strict=True)) | {"all": "all lengths"}
_WIDTH = 110  # columns where standard output is no terminal


def print_summary(summary: Mapping[str, Any], fresh: bool) -> None:
    """Everything ``posbench eval`` says of one result."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    counts = summary["counts"]
    console.print(f"[bold]{summary['ranker']}[/bold] on [bold]{summary['dataset']}[/bold]: ", end="")
    console.print(
        f"{counts['queries']:,} queries, {counts['documents']:,} documents; {summary['weights']}", markup=False
    )
    for reason, count in counts["notes"].items():
        console.print(f"note: {count:,} {reason}", markup=False)
    console.print(_measures(summary))
    unit = "documents" if summary["resampled"] == "document" else "queries"
    console.print(f"intervals: {unit} resampled within domains, seed {summary['seed']}", style="dim")
    if summary["bias"]:
        _print_bias(console, summary["bias"])
    if summary["truncation"]:
        console.print(_truncation(summary["truncation"]))
    state = "" if fresh else " (computed before; --again computes it anew)"
    console.print(f"result: {summary['result']}{state}", markup=False, soft_wrap=True)


def _measures(summary: Mapping[str, Any]) -> Table:
    table = _table("measure", "mean", "95% interval")
    for name, mean in summary["measures"].items():
        table.add_row(name, f"{mean:.4f}", _interval(summary["intervals"][name]))
    return table


def _table(first: str, *others: str) -> Table:
    """A plain table: the first column on the left, figures on the right."""
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print_bias(console: Console, report: Mapping[str, Any]) -> None:
    console.print()
    console.print(_positions(report))
    console.print()
    if report["composed"]:  # what follows compares queries with one another, which composition makes needless
        print_composed(console, report["composed"])
    else:
        console.print(_official(report))
        console.print()
        console.print(_tests(report["tests"]))
    for sentence in report["verdict"]:
        console.print(f"- {sentence}", markup=False)
    if report["without_evidence"]:
        console.print(f"{report['without_evidence']:,} queries without one known evidence are left out of these tables")


def _positions(report: Mapping[str, Any]) -> Table:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for cell in report["cells"]:
        rows.setdefault(cell["length"], []).append(cell)
    first = next(iter(rows.values()))
    heads = [f"{100 * cell['low']:.0f}-{100 * cell['high']:.0f}%" for cell in first if not cell["whole"]]
    table = _table("document tokens", "queries", "all", *heads, "curve")
    for name, cells in rows.items():
        whole = next(cell for cell in cells if cell["whole"])
        parts = [cell for cell in cells if not cell["whole"]]
        table.add_row(
            _LABEL[name],
            f"{whole['queries']:,}",
            _cell(whole),
            *map(_cell, parts),
            curve([cell["mean"] for cell in parts]),
        )
        if name == "all":
            table.add_row("", "", *(_interval(cell["interval"]) for cell in [whole, *parts]), "")
    table.title = f"{report['measure']} by place of the evidence in its document, and by the document's length"
    return table


def _official(report: Mapping[str, Any]) -> Table:
    table = _table("PosIR's official columns", "all", *(_LABEL[name] for name in LENGTHS))
    values, intervals = report["official"], report["official_intervals"]
    for name in (report["measure"], "PSI"):
        keys = [name, *(f"{name}({bucket})" for bucket in LENGTHS)]
        table.add_row(name, *(_figure(values[key]) for key in keys))
        if name in intervals:
            table.add_row("", *(_interval(intervals[key]) for key in keys))
    return table


def _tests(tests: Mapping[str, Any]) -> Table:
    """PSI against noise and the signed index, by length; "-" where there are too few queries."""
    groups = ("all", *LENGTHS)
    table = _table("bias told from noise", *(_LABEL[name] for name in groups))
    psi, signed = tests["psi"], tests["signed"]
    table.add_row("PSI that noise alone gives", *(_part(psi[name], "null_mean", ".3f") for name in groups))
    table.add_row("PSI without noise", *(_part(psi[name], "debiased", "+.3f") for name in groups))
    table.add_row("", *(_interval(psi[name] and psi[name]["interval"]) for name in groups))
    table.add_row("p (Holm)", *(_part(psi[name], "p_holm", ".3f") for name in groups))
    table.add_row("signed index", *(_part(signed[name], "value", "+.3f") for name in groups))
    table.add_row("", *(_interval(signed[name] and signed[name]["interval"]) for name in groups))
    table.add_row("p (Holm)", *(_part(signed[name], "p_holm", ".3f") for name in groups))
    return table


def _part(figure: Mapping[str, Any] | None, key: str, form: str) -> str:
    return "-" if figure is None else format(figure[key], form)


def _truncation(audit: Mapping[str, Any]) -> str:
    if not audit["documents_cut"]:
        return f"no document is longer than the {audit['max_tokens']:,} tokens that the model reads"
    text = f"the model reads {audit['max_tokens']:,} tokens: {audit['documents_cut']:.1%} of the documents are cut"
    if "evidence_beyond" in audit:
        text += f", and {audit['evidence_beyond']:.1%} of the queries have evidence beyond the cut"
    return text


def _cell(cell: Mapping[str, Any]) -> str:
    return f"n<{MIN_QUERIES}" if cell["mean"] is None else f"{cell['mean']:.3f}"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None or math.isnan(interval[0]) else f"{interval[0]:.2f}..{interval[1]:.2f}"


def curve(values: Sequence[float | None]) -> str:
    """A small curve on a scale from 0 to 1; a dot where a value is withheld."""
    return "".join("·" if value is None else _BLOCKS[min(7, int(max(0.0, value) * 8))] for value in values)
