"""What ``posbench select`` says of a selection."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from posbench.cli.tables import plain_table, terminal

_Row = Mapping[str, Any]


def print_selection(summary: _Row, fresh: bool) -> None:
    """Sizes, distances, drift, words, warnings, and where everything is."""
    console = terminal()
    for sentence in _head(summary):
        console.print(sentence, markup=False, soft_wrap=True)
    tables = [_distances(summary), _comparison(summary), _lengths(summary), *_labels(summary), _words(summary)]
    for table in tables:
        if table.row_count:
            console.print()
            console.print(table)
    console.print()
    for sentence in summary["warnings"]:
        console.print(f"warning: {sentence}", markup=False, soft_wrap=True, style="bold")
    for sentence in _notes(summary):
        console.print(sentence, markup=False, soft_wrap=True, style="dim")
    state = "" if fresh else " (selected before)"
    console.print(f"selection: {summary['to']}{state}", markup=False, soft_wrap=True)
    console.print(f"result: {summary['result']}", markup=False, soft_wrap=True)


def _head(summary: _Row) -> Iterator[str]:
    raw, chosen = summary["raw"], summary["selection"]
    of = f"{raw['documents']:,} documents of {raw['name']} ({raw['tokens']:,} tokens)"
    yield f"{chosen['size']:,} of {of}, by {chosen['selector']}"
    for target in summary["targets"]:
        part = f"{target['documents']:,} documents fitted, {target['held_out']:,} held out"
        mine = chosen["by_target"][target["name"]]
        yield f"towards {target['name']}: {part}" + (f"; {mine:,} selected" if len(summary["targets"]) > 1 else "")


def _distances(summary: _Row) -> Table:
    """KL of raw, random and selected text; held out where there is such a part."""
    table = plain_table("KL(target || .), nats", "fitted", "held out", "random's 95%", "reduction")
    found = summary["divergence"]
    raw, random, chosen = found["raw"], found["random"], found["selected"]
    table.add_row("all raw text", _nats(raw["KL fitted"]), _nats(raw["KL held out"]), "", "")
    held, fitted, less = random["KL held out"], random["KL fitted"], random["KL reduction"]
    band = held if held["mean"] == held["mean"] else fitted
    table.add_row(
        f"random, same size ({held['draws']} draws)",
        _nats(fitted["mean"]),
        _nats(held["mean"]),
        f"{_nats(band['single_low'])}..{_nats(band['single_high'])}",
        _nats(less["mean"]),
    )
    name = summary["selection"]["selector"]
    table.add_row(name, _nats(chosen["KL fitted"]), _nats(chosen["KL held out"]), "", _nats(chosen["KL reduction"]))
    return table


def _comparison(summary: _Row) -> Table:
    """Held-out KL of every selector at every size."""
    rows = summary["comparison"]
    sizes = sorted({row["size"] for row in rows})
    table = plain_table("selector, by size", *(f"{size:,}" for size in sizes))
    if len(sizes) < 2:
        return table
    for name in dict.fromkeys(row["selector"] for row in rows):
        cells = {row["size"]: row for row in rows if row["selector"] == name}
        table.add_row(name, *(_cell(cells.get(size)) for size in sizes))
    return table


def _cell(row: _Row | None) -> str:
    if row is None:
        return "-"
    value = row["KL held out"]
    if isinstance(value, Mapping):
        band = value if value["mean"] == value["mean"] else row["KL fitted"]
        return f"{_nats(band['mean'])} ({_nats(band['single_low'])}..{_nats(band['single_high'])})"
    return _nats(value if value == value else row["KL fitted"])


def _lengths(summary: _Row) -> Table:
    table = plain_table("tokens a document", "mean", "5%", "median", "95%", "distance to target")
    for side, found in summary["drift"]["length"].items():
        figures = (f"{found[name]:,.0f}" for name in ("mean", "p5", "median", "p95"))
        table.add_row(side, *figures, "" if side == "target" else _nats(found["distance"]))
    return table


def _labels(summary: _Row) -> Iterator[Table]:
    """A table a label: the share of each value."""
    for label, sides in summary["drift"].items():
        if label == "length":
            continue
        table = plain_table(label, *sides)
        for value in dict.fromkeys(value for side in sides.values() for value in side["shares"]):
            table.add_row(value[:40], *(f"{side['shares'].get(value, 0.0):.3f}" for side in sides.values()))
        yield table


def _words(summary: _Row) -> Table:
    """The n-grams gained and lost, per million."""
    table = plain_table("n-grams gained and lost, per million", "selected", "random", "target")
    for up in (True, False):
        for row in [row for row in summary["ngrams"] if row["gained"] is up][:8]:
            sign = "+" if up else "-"
            figures = (f"{row[side]:,.0f}" for side in ("selected", "random", "target"))
            table.add_row(f"{sign} {row['ngram'][:40]}", *figures)
    return table


def _notes(summary: _Row) -> Iterator[str]:
    for target, gain, size in zip(
        summary["targets"], summary["gain_over_random"], summary["effective_sample_size"], strict=True
    ):
        part = "held-out" if target["held_out"] else "fitted"
        yield (
            f"{target['name']}: KL to {part} documents lower than of random selections by {gain['value']:.3f} "
            f"({gain['low']:.3f}..{gain['high']:.3f}, documents resampled); effective sample size of DSIR's weights "
            f"{size['dsir']:,.1f}, of the weights drawn by {size['drawn']:,.1f}"
        )
    features, settings = summary["features"], summary["settings"]
    yield (
        f"features {features['kind']}, n-grams to {features['ngrams']}, {features['buckets']:,} buckets, epsilon "
        f"{settings['epsilon']:g}, laplace {settings['laplace']:g}, mix {settings['mix']:g}, seed {summary['seed']}"
    )
    yield from _left_out(summary["raw"]["name"], summary["raw"]["notes"])
    for target in summary["targets"]:
        yield from _left_out(target["name"], target["notes"])
    if summary["raw"]["repeated_texts"]:
        yield f"{summary['raw']['repeated_texts']:,} documents of the raw text repeat another's text"
    if summary["raw"]["repeated_ids"]:
        yield f"{summary['raw']['repeated_ids']:,} documents of the raw text have another's id, and its noise"


def _left_out(name: str, notes: Mapping[str, int]) -> Sequence[str]:
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in notes.items())
    return [f"{name}: {told}"] if told else []


def _nats(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"
