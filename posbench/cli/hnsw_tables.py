"""What ``posbench hnsw`` says of a study."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from posbench.cli.tables import plain_table, probability, terminal
from posbench.manifest import NOT_BESIDE, selection_text
from posbench.studies.hnsw.advice import index_name
from posbench.studies.hnsw.grid import BASELINE, FILE

_Row = Mapping[str, Any]


def print_study(summary: Mapping[str, Any], fresh: bool) -> None:
    """Every set with its tables and sentences, the models' ranks, and what repeats."""
    console = terminal()
    console.print(f"{summary['grid']}  {summary['description']}".rstrip(), markup=False, style="bold", soft_wrap=True)
    if summary["selection"]:
        console.print(f"{selection_text(summary)}; {NOT_BESIDE}", markup=False, soft_wrap=True)
    for one in summary["sets"]:
        console.print()
        console.print(_head(one), markup=False, soft_wrap=True)
        for table in _tables(one, summary["k"]):
            console.print(table)
        for sentence in (*one["advice"], *_lid(one), *_position(one)):
            console.print(f"- {sentence}", markup=False, soft_wrap=True)
    if summary["shifts"]:
        console.print()
        console.print(_ranks(summary["shifts"], summary["k"]))
        for sentence in _swaps(summary["shifts"]):
            console.print(f"- {sentence}", markup=False, soft_wrap=True)
    console.print()
    for sentence in _notes(summary):
        console.print(sentence, markup=False, style="dim", soft_wrap=True)
    state = "" if fresh else " (computed before; --again computes it anew)"
    console.print(f"result: {summary['result']}{state}", markup=False, soft_wrap=True)


def _tables(one: _Row, k: int) -> list[Table]:
    """Those of a set, index by index, but for those without rows."""
    found = []
    for index in dict.fromkeys((arm["library"], arm["m"], arm["ef_construction"]) for arm in one["arms"]):
        found += [_recall(one, index, k), _costs(one, index), _judged(one, index, k)]
    return [table for table in found if table.row_count]


def _head(one: _Row) -> str:
    seeds = len(one["data_seeds"])
    text = f"{one['vectors']}: {one['documents']:,} x {one['width']}, {one['queries']:,} queries"
    text += f", {seeds} sets made" if seeds > 1 else ""
    text += " (no order should matter)" if one["null"] else ""
    text += f"; {one['metric']}" if one["metric"] == "ip" else ""
    ways = [f"{_bounds(found, 1)} by {way}" for way, found in one["dimension"].items() if found["value"] is not None]
    text += f"; intrinsic dimension {', '.join(ways) or 'undefined'}"
    lid = one["lid"]
    if lid["median"] is not None:
        text += f"; LID {lid['p5']:.1f} / {lid['median']:.1f} / {lid['p95']:.1f} (5%, median, 95%)"
    if one["weights"]:
        text += f"; {one['weights']}"
    return text


def _of(rows: Sequence[_Row], index: tuple[str, int, int]) -> list[_Row]:
    return [row for row in rows if (row["library"], row["m"], row["ef_construction"]) == index]


def _recall(one: _Row, index: tuple[str, int, int], k: int) -> Table:
    """Recall of shuffled documents by ef, and below it each order's difference from it in points."""
    title = f"recall@{k}, {index[0]} M {index[1]} efC {index[2]}"
    table = plain_table(title, "ef", "recall, points", "p (Holm)", "5% of queries below")
    for arm in _of(one["arms"], index):
        if arm["order"] == BASELINE:
            name = f"{BASELINE} ({arm['builds']} builds)"
            _add(table, name, arm, _bounds(arm["recall"], 3), "", _bounds(arm["tail"], 3))
    effects = _of(one["effects"], index)
    for order in dict.fromkeys(effect["order"] for effect in effects):
        for effect in effects:
            if effect["order"] == order:
                p = probability(effect["recall"]["p_holm"])
                _add(table, _order(order), effect, _points(effect["recall"]), p, _points(effect["tail"]))
    return table


def _costs(one: _Row, index: tuple[str, int, int]) -> Table:
    """What each order costs at the largest ef."""
    arms = _of(one["arms"], index)
    last = max(arm["ef_search"] for arm in arms)
    table = plain_table("costs", "ef", "ms a query", "distances", "build s", "MiB", "self-probe misses")
    for arm in arms:
        if arm["ef_search"] == last:
            missed = f"{_give(arm['missed'], '.2%')} of {arm['probed']:,}" if arm["probed"] else "-"
            times = _give(arm["milliseconds"], ".4f"), _give(arm["computations"], ",.0f"), _give(arm["build_seconds"])
            _add(table, _order(arm["order"]), arm, *times, f"{arm['bytes'] / 2**20:.1f}", missed)
    return table


def _judged(one: _Row, index: tuple[str, int, int], k: int) -> Table:
    """What is left of nDCG; no rows without judgements."""
    table = plain_table(f"nDCG@{k}", "ef", "by index", "by exact search", "loss")
    arms = [arm for arm in _of(one["arms"], index) if "ndcg" in arm]
    for order in dict.fromkeys(arm["order"] for arm in arms):
        for arm in arms:
            if arm["order"] == order:
                exact = f"{arm['ndcg_exact']:.4f}"
                _add(table, _order(order), arm, _bounds(arm["ndcg"], 4), exact, _bounds(arm["ndcg_loss"], 4))
    return table


