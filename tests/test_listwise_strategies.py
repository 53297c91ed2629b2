"""Strategies against rankers that know the answer: how many calls, how many rounds, and what comes out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.rankers.listwise import strategies

MAKERS = {
    "full": strategies.full,
    "sliding": lambda n: strategies.sliding(n, 20, 10),
    "sliding twice": lambda n: strategies.sliding(n, 20, 10, 2),
    "top-down": lambda n: strategies.top_down(n, 20, 10),
    "consistency": lambda n: strategies.consistency(n, 5),
    "multipass": lambda n: strategies.multipass(n, 20, 10),
}


class Books:
    """Ranks windows by a list of what items are worth, and counts."""

    def __init__(self, worth):
        self.worth, self.windows, self.rounds = worth, [], 0

    def rank(self, window):
        self.windows.append(window)
        return sorted(window, key=lambda item: -self.worth[item])

    def drive(self, strategy):
        try:
            asked = next(strategy)
            while True:
                self.rounds += 1
                asked = strategy.send([self.rank(window) for window in asked])
        except StopIteration as end:
            return end.value


COUNTS = {  # at 100 items: calls, rounds, items read
    "full": (1, 1, 100),
    "sliding": (9, 9, 180),
    "sliding twice": (18, 18, 360),
    "top-down": (7, 3, 125),
    "consistency": (5, 1, 500),
    "multipass": (45, 45, 900),
}


@pytest.mark.parametrize("name", MAKERS)
def test_calls_depth_and_items_read_at_a_hundred(name):
    worth = [(item * 37) % 100 for item in range(100)]
    books = Books(worth)
    ranking = books.drive(MAKERS[name](100))
    assert (len(books.windows), books.rounds, sum(map(len, books.windows))) == COUNTS[name]
    best = sorted(range(100), key=lambda item: -worth[item])
    assert ranking[:10] == best[:10]
    if name in ("full", "consistency", "multipass"):
        assert ranking == best


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("n", [0, 1, 2, 19, 20, 21, 29, 30, 31, 55, 100, 101])
def test_any_length_gives_a_permutation_and_no_call_without_a_choice(name, n):
    books = Books([(item * 31) % 101 for item in range(n)])
    ranking = books.drive(MAKERS[name](n))
    assert sorted(ranking) == list(range(n))
    assert all(len(window) >= 2 for window in books.windows)
    assert bool(books.windows) == (n > 1)
    if n <= 20:
        assert ranking == sorted(range(n), key=lambda item: -books.worth[item])


@given(st.data(), st.sampled_from(sorted(MAKERS)), st.integers(0, 60))
@settings(max_examples=150, deadline=None)
def test_whatever_a_window_says_the_list_stays_whole(data, name, n):
    calls = []

    def rank(window):
        calls.append(window)
        assert len(set(window)) == len(window)
        return data.draw(st.permutations(window))

    assert sorted(strategies.run(MAKERS[name](n), rank)) == list(range(n))
    if name == "top-down":
        assert len(calls) <= 2 + -(-max(0, n - 20) // 19)


def reference_windows(n, window, step):
    """RankGPT's loop, restated: (start, end) from the tail."""
    end, start, found = n, n - window, []
    while end > 0 and start + step != 0:
        start = max(start, 0)
        found.append((start, end))
        end, start = end - step, start - step
    return [pair for pair in found if pair[1] - pair[0] > 1]


@pytest.mark.parametrize(("n", "window", "step"), list(itertools.product([2, 7, 20, 35, 100], [4, 20], [2, 3, 10])))
def test_windows_are_those_of_the_published_loop(n, window, step):
    if step > window or n == window - step:  # there the published loop asks nothing
        return
    seen = []
    strategies.run(strategies.sliding(n, window, step), lambda items: seen.append(items) or items)
    assert seen == [tuple(range(*pair)) for pair in reference_windows(n, window, step)]


def test_the_tail_is_ranked_only_where_it_is_not_settled():
    asked = []
    strategies.run(strategies.multipass(100, 20, 10), lambda items: asked.append(items) or items)
    heads = [[head for head in range(80, settled - 1, -10)] for settled in range(0, 90, 10)]
    assert [window[0] for window in asked] == [head for settled in heads for head in settled]
    assert len(asked) == sum(range(1, 10)) == 45  # nine whole passes: 81


def kendall(first, second):
    place = {item: rank for rank, item in enumerate(second)}
    return sum(place[a] > place[b] for a, b in itertools.combinations(first, 2))


@given(st.lists(st.permutations(range(5)), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_no_single_ranking_is_nearer_than_the_central_one(rankings):
    def cost(order):
        return sum(kendall(order, ranking) for ranking in rankings)

    found = strategies.central(rankings)
    assert sorted(found) == list(range(5))
    assert cost(found) <= min(map(cost, rankings))


def test_the_central_ranking_is_nearly_always_the_best_of_all():
    rng, met = np.random.default_rng(0), []
    for _ in range(60):
        rankings = [rng.permutation(5).tolist() for _ in range(5)]
        costs = {order: sum(kendall(order, one) for one in rankings) for order in itertools.permutations(range(5))}
        met.append(costs[tuple(strategies.central(rankings))] == min(costs.values()))
    assert np.mean(met) > 0.9


def test_the_central_ranking_outvotes_one_of_three():
    assert strategies.central([[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2]]) == [0, 1, 3, 2]
    assert strategies.central([[2, 0, 1]]) == [2, 0, 1]


def test_samples_are_the_same_every_time_and_the_first_is_as_given():
    def asked(seed):
        return next(strategies.consistency(8, 3, seed))

    assert asked(1) == asked(1) != asked(2)
    assert asked(1)[0] == tuple(range(8))
    assert len(set(asked(1))) == 3
