"""What an index costs, in sentences."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from posbench.cli.tables import probability


def print_index(console: Console, index: Mapping[str, Any]) -> None:
    """The index, what it finds of exact search's results, and what that does to measures and position bias."""
    for line in (_what(index), *_how(index), *_recall(index), *_measures(index), *_bias(index)):
        console.print(line, markup=False, soft_wrap=True)


def _what(index: Mapping[str, Any]) -> str:
    parts = index["collections"].values()
    size, seconds = sum(part["bytes"] for part in parts), sum(part["build_seconds"] for part in parts)
    version = "".join(f" {version}" for version in list(index["versions"].values())[:1])
    name = f"{index['preset']}: " if index["preset"] else ""
    return (
        f"index: {name}HNSW by {index['library']}{version}, M {index['m']}, efConstruction {index['ef_construction']}, "
        f"efSearch {index['ef_search']}, documents inserted in the order {index['order']}, level seed {index['seed']}; "
        f"{size / 1e6:,.1f} MB, built in {seconds:,.1f} s"
    )


def _how(index: Mapping[str, Any]) -> list[str]:
    lines = [f"it gives at most {index['depth']:,} results a query"]
    if isinstance(index["ef_search_rule"], Mapping):
        lines[0] += "; its efSearch follows --depth, the number of results asked for"
    lines += sorted({f"distance: {part['metric_reason']}" for part in index["collections"].values()})
    lines += sorted({part["not_repeatable"] for part in index["collections"].values()} - {""})
    return lines


def _recall(index: Mapping[str, Any]) -> list[str]:
    return [
        f"recall@{k} against exact search: {figure['mean']:.4f} "
        f"({figure['interval'][0]:.4f}..{figure['interval'][1]:.4f})"
        for k, figure in index["recall"].items()
    ]


def _measures(index: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {_pair(figure)}" for name, figure in index["measures"].items()]


def _bias(index: Mapping[str, Any]) -> list[str]:
    if index["bias"] is None:
        return [f"position bias is not compared: {index['bias_withheld'] or 'too few queries'}"]
    return [f"signed index of position bias: {_pair(index['bias'])}"]


def _pair(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return (
        f"{figure['index']:.4f} through the index, {figure['exact']:.4f} by exact search: "
        f"difference {figure['difference']:+.4f} ({low:+.4f}..{high:+.4f}), p {probability(figure['p'])}"
    )
