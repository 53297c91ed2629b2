"""Selection that makes KL(target || selection) small by itself, one text after another.

Importance weights judge each text alone; a small selection is good or bad as a whole. With c the n-grams selected so
far and q_j = (c_j + a) / (C + a B), a text with n_j n-grams of bucket j and L in all changes -KL(p || q) by
sum_j p_j ln(1 + n_j / (c_j + a)) - ln(1 + L / (C + a B)), which needs the text's own buckets alone. Each step takes the
best of a block of texts, in the order of their hash, as stochastic greedy does (Mirzasoleiman et al. 2015, Lazier than
lazy greedy, arXiv 1409.7938): N / k ln(1 / e) texts a step, N ln(1 / e) in all, whatever k.
"""

import numpy as np

from posbench.dsir.features import Features
from posbench.dsir.logistic import counted
from posbench.dsir.noise import Keys
from posbench.errors import UsageError
from posbench.types import Float64, Int64

ADDED = 0.01
"""a, what every bucket counts before a text is selected."""
MISSED = 0.01
"""e, the share of what greedy over all texts would gain that blocks may miss, in expectation."""


def greedy(
    features: Features,
    p: Float64,
    k: int,
    keys: Keys,
    codes: Int64 | None = None,
    quotas: Int64 | None = None,
    added: float = ADDED,
    missed: float = MISSED,
) -> Int64:
    """Rows in the order in which they were picked; the first j of them are a selection of size j in the same manner.

    The result is a set of texts, and an order of them, that does not depend on the order of rows (equal keys aside).

    Args:
        features: N texts.
        p: float64[B], sums to 1: the target.
        k: how many, 0 to N.
        keys: uint64[N]; they order the blocks and break ties.
        codes: int64[N], the stratum of each text; None for one stratum.
        quotas: int64[S], how many to pick of each stratum; they add up to k.
        added: a above, above 0.
        missed: e above, between 0 and 1; smaller is slower and better.

    Raises:
        UsageError: k or a quota is larger than the texts there are, or a setting is out of range.
    """
    codes = np.zeros(len(features), np.int64) if codes is None else codes
    quotas = np.array([k], np.int64) if quotas is None else quotas
    sizes = np.bincount(codes, minlength=len(quotas))
    if quotas.sum() != k or (quotas < 0).any() or (quotas > sizes).any():
        raise UsageError(
            f"greedy selection of {k} texts with the quotas {quotas.tolist()} is impossible from strata of "
            f"{sizes.tolist()}"
        )
    if not (added > 0 and 0 < missed < 1):
        raise UsageError(f"greedy selection needs added > 0 and 0 < missed < 1; found {added} and {missed}")
    state = _State(features, p, added)
    queue = _Queue(keys, codes, quotas, k, missed)
    picked = np.empty(k, np.int64)
    for i in range(k):
        block = queue.block()
        picked[i] = block[int(np.argmax(state.gains(block)))]
        state.add(int(picked[i]))
        queue.remove(int(picked[i]))
    return picked


class _State:
    """What is selected so far, and what each text would add."""

    def __init__(self, features: Features, p: Float64, added: float) -> None:
        matrix = counted(features)
        self.starts, self.buckets, self.counts = matrix.indptr.astype(np.int64), matrix.indices, matrix.data
        self.lengths = np.diff(features.indptr).astype(np.float64)
        self.p = p
        self.selected = np.full(features.size, added)
        self.total = added * features.size

    def gains(self, rows: Int64) -> Float64:
        """By how much each row would raise -KL, float64[len(rows)]."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        ends = np.cumsum(sizes)
        at = np.arange(ends[-1]) + np.repeat(self.starts[rows] - (ends - sizes), sizes)
        buckets = self.buckets[at]
        gain = self.p[buckets] * np.log1p(self.counts[at] / self.selected[buckets])
        owner = np.repeat(np.arange(len(rows)), sizes)
        return np.asarray(np.bincount(owner, gain, len(rows)) - np.log1p(self.lengths[rows] / self.total))

    def add(self, row: int) -> None:
        """Counts a text's n-grams."""
        span = slice(self.starts[row], self.starts[row + 1])
        self.selected[self.buckets[span]] += self.counts[span]
        self.total += self.lengths[row]


class _Queue:
    """Blocks of texts that may still be picked, around and around in the order of their keys."""

    def __init__(self, keys: Keys, codes: Int64, quotas: Int64, k: int, missed: float) -> None:
        self.codes, self.left = codes, quotas.copy()
        self.free = self.left[codes] > 0
        order = np.argsort(keys, kind="stable")
        self.order, self.at = order[self.free[order]], 0
        self.step = int(np.ceil(len(self.order) / max(k, 1) * np.log(1 / missed)))

    def block(self) -> Int64:
        """The next texts, all of them free."""
        if self.at + self.step > len(self.order):
            self._rotate()
        self.at += self.step
        return self.order[self.at - self.step : self.at]

    def remove(self, row: int) -> None:
        """Takes a text out, and with it its stratum where that has given its quota."""
        self.free[row] = False
        stratum = self.codes[row]
        self.left[stratum] -= 1
        if not self.left[stratum]:
            self.free[self.codes == stratum] = False
            self._rotate()

    def _rotate(self) -> None:
        """Lets the order begin where it has come to, without the texts that are taken."""
        order = np.concatenate([self.order[self.at :], self.order[: self.at]])
        self.order, self.at = order[self.free[order]], 0
