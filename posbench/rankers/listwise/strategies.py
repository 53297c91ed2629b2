"""Which windows of a list are ranked, and what is made of them: pure functions over something that ranks a window.

A strategy is a generator: it yields rounds, each a list of windows that do not wait for one another, is sent the order
of every window, and returns the ranking of the whole list. So many queries can go on side by side, one batch a round,
and the number of rounds is the serial depth. ``run`` drives one with a function; windows and orders hold items, that is
places in the list given, from 0.
"""

from collections.abc import Callable, Generator, Sequence

import numpy as np

from posbench.listwise import ListwiseRecipe

Window = tuple[int, ...]
Order = Sequence[int]
Strategy = Generator[list[Window], list[Order], list[int]]


def run(strategy: Strategy, rank: Callable[[Window], Order]) -> list[int]:
    """The ranking that a strategy makes with ``rank``, which returns the items of a window, best first."""
    try:
        windows = next(strategy)
        while True:
            windows = strategy.send([rank(window) for window in windows])
    except StopIteration as end:
        ranking: list[int] = end.value
        return ranking


def full(n: int) -> Strategy:
    """The whole list at once: 1 call."""
    if n < 2:
        return list(range(n))
    (order,) = yield [tuple(range(n))]
    return list(order)


def sliding(n: int, window: int, step: int, passes: int = 1) -> Strategy:
    """Windows from the tail to the head, each beginning ``step`` before the last (RankGPT, Sun et al. 2023).

    One after the other, since each takes the best of the one before it: 9 calls for 100 items in windows of 20 by 10.
    ``passes`` repeats all of it on its own result. A list shorter than the window is one window; the published loop
    asks nothing where it is shorter by exactly ``step``.
    """
    items = list(range(n))
    for _ in range(passes):
        yield from _slide(items, 0, window, step)
    return items


def multipass(n: int, window: int, step: int) -> Strategy:
    """Complete lists, as labels for training: each pass ranks only what the ones before it have not settled.

    A pass slides over the items behind those that are settled and settles its first ``step``; the last window settles
    all of its own. 9 + 8 + ... + 1 = 45 calls for 100 items in windows of 20 by 10, where nine whole passes take 81.
    """
    items = list(range(n))
    for settled in range(0, max(1, n - window + step), step):
        yield from _slide(items, settled, window, step)
    return items


def _slide(items: list[int], head: int, window: int, step: int) -> Generator[list[Window], list[Order], None]:
    """One pass from the tail to ``head``, in place."""
    end = len(items)
    while end - head > 1:
        start = max(head, end - window)
        (order,) = yield [tuple(items[start:end])]
        items[start:end] = order
        if start == head:
            return
        end -= step


def top_down(n: int, window: int, pivot: int) -> Strategy:
    """Top-down partitioning (TDPart, Parry et al. 2024, arXiv 2405.14589).

    The first window is ranked and its item at rank ``pivot`` compared with the rest of the list, part by part and all
    parts at once; what beats it is ranked with those above it in a last window. Those that do not fit in there follow
    the pivot. At most 7 calls in 3 rounds for 100 items in windows of 20.
    """
    if n < 2:
        return list(range(n))
    (first,) = yield [tuple(range(min(n, window)))]
    if n <= window:
        return list(first)
    place = min(pivot, window) - 1
    above, mark, below = list(first[:place]), first[place], list(first[place + 1 :])
    parts = [(mark, *range(at, min(n, at + window - 1))) for at in range(window, n, window - 1)]
    raised: list[tuple[int, int, int]] = []  # (rank in its part, part, item): the best of each part first
    for part, order in enumerate((yield parts)):
        at = list(order).index(mark)
        raised += [(rank, part, item) for rank, item in enumerate(order[:at])]
        below += order[at + 1 :]
    if not raised:
        return [*above, mark, *below]
    up = above + [item for _, _, item in sorted(raised)]
    (best,) = yield [tuple(up[:window])]
    return [*best, mark, *up[window:], *below]


def consistency(n: int, samples: int, seed: int = 0) -> Strategy:
    """Permutation self-consistency (Tang et al. 2023, arXiv 2310.07712): the whole list in several orders at once.

    The first is as given, the others are shuffled; the rankings are aggregated by ``central``.
    """
    if n < 2:
        return list(range(n))
    rng = np.random.default_rng([seed, n])
    orders = [range(n), *(rng.permutation(n).tolist() for _ in range(samples - 1))]
    rankings = yield [tuple(order) for order in orders]
    return central(rankings)


def central(rankings: Sequence[Order]) -> list[int]:
    """A ranking close to all of some, by Kendall's distance; none of them is closer.

    The closest one is hard to find (Kemeny). This begins with the best of the rankings themselves and their mean ranks
    (Borda), and moves single items as long as that lowers the number of pairs that are ordered otherwise.
    """
    places = np.argsort(np.asarray(rankings, np.int64), axis=1)  # [R, n]: the rank of each item
    n = places.shape[1]
    before = (places[:, :, None] < places[:, None, :]).sum(axis=0)
    lead = before - before.T  # above 0: more rankings have the row's item before the column's than after it
    starts = [list(ranking) for ranking in rankings] + [
        [int(item) for item in np.lexsort((places[0], places.sum(axis=0)))]
    ]
    order: list[int] = max(starts, key=lambda ranking: int(np.triu(lead[np.ix_(ranking, ranking)], 1).sum()))
    moved = n > 1
    while moved:
        moved = False
        for item in list(order):
            at = order.index(item)
            others = order[:at] + order[at + 1 :]
            # What standing before each of the others is worth, against standing at the end.
            gain = np.concatenate([np.cumsum(lead[item, others][::-1])[::-1], [0]])
            best = int(gain.argmax())
            if gain[best] > gain[at]:
                order, moved = [*others[:best], item, *others[best:]], True
    return order


def make(recipe: ListwiseRecipe, n: int) -> Strategy:
    """The strategy of a recipe for a list of n."""
    made: dict[str, Callable[[], Strategy]] = {
        "full": lambda: full(n),
        "sliding": lambda: sliding(n, recipe.window, recipe.step, recipe.passes),
        "multipass": lambda: multipass(n, recipe.window, recipe.step),
        "top-down": lambda: top_down(n, recipe.window, recipe.pivot),
        "consistency": lambda: consistency(n, recipe.samples, recipe.seed),
    }
    return made[recipe.strategy]()
