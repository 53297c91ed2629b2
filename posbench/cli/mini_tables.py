"""What ``posbench mini`` says of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from posbench.cli.tables import interval, plain_table, terminal
from posbench.manifest import NOT_BESIDE, selection_text

_Row = Mapping[str, Any]


def print_mini(found: _Row, fresh: bool) -> None:
    """The rankers, a table a selector, and the smallest sizes that will do."""
    out = terminal()
    out.print(f"[bold]{found['dataset']}[/bold]: ", end="")
    out.print(f"{found['queries']:,} queries, {len(found['rankers'])} rankers by {found['measure']}", markup=False)
    if found["selection"]:
        out.print(f"{selection_text(found)}; {NOT_BESIDE}", markup=False, soft_wrap=True)
    out.print(_rankers(found["rankers"]))
    out.print(f"{len(found['known'])} of {found['pairs']} pairs of rankers differ for certain (`posbench compare`)")
    for one in found["selectors"]:
        if not one["same_as"]:
            out.print()
            out.print(_sizes(one, found["wanted"]))
    if any(size["later"] for one in found["selectors"] for size in one["sizes"]):
        out.print()
        out.print(_later(found["selectors"]))
    out.print()
    out.print(_smallest(found))
    for sentence in _sentences(found):
        out.print(f"- {sentence}", markup=False, soft_wrap=True)
    out.print(f"interval: {found['covers']}; seed {found['seed']}", markup=False, style="dim", soft_wrap=True)
    if "written" in found:
        out.print(_written(found["written"]), markup=False, soft_wrap=True)
    state = "" if fresh else " (computed before; --again computes it anew)"
    out.print(f"result: {found['result']}{state}", markup=False, soft_wrap=True)


def _rankers(rankers: Sequence[_Row]) -> Table:
    table = plain_table("ranker", "mean over all queries")
    for one in rankers:
        table.add_row(one["name"], f"{one['mean']:.4f}")
    return table


def _sizes(one: _Row, wanted: float) -> Table:
    heads = ("tau", "95%", f"tau >= {wanted:g}", "order kept", "ranks moved", "95%", "error", "95%")
    table = plain_table(f"{one['name']} ({one['seeds']} seeds)", *heads)
    for size in one["sizes"]:
        table.add_row(
            f"{size['size']:,} queries ({size['share']:.1%})",
            f"{size['tau']:.3f}",
            interval(size["interval"]),
            f"{size['reach']:.0%}",
            f"{size['kept']:.0%}",
            f"{size['shift']:.1f}",
            _bounds(size["shift_interval"], ".1f"),
            f"{size['error']:.4f}",
            _bounds(size["error_interval"], ".3f"),
        )
    return table


def _bounds(bounds: Sequence[float], form: str) -> str:
    return f"{bounds[0]:{form}}..{bounds[1]:{form}}"


def _later(selectors: Sequence[_Row]) -> Table:
    """What a ranker meets that did not feed the pool."""
    table = plain_table(
        "smaller corpus, a new ranker", "queries", "documents", "tau", "ranks moved", "mean rises by", "cut short"
    )
    for one in selectors:
        for size in one["sizes"]:
            later = size["later"]
            if later and not one["same_as"]:
                table.add_row(
                    one["name"],
                    f"{size['size']:,}",
                    f"{later['documents']:,.0f}",
                    f"{later['later_tau']:.3f}",
                    f"{later['later_shift']:.1f}",
                    f"{later['later_rise']:+.4f}",
                    f"{later['short']:.1f}",
                )
    return table


def _smallest(found: _Row) -> Table:
    wanted, most = found["wanted"], max(size["share"] for one in found["selectors"] for size in one["sizes"])
    table = plain_table(
        "smallest selection with", f"tau >= {wanted:g} in 95%", f"mean tau >= {wanted:g}", "certain pairs kept in 95%"
    )
    for one in found["selectors"]:
        if one["same_as"]:
            continue
        cells = [
            _share(one[key], found["queries"], most) for key in ("smallest", "smallest_on_average", "smallest_known")
        ]
        table.add_row(one["name"], *cells if found["known"] else [*cells[:2], "-"])
    return table


def _share(size: int | None, queries: int, most: float) -> str:
    return f"not up to {most:.0%}" if size is None else f"{size:,} ({size / queries:.1%})"


def _sentences(found: _Row) -> list[str]:
    best, wanted = found["best"], found["wanted"]
    if best is None:
        first = (
            f"no selection that was tried keeps a tau of {wanted:g} for certain: rankers this close need more queries"
        )
    else:
        first = (
            f"{best['size']:,} queries ({best['size'] / found['queries']:.1%}) chosen by {best['selector']} keep a tau "
        )
        first += f"of {wanted:g} or more in 97.5% of draws"
    rankers = len(found["rankers"])
    steps = f"with {rankers} rankers one pair that changes places costs {2 / found['pairs']:.3f} of tau"
    return [first, steps, *_same(found["selectors"])]


def _same(selectors: Sequence[_Row]) -> list[str]:
    """Weights of 1 make a selector a random draw: there is nothing in the target that the queries lack."""
    alike: dict[str, list[str]] = {}
    for one in selectors:
        if one["same_as"]:
            alike.setdefault(one["same_as"], []).append(one["name"])
    return [
        f"{', '.join(names)} chose as {first} did: towards the distribution that the queries have, all weigh the same"
        for first, names in alike.items()
    ]


def _written(written: _Row) -> str:
    return (
        f"mini-benchmark: {written['folder']}: {written['queries']:,} queries chosen by {written['selector']}, "
        f"{written['documents']:,} documents; next: posbench eval --dataset {written['folder']} --model NAME"
    )
