"""Plain sentences for what the tests say."""

from collections.abc import Mapping
from typing import Any

SHAPES = {
    "flat": "no bias that matters: scores do not depend on the place of the evidence",
    "primacy": "primacy: evidence near the start is found better",
    "recency": "recency: evidence near the end is found better",
    "middle": "evidence in the middle is found better than at the edges",
    "edges": "evidence at the edges is found better than in the middle",
    "undecided": "undecided: a bias cannot be told from none here",
}


def signed_index(figure: Mapping[str, Any] | None) -> str:
    """The signed index in parentheses; nothing where it is withheld."""
    if figure is None:
        return ""
    value, low, high = (round(x, 3) + 0.0 for x in (figure["value"], *figure["interval"]))  # + 0.0 makes 0 of -0
    return f" (signed index {value:+.3f}, {low:+.3f} to {high:+.3f}, {p_value(figure['p'])})"


def within_documents(figure: Mapping[str, Any]) -> str:
    """The contrast of places among questions about one document."""
    low, high = figure["interval"]
    return (
        f"among questions about one document ({figure['documents']:,} documents): slope {figure['slope']:+.3f} from "
        f"start to end, {low:+.3f} to {high:+.3f}, {p_value(figure['p'])}"
    )


def p_value(p: float) -> str:
    """A p-value with three decimals; one that would round to nothing by its bound."""
    return "p <.001" if p < 0.001 else f"p {p:.3f}"
