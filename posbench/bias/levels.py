"""What domains and length buckets explain of values: one level for each, added up and fitted by least squares."""

from dataclasses import dataclass

import numpy as np

from posbench.bias.placed import Placed
from posbench.types import Float64, Int64


@dataclass(frozen=True)
class Levels:
    """The levels of some queries, ready to be taken out of any values of theirs.

    ``length`` and ``domain`` int64[Q] number what occurs; ``solve`` is the pseudo-inverse of the normal equations of
    the lengths once the domains are eliminated (their Schur complement), at most 5 x 5.
    """

    length: Int64
    domain: Int64
    both: Float64  # queries of each length and domain
    solve: Float64

    @classmethod
    def of(cls, queries: Placed) -> "Levels":
        """Counts what occurs."""
        length, domain = (np.unique(x, return_inverse=True)[1] for x in (queries.length, queries.stratum))
        n, m = int(length.max(initial=-1)) + 1, int(domain.max(initial=-1)) + 1
        both = np.bincount(length * m + domain, minlength=n * m).reshape(n, m).astype(np.float64)
        schur = np.diag(both.sum(1)) - (both / both.sum(0)) @ both.T
        return cls(length, domain, both, np.linalg.pinv(schur, hermitian=True))

    @property
    def count(self) -> int:
        """How many free levels are fitted."""
        return len(self.both) + len(self.both.T) - 1

    def fitted(self, values: Float64) -> Float64:
        """What the levels explain of values float64[Q]: float64[Q]."""
        n, m = self.both.shape
        sums, size = np.bincount(self.domain, values, m), self.both.sum(0)
        by_length = self.solve @ (np.bincount(self.length, values, n) - self.both @ (sums / size))
        by_domain = (sums - by_length @ self.both) / size
        return np.asarray(by_length[self.length] + by_domain[self.domain])

    def without(self, values: Float64) -> Float64:
        """Values float64[Q] less their levels."""
        return values - self.fitted(values)
