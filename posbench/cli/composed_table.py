"""The paired analysis of composed collections as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_composed(console: Console, found: Mapping[str, Any]) -> None:
    """The mean at each place, and the interval of its difference from the same queries' mean over the places."""
    console.print(_mirrored(found) if found["method"] == "mirror" else _curves(found))
    left = f"; {found['incomplete']:,} queries lack a place and are left out" if found["incomplete"] else ""
    console.print(
        f"{found['queries']:,} queries from {found['source_documents']:,} documents, each at every place{left}",
        style="dim",
    )


def _curves(found: Mapping[str, Any]) -> Table:
    places = [f"{100 * place:.0f}%" for place in found["positions"]]
    table = _table("paired by query", *places, "signed index", "range", "shape")
    for name, tests in found["tests"].items():
        cells = [cell for cell in found["curve"] if cell["length"] == name]
        signed, spread = tests["signed"], tests["range"]
        value = "-" if signed is None else f"{signed['value']:+.3f}"
        wide, noise = ("-", "") if spread is None else (f"{spread['value']:.3f}", f"noise {spread['null_mean']:.3f}")
        label = "all lengths" if name == "all" else f"{name} tokens" if name.isdecimal() else name
        table.add_row(label, *(f"{cell['mean']:.3f}" for cell in cells), value, wide, tests["shape"])
        differences = (_interval(cell["difference_interval"]) for cell in cells)
        table.add_row("difference", *differences, _interval(signed and signed["interval"]), noise, "")
    table.title = f"{found['measure']} of the same evidence at each place; 0% is the start"
    return table


def _mirrored(found: Mapping[str, Any]) -> Table:
    table = _table("paired by query", "original", "mirrored", "signed index", "difference-in-differences", "shape")
    signed, twice = found["signed"], found["difference_in_differences"]
    table.add_row(
        "own length",
        *(f"{mean:.3f}" for mean in found["means"]),
        "-" if signed is None else f"{signed['value']:+.3f}",
        "-" if twice is None else f"{twice['value']:+.3f}",
        found["shape"],
    )
    table.add_row("", "", "", _interval(signed and signed["interval"]), _interval(twice and twice["interval"]), "")
    table.title = f"{found['measure']} of documents and their mirror images"
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _interval(interval: Sequence[float] | None) -> str:
    if interval is None:
        return ""
    low, high = (round(end, 2) + 0.0 for end in interval)  # + 0.0 makes 0 of -0
    return f"{low:.2f}..{high:.2f}"
