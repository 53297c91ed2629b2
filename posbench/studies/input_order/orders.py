"""In which orders one query's candidates are shown: as found, reversed, shuffled, rotated, with one of them moved."""

from dataclasses import dataclass

import numpy as np

from posbench.errors import UsageError
from posbench.types import Int64

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where one relevant document is put, as a share of the list before it."""

ORIGINAL, REVERSED = "original", "reversed"


@dataclass(frozen=True)
class Plan:
    """How many orders of each kind; each is one more list to rerank a query.

    Attributes:
        shuffles: seeded random orders.
        rotations: of the original, by equal steps, so that with it every document stands in every part of the list.
        repeats: of the original, asked anew: the noise floor.
        places: whether one relevant document is moved to five places, the others staying in their order.
        names: lists in the original order whose identifiers are shuffled.
    """

    shuffles: int = 5
    rotations: int = 4
    repeats: int = 2
    places: bool = True
    names: int = 2

    def check(self) -> None:
        """Refuses numbers that cannot be.

        Raises:
            UsageError: a number is below 0, or there are not two shuffles to compare.
        """
        if min(self.rotations, self.repeats, self.names) < 0 or self.shuffles < 2:
            raise UsageError(f"found {self}; expected 2 shuffles or more, and 0 or more of the others")


@dataclass(frozen=True)
class Arrangement:
    """One order: the item at each place, and the seed of shuffled identifiers or the number of a repeat."""

    name: str
    items: Int64
    shuffle: int = 0
    sample: int = 0


def arrangements(n: int, moved: int, plan: Plan, seed: tuple[int, int]) -> list[Arrangement]:
    """The orders of one query's list.

    Args:
        n: candidates; items are numbered in the order in which they were found.
        moved: the relevant item that is moved, -1 for none.
        plan: how many orders.
        seed: of the study, and the query's number.
    """
    original = np.arange(n)
    rng = np.random.default_rng(seed)
    found = [Arrangement(ORIGINAL, original), Arrangement(REVERSED, original[::-1])]
    found += [Arrangement(f"shuffle-{one}", rng.permutation(n)) for one in range(1, plan.shuffles + 1)]
    for one in range(1, plan.rotations + 1):
        found.append(Arrangement(f"rotation-{one}", np.roll(original, -round(one * n / (plan.rotations + 1)))))
    found += [Arrangement(f"repeat-{one}", original, sample=one) for one in range(1, plan.repeats + 1)]
    if plan.places and moved >= 0:
        others = np.delete(original, moved)
        for one, share in enumerate(PLACES, 1):
            found.append(Arrangement(f"place-{one}", np.insert(others, round(share * (n - 1)), moved)))
    names = rng.integers(1, 1 << 31, plan.names)
    found += [Arrangement(f"names-{one}", original, shuffle=int(name)) for one, name in enumerate(names, 1)]
    return found
