"""The reranker of a listwise recipe: candidates of a collection to a strategy, and its rankings into a Run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.errors import UsageError
from posbench.listwise import ListwiseRecipe
from posbench.rankers import llm
from posbench.rankers.listwise import strategies
from posbench.rankers.listwise.asking import Asked, Asker
from posbench.rankers.listwise.fit import Window
from posbench.rankers.listwise.strategies import Order, Strategy
from posbench.rankers.llm.calls import Backend
from posbench.rankers.llm.client import Client
from posbench.store import default_cache
from posbench.types import Collection, Int32, Progress, Run, no_progress

_LISTS = 256  # reranked side by side


@dataclass(frozen=True)
class Listed:
    """A list to rerank: a query and the texts of its candidates, in the order given.

    ``shuffle`` above 0 gives identifiers in a random order of that seed instead of by place; ``sample`` tells repeats
    of the same list apart, which are asked anew.
    """

    query: str
    passages: tuple[str, ...]
    shuffle: int = 0
    sample: int = 0


@dataclass
class Reranked:
    """What became of a list.

    Attributes:
        order: places in the list given, best first.
        said: how many of them the model itself named, the others being repaired; for a strategy of several windows,
            all of them unless a window is malformed.
        kinds: of the answers.
        calls: to the model.
        rounds: calls that had to wait for one another: the serial depth.
        tokens: of prompts and of answers.
        names: the identifiers of the places, where there was one window and they were shuffled.
        repeated: identifiers that an answer named twice or more, and
        outside: those out of range.
    """

    order: tuple[int, ...] = ()
    said: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    rounds: int = 0
    tokens: tuple[int, int] = (0, 0)
    names: tuple[int, ...] = ()
    repeated: int = 0
    outside: int = 0


class ListwiseRanker:
    """A listwise recipe on this machine's weights, or on a server.

    Args:
        recipe: of the reranker.
        cache: folder of caches; None asks every time.
        device: of torch.
        progress: shows lists reranked.
        name: of the ranker, for messages.
        backend: what answers instead of the recipe's, for tests and known answers.
    """

    def __init__(
        self,
        recipe: ListwiseRecipe,
        *,
        cache: Path | None,
        device: str = "cpu",
        progress: Progress = no_progress,
        name: str = "reranker",
        backend: Backend | None = None,
    ) -> None:
        self.recipe, self.name, self._progress = recipe, name, progress
        answering = backend or llm.backend(recipe.backend, cache or default_cache(), device)
        self.weights = getattr(answering, "weights", None)
        prices = (recipe.backend.price_in, recipe.backend.price_out)
        self.asker = Asker(recipe, Client(answering, cache, prices, progress))
        self._lists: Counter[str] = Counter()

    def describe(self) -> Mapping[str, Any]:
        """Protocol, strategy with its parameters, prompt, what is cut, and the backend."""
        recipe = self.recipe
        used = {
            "sliding": ("window", "step", "passes"),
            "multipass": ("window", "step"),
            "top-down": ("window", "pivot"),
            "consistency": ("samples", "seed"),
        }
        return {
            "kind": "listwise",
            "protocol": recipe.protocol or "as published",
            "strategy": {
                "name": recipe.strategy,
                **{key: getattr(recipe, key) for key in used.get(recipe.strategy, ())},
            },
            **self.asker.describe(),
        }

    def facts(self) -> dict[str, Any]:
        """Lists, calls, serial depth, answers by kind, what was cut and what it cost since ``rank`` was last called."""
        return {**dict(self._lists), **self.asker.facts()}

    def rank(self, collection: Collection, candidates: Run | None = None) -> Run:
        """The candidates of every query by their ranks: of n candidates, the best has the score n, the last 1.

        Raises:
            UsageError: there are no candidates.
        """
        if candidates is None:
            raise UsageError(
                f"{self.name} is a reranker and needs candidates: --model bm25 --rerank {self.name} --depth 100"
            )
        self._lists.clear()
        self.asker.begin()
        docs, scores = candidates.docs.copy(), np.zeros(candidates.docs.shape, np.float32)
        advance = self._progress(f"reranking with {self.name}", len(docs))
        for first in range(0, len(docs), _LISTS):
            rows = range(first, min(len(docs), first + _LISTS))
            for row, one in zip(rows, self.rerank([listed(collection, row, docs[row]) for row in rows]), strict=True):
                n = len(one.order)
                docs[row, :n], scores[row, :n] = docs[row, list(one.order)], np.arange(n, 0, -1)
            advance(len(rows))
        return Run.ranked(docs, scores, collection.doc_order)

    def rerank(self, lists: Sequence[Listed]) -> list[Reranked]:
        """Reranks lists side by side: what does not wait for another window is asked together."""
        found = [Reranked() for _ in lists]
        running = [(row, strategies.make(self.recipe, len(one.passages))) for row, one in enumerate(lists)]
        orders: dict[int, list[Order]] = {}
        while running:
            asked: list[tuple[int, strategies.Window]] = []
            going: list[tuple[int, Strategy]] = []
            for row, strategy in running:
                windows = _next(strategy, orders.get(row), found[row])
                if windows is not None:
                    going.append((row, strategy))
                    found[row].rounds += 1
                    asked += [(row, window) for window in windows]
            running, orders = going, {}
            shown = [_window(lists[row], window, found[row].calls) for row, window in asked]
            for (row, window), one in zip(asked, self.asker.rank(shown), strict=True):
                _enter(found[row], one)
                orders.setdefault(row, []).append([window[place] for place in one.ranking.order])
        for done in found:
            self._count(done)
        return found

    def _count(self, one: Reranked) -> None:
        self._lists["lists"] += 1
        self._lists["calls"] += one.calls
        self._lists["rounds"] += one.rounds


def listed(collection: Collection, query: int, docs: Int32) -> Listed:
    """The list of one query's candidates, padding left out."""
    texts = collection.docs.take(pa.array(docs[docs >= 0]))
    return Listed(collection.queries[query].as_py(), tuple(texts.to_pylist()))


def _next(strategy: Strategy, orders: list[Order] | None, into: Reranked) -> list[strategies.Window] | None:
    """The next windows of a strategy; None where it has ended, its ranking entered."""
    try:
        return next(strategy) if orders is None else strategy.send(orders)
    except StopIteration as end:
        into.order = tuple(int(item) for item in end.value)
        if into.calls != 1:
            into.said, into.names = len(into.order) if set(into.kinds) <= {"ok"} else 0, ()
        return None


def _window(one: Listed, items: strategies.Window, call: int) -> Window:
    names: tuple[int, ...] = ()
    if one.shuffle:
        names = tuple((np.random.default_rng([one.shuffle, call]).permutation(len(items)) + 1).tolist())
    return Window(one.query, tuple(one.passages[item] for item in items), names, one.sample)


def _enter(into: Reranked, asked: Asked) -> None:
    spent = asked.tokens
    into.calls += 1
    into.kinds[asked.ranking.kind] += 1
    into.tokens = into.tokens[0] + spent[0], into.tokens[1] + spent[1]
    into.said, into.names = asked.ranking.said, asked.window.names
    into.repeated += asked.ranking.repeated
    into.outside += asked.ranking.outside
