"""What `posbench compare` finds on simulated pairs of rankers with known truth: size, coverage and power.

python benchmarks/comparison.py [collections] [case ...]      (default 1,000 collections a case, all cases)

Each collection has about 1,200 queries in 340 documents of 1 to 6, in 31 domains. Both rankers share the difficulty of
document and query. "rejected" is the share of tests below .05: where a row's truth is 0, the false-positive rate.
"""

import sys
from dataclasses import dataclass, replace
from multiprocessing import Pool

import numpy as np

from posbench import paired, stats
from posbench.bias import Placed
from posbench.bias.psi import noise_of
from posbench.bias.shuffle import Shuffler
from posbench.bias.shuffled import Shuffled
from posbench.compare import places
from posbench.studies.rivals import Rival, rivals
from posbench.types import Float64

QUERIES = 1200
REPLICATES = 500
FLIPS = 999


@dataclass(frozen=True)
class Case:
    """Two rankers and the true differences of index and PSI."""

    first: Rival
    second: Rival
    index: float
    psi: float


def psi_of(rival: Rival) -> float:
    """The PSI of a ranker's true bin means."""
    x = (np.arange(20) + 0.5) / 20
    means = (1 - rival.slope * x) * (1 - rival.bend * (1 - 4 * (x - 0.5) ** 2))
    return float(1 - means.min() / means.max())


def index_of(rival: Rival) -> float:
    """The signed index of a straight line (places are spread evenly)."""
    return -rival.slope / (2 - rival.slope)


def case(first: Rival, second: Rival) -> Case:
    """With its truth."""
    return Case(first, second, index_of(first) - index_of(second), psi_of(first) - psi_of(second))


CASES = {
    "exchangeable": case(Rival(), Rival()),
    "unequal noise": case(Rival(level=0.05), Rival(noise=2.0, level=0.3)),
    "unequal means": case(Rival(level=0.5), Rival(level=-0.5)),
    "unequal means, same bias": case(Rival(level=0.6, slope=0.4), Rival(level=-0.6, slope=0.4)),
    "small gain": case(Rival(level=0.2), Rival()),
    "unequal bias": case(Rival(slope=0.25), Rival()),
}


def once(task: tuple[str, int]) -> list[float]:
    """One collection: differences, intervals and p-values."""
    chosen, seed = CASES[task[0]], task[1]
    queries, scores = rivals(QUERIES, chosen.first, chosen.second, seed)
    differences = scores[:, :1] - scores[:, 1:]
    p = float(paired.flip_test(differences, queries.cluster, FLIPS, seed)[0])
    naive = float(paired.flip_test(differences, np.arange(len(scores)), FLIPS, seed)[0])
    means = stats.replicate_means(differences, queries.cluster, queries.stratum, replicates=REPLICATES, seed=seed)
    index = places.signed_index(queries, scores, seed=seed, flips=FLIPS, replicates=REPLICATES)
    noise = np.stack([_noise(replace(queries, score=score), seed) for score in scores.T])
    psi = places.psi(queries, scores, noise, seed=seed, flips=FLIPS, replicates=REPLICATES)
    row = [p, naive, float(differences.mean()), *np.quantile(means, [0.025, 0.975]), float(means.std())]
    for figures in (index, psi):
        resampled = figures.resampled[:, 0, 0] - figures.resampled[:, 1, 0]
        row += [figures.p[0, 1, 0], figures.values[0, 0] - figures.values[1, 0]]
        row += [*np.quantile(resampled, [0.025, 0.975])]
    return row


def _noise(queries: Placed, seed: int) -> Float64:
    """The c of the debiased PSI by length, from 100 shuffles; NaN where PSI is not defined."""
    found = Shuffled.of(Shuffler.ordered(queries), shuffles=100, seed=seed)
    nulls = [found.psi(group)[1] for group in range(5)]
    return np.array([np.nan if np.isnan(null).any() else noise_of(null) for null in nulls])


def report(name: str, rows: np.ndarray) -> None:
    """One table a case."""
    chosen = CASES[name]
    gain = rows[:, 2].mean() if chosen.first.level != chosen.second.level or chosen.psi else 0.0
    if name == "unequal noise":
        gain = rows[:, 2].mean()
    factor = paired.POWER_FACTOR * rows[:, 5].mean()
    print(f"{name}: {len(rows):,} collections")
    print(f"  {'figure':<16}{'true':>9}{'mean':>9}{'rejected':>10}{'covered':>9}{'width':>8}")
    for figure, true, p, value, low, high in (
        ("mean", gain, *rows[:, [0, 2, 3, 4]].T),
        ("index", chosen.index, *rows[:, 6:10].T),
        ("debiased PSI", chosen.psi, *rows[:, 10:14].T),
    ):
        covered = ((low <= true) & (true <= high)).mean()
        print(
            f"  {figure:<16}{true:>9.3f}{value.mean():>9.3f}{(p < 0.05).mean():>10.1%}{covered:>9.1%}"
            f"{(high - low).mean():>8.3f}"
        )
    print(f"  mean, queries flipped one by one: rejected {(rows[:, 1] < 0.05).mean():.1%}")
    print(f"  detectable with 80% power: {factor:.4f}", flush=True)


def main(collections: int, names: list[str]) -> None:
    """Runs the cases on two processes."""
    with Pool(2) as pool:
        for name in names or CASES:
            report(name, np.array(pool.map(once, [(name, seed) for seed in range(collections)], chunksize=10)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, sys.argv[2:])
