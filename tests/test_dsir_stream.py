"""Selection out of core against the same selection in memory, and that shards, files and workers do not show."""

import gzip
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench.dsir import noise, pool, quotas, select, selectors, sources, stream, target, workers
from posbench.dsir.features import Features, FeatureSpec
from posbench.dsir.scorers import SELECTORS, Settings
from posbench.errors import DataError, MissingPartError, UsageError
from posbench.store import Cache
from posbench.types import strings

SPEC = FeatureSpec(buckets=500)
WORDS = [f"word{n}" for n in range(300)]


def texts(count, low, high, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[low:high], rng.integers(5, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder of JSONL in two files: 300 documents of two kinds, in no order."""
    folder = tmp_path_factory.mktemp("raw")
    kinds = texts(200, 100, 300, 1), texts(100, 0, 150, 2)
    rows = [{"id": f"d{n}", "text": text, "kind": "ab"[n >= 200]} for n, text in enumerate([*kinds[0], *kinds[1]])]
    rows = [rows[n] for n in np.random.default_rng(3).permutation(300)]
    for name, part in (("one.jsonl", rows[:130]), ("two.jsonl", rows[130:])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return folder, rows


def reading(shard_bytes=1 << 24, labels=(), **changes):
    return pool.Reading(sources.Fields(labels=labels, **changes), SPEC, shard_bytes=shard_bytes)


def wanted(folder, name="target", count=60):
    file = folder / f"{name}.jsonl"
    found = texts(count, 0, 120, 4)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in found), encoding="utf-8")
    return file


def pooled(path, tmp_path, **options):
    crew = options.pop("crew", workers.ALONE)
    return pool.pool(sources.of_path(path), reading(**options), Cache(tmp_path / "cache"), crew)


def ids_of(found, picks, rows_by_key):
    return [rows_by_key[int(one)] for one in stream.gather_column(picks, lambda part: found.block(part).ids)]


def by_hash(rows):
    hashes = noise.hashes(strings([row["id"] for row in rows]))
    return {int(one): row["id"] for one, row in zip(hashes, rows, strict=True)}


@pytest.mark.parametrize("selector", SELECTORS)
def test_the_same_as_in_memory(raw, tmp_path, selector):
    folder, rows = raw
    found = pooled(folder, tmp_path, shard_bytes=3000)
    assert len(found.parts) > 5
    goal = target.target("t", [pooled(wanted(tmp_path), tmp_path)], 0.25, 7)
    weigher = select.Weigher(found, goal, Settings(), 7, tmp_path / "scores")
    (picks,) = select.select([weigher], [1.0], select.Ask(selector, 40, 7))
    whole = pool.featurise(strings([row["text"] for row in rows]), SPEC)
    keys = noise.keys(strings([row["id"] for row in rows]), 7)
    expected = selectors.choose(selector, whole, goal.features(), 40, keys, 7)
    assert ids_of(found, picks, by_hash(rows)) == [rows[n]["id"] for n in expected.rows]
    np.testing.assert_allclose(
        np.concatenate(list(weigher.plain.blocks())).sum(),
        selectors.choose("dsir", whole, goal.features(), 1, keys, 7).parts[""].log_w.sum(),
    )


@pytest.mark.parametrize("selector", SELECTORS)
def test_separate_targets_and_strata_as_in_memory(raw, tmp_path, selector):
    folder, rows = raw
    found = pooled(folder, tmp_path, labels=("kind",), shard_bytes=5000)
    goals = [
        target.target(name, [pooled(wanted(tmp_path, name, count), tmp_path)], 0.0, 1)
        for name, count in (("t", 40), ("u", 60))
    ]
    weighers = [select.Weigher(found, one, Settings(), 1, tmp_path / one.name) for one in goals]
    kinds = [row["kind"] for row in rows]
    strata = quotas.strata(kinds, 50, {"a": 0.4, "b": 0.6})
    names = list(strata.names)

    def code(block):
        return np.array([names.index(str(kind)) for kind in block.labels["kind"]], np.int64)

    counts = dict(enumerate(map(int, strata.quotas)))
    ask = select.Ask(selector, 50, 1, strata=code, quotas=counts)
    parts = select.select(weighers, [0.3, 0.7], ask)
    whole = pool.featurise(strings([row["text"] for row in rows]), SPEC)
    keys = noise.keys(strings([row["id"] for row in rows]), 1)
    both = {one.identity: one.features() for one in goals}
    expected = selectors.choose(
        selector, whole, both, 50, keys, 1, proportions=dict(zip(both, (0.3, 0.7), strict=True)), strata=strata
    )
    table = by_hash(rows)
    for one, picks in zip(goals, parts, strict=True):
        assert ids_of(found, picks, table) == [rows[n]["id"] for n in expected.parts[one.identity].rows]


def forms(raw, tmp_path):
    """The same documents in other files, orders, formats and shards."""
    folder, rows = raw
    other = tmp_path / "other"
    other.mkdir()
    lines = [json.dumps(row) + "\n" for row in rows[::-1]]
    (other / "all.jsonl").write_text("\n".join(lines) + "\n  \n", encoding="utf-8")  # with blank lines
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress("".join(lines).encode()))
    table = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table, row_group_size=70)
    files = tmp_path / "texts"
    for row in rows:
        place = files / row["kind"] / row["id"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(row["text"], encoding="utf-8")
    return [(folder, 1 << 24), (folder, 700), (other, 2500), (packed, 4000), (table, 1)], (files, 3000)


def test_files_order_and_shards_do_not_show(raw, tmp_path):
    same, (files, size) = forms(raw, tmp_path)
    goal = target.target("t", [pooled(wanted(tmp_path), tmp_path)], 0.25, 0)
    chosen, prints = [], set()
    for n, (path, shard_bytes) in enumerate(same):
        found = pooled(path, tmp_path, shard_bytes=shard_bytes)
        weigher = select.Weigher(found, goal, Settings(), 0, tmp_path / f"scores{n}")
        picks = select.select([weigher], [1], select.Ask("dsir", 30))[0]
        chosen.append(ids_of(found, picks, by_hash(raw[1])))
        prints.add(found.fingerprint)
    assert all(one == chosen[0] for one in chosen)
    assert len(prints) == 1
    of_texts = pooled(files, tmp_path, shard_bytes=size)
    assert len(of_texts) == 300
    assert (of_texts.counts == found.counts).all()


def test_workers_do_not_show(raw, tmp_path):
    alone = pooled(raw[0], tmp_path / "alone", shard_bytes=3000)
    several = pooled(raw[0], tmp_path / "several", shard_bytes=3000, crew=workers.Crew(2))
    assert alone.fingerprint == several.fingerprint
    for one, other in zip(alone.parts, several.parts, strict=True):
        first, second = (Cache(tmp_path / name / "cache").load("dsir", one.key) for name in ("alone", "several"))
        assert one.key == other.key
        assert {name: array.tobytes() for name, array in first.items()} == {
            name: array.tobytes() for name, array in second.items()
        }


def test_ray_does_not_show(raw, tmp_path):
    pytest.importorskip("ray")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "from pathlib import Path\n"
        "from posbench.dsir import pool, sources, workers\n"
        "from posbench.dsir.features import FeatureSpec\n"
        "from posbench.store import Cache\n"
        "how = pool.Reading(spec=FeatureSpec(buckets=500), shard_bytes=3000)\n"
        "cache = Cache(Path(sys.argv[2]))\n"
        "pool.pool(sources.of_path(Path(sys.argv[1])), how, cache, workers.Crew(ray='local'))\n"
    )
    subprocess.run([sys.executable, "-c", code, str(raw[0]), str(tmp_path / "ray")], check=True, timeout=300)
    alone = pooled(raw[0], tmp_path / "alone", shard_bytes=3000)
    for part in alone.parts:
        first, second = (
            Cache(place).load("dsir", part.key) for place in (tmp_path / "alone" / "cache", tmp_path / "ray")
        )
        assert second is not None
        assert {name: array.tobytes() for name, array in first.items()} == {
            name: array.tobytes() for name, array in second.items()
        }


def test_an_interrupted_reading_goes_on(raw, tmp_path, monkeypatch):
    done = []
    work = pool.featurised

    def interrupted(shard, how):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(shard)
        return work(shard, how)

    monkeypatch.setattr(pool, "featurised", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pooled(raw[0], tmp_path, shard_bytes=3000)
    later = []
    monkeypatch.setattr(pool, "featurised", lambda shard, how: (later.append(shard), work(shard, how))[1])
    found = pooled(raw[0], tmp_path, shard_bytes=3000)
    assert len(done) == 4
    assert len(later) == len(found.parts) - 4
    assert len(found) == 300


def test_repeated_texts_are_counted_and_can_be_left_out(tmp_path):
    file = tmp_path / "raw.jsonl"
    rows = [{"id": str(n), "text": text} for n, text in enumerate([*texts(30, 0, 99, 1)] * 3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = pooled(file, tmp_path, shard_bytes=1500)
    assert stream.repeated(found) == 60
    assert stream.repeated(found, held=20) == 60
    goal = target.target("t", [pooled(wanted(tmp_path), tmp_path)], 0.25, 0)
    weigher = select.Weigher(found, goal, Settings(), 0, tmp_path / "scores")
    for selector in SELECTORS:
        (picks,) = select.select([weigher], [1], select.Ask(selector, 30, distinct=True))
        assert len(np.unique(picks.content)) == 30
    with pytest.raises(UsageError, match="31 documents are wanted"):
        select.select([weigher], [1], select.Ask("dsir", 31, distinct=True))
    assert len(select.select([weigher], [1], select.Ask("dsir", 90))[0]) == 90  # k = N


def test_gumbel_draws_follow_the_weights(tmp_path):
    """The chance of each document among the first two, drawn without replacement, against its exact value."""
    file = tmp_path / "raw.jsonl"
    file.write_text("".join(json.dumps({"id": str(n), "text": "x"}) + "\n" for n in range(4)), encoding="utf-8")
    found = pooled(file, tmp_path)
    weight = np.array([1.0, 2.0, 3.0, 4.0])
    scores = stream.score(found, lambda features: np.log(weight), tmp_path / "scores")
    share = weight / weight.sum()
    exact = share + [sum(share[j] * share[i] / (1 - share[j]) for j in range(4) if j != i) for i in range(4)]
    hits = np.zeros(4)
    draws = 1500
    for seed in range(draws):
        hits[stream.best(found, 2, stream.Draw("dsir", seed), scores).row] += 1
    error = np.sqrt(exact * (1 - exact) / draws)
    assert (np.abs(hits / draws - exact) < 4 * error).all()


def test_held_out_documents_are_not_fitted(tmp_path):
    found = pooled(wanted(tmp_path, count=200), tmp_path)
    goal = target.target("t", [found], 0.25, 5)
    assert goal.documents + goal.held_documents == 200
    assert 25 < goal.held_documents < 80
    assert (goal.fitted + goal.held == found.counts).all()
    assert (goal.features().counts() == goal.fitted).all()
    assert (goal.features(fitted=False).counts() == goal.held).all()
    assert isinstance(goal.features(most=20), Features)
    assert len(goal.features(most=20)) == 20
    for share in (-0.1, 1.0):
        with pytest.raises(UsageError, match="held-out"):
            target.target("t", [found], share, 5)
    one = tmp_path / "one.jsonl"
    one.write_text('{"text": "a b"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="at least one on either side"):
        target.target("t", [pooled(one, tmp_path)], 0.25, 5)


def test_a_worker_that_is_killed_is_named():
    with pytest.raises(MissingPartError, match="worker process was ended"):
        list(workers.Crew(2).run(_die, None, [("a", 1, 1), ("b", 2, 1)]))


def _die(job, setting):
    os.kill(os.getpid(), signal.SIGKILL)


def test_nothing_to_select_from(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="no document with any word"):
        pooled(empty, tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DataError, match="an empty folder"):
        pooled(folder, tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        pooled(tmp_path / "absent", tmp_path)
