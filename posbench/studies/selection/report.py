"""What is measured of a selection: rows of distances for the Report, and weights, drift and words for its header."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from posbench.dsir import noise, reading, stream
from posbench.dsir.pool import Block, Hashes, Pool
from posbench.dsir.scorers import SELECTORS
from posbench.dsir.stream import Draw, Picks
from posbench.errors import UsageError
from posbench.studies.selection import drift
from posbench.studies.selection.judge import MEASURES
from posbench.studies.selection.work import Work, chosen_by, header
from posbench.types import Int64, Report

COMPARED = 200_000  # documents up to which every selector is compared unless told otherwise
CHOSEN = -1  # in the column draw: the selection itself, so that it is not one of the random draws beside it
_READ = 2_000  # documents of each side whose words are counted
_PARTS = 8  # shards at most that are read for them


def report(work: Work, chosen: Sequence[Picks]) -> Report:
    """The report of a selection: one row a (selector, size, draw, target)."""
    with work.phase("judge"):
        rows = list(_rows(work, chosen))
        about = _about(work, chosen)
    names = ("query_id", "ranker", "size", "draw", "target", *MEASURES)
    columns = {name: [row[name] for row in rows] for name in names}
    table = pa.table({"dataset": [header(work)["dataset"]["name"]] * len(rows), **columns})
    return Report({**header(work), "measures": list(MEASURES), "seconds": work.seconds, **about}, MEASURES, table)


def _rows(work: Work, chosen: Sequence[Picks]) -> Iterator[dict[str, Any]]:
    """The values of raw text, of the selection, of random ones, and of other selectors where they are compared."""
    judge = work.judge
    yield from _of(work, "raw", len(work.raw), 0, judge.values(work.raw.counts))
    yield from _of(work, work.selector, work.size, CHOSEN, judge.values(_counts(work.raw, chosen)))
    sizes = _sizes(work)
    advance = work.progress("comparing", len(sizes) * (len(SELECTORS) if len(sizes) > 1 else 1))
    for size in sizes:
        for draw, counts in enumerate(judge.random(size)):
            yield from _of(work, "random", size, draw, judge.values(counts))
        advance(1)
        if len(sizes) > 1:
            for selector in SELECTORS:
                if selector != "random" and (selector, size) != (work.selector, work.size):
                    yield from _compared(work, selector, size)
                    advance(1)


def _compared(work: Work, selector: str, size: int) -> Iterator[dict[str, Any]]:
    try:
        picks = chosen_by(work, selector, size)
    except UsageError:  # a stratum cannot give its part of this size
        return
    yield from _of(work, selector, size, 0, work.judge.values(_counts(work.raw, picks)))


def _of(
    work: Work, selector: str, size: int, draw: int, values: Sequence[Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    for one, found in zip(work.targets, values, strict=True):
        name = f"{selector}/{size}/{draw}/{one.name}"
        yield {"query_id": name, "ranker": selector, "size": size, "draw": draw, "target": one.name, **found}


def _sizes(work: Work) -> list[int]:
    """The sizes that are compared: a tenth to three times the size asked for, or that alone."""
    compare = len(work.raw) <= COMPARED if work.order.compare is None else work.order.compare
    if not compare:
        return [work.size]
    wanted = {round(work.size * factor) for factor in (0.1, 10**-0.5, 1.0, 10**0.5)}
    return sorted(size for size in wanted | {work.size} if 10 <= size <= len(work.raw) or size == work.size)


def _counts(pool: Pool, chosen: Sequence[Picks]) -> Int64:
    return stream.counts_of(pool, _all(chosen))


def _all(chosen: Sequence[Picks]) -> Picks:
    merged = Picks.none()
    for picks in chosen:
        merged = merged.plus(picks)
    return merged


def _about(work: Work, chosen: Sequence[Picks]) -> dict[str, Any]:
    """What the rows do not hold."""
    picks = _all(chosen)
    random = work.judge.random_picks(work.size, 0)
    counts, others = _counts(work.raw, chosen), work.judge.random(work.size)
    return {
        "raw": _source(work.raw)
        | {"repeated_texts": stream.repeated(work.raw), "repeated_ids": stream.repeated(work.raw, _ids)},
        "targets": [
            {"name": one.name, "documents": one.documents, "held_out": one.held_documents}
            | {"notes": _notes(one.pools), "fingerprints": [found.fingerprint for found in one.pools]}
            for one in work.targets
        ],
        "selection": {
            "selector": work.selector,
            "size": work.size,
            "by_target": {one.name: len(part) for one, part in zip(work.targets, chosen, strict=True)},
            "repeated_texts": len(picks) - len(np.unique(picks.content)),
            "quotas": _quotas(work),
        },
        "gain_over_random": [work.judge.gain(one, counts, others) for one in work.targets],
        "effective_sample_size": _effective(work),
        "log_weights": [drift.histogram(weigher.plain.blocks) for weigher in work.weighers],
        "drift": {"length": _lengths(work, picks, random), **_labels(work, picks, random)},
        "ngrams": _words(work, picks, random),
    }


def _ids(block: Block) -> Hashes:
    return block.ids


def _source(pool: Pool) -> dict[str, Any]:
    tokens = sum(int(block.features.tokens.sum(dtype=np.int64)) for block in pool.blocks())
    found = {"name": pool.source.name, "documents": len(pool), "tokens": tokens, "notes": dict(pool.notes)}
    return found | {"fingerprint": pool.fingerprint, "shards": len(pool.parts)}


def _notes(pools: Sequence[Pool]) -> dict[str, int]:
    total: dict[str, int] = {}
    for pool in pools:
        for reason, count in pool.notes.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _quotas(work: Work) -> dict[str, int] | None:
    if work.strata is None or work.quotas is None:
        return None
    return {work.strata.names[code]: count for code, count in work.quotas.items()}


def _effective(work: Work) -> list[dict[str, Any]]:
    """For each target: of DSIR's weights, of those drawn by, and what tempering and regression did."""
    found = []
    for weigher in work.weighers:
        heat = weigher.temperature(work.selector, work.size)
        one = {
            "dsir": weigher.effective_size("dsir", work.size),
            "drawn": weigher.effective_size(work.selector, work.size),
            "temperature": heat if np.isfinite(heat) else None,
        }
        if work.selector in ("logistic", "greedy"):
            one |= {"penalty": weigher.model.strength, "held_out_loss": weigher.model.loss}
        found.append(one)
    return found


