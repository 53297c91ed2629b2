"""The tables of ``posbench input-order``."""

from collections.abc import Mapping, Sequence
from typing import Any

from posbench.cli import common
from posbench.cli.tables import plain_table, probability, terminal


def print_study(summary: Mapping[str, Any], fresh: bool) -> None:
    """All seven measures, and what they were measured on."""
    common.echo(f"{summary['ranker']} on {summary['dataset']}, {summary['queries']:,} queries; {summary['weights']}")
    _quality(summary["quality"])
    _agreement(summary)
    _exposure(summary["exposure"])
    _places(summary["places"])
    _malformed(summary["malformed"])
    common.echo()
    cost = summary["facts"]["cost"]
    common.echo(
        f"{cost['calls']:,} calls, {cost['cached']:,} of them known before; {cost['prompt_tokens']:,} tokens read, "
        f"{cost['answer_tokens']:,} written"
    )
    common.echo(f"intervals: 95%, documents resampled, seed {summary['seed']}")
    common.echo(f"{'stored in' if fresh else 'read from'} {summary['result']}")


def _figure(one: Mapping[str, Any], places: int = 3, sign: bool = False) -> str:
    """A mean with its interval, or "-"."""
    if one["value"] is None:
        return "-"
    low, high = one["interval"]
    form = f"{'+' if sign else ''}.{places}f"
    return f"{one['value']:{form}} ({low:{form}}..{high:{form}})"


def _quality(quality: Mapping[str, Any]) -> None:
    table = plain_table("input order", quality["measure"], "against original", "p, Holm")
    table.add_row("first stage, not reranked", _figure(quality["first_stage"], 4), "", "")
    for one in quality["orders"]:
        change = "" if one["change"] is None else _figure(one["change"], 4, True)
        table.add_row(one["order"], _figure(one, 4), change, "" if one["p"] is None else probability(one["p"]))
    common.echo()
    terminal().print(table)
    spread, gates = quality["of_the_mean"], quality["gates"]
    held = ", ".join(
        f"{name} {spread[name]:.4f} ({'' if gate['held'] else 'not '}<= {gate['at_most']})"
        for name, gate in gates.items()
    )
    common.echo(f"mean over shuffles: {held}")
    each = quality["of_a_query"]
    common.echo(f"one query over shuffles: sd {_figure(each['sd'])}, range {_figure(each['range'])}")


def _agreement(summary: Mapping[str, Any]) -> None:
    table = plain_table("agreement", "shuffles", "repeats (noise)", "lost to order", "reversed")
    for name, one in summary["consistency"].items():
        kinds = (one["shuffles"], one["repeats"], one["lost_to_order"], one["reversed"])
        table.add_row(name, *(_figure(kind, 2) for kind in kinds))
    common.echo()
    terminal().print(table)
    table = plain_table("output order repeats", "Kendall's tau")
    rows: Sequence[tuple[str, Mapping[str, Any]]] = [
        ("input order, whole list", summary["anchoring"]["anchoring"]),
        ("input order, top 10 of the output", summary["anchoring"]["anchoring:top10"]),
        ("input order, what was said before repair", summary["anchoring"]["anchoring:said"]),
        ("place, identifiers shuffled", summary["names"]["slot"]),
        ("identifier, identifiers shuffled", summary["names"]["name"]),
    ]
    for name, one in rows:
        table.add_row(name, _figure(one, 3, True))
    common.echo()
    terminal().print(table)


def _exposure(exposure: Mapping[str, Any]) -> None:
    common.echo()
    if exposure["repaired"]["curve"] is None:
        common.echo(f"exposure: {exposure['repaired']['why']}")
        return
    table = plain_table("top 10 by tenth of the input, 1 is fair", *map(str, range(1, 11)))
    for name, label in (("repaired", "rankings"), ("said", "before repair")):
        curve = exposure[name]["curve"]
        if curve is not None:
            table.add_row(label, *(f"{value:.2f}" for value in curve))
    terminal().print(table)
    one = exposure["repaired"]
    variation = one["total_variation"]
    common.echo(
        f"total variation {_figure(variation)}, {variation['by_chance']:.3f} by chance alone, p "
        f"{probability(variation['p'])}; slope {_figure(one['slope'], 2, True)}; edges less middle "
        f"{_figure(one['edge_minus_middle'], 2, True)}; entropy ratio {_figure(one['entropy_ratio'])}"
    )


def _places(places: Sequence[Mapping[str, Any]]) -> None:
    if not places:
        return
    table = plain_table("a relevant document put at", "output rank", "reciprocal rank", "is first")
    for one in places:
        label = {0.0: "the head of the list", 1.0: "its end"}.get(one["place"], f"{one['place']:.0%} of it")
        table.add_row(label, _figure(one["rank"], 1), _figure(one["RR"]), _figure(one["first"]))
    common.echo()
    terminal().print(table)


def _malformed(found: Mapping[str, Any]) -> None:
    kinds = ", ".join(f"{kind.replace('_', ' ')} {_figure(one)}" for kind, one in found["answers"].items())
    common.echo()
    common.echo(f"answers: {kinds}")
    common.echo(
        f"of a list: {_figure(found['named'])} named; a run of places counted up takes "
        f"{_figure(found['longest_run'])}, at the end {_figure(found['tail'])}"
    )
    tenths = [value for value in found["unnamed_by_tenth"] if value is not None]
    if any(tenths):
        common.echo("never named, by tenth of the input: " + " ".join(f"{value:.2f}" for value in tenths))
