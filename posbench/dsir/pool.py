"""Featurised text on disk, a cache entry a shard: any amount of it is weighed and selected in bounded memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from posbench.dsir import noise, workers
from posbench.dsir.features import Features, FeatureSpec, featurise
from posbench.dsir.reading import Batch, read
from posbench.dsir.sources import SHARD_BYTES, Fields, Shard, Source
from posbench.errors import DataError
from posbench.store import Cache
from posbench.types import Int32, Int64, Progress, Strings, no_progress, texts_hash

Hashes = NDArray[np.uint64]
_FORMAT = 1
_KIND = "dsir"


@dataclass(frozen=True)
class Limits:
    """Tokens that a document must have: at least ``shortest`` (1, so that it says anything) and at most ``longest``.

    ``longest`` 0 is no limit. What is outside is left out and counted.
    """

    shortest: int = 1
    longest: int = 0


@dataclass(frozen=True)
class Reading:
    """How sources are read: fields, features, limits and bytes a shard."""

    fields: Fields = field(default_factory=Fields)
    spec: FeatureSpec = field(default_factory=FeatureSpec)
    limits: Limits = field(default_factory=Limits)
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True)
class Block:
    """The documents of a shard, one row each.

    ``rows`` int32[N] is the place in the shard, ``chars`` int32[N] the length, ``ids`` and ``contents`` uint64[N] are
    hashes of id and text; ``labels`` by name.
    """

    features: Features
    rows: Int32
    chars: Int32
    ids: Hashes
    contents: Hashes
    labels: Mapping[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.rows)


def featurised(shard: Shard, reading: Reading) -> dict[str, NDArray[Any]]:
    """What is kept of a shard, as arrays: the same function wherever it runs.

    Raises:
        DataError: as ``reading.read``.
    """
    batch = read(shard, reading.fields)
    features = featurise(batch.texts, reading.spec)
    shortest, longest = max(1, reading.limits.shortest), reading.limits.longest or np.iinfo(np.int32).max
    for reason, outside in (
        ("empty_documents", features.tokens == 0),
        ("documents_too_short", (features.tokens > 0) & (features.tokens < shortest)),
        ("documents_too_long", features.tokens > longest),
    ):
        batch = batch.counting(reason, int(outside.sum()))
    wanted = (features.tokens >= shortest) & (features.tokens <= longest)
    if not wanted.all():
        batch, features = batch.keep(wanted), features.take(np.flatnonzero(wanted))
    return _arrays(batch, features)


def _arrays(batch: Batch, features: Features) -> dict[str, NDArray[Any]]:
    import pyarrow.compute as pc

    contents = noise.hashes(batch.texts)
    chars = pc.utf8_length(batch.texts).to_numpy(zero_copy_only=False)
    notes = np.frombuffer(msgspec.json.encode(batch.notes), np.uint8)
    arrays: dict[str, NDArray[Any]] = {
        "indptr": features.indptr,
        "buckets": features.buckets,
        "tokens": features.tokens,
        "rows": batch.rows,
        "chars": chars.astype(np.int32),
        "ids": contents if batch.ids is None else noise.hashes(batch.ids),
        "contents": contents,
        "notes": notes,
    }
    return arrays | {f"label-{n}": _column(batch.labels[name]) for n, name in enumerate(batch.labels)}


def _column(labels: Strings) -> NDArray[np.str_]:
    return np.array(labels.to_pylist(), np.str_) if len(labels) else np.empty(0, "U1")


@dataclass(frozen=True)
class Part:
    """A shard and where its features lie; what a shard in memory holds is not kept twice."""

    shard: Shard
    key: str
    count: int


@dataclass(frozen=True)
class Pool:
    """All documents of a source, featurised: ``counts`` int64[buckets] is the sum of all rows.

    ``notes`` counts what was left out, by reason. ``fingerprint`` is of the set of texts and ids, whatever their order.
    """

    source: Source
    reading: Reading
    cache: Cache
    parts: Sequence[Part]
    counts: Int64
    notes: Mapping[str, int]
    fingerprint: str

    def __len__(self) -> int:
        return sum(part.count for part in self.parts)

    def block(self, number: int) -> Block:
        """The documents of one shard, as memory maps."""
        stored = self.cache.load(_KIND, self.parts[number].key)
        if stored is None:
            raise DataError(
                f"features of {self.source.name} are gone from {self.cache.root}; run the same command again"
            )
        names = self.reading.fields.labels
        labels = {name: stored[f"label-{n}"] for n, name in enumerate(names)}
        features = Features(stored["indptr"], stored["buckets"], stored["tokens"], self.reading.spec.buckets)
        return Block(features, stored["rows"], stored["chars"], stored["ids"], stored["contents"], labels)

    def blocks(self) -> Iterator[Block]:
        """The shards' documents, shard by shard."""
        return (self.block(number) for number in range(len(self.parts)))

    def drop(self) -> None:
        """Deletes the features."""
        self.cache.drop(_KIND, [part.key for part in self.parts])


