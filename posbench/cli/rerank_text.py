"""What ``posbench eval`` says of a pipeline: its first stage, what ties leave open, the answers, and what they cost."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from posbench.cli.stages_table import print_stages
from posbench.cli.tables import figure, plain_table, probability
from posbench.staged import fusion


def print_rerank(console: Console, summary: Mapping[str, Any]) -> None:
    """A table beside the first stage's means, and sentences."""
    said = summary["rerank"]
    first = said["first"]["name"]
    console.print(
        f"the top {said['depth']:,} of {first}, reranked by {said['reranker']['name']}; {fusion(said)}", markup=False
    )
    table = plain_table(
        "measure", "queries", f"{first} alone", "reranked", "gain", "95% interval", "p", "worst", "best"
    )
    for row in said["gains"]:
        low, high = row["interval"]
        table.add_row(
            row["measure"],
            f"{row['queries']} ({row['count']:,})",
            figure(row["first"]),
            figure(row["reranked"]),
            f"{row['difference']:+.4f}",
            f"{low:+.4f}..{high:+.4f}",
            probability(row["p"]),
            figure(row["worst_ties"]),
            figure(row["best_ties"]),
        )
    console.print(table)
    console.print("worst and best: with every tie ordered against relevance and by it", style="dim")
    rule = "the first stage's order" if said["ties"] == "first" else "document ids"
    console.print(f"{said['tied']:.1%} of the documents stand in a tie, ordered by {rule}", style="dim")
    if said["listwise_reward"]:
        console.print(_reward(said["listwise_reward"]), style="dim", markup=False)
    for line in _facts(said["facts"]):
        console.print(line, style="dim", markup=False)
    if said["bias"]:
        print_stages(console, said["bias"], summary["bias"])


def _reward(said: Mapping[str, Any]) -> str:
    held = said["constants"]
    return (
        f"listwise reward (ERank's form, constants not the paper's: a negative above the {held['outranks']} positive "
        f"loses {held['penalty']:g}): {said['mean']:+.4f} a document, over "
        f"{said['queries']:,} queries with a relevant document among those reranked"
    )


def _facts(facts: Mapping[str, Any]) -> list[str]:
    """Answers by kind, what was cut, and what it cost."""
    lines = []
    if facts.get("answers"):
        fallback = f"; {facts['fallbacks']:,} documents have the fallback score" if facts.get("fallbacks") else ""
        lines.append(f"answers: {_counts(facts['answers'])}{fallback}")
    if any(facts.get("fit", {}).values()):
        lines.append(f"prompts: {_counts(facts['fit'])}")
    evidence = facts.get("evidence") or {}
    if evidence.get("beyond_the_cut"):
        lines.append(f"{evidence['beyond_the_cut']:,} of {evidence['scored']:,} pairs have evidence beyond the cut")
    cost = facts.get("cost")
    if cost:
        text = f"{cost['calls']:,} calls, {cost['cached']:,} of them known before; {cost['prompt_tokens']:,} tokens in "
        text += f"({cost['reused_tokens']:,} from a prefix cache), {cost['answer_tokens']:,} out; "
        text += f"{cost['seconds']:,.1f} s of the model"
        text += f"; price {cost['price']:,.4f}, of it now {cost['price_now']:,.4f}" if "price" in cost else ""
        text += f"; faults of transport: {_counts(cost['faults'])}" if cost["faults"] else ""
        lines.append(text)
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items() if count)
