"""What the position tests find and how often they err, on simulated rankers whose truth is known.

Prints for each setting: the share of collections in which each test rejects at 5% (false positives where there is
nothing to find, power where there is), the mean of the debiased PSI, how often intervals hold the truth, and what shape
and cut are named. Then the time of one whole analysis of 40,000 queries.

Usage: python benchmarks/bias.py [collections, default 1000] [settings, default all]
"""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from posbench import stats
from posbench.bias import controls, inference, offsets
from posbench.bias.shuffle import Shuffler
from posbench.bias.shuffled import Shuffled
from posbench.studies.simulated import Simulated, Truth, simulate

SHUFFLES = 300
SETTINGS: Mapping[str, tuple[int, Truth]] = {
    "no bias, 50 queries a bin": (1000, Truth()),
    "no bias, 150 queries a bin": (3000, Truth()),
    "no bias, 500 queries a bin": (10000, Truth()),
    "no bias, the middle harder for all": (4000, Truth(hard_middle=1.0)),
    "primacy of .075": (4000, Truth(primacy=0.075)),
    "truncation at 512 tokens": (4000, Truth(cut=512)),
}


def main(count: int, wanted: Sequence[str]) -> None:
    """Runs the settings and prints a table each."""
    for name, (queries, truth) in SETTINGS.items():
        if wanted and not any(word in name for word in wanted):
            continue
        start = time.perf_counter()
        with ProcessPoolExecutor(2) as pool:
            tasks = ((queries, truth, seed) for seed in range(count))
            rows = list(pool.map(one, *zip(*tasks, strict=True), chunksize=4))
        print(f"\n{name}: {count} collections of {queries:,} queries, {time.perf_counter() - start:.0f} s")
        show(rows)
    if not wanted:
        clock()


def one(queries: int, truth: Truth, seed: int) -> dict[str, Any]:
    """The p-values, figures and verdicts of one collection."""
    made = simulate(queries, truth, seed)
    placed = Shuffler.ordered(made.queries)
    steps = offsets.Steps.of(placed)
    found = Shuffled.of(placed, steps, shuffles=SHUFFLES, seed=seed)
    draws = stats.Bootstrap(placed.cluster, placed.stratum, 1000, seed)
    tests = inference.analyse(placed, found, draws)
    view = offsets.offsets(placed, steps, found.null_drop, draws)
    inside = controls.within_documents(made.queries, seed=seed, shuffles=SHUFFLES)
    left, _ = controls.adjusted(made.queries, {"span": made.span, "bm25": made.lexical})
    controlled = inference.analyse(left, seed=seed, shuffles=SHUFFLES)
    assert view is not None
    assert inside is not None
    index, bend, psi = tests["signed"]["all"], tests["edges"], tests["psi"]["all"]
    true = expected(made, truth)
    row = {
        "p PSI": psi and psi["p"],
        "p PSI, longest": tests["psi"]["Q4"] and tests["psi"]["Q4"]["p"],
        "p signed": index["p"],
        "p signed, longest": tests["signed"]["Q4"]["p"],
        "p edges": bend["p"],
        "p length": tests["length"]["p"],
        "p cut": view["cut"]["p"],
        "p within documents": inside["p"],
        "p controlled signed": controlled["signed"]["all"]["p"],
        "p controlled edges": controlled["edges"]["p"],
        "debiased PSI": psi and psi["debiased"],
        "true PSI": true and true["psi"],
        "holds signed": true and holds(index["interval"], true["signed"]),
        "holds edges": true and holds(bend["interval"], 0.0),
        "holds within documents": true and holds(inside["interval"], true["slope"]),
        "holds PSI": true and psi and holds(psi["interval"], true["psi"]),
        "shape": tests["shape"],
        "shape, controlled": controlled["shape"],
        "cut": view["cut"]["called"],
        "cut at": view["cut"]["tokens"],
    }
    return row


def expected(made: Simulated, truth: Truth) -> dict[str, float] | None:
    """The true slope, signed index and PSI of a line; None where the truth is none."""
    if truth.cut or truth.hard_middle:
        return None
    mean = made.mean
    ends = mean - truth.primacy * np.array([0.025, 0.975])
    slope = -truth.primacy
    return {"slope": slope, "signed": slope / (2 * (mean + slope / 2)), "psi": float(1 - ends[1] / ends[0])}


def holds(interval: Sequence[float], value: float) -> bool:
    """Whether an interval holds a value."""
    return bool(interval[0] <= value <= interval[1])


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """One line a figure."""
    for name in rows[0]:
        values = [row[name] for row in rows if row[name] is not None]
        if not values:
            continue
        if name.startswith("p "):
            print(f"  {name[2:]:26} rejects in {np.mean(np.array(values) <= 0.05):6.1%} of {len(values)}")
        elif name.startswith("holds "):
            print(f"  {name[6:]:26} interval holds the truth in {np.mean(values):6.1%}")
        elif isinstance(values[0], str):
            print(f"  {name:26} {dict(Counter(values).most_common())}")
        else:
            print(f"  {name:26} mean {np.mean(values):.4f}, median {np.median(values):.4f}")


def clock() -> None:
    """The time of everything that an evaluation says of one model's 40,000 queries."""
    from posbench.bias import Placed, analysis

    queries: Placed = simulate(40_000, Truth(primacy=0.075), 0).queries
    start = time.perf_counter()
    analysis(queries, "nDCG@10")
    seconds = time.perf_counter() - start
    print(f"\nwhole analysis of {len(queries.score):,} queries, 2,000 shuffles and 2,000 resamples: {seconds:.1f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:])
