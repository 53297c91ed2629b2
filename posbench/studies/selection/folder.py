"""A selection on disk: selected.jsonl (the records), selected.parquet (where each is from, and why), selected.json."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from posbench.dsir import reading as records
from posbench.dsir import stream
from posbench.dsir.pool import Pool
from posbench.dsir.stream import Picks, Scores
from posbench.store import held, write_json, written
from posbench.types import Progress

ABOUT, TEXTS, TABLE = "selected.json", "selected.jsonl", "selected.parquet"
FORMAT = 1


def finished(folder: Path, fingerprint: str) -> bool:
    """Whether a folder holds this selection already.

    Raises:
        UsageError: it holds something else.
    """
    return held(folder, ABOUT, {"format": FORMAT, "fingerprint": fingerprint}) is not None


def write(
    folder: Path,
    pool: Pool,
    chosen: Sequence[Picks],
    targets: Sequence[str],
    scores: Sequence[Scores],
    about: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Writes all at once: an interrupted call leaves nothing behind.

    The records stand in the order of the raw text; ``rank`` in the table says in which they were chosen, so that the
    first n by rank are the selection of n by selectors that choose one after another.

    Args:
        folder: to write; it must not be there.
        pool: what was selected from.
        chosen: the documents of each target.
        targets: their names.
        scores: DSIR's log weights for each target.
        about: what selected.json holds.
        progress: shows the reading of records.
    """
    table = _table(pool, chosen, targets, scores)
    with written(folder) as scratch:
        scratch.mkdir()
        names, ids = [], []
        with (scratch / TEXTS).open("wb") as file:
            for name, place, identity, line in _records(pool, table, progress):
                file.write(line + b"\n")
                names.append(place)
                ids.append(name if name is not None else identity)
        table = table.append_column("id", pa.array(ids, pa.large_string()))
        table = table.append_column("source", pa.array(names, pa.large_string()).dictionary_encode())
        columns = ["id", "source", "row", "rank", "target", "log_weight", "value", "tokens", "characters"]
        pq.write_table(table.select(columns), scratch / TABLE, compression="zstd")
        content = {"format": FORMAT, **about}
        write_json(scratch / ABOUT, content)


def _table(pool: Pool, chosen: Sequence[Picks], targets: Sequence[str], scores: Sequence[Scores]) -> pa.Table:
    """One row a chosen document, in the order of the raw text."""
    parts = []
    for name, picks, weights in zip(targets, chosen, scores, strict=True):
        columns = {
            "part": picks.part,
            "row": stream.gather_column(picks, lambda part: pool.block(part).rows),
            "rank": np.arange(1, len(picks) + 1, dtype=np.int32),
            "value": picks.value,
            "log_weight": stream.gather_column(picks, weights.block),
            "tokens": stream.gather_column(picks, lambda part: pool.block(part).features.tokens),
            "characters": stream.gather_column(picks, lambda part: pool.block(part).chars),
            "content": picks.content,
        }
        found = pa.table({key: pa.array(column) for key, column in columns.items()})
        parts.append(found.append_column("target", pa.array([name] * len(picks), pa.string()).dictionary_encode()))
    whole = pa.concat_tables(parts).unify_dictionaries()
    return whole.take(pa.array(np.lexsort((whole["row"].to_numpy(), whole["part"].to_numpy()))))


def _records(pool: Pool, table: pa.Table, progress: Progress) -> Iterator[tuple[str | None, str, str, bytes]]:
    """(id, source, hash of the text, line) of each row of the table, shard by shard."""
    part, row, content = (table[name].to_numpy() for name in ("part", "row", "content"))
    numbers, first = np.unique(part, return_index=True)
    ends = np.append(first[1:], len(part))
    wanted = dict(zip(map(int, numbers), zip(first, ends, strict=True), strict=True))
    advance = progress("writing", len(wanted))
    for number, shard in enumerate(pool.source.shards(pool.reading.shard_bytes)):
        if number not in wanted:
            continue
        begin, end = wanted[number]
        found = records.records(shard, [int(place) for place in row[begin:end]], pool.reading.fields)
        for (name, line), identity in zip(found, content[begin:end], strict=True):
            yield name, _name(shard.path, shard.files, int(row[begin])), f"{int(identity):016x}", line
            begin += 1
        advance(1)


def _name(path: Path, files: Sequence[Path], row: int) -> str:
    return str(files[row]) if files else str(path)
