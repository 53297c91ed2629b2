"""A target: what a selection should look like, a part of it held out so that the selection is judged fairly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posbench.dsir import noise, stream
from posbench.dsir.features import Features
from posbench.dsir.pool import Block, Pool
from posbench.errors import UsageError
from posbench.types import Int64

HELD = 20_000  # documents of a target that are held in memory at most, for the selectors that need them one by one


@dataclass(frozen=True)
class Target:
    """One target.

    ``fitted`` and ``held`` int64[buckets] count the n-grams of the part that selectors see and of the part that is held
    out; ``held`` is None where nothing is. ``documents`` and ``held_documents`` are their sizes.
    """

    name: str
    pools: Sequence[Pool]
    share: float
    seed: int
    fitted: Int64
    held: Int64 | None
    documents: int
    held_documents: int

    @property
    def identity(self) -> str:
        """What its texts are, whatever it is called."""
        return "+".join(pool.fingerprint for pool in self.pools)

    def features(self, fitted: bool = True, most: int = HELD) -> Features:
        """Documents of one of the parts, in memory: all, or an even draw of ``most`` by hash."""
        code = self._strata(fitted)
        size = self.documents if fitted else self.held_documents
        parts = []
        for pool in self.pools:
            count = _share(most, len(pool), sum(map(len, self.pools))) if size > most else len(pool)
            draw = stream.Draw(seed=self.seed, strata=code, quotas={0: count})
            parts.append(stream.gather(pool, stream.best(pool, count, draw)))
        return Features.concat(parts)

    def _strata(self, fitted: bool) -> Callable[[Block], Int64]:
        def code(block: Block) -> Int64:
            out = held_out(block, self.share, self.seed)
            return np.where(out == fitted, -1, 0)

        return code


def target(name: str, pools: Sequence[Pool], share: float, seed: int) -> Target:
    """Splits a target's documents by hash of seed and id; several pools are one target (joint).

    Args:
        name: to show.
        pools: its texts.
        share: of the documents that is held out, from 0 (none) to below 1.
        seed: of the split.

    Raises:
        UsageError: ``share`` is out of range, or one of the parts is empty.
    """
    if not 0 <= share < 1:
        raise UsageError(f"--held-out {share}; expected a share from 0 to below 1")
    fitted = np.zeros(pools[0].reading.spec.buckets, np.int64)
    held = np.zeros_like(fitted)
    out_count = total = 0
    for pool in pools:
        for block in pool.blocks():
            out = held_out(block, share, seed)
            inside = block.features.take(np.flatnonzero(~out)).counts()
            fitted += inside
            held += block.features.counts() - inside
            out_count += int(out.sum())
            total += len(block)
    if total == out_count or (share and not out_count):
        raise UsageError(
            f"target {name}: {total} documents, of which {out_count} would be held out; expected at least one on either"
            " side: give more documents or --held-out 0"
        )
    return Target(name, pools, share, seed, fitted, held if share else None, total - out_count, out_count)


def held_out(block: Block, share: float, seed: int) -> NDArray[np.bool_]:
    """Which documents of a block are held out: bool[N]. Equal texts stay together, else the split would leak."""
    return noise.uniform(noise.stream(block.contents, f"held out {seed}")) < share


def _share(most: int, mine: int, total: int) -> int:
    return max(1, round(most * mine / max(1, total)))