def pool(
    source: Source,
    reading: Reading,
    cache: Cache,
    crew: workers.Crew = workers.ALONE,
    progress: Progress = no_progress,
) -> Pool:
    """Featurises a source, or finds it featurised; an interrupted call goes on where it stopped.

    Args:
        source: where text comes from.
        reading: fields, features and limits.
        cache: where features are kept: about two bytes an n-gram.
        crew: who works: this process, several, or a Ray cluster.
        progress: shows the work.

    Raises:
        DataError: as ``reading.read``, or there is no document.
    """
    parts: list[Part] = []
    counts = np.zeros(reading.spec.buckets, np.int64)
    notes: dict[str, int] = {}
    sums = np.zeros(2, np.uint64)
    advance = progress(f"reading {source.name}", max(1, size_of(source) >> 10))

    def jobs() -> Iterator[tuple[str, Shard | None, int]]:
        """The shards by number: (key, what must be read, size); None where its features are there."""
        for shard in source.shards(reading.shard_bytes):
            key = _key(shard, reading)
            parts.append(Part(shard.without_content(), key, 0))
            yield key, None if cache.load(_KIND, key) is not None else shard, _size(shard)

    for number, key, arrays, size in crew.run(featurised, reading, jobs()):
        if arrays is not None:
            cache.save(_KIND, key, arrays)
        stored = cache.load(_KIND, key)
        assert stored is not None
        counts += np.bincount(stored["buckets"], minlength=len(counts))
        parts[number] = replace(parts[number], count=len(stored["rows"]))
        for reason, count in msgspec.json.decode(stored["notes"].tobytes(), type=dict[str, int]).items():
            notes[reason] = notes.get(reason, 0) + count
        sums += _sums(stored["ids"], stored["contents"])
        advance(max(1, size >> 10))
    found = Pool(source, reading, cache, tuple(parts), counts, dict(sorted(notes.items())), _digest(sums, parts))
    if not len(found):
        raise DataError(
            f"{source.name}: no document with any word in it{_left_out(found.notes)}; expected at least one"
        )
    return found


def _left_out(notes: Mapping[str, int]) -> str:
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in notes.items())
    return f" ({told})" if told else ""


def _sums(ids: Hashes, contents: Hashes) -> Hashes:
    """A sum that does not depend on order, of what identifies each document."""
    mixed = (ids ^ (contents >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15) + contents
    return np.array([mixed.sum(dtype=np.uint64), (mixed * (mixed | np.uint64(1))).sum(dtype=np.uint64)], np.uint64)


def _digest(sums: Hashes, parts: Sequence[Part]) -> str:
    count = sum(part.count for part in parts)
    return blake2b(sums.tobytes() + str(count).encode(), digest_size=16).hexdigest()


def _key(shard: Shard, reading: Reading) -> str:
    identity = shard.identity()
    if shard.texts is not None:
        columns = [shard.texts, *([shard.ids] if shard.ids is not None else []), *shard.labels.values()]
        identity += [texts_hash(column) for column in columns]
    content = [_FORMAT, identity, msgspec.to_builtins(reading.fields), reading.spec.describe()]
    content.append(msgspec.to_builtins(reading.limits))
    return blake2b(msgspec.json.encode(content), digest_size=16).hexdigest()


def _size(shard: Shard) -> int:
    """Bytes on disk, as ``size_of`` counts them; of packed lines a guess."""
    if shard.kind == "lines":
        return shard.stop - shard.start
    if shard.kind == "block":
        return len(shard.data) // 4
    if shard.kind == "files":
        return sum(file.stat().st_size for file in shard.files)
    if shard.kind == "rows":
        group = pq.read_metadata(shard.path).row_group(shard.start)
        packed = int(sum(group.column(n).total_compressed_size for n in range(group.num_columns)))
        return packed if shard.table is None else packed * len(shard.table) // int(group.num_rows)
    return shard.texts.nbytes if shard.texts is not None else 0


def size_of(source: Source) -> int:
    """Bytes of a source on disk or in memory."""
    if source.path is None:
        return sum(map(size_of, source.several)) + (source.texts.nbytes if source.texts is not None else 0)
    files = [source.path] if source.path.is_file() else source.path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
