"""Reading raw text: every format, what is odd in it, and the faults that data-selection 1.0.3 dies of."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench.dsir import noise, pool, reading, sources
from posbench.dsir.features import FeatureSpec
from posbench.dsir.sources import Fields, Source
from posbench.errors import DataError
from posbench.store import Cache
from posbench.types import strings

BIG = 1 << 24


PLAIN = Fields()


def read(path, fields=PLAIN, size=BIG):
    batches = [reading.read(shard, fields) for shard in sources.of_path(path).shards(size)]
    texts = [text for batch in batches for text in batch.texts.to_pylist()]
    ids = [one for batch in batches for one in (batch.ids or strings([None] * len(batch.texts))).to_pylist()]
    return texts, ids, [batch.notes for batch in batches]


def lines(path, rows):
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return path


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_lines_at_any_cut(tmp_path, size):
    rows = [{"_id": f"n{n}", "text": "äß " * n + "end", "more": [n]} for n in range(12)]
    body = b"\r\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows)
    file = lines(tmp_path / "a.jsonl", [b"\xef\xbb\xbf", body])
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    for path in (file, packed):
        texts, ids, _ = read(path, size=size)
        assert texts == [row["text"] for row in rows]
        assert ids == [row["_id"] for row in rows]


def test_blank_lines_are_no_documents(tmp_path):
    file = lines(tmp_path / "a.jsonl", [b"\n", {"text": "a"}, b"\n\n   \n", {"text": "b"}, b"\n\n"])
    assert read(file)[0] == ["a", "b"]
    shard = next(iter(sources.of_path(file).shards()))
    assert [line for _, line in reading.records(shard, [1], Fields())] == [b'{"text": "b"}']


def test_lone_surrogates_are_replaced_and_counted(tmp_path):
    file = lines(tmp_path / "a.jsonl", [b'{"text": "ok"}\n{"text": "x\\ud800y"}\n'])
    texts, _, notes = read(file)
    assert texts == ["ok", "x�y"]
    assert notes == [{"lone_surrogates_replaced": 1}]
    shard = next(iter(sources.of_path(file).shards()))
    assert reading.records(shard, [1], Fields())[0][1] == b'{"text": "x\\ud800y"}'  # the record itself stays


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (b'{"text": "x"', "line 3: not a JSON object in UTF-8"),
        (b'{"text": "\xff"}', "line 3: not a JSON object in UTF-8"),
        (b"[1]", "line 3: a JSON list; expected an object"),
        (b'{"body": "x"}', "line 3: no text in field 'text' .fields: body.; name another with --text-field"),
        (b'{"text": 5}', "line 3: no text in field"),
        (b'{"text": null}', "line 3: no text in field"),
        (b'{"text": "a"} {"text": "b"}', "line 3: not a JSON object"),
    ],
)
@pytest.mark.parametrize("size", [10, BIG])
def test_a_broken_line_is_named_or_left_out(tmp_path, broken, says, size):
    file = lines(tmp_path / "a.jsonl", [b'{"text": "one"}\n\n', broken, b'\n{"text": "four"}\n'])
    with pytest.raises(DataError, match=says):
        read(file, size=size)
    texts, _, notes = read(file, Fields(drop_faults=True), size)
    assert texts == ["one", "four"]
    assert sum(note.get("broken_records", 0) for note in notes) == 1


def test_rows_stay_those_of_the_file_where_lines_are_left_out(tmp_path):
    file = lines(tmp_path / "a.jsonl", [b'{"id": 1, "text": "one"}\nnonsense\n{"id": 3, "text": "three"}\n'])
    fields = Fields(drop_faults=True)
    shard = next(iter(sources.of_path(file).shards()))
    batch = reading.read(shard, fields)
    assert batch.rows.tolist() == [0, 2]
    assert reading.records(shard, [2], fields) == [("3", b'{"id": 3, "text": "three"}')]


def test_ids_are_numbers_or_text_or_absent(tmp_path):
    file = lines(tmp_path / "a.jsonl", [b'{"id": 7, "text": "a"}\n{"id": 8, "text": "b"}\n'])
    assert read(file)[1] == ["7", "8"]
    mixed = lines(tmp_path / "b.jsonl", [b'{"id": 7, "text": "a"}\n{"id": "x", "text": "b"}\n'])
    assert read(mixed)[1] == ["7", "x"]
    other = lines(tmp_path / "c.jsonl", [b'{"key": "k", "text": "a"}\n'])
    assert read(other)[1] == [None]
    assert read(other, Fields(id="key"))[1] == ["k"]
    with pytest.raises(DataError, match="no field 'absent'"):
        read(other, Fields(id="absent"))


def test_a_record_without_the_id_that_others_have_is_named_or_left_out(tmp_path):
    file = lines(tmp_path / "a.jsonl", [b'{"id": "1", "text": "a"}\n{"text": "b"}\n{"id": null, "text": "c"}\n'])
    with pytest.raises(DataError, match="line 2: no field 'id' to take the id from"):
        read(file)
    assert read(file, Fields(drop_faults=True))[1] == ["1"]
    null = lines(tmp_path / "b.jsonl", [b'{"id": null, "_id": "2", "text": "a"}\n'])
    assert read(null)[1] == ["2"]


def test_a_folder_and_its_sub_folder_have_ids_and_labels_of_their_own(tmp_path):
    file = tmp_path / "all" / "part" / "inner" / "a.txt"
    file.parent.mkdir(parents=True)
    file.write_text("some words", encoding="utf-8")
    found = []
    for folder in (tmp_path / "all", tmp_path / "all" / "part"):
        how = pool.Reading(Fields(labels=("folder",)))
        (block,) = pool.pool(sources.of_path(folder), how, Cache(tmp_path / "cache")).blocks()
        found.append((block.ids[0], block.labels["folder"][0]))
    ids = noise.hashes(["part/inner/a.txt", "inner/a.txt"])
    assert found == [(ids[0], "part"), (ids[1], "inner")]


def test_packed_lines_cut_otherwise_are_read_anew(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b"".join(b'{"id": "%d", "text": "word%d"}\n' % (n, n) for n in range(50))))
    for size in (100, 1000, 1 << 20):
        found = pool.pool(sources.of_path(file), pool.Reading(shard_bytes=size), Cache(tmp_path / "cache"))
        assert len(found) == 50


def test_the_id_is_one_field_in_all_of_a_file(tmp_path):
    """Whatever the cut: a later part that has another field beside does not take its ids from there."""
    rows = [{"text": f"text {n}", "docno": f"d{n}"} | ({"id": n} if n > 5 else {}) for n in range(12)]
    file = lines(tmp_path / "a.jsonl", [json.dumps(row).encode() + b"\n" for row in rows])
    for size in (30, 100, BIG):
        assert read(file, size=size)[1] == [f"d{n}" for n in range(12)]


def test_a_large_row_group_is_read_in_pieces(tmp_path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": list(range(500)), "text": [f"text number {n}" for n in range(500)]}), file)
    shards = list(sources.of_path(file).shards(1000))
    assert len(shards) > 5
    texts, ids, _ = read(file, size=1000)
    assert texts == [f"text number {n}" for n in range(500)]
    assert ids == [str(n) for n in range(500)]
    rows = reading.read(shards[3], PLAIN).texts.to_pylist()
    assert json.loads(reading.records(shards[3], [2], PLAIN)[0][1])["text"] == rows[2]


def test_parquet(tmp_path):
    file = tmp_path / "a.parquet"
    table = pa.table({"docno": [1, 2, 3], "body": ["a", None, "c"], "kind": ["x", None, "y"]})
    pq.write_table(table, file, row_group_size=2)
    fields = Fields(text="body", labels=("kind",))
    with pytest.raises(DataError, match="row group 0, row 1: no text"):
        read(file, fields)
    texts, ids, notes = read(file, Fields(text="body", labels=("kind",), drop_faults=True))
    assert (texts, ids, notes[0]) == (["a", "c"], ["1", "3"], {"broken_records": 1})
    with pytest.raises(DataError, match="no column 'text'; it has docno, body, kind"):
        read(file)
    shard = list(sources.of_path(file).shards())[1]
    assert reading.records(shard, [0], fields) == [("3", b'{"docno": 3, "body": "c", "kind": "y"}')]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a readable parquet file"):
        read(file, fields)


def test_a_folder_of_texts(tmp_path):
    for name, data in {
        "b/two.txt": "zwei ä".encode(),
        "a/one.md": b"\xef\xbb\xbfeins",
        "junk.bin": b"\x00\x01\x02",
        "latin.txt": "ä".encode("latin-1"),
        ".hidden/x.txt": b"no",
        "empty.txt": b"",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(data)
    texts, ids, notes = read(tmp_path, Fields(labels=("folder",)))
    assert dict(zip(ids, texts, strict=True)) == {"a/one.md": "eins", "b/two.txt": "zwei ä", "empty.txt": ""}
    assert notes == [{"files_that_are_not_text": 2}]
    shard = next(iter(sources.of_path(tmp_path).shards()))
    batch = reading.read(shard, Fields(labels=("folder",)))
    assert batch.labels["folder"].to_pylist() == ["a", "b", ""]
    found = reading.records(shard, [int(batch.rows[1])], Fields())
    assert [(name, json.loads(line)) for name, line in found] == [("b/two.txt", {"id": "b/two.txt", "text": "zwei ä"})]
    with pytest.raises(DataError, match="its one label is 'folder'"):
        read(tmp_path, Fields(labels=("kind",)))


def test_damaged_gzip(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-12])
    with pytest.raises(DataError, match="truncated or damaged"):
        read(file)


def test_texts_in_memory_and_several_sources(tmp_path):
    one = Source(
        "m", ids=strings(["a", "b", "c"]), texts=strings(["x", "y z", "w"]), labels={"k": strings(list("123"))}
    )
    file = lines(tmp_path / "a.jsonl", [{"id": "f", "text": "file"}])
    both = sources.together([one, sources.of_path(file)])
    batches = [reading.read(shard, Fields()) for shard in both.shards(2)]
    assert [text for batch in batches for text in batch.texts.to_pylist()] == ["x", "y z", "w", "file"]
    with pytest.raises(DataError, match="no label 'absent'; it has k"):
        [reading.read(shard, Fields(labels=("absent",))) for shard in one.shards()]


def test_limits_and_empty_documents_are_counted(tmp_path):
    rows = ["", "  ", "one", "two words", "three words here", "!"]
    file = lines(tmp_path / "a.jsonl", [json.dumps({"text": text}).encode() + b"\n" for text in rows])
    found = pool.pool(sources.of_path(file), pool.Reading(spec=FeatureSpec(buckets=50)), Cache(tmp_path / "c"))
    assert len(found) == 4
    assert found.notes == {"empty_documents": 2}
    limits = pool.Limits(shortest=2, longest=2)
    found = pool.pool(
        sources.of_path(file), pool.Reading(spec=FeatureSpec(buckets=50), limits=limits), Cache(tmp_path / "c")
    )
    assert len(found) == 1
    assert found.notes == {"documents_too_long": 1, "documents_too_short": 2, "empty_documents": 2}
    assert found.block(0).rows.tolist() == [3]


def test_short_texts_are_not_filtered(tmp_path):
    """data-selection writes no row at all where every text has fewer than 100 tokens."""
    file = lines(tmp_path / "a.jsonl", [json.dumps({"text": f"query {n}"}).encode() + b"\n" for n in range(20)])
    assert len(pool.pool(sources.of_path(file), pool.Reading(), Cache(tmp_path / "c"))) == 20


def test_a_changed_file_is_read_again(tmp_path):
    file = lines(tmp_path / "a.jsonl", [{"text": "a b c"}])
    first = pool.pool(sources.of_path(file), pool.Reading(), Cache(tmp_path / "c"))
    lines(file, [{"text": "d e f g"}])
    second = pool.pool(sources.of_path(file), pool.Reading(), Cache(tmp_path / "c"))
    assert first.fingerprint != second.fingerprint
    second.drop()
    with pytest.raises(DataError, match="are gone"):
        second.block(0)
