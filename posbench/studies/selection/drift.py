"""What a selection changes that n-grams do not show: length, labels, and which words came and went."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench.dsir.features import FeatureSpec, ngrams
from posbench.dsir.weights import Blocks
from posbench.types import Float64

LABELS_SHOWN = 12
NGRAMS_SHOWN = 15
_SURPRISE = 0.5  # added to counts of n-grams, so that what is rare does not lead


def lengths(tokens: NDArray[Any]) -> dict[str, float]:
    """Mean, 5%, median and 95% of tokens a document."""
    values = np.asarray(tokens, np.float64)
    points = np.quantile(values, [0.05, 0.5, 0.95])
    return {"mean": float(values.mean()), **dict(zip(("p5", "median", "p95"), map(float, points), strict=True))}


def distance(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Kolmogorov and Smirnov's distance of two samples: the largest difference of their distributions, 0 to 1."""
    a, b = np.sort(np.asarray(first)), np.sort(np.asarray(second))
    points = np.concatenate([a, b])
    below = np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)
    return float(np.abs(below).max())


def shares(labels: Iterable[str]) -> dict[str, float]:
    """The share of each label, most frequent first, what is beyond the first ``LABELS_SHOWN`` as one."""
    counts = Counter(str(label) or "(none)" for label in labels)
    total = max(1, counts.total())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = {name: count / total for name, count in ranked[:LABELS_SHOWN]}
    rest = sum(count for _, count in ranked[LABELS_SHOWN:])
    return found | ({"(others)": rest / total} if rest else {})


def variation(first: Iterable[str], second: Iterable[str]) -> float:
    """The total variation distance of two sets of labels: half the sum of differences of shares, 0 to 1."""
    a, b = Counter(map(str, first)), Counter(map(str, second))
    sizes = max(1, a.total()), max(1, b.total())
    return sum(abs(a[name] / sizes[0] - b[name] / sizes[1]) for name in {*a, *b}) / 2


def counted(texts: Iterable[str], spec: FeatureSpec) -> Counter[str]:
    """The n-grams of texts as features have them, in readable form, each counted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(ngrams(text, spec))
    return counts


def gained(selected: Mapping[str, int], random: Mapping[str, int], target: Mapping[str, int]) -> list[dict[str, Any]]:
    """The n-grams by which a selection differs most from a random one, most gained first, then most lost.

    Each with its share (of all n-grams, per million) in selection, random selection and target. They are ranked by
    their part in the two divergences, (a - b) ln(a / b) of the shares a and b.
    """
    names = sorted({*selected, *random})
    counts = [np.array([side.get(name, 0) for name in names], np.float64) for side in (selected, random, target)]
    rates = [_rate(side, total) for side, total in zip(counts, map(_total, (selected, random, target)), strict=True)]
    a, b = (_rate(side + _SURPRISE, side.sum() + _SURPRISE * len(names)) for side in counts[:2])
    part = (a - b) * np.log(a / b)
    order = np.lexsort((np.arange(len(names)), -part))
    up = [place for place in order if a[place] > b[place]][:NGRAMS_SHOWN]
    down = [place for place in order if a[place] < b[place]][:NGRAMS_SHOWN]
    return [
        {"ngram": names[place], "gained": place in up}
        | {key: float(rate[place]) for key, rate in zip(("selected", "random", "target"), rates, strict=True)}
        for place in (*up, *down)
    ]


def _total(counts: Mapping[str, int]) -> float:
    return float(sum(counts.values()))


def _rate(counts: Float64, total: float) -> Float64:
    return 1e6 * counts / max(1.0, total)


def histogram(blocks: Blocks, bins: int = 60) -> dict[str, list[float]]:
    """Counts of values in even bins between the extremes of all blocks: ``edges`` (one more) and ``counts``."""
    extremes = [(float(block.min()), float(block.max())) for block in blocks() if len(block)]
    low, high = min(least for least, _ in extremes), max(most for _, most in extremes)
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    counts = sum((np.histogram(block, edges)[0] for block in blocks() if len(block)), np.zeros(bins, np.int64))
    return {"edges": edges.tolist(), "counts": counts.tolist()}
