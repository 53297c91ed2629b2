"""What ``posbench hnsw`` says of a study."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from posbench.cli.tables import plain_table, probability, terminal
from posbench.studies.hnsw.advice import index_name
from posbench.studies.hnsw.grid import BASELINE

_Row = Mapping[str, Any]


def print_study(summary: Mapping[str, Any], fresh: bool) -> None:
    """Every set with its tables and sentences, the models' ranks, and what repeats."""
    console = terminal()
    about = f": {summary['description']}" if summary["description"] else ""
    console.print(f"[bold]{summary['grid']}[/bold]{about}")
    for one in summary["sets"]:
        console.print()
        console.print(_head(one), markup=False, soft_wrap=True)
        for index in dict.fromkeys((arm["library"], arm["m"], arm["ef_construction"]) for arm in one["arms"]):
            console.print(_recall(one, index, summary["k"]))
            console.print(_costs(one, index))
        for sentence in (*one["advice"], *_lid(one), *_position(one)):
            console.print(f"- {sentence}", markup=False, soft_wrap=True)
    if summary["shifts"]:
        console.print()
        console.print(_ranks(summary["shifts"], summary["k"]))
        for sentence in _swaps(summary["shifts"]):
            console.print(f"- {sentence}", markup=False, soft_wrap=True)
    console.print()
    for sentence in _notes(summary):
        console.print(sentence, style="dim", soft_wrap=True)
    state = "" if fresh else " (computed before; --again computes it anew)"
    console.print(f"result: {summary['result']}{state}", markup=False, soft_wrap=True)


def _head(one: _Row) -> str:
    seeds = len(one["data_seeds"])
    text = f"{one['vectors']}: {one['documents']:,} x {one['width']}, {one['queries']:,} queries"
    text += f", {seeds} sets made" if seeds > 1 else ""
    text += " (no order should matter)" if one["null"] else ""
    text += f"; {one['metric']}" if one["metric"] == "ip" else ""
    ways = [f"{value['value']:.1f} by {way}" for way, value in one["dimension"].items() if value["value"] is not None]
    text += f"; intrinsic dimension {', '.join(ways)}"
    lid = one["lid"]
    if lid["median"] is not None:
        text += f"; LID {lid['p5']:.1f} / {lid['median']:.1f} / {lid['p95']:.1f} (5%, median, 95%)"
    if one["weights"]:
        text += f"; {one['weights']}"
    return text


def _of(rows: Sequence[_Row], index: tuple[str, int, int]) -> list[_Row]:
    return [row for row in rows if (row["library"], row["m"], row["ef_construction"]) == index]


def _recall(one: _Row, index: tuple[str, int, int], k: int) -> Table:
    """Recall of shuffled documents by ef, and each order's difference from it in points."""
    arms, effects = _of(one["arms"], index), _of(one["effects"], index)
    efs = list(dict.fromkeys(arm["ef_search"] for arm in arms))
    table = plain_table(f"recall@{k}, {index[0]} M{index[1]} efC{index[2]}", *(f"ef {ef}" for ef in efs))
    random = {arm["ef_search"]: arm for arm in arms if arm["order"] == BASELINE}
    table.add_row(f"{BASELINE} ({random[efs[0]]['builds']} builds)", *(_within(random[ef]["recall"], 3) for ef in efs))
    table.add_row("  5% of queries below", *(_within(random[ef]["tail"], 3) for ef in efs), style="dim")
    for order in dict.fromkeys(effect["order"] for effect in effects):
        mine = {effect["ef_search"]: effect for effect in effects if effect["order"] == order}
        table.add_row(f"{order}, points", *(_points(mine[ef]["recall"]) for ef in efs))
        table.add_row("  p (Holm)", *(probability(mine[ef]["recall"]["p_holm"]) for ef in efs), style="dim")
        table.add_row("  of the lowest 5%", *(_points(mine[ef]["tail"]) for ef in efs), style="dim")
    return table


def _costs(one: _Row, index: tuple[str, int, int]) -> Table:
    """What each order costs at the largest ef, nDCG where there are judgements."""
    arms = _of(one["arms"], index)
    last = max(arm["ef_search"] for arm in arms)
    judged = "ndcg" in arms[0]
    columns = ["ms/query", "distances", "build s", "MiB", "probe missed"]
    table = plain_table(f"at ef {last}", *columns, *(["nDCG", "loss"] if judged else []))
    for arm in arms:
        if arm["ef_search"] != last:
            continue
        distances = arm["computations"]["value"]
        cells = [
            _within(arm["milliseconds"], 3),
            "-" if distances is None or distances != distances else _within(arm["computations"], 0),
            _within(arm["build_seconds"], 2),
            f"{arm['bytes'] / 2**20:.1f}",
            f"{arm['missed']['value'] * arm['probed']:,.0f} of {arm['probed']:,}" if arm["probed"] else "-",
        ]
        if judged:
            cells += [_within(arm["ndcg"], 4), _within(arm["ndcg_loss"], 4)]
        table.add_row(arm["order"], *cells)
    return table


def _within(estimate: _Row, places: int, scale: float = 1.0, sign: str = "") -> str:
    """A value and half of its interval, which is as wide on both sides."""
    value, half = scale * estimate["value"], scale * (estimate["high"] - estimate["value"])
    return f"{round(value, places) + 0.0:{sign}.{places}f} ±{half:.{places}f}"


def _points(estimate: _Row) -> str:
    return _within(estimate, 1, 100.0, "+")


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
    table = plain_table(f"models by nDCG@{k}", "order", "ranking (best first)", "shift")
    for dataset in dict.fromkeys(row["dataset"] for row in shifts):
        mine = [row for row in shifts if row["dataset"] == dataset]
        exact = " > ".join(f"{model['ranker']} {model['exact']:.4f}" for model in mine[0]["models"])
        table.add_row(f"{dataset}, exact search", "", exact, "")
        for row in mine:
            models = sorted(row["models"], key=lambda model: model["index_rank"])
            ranking = " > ".join(f"{model['ranker']} {model['index']:.4f}" for model in models)
            table.add_row(f"  {_short(row)}", row["order"], ranking, str(row["largest"]))
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
