"""What ``posbench eval`` says of one result."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from posbench.cli.bias_tables import print_bias
from posbench.cli.index_text import print_index
from posbench.cli.rerank_text import print_rerank
from posbench.cli.tables import UNITS, interval, plain_table, terminal
from posbench.manifest import NOT_BESIDE, selection_text


def print_summary(summary: Mapping[str, Any], fresh: bool) -> None:
    """Everything, as tables and sentences."""
    console = terminal()
    counts = summary["counts"]
    console.print(f"[bold]{summary['ranker']}[/bold] on [bold]{summary['dataset']}[/bold]: ", end="")
    console.print(
        f"{counts['queries']:,} queries, {counts['documents']:,} documents; {summary['weights']}", markup=False
    )
    if summary["selection"]:
        console.print(f"{selection_text(summary)}; {NOT_BESIDE}", markup=False, style="bold", soft_wrap=True)
    for reason, count in counts["notes"].items():
        console.print(f"note: {count:,} {reason}", markup=False)
    console.print(_measures(summary))
    unit = UNITS[summary["resampled"]]
    console.print(f"intervals: {unit} resampled within domains, seed {summary['seed']}", style="dim")
    if summary["bias"]:
        print_bias(console, summary["bias"])
    if "rerank" in summary:
        print_rerank(console, summary)
    if "index" in summary:
        print_index(console, summary["index"])
    if summary["truncation"]:
        console.print(_truncation(summary["truncation"]))
    state = "" if fresh else " (computed before; --again computes it anew)"
    console.print(f"result: {summary['result']}{state}", markup=False, soft_wrap=True)


def _measures(summary: Mapping[str, Any]) -> Table:
    macro = summary["macro"]
    table = plain_table("measure", "mean", "95% interval", *(["mean of collections' means"] if macro else []))
    for name, mean in summary["measures"].items():
        table.add_row(
            name, f"{mean:.4f}", interval(summary["intervals"][name]), *([f"{macro[name]:.4f}"] if macro else [])
        )
    return table


def _truncation(audit: Mapping[str, Any]) -> str:
    if "window" in audit:
        return _windows(audit)
    if not audit["documents_cut"]:
        return f"no document is longer than the {audit['max_tokens']:,} tokens that the model reads"
    text = f"the model reads {audit['max_tokens']:,} tokens: {audit['documents_cut']:.1%} of the documents are cut"
    if "evidence_beyond" in audit:
        text += f", and {audit['evidence_beyond']:.1%} of the queries have evidence beyond the cut"
    return text


def _windows(audit: Mapping[str, Any]) -> str:
    """What is read of long documents in windows: all of it."""
    text = f"nothing is cut off: {audit['documents_windowed']:.1%} of the documents are read in several windows of "
    text += f"{audit['max_tokens']:,} tokens ({audit['windows']:,} windows)"
    if audit["documents_windowed"] and "evidence_parted" in audit:
        text += f", and {audit['evidence_parted']:.1%} of the queries have evidence that no window holds whole"
    return text
