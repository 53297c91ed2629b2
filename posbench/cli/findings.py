"""Test the claims of the PosIR paper on its published figures: correlation with MTEB, and PSI beside its noise."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posbench.cli import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``posbench findings``."""
    parser.add_argument(
        "--posir", type=Path, required=True, metavar="FILE", help="JSON: model -> setting -> figure -> fraction"
    )
    parser.add_argument(
        "--mteb", type=Path, required=True, metavar="FILE", help="CSV with the columns posir_name, task, main_score"
    )
    parser.add_argument(
        "--settings",
        default="monolingual,eng-eng,cross-lingual",
        metavar="LIST",
        help="language settings (eng-eng), or monolingual and cross-lingual for their means; claims are tested on the "
        "first (default %(default)s)",
    )
    parser.add_argument(
        "--cell-queries",
        type=int,
        default=500,
        metavar="N",
        help="queries in each of 20 positions x 4 lengths, for the noise of PSI (default 500)",
    )
    common.add_common(parser)


def run(args: argparse.Namespace) -> int:
    """Recomputes and prints."""
    from posbench.errors import UsageError
    from posbench.studies.findings import findings

    settings = tuple(dict.fromkeys(part.strip() for part in args.settings.split(",") if part.strip()))
    if not settings:
        raise UsageError("--settings is empty; expected for example monolingual,eng-eng")
    if args.cell_queries < 1:
        raise UsageError(f"--cell-queries {args.cell_queries}; expected 1 or more")
    found = findings(args.posir, args.mteb, settings, cell_queries=args.cell_queries, seed=args.seed)
    if args.json:
        common.print_json(found)
        return 0
    _print(found)
    return 0


def _print(found: Mapping[str, Any]) -> None:
    from posbench.cli.tables import terminal

    out = terminal()
    models, tasks = len(found["models"]), len(found["mteb_tasks"])
    out.print(f"{models} models find a correlation of {found['detectable']:.2f} or more with 80% power")
    reliable = found["mteb_reliability"]
    text = f"MTEB is the mean over {tasks} tasks"
    if reliable > 0:
        text += f", of reliability {reliable:.2f} (Cronbach's alpha): against true means, correlations would be up to "
        text += f"{reliable**-0.5:.2f} times as large"
    out.print(text)
    out.print()
    out.print(_correlations(found))
    out.print()
    for name in found["settings"]:
        out.print(_psi(name, found["settings"][name]["psi"]))
        out.print()
    single = [row for row in found["tasks"] if row["p_holm"] < 0.05]
    named = ", ".join(f"{row['task']} {row['length']} {row['rho']:+.2f}" for row in single) or "none"
    out.print(f"single tasks that correlate with {found['tested_on']} Q1 or Q4 (Holm): {named}")
    out.print()
    for claim in found["claims"]:
        out.print(f"[bold]{claim['verdict']}[/bold]: {claim['claim']}\n  {claim['because']}")


def _correlations(found: Mapping[str, Any]) -> Any:
    from posbench.cli.tables import LENGTH_LABELS, interval, plain_table, probability

    rows = plain_table("nDCG@10 with MTEB", "tokens", "rho", "95% interval", "p", "one left out", "tau", "p (tau)")
    for name, setting in found["settings"].items():
        for group, figure in setting["correlations"].items():
            low, high = figure["without"]
            figures = (f"{figure['rho']:+.2f}", interval(figure["interval"]), probability(figure["p"]))
            tau = (f"{figure['tau']:+.2f}", probability(figure["tau_p"]))
            rows.add_row(name, LENGTH_LABELS[group], *figures, f"{low:+.2f}..{high:+.2f}", *tau)
        change = setting["first_less_last"]
        figures = (f"{change['value']:+.2f}", interval(change["interval"]), probability(change["p"]))
        rows.add_row("", "<=512 less >1536", *figures, "", "", "")
    return rows


def _psi(name: str, psi: Mapping[str, Any]) -> Any:
    from posbench.cli.tables import LENGTH_LABELS, plain_table

    rows = plain_table(f"PSI, {name}", *(LENGTH_LABELS[group] for group in psi["within_noise_by_length"]))
    for model, published in psi["published"].items():
        noise = psi["noise"][model]
        rows.add_row(model, *(f"{published[group]:.3f} ({noise[group]:.3f})" for group in published))
    within = psi["within_noise_by_length"]
    rows.add_row("within the noise", *(f"{within[group]} of {psi['values']}" for group in within))
    rows.caption = "published (what noise alone gives at that mean); within: at most its 95th percentile"
    rows.caption_justify = "left"
    return rows