def _lengths(work: Work, picks: Picks, random: Picks) -> dict[str, Any]:
    """Tokens a document in target, random and selected, and how far each is from the target."""
    sides = {
        "target": np.concatenate([one.features().tokens for one in work.targets]),
        "random": stream.gather_column(random, lambda part: work.raw.block(part).features.tokens),
        "selected": stream.gather_column(picks, lambda part: work.raw.block(part).features.tokens),
    }
    return {
        name: drift.lengths(tokens) | {"distance": drift.distance(tokens, sides["target"])}
        for name, tokens in sides.items()
    }


def _labels(work: Work, picks: Picks, random: Picks) -> dict[str, Any]:
    """The shares of each label in random and selected, and in the target where it has the label."""
    found = {}
    for label in work.raw.reading.fields.labels:
        sides = {
            "random": _column(work.raw, random, label),
            "selected": _column(work.raw, picks, label),
        }
        pools = [pool for one in work.targets for pool in one.pools if label in pool.reading.fields.labels]
        if pools:
            sides["target"] = [str(value) for pool in pools for block in pool.blocks() for value in block.labels[label]]
        found[label] = {
            name: {"shares": drift.shares(values)}
            | ({"distance": drift.variation(values, sides["target"])} if pools else {})
            for name, values in sides.items()
        }
    return found


def _column(pool: Pool, picks: Picks, label: str) -> list[str]:
    return [str(value) for value in stream.gather_column(picks, lambda part: pool.block(part).labels[label])]


def _words(work: Work, picks: Picks, random: Picks) -> list[dict[str, Any]]:
    """The n-grams gained and lost, from a sample of each side that few shards hold."""
    spec = work.raw.reading.spec
    sides = [drift.counted(_texts(work.raw, side), spec) for side in (picks, random)]
    targets = [pool for one in work.targets for pool in one.pools]
    every = [stream.best(pool, min(_READ, len(pool)), Draw(seed=work.order.seed)) for pool in targets]
    of_target = [text for pool, some in zip(targets, every, strict=True) for text in _texts(pool, some)]
    return drift.gained(sides[0], sides[1], drift.counted(of_target, spec))


def _texts(pool: Pool, picks: Picks) -> Iterator[str]:
    """The texts of some of the documents, those of a few shards, the same at every call."""
    parts = np.unique(picks.part)
    some = picks.take(np.isin(picks.part, parts[np.argsort(noise.stream(parts.astype(np.uint64), "read"))[:_PARTS]]))
    some = some.take(np.argsort(noise.stream(some.key, "read"), kind="stable")[:_READ])
    wanted = {
        int(part): np.sort(pool.block(int(part)).rows[some.row[some.part == part]]) for part in np.unique(some.part)
    }
    for number, shard in enumerate(pool.source.shards(pool.reading.shard_bytes)):
        if number in wanted:
            batch = reading.read(shard, pool.reading.fields)
            for place in np.searchsorted(batch.rows, wanted[number]):
                yield batch.texts[int(place)].as_py()
