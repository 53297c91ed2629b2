"""A comparison as tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from posbench.bias import LENGTHS, MIN_QUERIES
from posbench.cli.tables import LENGTH_LABELS, UNITS, interval, plain_table, probability, terminal
from posbench.manifest import NOT_BESIDE, selection_text
from posbench.staged import sentence


def print_comparison(found: Mapping[str, Any]) -> None:
    """Everything ``posbench compare`` says."""
    out = terminal()
    unit = UNITS[found["resampled"]]
    out.print(f"[bold]{' and '.join(found['datasets'][:3])}[/bold]: ", end="")
    out.print(f"{found['queries']:,} queries, {found['clusters']:,} {unit} resampled and flipped as a whole")
    if found["selection"]:
        out.print(f"{selection_text(found)}; {NOT_BESIDE}", markup=False, soft_wrap=True)
    for name, count in found["left_out"].items():
        out.print(f"note: {count:,} queries of {name} are not in all results and left out", markup=False)
    for note in found["notes"]:
        out.print(f"note: {note}", markup=False)
    for name, said in found["rerank"].items():
        out.print(f"{name}: {sentence(said, found['measures'][0]['measure'])}", markup=False, soft_wrap=True)
    for part in found["measures"]:
        out.print()
        out.print(_ranking(part))
        out.print(_differences(part["pairs"]))
    out.print()
    if found["bias"] is None:
        out.print(f"position bias is not compared: {found['bias_withheld']}", markup=False)
    else:
        _print_bias(out, found["bias"])
    out.print(
        f"rank: 1 + the rankers that are better with p (Holm) < .05; 95% intervals; seed {found['seed']}", style="dim"
    )


def _ranking(part: Mapping[str, Any]) -> Table:
    staged = any(row["first_stage"] is not None for row in part["rankers"])
    rows = plain_table("rank", part["measure"], "95% interval", *(["its first stage"] if staged else []), "ranker")
    for row in sorted(part["rankers"], key=lambda row: (row["rank"], -row["mean"])):
        first = "-" if row["first_stage"] is None else f"{row['first_stage']:.4f}"
        figures = (f"{row['mean']:.4f}", interval(row["interval"]), *([first] if staged else []))
        rows.add_row(str(row["rank"]), *figures, row["name"])
    return rows


def _differences(pairs: Sequence[Mapping[str, Any]]) -> Table:
    rows = plain_table("difference", "mean", "95% interval", "p", "p (Holm)", "wins", "ties", "losses", "found at 80%")
    for pair in pairs:
        counts = (f"{pair[key]:,}" for key in ("wins", "ties", "losses"))
        rows.add_row(_name(pair), *_tested(pair), *counts, f"{pair['detectable']:.4f}")
    return rows


def _name(pair: Mapping[str, Any]) -> str:
    return f"{pair['first']} - {pair['second']}"


def _tested(figure: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = figure["interval"]
    return (
        f"{figure['difference']:+.4f}",
        f"{low:+.3f}..{high:+.3f}",
        probability(figure["p"]),
        probability(figure["p_holm"]),
    )


def _print_bias(out: Console, bias: Mapping[str, Any]) -> None:
    rows = plain_table(
        "position bias", "signed index", "95% interval", "PSI without noise", "95% of true PSI", "rank", "shape"
    )
    for row in bias["rankers"]:
        index, psi = row["index"]["all"], row["psi"]["all"]
        rows.add_row(
            row["name"],
            *((f"{index['value']:+.3f}", interval(index["interval"])) if index else ("-", "")),
            *((f"{psi['debiased']:+.3f}", interval(psi["interval"])) if psi else ("-", "")),
            str(row["rank"] or "-"),
            row["shape"],
        )
    out.print(rows)
    for key, title in (("index", "difference of the signed index"), ("psi", "difference of PSI without noise")):
        some = [(pair, group, pair[key][group]) for pair in bias["pairs"] for group in ("all", *LENGTHS)]
        shown = [item for item in some if item[2] is not None]
        if not shown and bias.get("composed"):
            continue
        if not shown:
            out.print(f"{title}: a position bin or length has fewer than {MIN_QUERIES} queries; withheld")
            continue
        rows = plain_table(title, "document tokens", "value", "95% interval", "p", "p (Holm)")
        for pair, group, figure in shown:
            rows.add_row(_name(pair), LENGTH_LABELS[group], *_tested(figure))
        out.print(rows)
        out.print(bias["tests"][key], style="dim", markup=False)
