"""posbench bias as a user runs it: tables, results, and what it says of broken ones."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from posbench import bias
from posbench.cli import main
from posbench.errors import DataError
from posbench.studies.simulated import Truth, simulate

CHARS = 10_000


def table(n=1500, **changes):
    made = simulate(n, Truth(primacy=0.3), 0).queries
    middle = np.round(made.relative * CHARS).astype(int)
    columns = {
        "query_id": [f"{i:05d}" for i in range(len(middle))],
        "doc_id": [f"d{i}" for i in made.cluster],
        "domain": [f"domain {i}" for i in made.stratum],
        "span_start": middle,
        "span_end": middle,
        "doc_chars": np.full(len(middle), CHARS),
        "doc_tokens": made.tokens,
        "score": made.score,
    }
    return pa.table({name: values for name, values in (columns | changes).items() if values is not None})


def written(path, content):
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(content, path)
    else:
        pq.write_table(content, path)
    return path


def run(capsys, *arguments):
    status = main(["bias", *map(str, arguments), "--shuffles", "200"])
    return status, capsys.readouterr()


@pytest.mark.parametrize("name", ["scores.csv", "scores.parquet"])
def test_a_table_is_analysed(tmp_path, capsys, name):
    path = written(tmp_path / name, table())
    status, out = run(capsys, "--table", path, "--json")
    assert status == 0
    (found,) = json.loads(out.out)["results"]
    assert found["tests"]["shape"] == "primacy"
    assert found["queries"] == len(table())
    report, remarks = bias.read_table(path)
    assert not remarks
    again = bias.position_report(report, bias.SCORE, shuffles=200)
    assert again["tests"] == found["tests"]


def test_ids_stay_text_and_absent_columns_are_remarked(tmp_path, capsys):
    path = written(tmp_path / "few.csv", table(domain=None, doc_tokens=None))
    report, remarks = bias.read_table(path)
    assert report.queries["query_id"][7].as_py() == "00007"
    assert len(remarks) == 2
    status, out = run(capsys, "--table", path)
    assert status == 0
    assert "no column domain" in out.err
    assert "primacy" in out.out


def test_several_are_one_family(tmp_path, capsys):
    paths = [written(tmp_path / f"{name}.parquet", table()) for name in "ab"]
    status, out = run(capsys, "--table", paths[0], "--table", paths[1], "--json")
    assert status == 0
    first, second = json.loads(out.out)["results"]
    p = first["tests"]["signed"]["all"]["p"]
    assert first["among"]["signed_p_holm"] == second["among"]["signed_p_holm"] == 2 * p
    assert run(capsys, "--table", paths[0], "--table", paths[1])[1].out.count("all together") == 1


def test_queries_without_evidence_are_left_out_and_counted(tmp_path, capsys):
    some = table()
    start = [None if i < 5 else value for i, value in enumerate(some["span_start"].to_pylist())]
    path = written(tmp_path / "t.parquet", table(span_start=pa.array(start, pa.int64())))
    _, out = run(capsys, "--table", path, "--json")
    (found,) = json.loads(out.out)["results"]
    assert found["without_evidence"] == 5


def changed(column, row, value):
    values = table()[column].to_pylist()
    values[row] = value
    return {column: values}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed("score", 3, float("nan")), "row 4, column score"),
        (changed("score", 3, float("inf")), "row 4, column score"),
        (changed("span_end", 2, -9), "row 3, column span_start"),
        (changed("query_id", 9, "00001"), "row 10, column query_id: found '00001'; expected each query once"),
        (changed("doc_id", 0, None), "row 1, column doc_id"),
        (changed("query_id", 0, ""), "row 1, column query_id"),
        (changed("span_end", 4, CHARS + 1), "row 5, column span_start"),
        (changed("doc_tokens", 4, -3), "row 5, column doc_tokens: found -3.0; expected a number above 0"),
        (changed("doc_chars", 4, float("inf")), "row 5, column doc_chars"),
        ({"score": None}, "no column score"),
        ({"score": ["high"] * len(table())}, "expected numbers"),
        ({"span_start": pa.nulls(len(table()), pa.int64())}, "no query has evidence at a known place"),
    ],
)
def test_a_broken_table_is_refused_in_one_line(tmp_path, capsys, changes, message):
    path = written(tmp_path / "t.parquet", table(**changes))
    status, out = run(capsys, "--table", path)
    assert status == 2
    assert message in out.err
    assert out.err.count("\n") == 1
    assert not out.out


def test_a_column_that_stands_twice_is_refused(tmp_path, capsys):
    twice = pa.Table.from_arrays([*table().columns, table()["score"]], [*table().column_names, "score"])
    status, out = run(capsys, "--table", written(tmp_path / "t.csv", twice))
    assert status == 2
    assert "column score stands twice" in out.err


def test_files_that_are_no_tables(tmp_path, capsys):
    (tmp_path / "t.parquet").write_text("no")
    for name in ("t.parquet", "absent.csv"):
        with pytest.raises(DataError, match="not a readable"):
            bias.read_table(tmp_path / name)
    status, out = run(capsys, tmp_path)
    assert status == 2
    assert "holds no result" in out.err


def test_stored_results_are_analysed(tmp_path, capsys):
    common = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main(["eval", "--model", "bm25", "--dataset", "posir-mini/spa", "--json", *common]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    status = main(["bias", "--json", *common])
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert status == 0
    assert found["official"]["nDCG@10"] == evaluated["measures"]["nDCG@10"]
    assert found["tests"] == evaluated["bias"]["tests"]
    assert main(["bias", evaluated["result"], "--measure", "RR@10", *common]) == 0
    assert "RR@10" in capsys.readouterr().out
