"""From a dataset's name to a folder of composed collections: load, count tokens, rank filler, compose, write."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from posbench import __version__, compose, loaders, rankers
from posbench.rankers.counting import counter
from posbench.store import default_cache
from posbench.types import Collection, Progress, Run, no_progress
from posbench.versions import installed

_CANDIDATES = 200  # documents a query that hard filler is taken from
_VERSIONS = ("numpy", "pyarrow", "transformers", "tokenizers", "bm25s")


@dataclass(frozen=True)
class Order:
    """What to compose and where to: ``tokenizer`` is the ranker whose tokens are counted."""

    dataset: str
    to: Path
    plan: compose.Plan = field(default_factory=compose.Plan)
    tokenizer: str = "e5"
    options: loaders.LoadOptions = field(default_factory=loaders.LoadOptions)
    cache: Path = field(default_factory=default_cache)


def run(order: Order, progress: Progress = no_progress) -> tuple[Mapping[str, Any], bool]:
    """Composes a dataset, or finds it composed so already.

    Returns:
        What composition.json holds, and whether it was written by this call.

    Raises:
        UsageError: the dataset cannot be composed so, or the folder holds something else.
    """
    collections = loaders.load(order.dataset, order.options, progress)
    recipe: dict[str, Any] = {
        "dataset": order.dataset,
        "fingerprints": [part.fingerprint for part in collections],
        "licences": sorted({str(part.source.get("licence", "")) for part in collections}),
        "plan": asdict(order.plan),
        "posbench": __version__,
        "tokenizer": order.tokenizer,
    }
    found = compose.finished(order.to, recipe)
    if found is not None:
        return found, False
    count, identity = counter(order.tokenizer, order.cache)
    parts = []
    for part in collections:
        candidates = _candidates(part, order, progress)
        parts += compose.compose(part, order.plan, count, candidates=candidates, progress=progress)
    used = {"tokens": dict(identity), "versions": installed(_VERSIONS)}
    return compose.write(order.to, parts, recipe, used), True


def _candidates(part: Collection, order: Order, progress: Progress) -> Run | None:
    """The best documents by bm25, for hard filler."""
    if order.plan.method != "insert" or order.plan.filler != "hard":
        return None
    _, recipe = rankers.resolve("bm25")
    ranker = rankers.build(recipe, depth=_CANDIDATES, cache=order.cache, progress=progress, name="bm25")
    return ranker.rank(part)
