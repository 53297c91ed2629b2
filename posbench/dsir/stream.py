"""Weights and selection over a pool of any size: scores lie on disk, only the best so far are held."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posbench.dsir import noise
from posbench.dsir.features import Features
from posbench.dsir.pool import Block, Hashes, Pool
from posbench.dsir.selectors import noisy
from posbench.types import Float64, Int32, Int64, Progress, no_progress

Scorer = Callable[[Features], Float64]
Strata = Callable[[Block], Int64]


@dataclass(frozen=True)
class Scores:
    """A number for each document of a pool, a file a shard."""

    pool: Pool
    folder: Path

    def block(self, number: int) -> Float64:
        """Of one shard: float64[N], a memory map."""
        found: Float64 = np.load(self.folder / f"{number}.npy", mmap_mode="r", allow_pickle=False)
        return found

    def blocks(self) -> Iterator[Float64]:
        """Of all documents, shard by shard."""
        return (self.block(number) for number in range(len(self.pool.parts)))


def score(
    pool: Pool, scorer: Scorer, folder: Path, progress: Progress = no_progress, title: str = "weighing"
) -> Scores:
    """Scores all documents of a pool, shard by shard.

    Args:
        pool: what is scored.
        scorer: features to float64[N].
        folder: to write to, one .npy a shard; it is made.
        progress: shows the shards.
        title: of the progress.
    """
    folder.mkdir(parents=True, exist_ok=True)
    advance = progress(title, len(pool.parts))
    for number, block in enumerate(pool.blocks()):
        np.save(folder / f"{number}.npy", scorer(block.features), allow_pickle=False)
        advance(1)
    return Scores(pool, folder)


@dataclass(frozen=True)
class Picks:
    """Chosen documents, best first: shard and row in its block, the value chosen by, and the hashes that break ties."""

    part: Int32
    row: Int32
    value: Float64
    key: Hashes
    content: Hashes

    COLUMNS = ("part", "row", "value", "key", "content")

    def __len__(self) -> int:
        return len(self.part)

    @classmethod
    def none(cls) -> "Picks":
        """No document."""
        empty = np.empty(0, np.uint64)
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), empty, empty)

    def take(self, rows: Any) -> "Picks":
        """Some of them, by place or mask."""
        return Picks(*(getattr(self, name)[rows] for name in self.COLUMNS))

    def plus(self, other: "Picks") -> "Picks":
        """These, then the others."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.COLUMNS)
        return Picks(*(np.concatenate(pair) for pair in pairs))

    def best(self, k: int, distinct: bool) -> "Picks":
        """The k largest values, largest first; of equal ones the larger key, then the larger content, then the first.

        ``distinct`` leaves only the best of each content.
        """
        order = np.lexsort((self.row, self.part, ~self.content, ~self.key, -self.value))
        if distinct:
            first = np.sort(np.unique(self.content[order], return_index=True)[1])
            order = order[first]
        return self.take(order[:k])


@dataclass(frozen=True)
class Draw:
    """How documents are drawn.

    ``selector`` decides on noise (``selectors.noisy``), ``temperature`` divides the scores; the noise is of ``seed``
    and, where several targets choose, of the ``target``. ``distinct`` allows one document of each text.
    ``strata`` gives the stratum of each document of a block, int64[N], below 0 for none that may be chosen, and
    ``quotas`` how many of each are wanted.
    """

    selector: str = "random"
    seed: int = 0
    temperature: float = 1.0
    target: str = ""
    distinct: bool = False
    strata: Strata | None = None
    quotas: Mapping[int, int] | None = None

    def keys(self, block: Block) -> Hashes:
        """The keys of a block's documents: uint64[N]."""
        base = noise.of_hashes(block.ids, self.seed)
        return noise.stream(base, f"target {self.target}") if self.target else base


