"""Position analyses as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from posbench.bias import LENGTHS, MIN_QUERIES, headline
from posbench.cli.composed_table import composed_table
from posbench.cli.tables import LENGTH_LABELS, curve, figure, interval, plain_table, terminal
from posbench.manifest import NOT_BESIDE, selection_text
from posbench.staged import sentence

_GROUPS = ("all", *LENGTHS)
_CONTROLS = {"span": "bare evidence span", "bm25": "bm25"}


def print_all(found: Sequence[Mapping[str, Any]]) -> None:
    """Each analysis, and where there are several a table of them together."""
    console = terminal()
    for one in found:
        console.print(f"[bold]{one['ranker']}[/bold] on [bold]{one['dataset']}[/bold]: {one['queries']:,} queries")
        if one["selection"]:
            console.print(f"{selection_text(one)}; {NOT_BESIDE}", markup=False, soft_wrap=True)
        if one["rerank"]:
            console.print(sentence(one["rerank"], one["measure"]), markup=False, soft_wrap=True)
        print_bias(console, one)
        console.print()
    if len(found) > 1:
        console.print(_together(found))


def print_bias(console: Console, report: Mapping[str, Any]) -> None:
    """One analysis."""
    tables = [_positions(report), _offsets(report)]
    if report["composed"]:  # the others compare queries with one another, which composition makes needless
        tables.append(composed_table(report["composed"]))
    else:
        tables += [_official(report), _tests(report["tests"]), _controls(report)]
    for table in tables:
        if table is not None:
            console.print()
            console.print(table)
    console.print()
    for line in report["verdict"]:
        console.print(f"- {line}", markup=False)
    if report["without_evidence"]:
        console.print(f"{report['without_evidence']:,} queries without one known evidence are left out of these tables")


def _positions(report: Mapping[str, Any]) -> Table:
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for cell in report["cells"]:
        rows.setdefault(cell["length"], []).append(cell)
    first = next(iter(rows.values()))
    heads = [f"{100 * cell['low']:.0f}-{100 * cell['high']:.0f}%" for cell in first if not cell["whole"]]
    table = plain_table("document tokens", "queries", "all", *heads, "curve")
    for name, cells in rows.items():
        whole = next(cell for cell in cells if cell["whole"])
        parts = [cell for cell in cells if not cell["whole"]]
        means = map(_cell, [whole, *parts])
        table.add_row(LENGTH_LABELS[name], f"{whole['queries']:,}", *means, curve([cell["mean"] for cell in parts]))
        if name == "all":
            table.add_row("", "", *(interval(cell["interval"]) for cell in [whole, *parts]), "")
            table.add_row("  queries", "", "", *(f"{cell['queries']:,}" for cell in parts), "")
    table.title = f"{report['measure']} by place of the evidence in its document, and by the document's length"
    return table


def _offsets(report: Mapping[str, Any]) -> Table | None:
    """Means by tokens from the start, where that is another view than the relative place."""
    view = report["offsets"]
    if view is None or len(view["cells"]) < 2:
        return None
    cells = view["cells"]
    heads = [f"{cell['low']:,}-{cell['high']:,}" if cell["high"] else f"{cell['low']:,}-" for cell in cells]
    table = plain_table("evidence, tokens from start", *heads)
    table.add_row(report["measure"], *map(_cell, cells))
    table.add_row("", *(interval(cell["interval"]) for cell in cells))
    table.add_row("queries", *(f"{cell['queries']:,}" for cell in cells))
    return table


def _official(report: Mapping[str, Any]) -> Table:
    table = plain_table("PosIR's official columns", *(LENGTH_LABELS[name] for name in _GROUPS))
    values, intervals = report["official"], report["official_intervals"]
    for name in (report["measure"], "PSI"):
        keys = [name, *(f"{name}({bucket})" for bucket in LENGTHS)]
        shown = [figure(values[key]) for key in keys]
        if name == "PSI":  # a minimum over bins of a handful of queries is no figure
            shown = [
                "-" if psi is None else text for text, psi in zip(shown, report["tests"]["psi"].values(), strict=True)
            ]
        table.add_row(name, *shown)
        if name in intervals:
            table.add_row("", *(interval(intervals[key]) for key in keys))
    return table


def _tests(tests: Mapping[str, Any]) -> Table:
    """PSI against noise and the signed index, by length; "-" where there are too few queries."""
    table = plain_table("bias told from noise", *(LENGTH_LABELS[name] for name in _GROUPS))
    psi, signed = tests["psi"], tests["signed"]
    table.add_row("queries", *(_part(signed[name], "queries", ",") for name in _GROUPS))
    table.add_row("  in the smallest of 20 bins", *(_part(psi[name], "smallest_bin", ",") for name in _GROUPS))
    table.add_row("PSI that noise alone gives", *(_part(psi[name], "null_mean", ".3f") for name in _GROUPS))
    table.add_row("PSI without noise", *(_part(psi[name], "debiased", "+.3f") for name in _GROUPS))
    table.add_row("  95% of the true PSI", *(interval(psi[name] and psi[name]["interval"]) for name in _GROUPS))
    table.add_row("  p (Holm)", *(_part(psi[name], "p_holm", ".3f") for name in _GROUPS))
    table.add_row("signed index", *(_part(signed[name], "value", "+.3f") for name in _GROUPS))
    table.add_row("", *(interval(signed[name] and signed[name]["interval"]) for name in _GROUPS))
    table.add_row("  p (Holm)", *(_part(signed[name], "p_holm", ".3f") for name in _GROUPS))
    table.add_row("edges against middle", _part(tests["edges"], "value", "+.3f"))
    table.add_row("", interval(tests["edges"] and tests["edges"]["interval"]))
    why = f"-: fewer than {MIN_QUERIES} queries in a bin or documents, or nothing found"
    table.caption = f"{why}; index: slope / (2 mean), below 0 for primacy"
    table.caption_justify = "left"
    return table


def _controls(report: Mapping[str, Any]) -> Table | None:
    """The controls' own means by fifths of position: how hard the questions about each place are."""
    if report["controlled"] is None:
        return None
    means = report["controlled"]["means"]
    first = next(iter(means.values()))
    heads = [f"{100 * cell['low']:.0f}-{100 * cell['high']:.0f}%" for cell in first]
    table = plain_table(f"{report['measure']} of the controls", *heads, "curve")
    for name, cells in means.items():
        table.add_row(_CONTROLS[name], *map(_cell, cells), curve([cell["mean"] for cell in cells]))
        table.add_row("", *(interval(cell["interval"]) for cell in cells), "")
    return table


def _together(found: Sequence[Mapping[str, Any]]) -> Table:
    table = plain_table(
        "all together", "queries", "signed index", "95% interval", "p (Holm)", "PSI without noise", "shape"
    )
    for one in found:
        head, among = headline(one), one["among"]
        signed, psi = head["signed"], head["psi"]
        table.add_row(
            f"{one['ranker']} on {'selection ' if one['selection'] else ''}{one['dataset']}",
            f"{one['queries']:,}",
            _part(signed, "value", "+.3f"),
            interval(signed and signed["interval"]),
            _part(among, "signed_p_holm", ".3f"),
            _part(psi, "debiased", "+.3f"),
            head["shape"],
        )
    return table


def _cell(cell: Mapping[str, Any]) -> str:
    return f"n<{MIN_QUERIES}" if cell["mean"] is None else f"{cell['mean']:.3f}"


def _part(figures: Mapping[str, Any] | None, key: str, form: str) -> str:
    return "-" if figures is None or key not in figures else format(figures[key], form)
