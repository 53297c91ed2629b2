"""Position bias of two rankers, one put in the other's place: with an index or without, reranked or not."""

from collections.abc import Mapping
from typing import Any


def bias_change(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The signed index over all lengths of both, and how far they are apart.

    Args:
        found: the ``bias`` of a comparison of two.

    Returns:
        ``measure``, each ranker's index under its name, and the ``difference``, first less second, with its 95%
        ``interval`` and ``p``; None where the comparison has no bias, or one of the two is withheld.
    """
    if found is None:
        return None
    (pair,) = found["pairs"]
    difference = pair["index"]["all"]
    if difference is None:
        return None
    values = {row["name"]: row["index"]["all"]["value"] for row in found["rankers"]}
    return {"measure": found["measure"], **values, **{key: difference[key] for key in ("difference", "interval", "p")}}