def _add(table: Table, name: str, row: _Row, *cells: str) -> None:
    """A row of one ef; the name is not said again."""
    names = list(table.columns[0].cells)
    said = next((cell for cell in reversed(names) if cell), "")
    table.add_row("" if escape(name) == said else escape(name), str(row["ef_search"]), *cells)


def _order(order: str) -> str:
    """An order's name; of a user's file, without its folder."""
    return f"{FILE}{Path(order.removeprefix(FILE)).name}" if order.startswith(FILE) else order


def _give(estimate: _Row, form: str = ".2f") -> str:
    """A figure and half its interval."""
    value = estimate["value"]
    return "-" if value != value else f"{value:{form}} ±{estimate['high'] - value:{form}}"


def _bounds(estimate: _Row, places: int) -> str:
    value, low, high = (round(estimate[name], places) + 0.0 for name in ("value", "low", "high"))  # no "-0.0"
    return f"{value:.{places}f} ({low:.{places}f}..{high:.{places}f})"


def _points(estimate: _Row) -> str:
    value, low, high = (100 * estimate[name] for name in ("value", "low", "high"))
    return f"{round(value, 1) + 0.0:+.1f} ({round(low, 1) + 0.0:+.1f}..{round(high, 1) + 0.0:+.1f})"


def _lid(one: _Row) -> list[str]:
    """The strongest correlation of LID and recall, in a sentence."""
    if not one["lid_recall"]:
        return []
    row = max(one["lid_recall"], key=lambda row: abs(row["rho"]))
    return [
        f"queries of higher LID have {'lower' if row['rho'] < 0 else 'higher'} recall at {index_name(row)}: "
        f"Spearman {row['rho']:.2f} ({row['low']:.2f} to {row['high']:.2f}), {row['queries']:,} queries"
    ]


def _position(one: _Row) -> list[str]:
    """Whether an index makes position bias another than exact search has."""
    rows = one["position"]
    if not rows:
        return []
    real = [row for row in rows if row["p_holm"] <= 0.05]
    row = max(real or rows, key=lambda row: abs(row["difference"]))
    figures = f"signed index {row['index']:+.3f} against {row['exact']:+.3f} by exact search, difference "
    figures += f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    where = f"{index_name(row)}, order {row['order']}"
    if not real:
        return [f"no index or order changes position bias as far as can be told; furthest at {where}: {figures}"]
    return [f"position bias changes at {len(real)} of {len(rows)} indexes and orders; most at {where}: {figures}"]


def _ranks(shifts: Sequence[_Row], k: int) -> Table:
    """The models' ranks under exact search and under each index and order."""
    table = plain_table(f"models by nDCG@{k}", "order", "shift", "ranking (best first)")
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for dataset in dict.fromkeys(row["dataset"] for row in shifts):
        mine = [row for row in shifts if row["dataset"] == dataset]
        exact = " > ".join(f"{model['ranker']} {model['exact']:.4f}" for model in mine[0]["models"])
        table.add_row(escape(f"{dataset}, exact search"), "", "", exact)
        for row in mine:
            models = sorted(row["models"], key=lambda model: model["index_rank"])
            ranking = " > ".join(f"{model['ranker']} {model['index']:.4f}" for model in models)
            table.add_row(f"  {_short(row)}", escape(_order(row["order"])), str(row["largest"]), ranking)
    return table


def _swaps(shifts: Sequence[_Row]) -> list[str]:
    """The pairs that may change places, the likeliest first."""
    pairs = [(swap, row) for row in shifts for swap in row["swaps"] if max(swap["builds"], swap["resampled"]) >= 0.05]
    if not pairs:
        return ["no pair of models changes places in a twentieth of the builds or of resampled queries"]
    found = []
    for swap, row in sorted(pairs, key=lambda pair: -pair[0]["resampled"])[:5]:
        found.append(
            f"{row['dataset']}, {_short(row)}, order {row['order']}: {swap['first']} and {swap['second']} (exact "
            f"difference {swap['exact']:.4f}) change places in {swap['builds']:.0%} of builds, and in "
            f"{swap['resampled']:.0%} of resampled queries"
        )
    return found


def _short(row: _Row) -> str:
    """An index in the width of a cell."""
    return f"{row['library']} M{row['m']} efC{row['ef_construction']} ef{row['ef_search']}"


def _notes(summary: Mapping[str, Any]) -> list[str]:
    found = [
        "intervals: 95%, over sets, builds and queries; points are of recall, against the mean shuffle; "
        f"seed {summary['seed']}",
        *(f"not repeatable: {reason}" for reason in summary["not_repeatable"]),
    ]
    if not summary["not_repeatable"]:
        names = ", ".join(f"{name} {version}" for name, version in summary["library_versions"].items())
        found.append(f"repeatable: each build has one thread ({names}); times are of several builds side by side")
    parts = ", ".join(f"{name} {value:.1f}" for name, value in summary["seconds"].items())
    return [*found, f"seconds: {parts}"]
