"""Strata of documents, by length or by a label, and how many of each a selection has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from posbench.dsir.pool import Block, Pool
from posbench.errors import UsageError
from posbench.types import Float64, Int64

LENGTH = "length"
_PARTS = 4


@dataclass(frozen=True)
class Strata:
    """The strata of a pool: ``names`` of them, by ``label``, or by length with ``edges`` in tokens between them."""

    label: str
    names: Sequence[str]
    edges: tuple[float, ...] = ()
    codes: Mapping[str, int] = field(default_factory=dict)

    def of(self, block: Block) -> Int64:
        """The stratum of each document of a block: int64[N], -1 where it is in none."""
        if self.label == LENGTH:
            return np.searchsorted(np.asarray(self.edges), block.features.tokens, side="left").astype(np.int64)
        values, place = np.unique(block.labels[self.label], return_inverse=True)
        known = np.array([self.codes.get(str(value), -1) for value in values], np.int64)
        return known[place] if len(values) else np.empty(0, np.int64)

    def sizes(self, pools: Sequence[Pool]) -> Int64:
        """Documents of each stratum: int64[S]."""
        total = np.zeros(len(self.names), np.int64)
        for pool in pools:
            for block in pool.blocks():
                code = self.of(block)
                total += np.bincount(code[code >= 0], minlength=len(total))
        return total


def by_length(targets: Sequence[Pool]) -> Strata:
    """Four strata between the quartiles of the targets' lengths in tokens."""
    tokens = np.concatenate([np.array(block.features.tokens) for pool in targets for block in pool.blocks()])
    edges: Float64 = np.unique(np.quantile(tokens, np.arange(1, _PARTS) / _PARTS))
    ends = [f"{edge:g}" for edge in edges]
    first, last = [f"up to {ends[0]} tokens"], [f"over {ends[-1]} tokens"]
    middle = [f"over {low} to {high} tokens" for low, high in zip(ends, ends[1:], strict=False)]
    return Strata(LENGTH, [*first, *middle, *last], tuple(map(float, edges)))


def by_label(label: str, pools: Sequence[Pool]) -> Strata:
    """The values of a label in the pools, in alphabetical order.

    Raises:
        UsageError: there are more than 1,000: no strata but names; or no document of a pool has one.
    """
    for pool in pools:
        expect(label, pool)
    found: set[str] = set()
    for pool in pools:
        for block in pool.blocks():
            found |= set(map(str, np.unique(block.labels[label])))
            if len(found) > 1_000:
                raise UsageError(f"field {label!r} has more than 1,000 values; expected a field that groups documents")
    names = sorted(found)
    return Strata(label, names, codes={name: code for code, name in enumerate(names)})


def expect(label: str, pool: Pool) -> None:
    """Refuses a label that a pool's documents lack.

    Raises:
        UsageError: no document has it.
    """
    if not any((block.labels[label] != "").any() for block in pool.blocks()):
        raise UsageError(f"no document of {pool.source.name} has a field {label!r}; expected one that some have")
