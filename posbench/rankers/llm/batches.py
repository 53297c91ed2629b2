"""Which prompts are read together, so that what they share is read once."""

from collections.abc import Sequence
from dataclasses import dataclass

_SHORTEST = 16  # tokens of a shared beginning below which reading it apart does not pay


@dataclass(frozen=True)
class Batch:
    """Prompts read together: their rows, and how many tokens all of them begin with."""

    rows: tuple[int, ...]
    shared: int


def plan(prompts: Sequence[list[int]], budget: int, most: int = 256) -> list[Batch]:
    """Parts prompts into batches: neighbours in the order of their tokens, as many as the budget takes.

    A prompt begins a new batch where it would make the batch more costly than it costs alone: what is left of a shared
    beginning counts once, the rest of each prompt as long as the longest.

    Args:
        prompts: tokens of each, at least one.
        budget: tokens of a batch, padding included.
        most: prompts of a batch.
    """
    order = sorted(range(len(prompts)), key=lambda row: prompts[row])
    batches: list[Batch] = []
    rows: list[int] = []
    shared = longest = 0
    for row in order:
        prompt = prompts[row]
        if rows:
            common = min(shared, common_length(prompts[rows[-1]], prompt))
            size = max(longest, len(prompt))
            cost = _cost(len(rows) + 1, size, common)
            if len(rows) < most and cost <= min(budget, _cost(len(rows), longest, shared) + len(prompt)):
                rows.append(row)
                shared, longest = common, size
                continue
            batches.append(_batch(prompts, rows, shared))
        rows, shared, longest = [row], len(prompt), len(prompt)
    return [*batches, _batch(prompts, rows, shared)] if rows else []


def _cost(rows: int, longest: int, shared: int) -> int:
    return shared + rows * (longest - shared)


def _batch(prompts: Sequence[list[int]], rows: list[int], shared: int) -> Batch:
    """A batch whose shared beginning leaves each prompt a token of its own."""
    shared = min(shared, min(len(prompts[row]) for row in rows) - 1)
    return Batch(tuple(rows), shared if len(rows) > 1 and shared >= _SHORTEST else 0)


def common_length(a: list[int], b: list[int]) -> int:
    """How many tokens two prompts begin with."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next(place for place in range(n) if a[place] != b[place])
