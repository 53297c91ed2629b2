"""What the paired analysis of composed collections finds and how often it errs, on simulated rankers of known truth.

Prints for each setting the share of collections in which each test rejects at 5% (false positives where nothing is
there, power where something is), how often the intervals of slope and signed index hold the truth, and what shape and
cut are named. 300 queries on about 120 source documents, lengths 256 and 1,024, five positions.

Usage: python benchmarks/composition.py [collections, default 1000] [settings, default all]
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from posbench.studies.composed import Truth, outcome, simulate

QUERIES = 300
SETTINGS = {
    "no bias": Truth(),
    "no bias, the middle harder for all": Truth(hard_middle=1.5),
    "no bias on average, documents' slopes differ (sd .2)": Truth(uneven=0.2),
    "primacy of .075": Truth(primacy=0.075),
    "primacy of .075, noisy places": Truth(primacy=0.075, noise=1.0),
    "truncation at 512 tokens": Truth(cut=512),
}
TESTS = ("line", "bend", "spread", "length", "step")


def main(count: int, wanted: Sequence[str]) -> None:
    """Runs the settings and prints a row each."""
    print(f"{count} collections of {QUERIES} queries; share rejected at 5%, then intervals that hold the truth")
    print(f"{'':52}" + "".join(f"{name:>8}" for name in (*TESTS, "slope", "index")))
    for name, truth in SETTINGS.items():
        if wanted and not any(word in name for word in wanted):
            continue
        start = time.perf_counter()
        spread = simulate(20_000, truth, 1).score
        with ProcessPoolExecutor(2) as pool:
            found = list(pool.map(outcome, [QUERIES] * count, [truth] * count, range(count), chunksize=8))
        shares = [np.mean([getattr(one, test) <= 0.05 for one in found]) for test in TESTS]
        if not truth.cut:  # else the curve is no line, and there is no one slope to hold
            shares += [np.mean([one.covered for one in found]), np.mean([one.index_covered for one in found])]
        print(f"{name:52}" + "".join(f"{share:8.3f}" for share in shares), flush=True)
        within = np.sqrt(spread.var(axis=2, ddof=1).mean())
        print(f"  shapes {dict(Counter(one.shape for one in found))}; cuts {dict(Counter(one.cut for one in found))}")
        print(
            f"  scores: mean {spread.mean():.2f}, sd {spread.std():.2f}, within a query {within:.2f}; "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:])