def best(pool: Pool, k: int, draw: Draw, scores: Scores | None = None, without: Picks | None = None) -> Picks:
    """The k documents of the largest scores over temperature plus noise: with noise a draw without replacement.

    Args:
        pool: what is drawn from.
        k: how many, unless the draw has quotas.
        draw: how.
        scores: of the documents; None is 0 for all, so that all sets are equally likely.
        without: documents that are not chosen again.
    """
    wanted = {0: k} if draw.quotas is None else dict(draw.quotas)
    held = {stratum: Picks.none() for stratum in wanted}
    for number, block in enumerate(pool.blocks()):
        code = np.zeros(len(block), np.int64) if draw.strata is None else draw.strata(block)
        found = _of_block(None if scores is None else scores.block(number), block, number, draw)
        free = ~_taken(found, without, draw.distinct)
        for stratum, count in wanted.items():
            mine = _likely(found.take(free & (code == stratum)), count, draw.distinct)
            held[stratum] = held[stratum].plus(mine).best(count, draw.distinct)
    merged = Picks.none()
    for picks in held.values():
        merged = merged.plus(picks)
    return merged.best(len(merged), distinct=False)


def _of_block(values: Float64 | None, block: Block, number: int, draw: Draw) -> Picks:
    key = draw.keys(block)
    weight = np.zeros(len(block)) if values is None else np.asarray(values)
    value = noisy(draw.selector, weight, key, draw.temperature)
    part = np.full(len(block), number, np.int32)
    return Picks(part, np.arange(len(block), dtype=np.int32), value, key, np.asarray(block.contents))


def sample(pool: Pool, count: int, seed: int) -> Picks:
    """The documents that a density ratio is fitted on, as ``scorers.sample_rows`` has them."""
    held = Picks.none()
    bases = np.empty(0, np.uint64)
    for number, block in enumerate(pool.blocks()):
        found = _of_block(None, block, number, Draw(seed=seed))
        bases = np.concatenate([bases, noise.stream(found.key, "sample")])
        held = held.plus(found)
        least = np.argsort(bases, kind="stable")[:count]
        bases, held = bases[least], held.take(least)
    return held


def _likely(picks: Picks, k: int, distinct: bool) -> Picks:
    """Those that can be among the k best, without a sort of all."""
    if distinct or len(picks) <= 2 * k or k == 0:
        return picks
    edge = np.partition(picks.value, len(picks) - k)[len(picks) - k]
    return picks.take(picks.value >= edge)


def _taken(found: Picks, without: Picks | None, distinct: bool) -> NDArray[np.bool_]:
    if without is None or not len(without):
        return np.zeros(len(found), np.bool_)
    if distinct:
        return np.isin(found.content, without.content)
    mine = without.row[without.part == found.part[0]] if len(found) else without.row[:0]
    return np.isin(found.row, mine)


def gather(pool: Pool, picks: Picks) -> Features:
    """The features of chosen documents, in their order, in memory."""
    order, parts = _by_part(picks)
    if not parts:
        return Features.concat([pool.block(0).features.take(np.empty(0, np.int64))])
    found = Features.concat([pool.block(part).features.take(picks.row[rows]) for part, rows in parts])
    return found.take(np.argsort(order))


def gather_column(picks: Picks, column: Callable[[int], NDArray[Any]]) -> NDArray[Any]:
    """A column's values for chosen documents, in their order; ``column`` gives that of a shard by number."""
    order, parts = _by_part(picks)
    if not parts:
        return column(0)[:0]
    return np.concatenate([np.asarray(column(part))[picks.row[rows]] for part, rows in parts])[np.argsort(order)]


def _by_part(picks: Picks) -> tuple[Int64, Sequence[tuple[int, Int64]]]:
    """The picks in the order of their shards, and each shard's."""
    order = np.lexsort((picks.row, picks.part))
    parts, first = np.unique(picks.part[order], return_index=True)
    return order, [(int(part), rows) for part, rows in zip(parts, np.split(order, first[1:]), strict=True)]


def counts_of(pool: Pool, picks: Picks) -> Int64:
    """The n-grams of chosen documents by bucket: int64[buckets]."""
    total = np.zeros(pool.reading.spec.buckets, np.int64)
    _, parts = _by_part(picks)
    for part, rows in parts:
        total += pool.block(part).features.take(picks.row[rows]).counts()
    return total


def repeated(pool: Pool, column: Callable[[Block], Hashes] = lambda block: block.contents, held: int = 1 << 22) -> int:
    """Documents whose text (or another ``column``) stood in the pool before: exact, a part of the hashes at a time."""
    rounds = max(1, -(-len(pool) // held))
    found = 0
    for turn in range(rounds):
        mine = [hashes[hashes % np.uint64(rounds) == turn] for hashes in map(column, pool.blocks())]
        all_of_turn = np.concatenate(mine)
        found += len(all_of_turn) - len(np.unique(all_of_turn))
    return found
