"""`posbench select` as a user runs it: files in, a folder and a report out."""

import html
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from posbench import plots
from posbench.cli import main
from posbench.plots import selection
from posbench.store import result_in
from posbench.studies.selection import drift, judge

WORDS = [f"word{n}" for n in range(300)]
SELECTORS = {"greedy", "logistic", "dsir", "tempered", "top-k", "random"}


def texts(count, low, high, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[low:high], rng.integers(5, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Raw text of two kinds, a target like one of them, and a second target."""
    folder = tmp_path_factory.mktemp("select")
    kinds = {"far": texts(240, 100, 300, 1), "near": texts(60, 0, 150, 2)}
    named = [(kind, n, text) for kind, some in kinds.items() for n, text in enumerate(some)]
    rows = [{"id": f"{kind}{n}", "text": text, "kind": kind} for kind, n, text in named]
    write(folder / "raw.jsonl", rows)
    write(folder / "target.jsonl", [{"text": text, "kind": "near"} for text in texts(80, 0, 120, 3)])
    write(folder / "other.jsonl", [{"text": text} for text in texts(40, 200, 300, 4)])
    return folder


def write(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def run(place, tmp_path, capsys):
    """Runs the command with a raw file and a target; gives status, output and errors."""

    def call(*options, raw="raw.jsonl", target="target.jsonl", to="out"):
        where = ["--to", str(tmp_path / to), "--out", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
        sources = ["--raw", str(place / raw), "--target", str(place / target)]
        status = main(["select", *sources, *where, "--buckets", "2000", *options])
        return status, *capsys.readouterr()

    return call


def test_selects_what_looks_like_the_target(run, tmp_path):
    status, out, _ = run("--size", "40", "--labels", "kind", "--json")
    assert status == 0
    found = json.loads(out)
    lines = [json.loads(line) for line in (tmp_path / "out" / "selected.jsonl").read_text().splitlines()]
    assert len({line["id"] for line in lines}) == 40
    near = sum(line["kind"] == "near" for line in lines) / 40
    assert near > 0.5  # of the raw text a fifth is
    assert found["drift"]["kind"]["selected"]["shares"]["near"] == pytest.approx(near)
    table = pq.read_table(tmp_path / "out" / "selected.parquet")
    assert table["id"].to_pylist() == [line["id"] for line in lines]
    assert sorted(table["rank"].to_pylist()) == list(range(1, 41))
    distance = found["divergence"]
    assert distance["selected"]["KL held out"] < distance["random"]["KL held out"]["single_low"]
    assert found["gain_over_random"][0]["low"] > 0
    assert {row["selector"] for row in found["comparison"]} == SELECTORS
    assert not any("collapse" in text or "no nearer" in text for text in found["warnings"])
    stored = json.loads((tmp_path / "out" / "selected.json").read_text())
    assert stored["summary"]["divergence"] == distance


def test_the_same_bytes_again_and_from_several_workers(run, tmp_path):
    run("--size", "30", "--no-compare")
    run("--size", "30", "--no-compare", "--workers", "2", "--cache", str(tmp_path / "other"), to="again")
    for name in ("selected.jsonl", "selected.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    status, out, _ = run("--size", "30", "--no-compare")
    assert status == 0
    assert "selected before" in out
    status, _, err = run("--size", "31", "--no-compare")
    assert status == 2
    assert "holds another selection" in err
    assert len((tmp_path / "out" / "selected.jsonl").read_text().splitlines()) == 30


def test_the_published_selector_says_that_it_collapses(run):
    _, out, _ = run("--size", "60", "--selector", "dsir")
    assert "the weights collapse: their effective sample size is" in " ".join(out.split())
    assert "effective sample size of DSIR's weights" in out


def test_separate_targets_and_proportions(run, place, tmp_path):
    status, out, _ = run(
        "--size",
        "40",
        "--target",
        str(place / "other.jsonl"),
        "--targets",
        "separate",
        "--proportions",
        "3,1",
        "--json",
    )
    assert status == 0
    assert list(json.loads(out)["selection"]["by_target"].values()) == [30, 10]
    table = pq.read_table(tmp_path / "out" / "selected.parquet").to_pylist()
    of_other = [row["id"] for row in table if row["target"].endswith("other.jsonl")]
    assert len(of_other) == 10
    assert sum(name.startswith("far") for name in of_other) >= 7
    status, _, err = run("--size", "40", "--targets", "separate", "--proportions", "3,1,2", to="wrong")
    assert status == 2
    assert "3 proportions for 1 targets" in err


def test_separate_targets_share_by_their_ngrams(run, place):
    several = ["--target", str(place / "other.jsonl"), "--targets", "separate", "--held-out", "0"]
    _, out, _ = run("--size", "50", *several, "--no-compare", "--json")
    lines = [(place / name).read_text(encoding="utf-8").splitlines() for name in ("target.jsonl", "other.jsonl")]
    held = [sum(2 * len(json.loads(line)["text"].split()) - 1 for line in some) for some in lines]
    assert list(json.loads(out)["selection"]["by_target"].values()) == [round(50 * one / sum(held)) for one in held]


def test_strata(run, tmp_path):
    _, out, _ = run("--size", "40", "--strata", "kind", "--quotas", "near=0.5,far=0.5", "--json")
    assert json.loads(out)["selection"]["quotas"] == {"far": 20, "near": 20}
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "out" / "selected.jsonl").read_text().splitlines()]
    assert kinds.count("near") == 20
    _, out, _ = run("--size", "40", "--strata", "kind", "--json", to="like-target")
    assert json.loads(out)["selection"]["quotas"] == {"far": 0, "near": 40}
    _, out, _ = run("--size", "40", "--strata", "length", "--quotas", "equal", "--json", to="length")
    assert list(json.loads(out)["selection"]["quotas"].values()) == [10, 10, 10, 10]
    status, _, err = run("--size", "40", "--strata", "kind", target="other.jsonl", to="no-kind")
    assert status == 2
    assert "other.jsonl has a field 'kind'" in err


def test_a_random_selection_is_not_one_of_the_random_draws_beside_it(run):
    _, out, _ = run("--size", "30", "--selector", "random", "--json")
    found = json.loads(out)
    rows = result_in(Path(found["result"])).report().queries.to_pylist()
    assert len({row["query_id"] for row in rows}) == len(rows)
    mine = [row for row in rows if row["ranker"] == "random" and row["size"] == 30]
    (chosen,) = (row for row in mine if row["draw"] == -1)
    assert found["divergence"]["selected"]["KL held out"] == chosen["KL held out"]
    others = [row["KL held out"] for row in mine if row["draw"] >= 0]
    assert found["divergence"]["random"]["KL held out"]["draws"] == len(others) == judge.RANDOM_DRAWS
    assert found["divergence"]["random"]["KL held out"]["mean"] == pytest.approx(np.mean(others))


def test_files_are_not_held_open(place, tmp_path):
    resource = pytest.importorskip("resource")
    rows = (place / "raw.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}.jsonl").write_text("".join(rows[3 * number : 3 * number + 3]), encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 60, limits[1]))
    try:
        where = ["--to", str(tmp_path / "out"), "--out", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
        assert main(["select", "--raw", str(folder), "--target", str(folder), "--size", "200", *where]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--size", "301"], "more than the 300 documents"),
        ([], "expected one of them"),
        (["--size", "3", "--share", ".5"], "expected one of them"),
        (["--share", "1.5"], "expected one of them"),
        (["--size", "40", "--strata", "kind", "--quotas", "near=1"], None),
        (["--size", "90", "--strata", "kind", "--quotas", "near=1"], "'near' has 60 of 90|near has 60 of 90"),
        (["--size", "40", "--strata", "kind", "--quotas", "blue=1"], "no stratum 'blue'; there are far, near"),
        (["--size", "40", "--strata", "kind", "--quotas", "most"], "expected target, raw, equal, or"),
        (["--size", "40", "--strata", "absent"], "has a field 'absent'"),
        (["--size", "40", "--labels", "absent"], "raw.jsonl has a field 'absent'"),
        (["--size", "40", "--quotas", "equal"], "--quotas without --strata"),
        (["--size", "40", "--selector", "best"], "no selector 'best'"),
        (["--size", "40", "--held-out", "1"], "expected a share from 0"),
        (["--size", "40", "--buckets", "1"], "expected 2 to"),
        (["--size", "40", "--ngrams", "9"], "expected 1 to 8"),
        (["--size", "40", "--min-tokens", "5000"], "no document with any word"),
        (["--size", "40", "--text-field", "body"], "no text in field 'body'"),
        (["--size", "40", "--workers", "0"], "expected 1 or more"),
        (["--size", "40", "--proportions", "a,b"], "expected numbers"),
    ],
)
def test_what_cannot_be_is_said(run, options, says):
    status, _, err = run(*options, "--no-compare")
    if says is None:
        assert status == 0
        return
    assert status == 2
    assert re.search(says, err), err
    assert "Traceback" not in err


def test_a_place_that_cannot_be_written_is_found_before_the_work(run, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    status, _, err = run("--size", "3", to="file/out")
    assert status == 2
    assert "file" in err
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "results").exists()


def test_repeated_ids_are_counted(run, place):
    write(place / "twice.jsonl", [{"id": f"n{n % 25}", "text": text} for n, text in enumerate(texts(30, 0, 99, 5))])
    _, out, _ = run("--size", "5", "--no-compare", "--json", raw="twice.jsonl")
    assert json.loads(out)["raw"]["repeated_ids"] == 5
    _, out, _ = run("--size", "5", "--no-compare", raw="twice.jsonl", to="shown")
    assert "5 documents of the raw text have another's id" in out


def test_absent_sources(run, tmp_path, capsys):
    status, _, err = run("--size", "3", raw="absent.jsonl")
    assert (status, "no such file or folder" in err) == (2, True)
    assert main(["select", "--to", str(tmp_path / "x"), "--size", "3"]) == 2
    assert "expected --raw and --target" in capsys.readouterr().err
    of_raw = ["--collection", "posir-mini/eng", "--quotas", "equal", "--distinct"]
    assert main(["select", "--to", str(tmp_path / "x"), "--target", str(tmp_path), *of_raw]) == 2
    assert "--quotas, --distinct with --collection" in capsys.readouterr().err


def test_a_collection_selects_too(tmp_path, place, capsys):
    where = ["--to", str(tmp_path / "out"), "--out", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]
    status = main(
        ["select", "--raw", "documents:posir-mini/eng", "--target", "queries:posir-mini/eng", "--share", "0.1", *where]
        + ["--no-compare", "--json"]
    )
    found = json.loads(capsys.readouterr().out)
    assert status == 0
    assert set(found["drift"]) >= {"length", "domain", "evidence"}
    first = json.loads((tmp_path / "out" / "selected.jsonl").read_text().splitlines()[0])
    assert set(first) >= {"id", "text", "domain"}


@pytest.mark.parametrize("kind", ["divergence", "weights", "words"])
def test_charts_show_the_stored_figures(run, kind):
    _, out, _ = run("--size", "40", "--json")
    found = json.loads(out)
    drawn = json.dumps(plots.draw([result_in(Path(found["result"]))], kind))
    expected = {
        "divergence": found["divergence"]["selected"]["KL held out"],
        "weights": f"{found['effective_sample_size'][0]['dsir']:,.1f}",
        "words": found["ngrams"][0]["selected"],
    }[kind]
    assert str(expected) in drawn


def test_runs_lists_the_figures_of_the_selection_itself(run, tmp_path, capsys):
    _, out, _ = run("--size", "40", "--json")
    assert main(["runs", "--out", str(tmp_path / "results"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["measures"] == json.loads(out)["divergence"]["selected"]


def test_words_with_quotation_marks_are_drawn(tmp_path):
    pytest.importorskip("vl_convert")
    sides = {"selected": 3.0, "random": 1.0, "target": 2.0}
    names = ["it 's", '" quoted "', "back\\slash", "plain"]
    rows = [{"ngram": name, "gained": n < 2, **sides} for n, name in enumerate(names)]
    plots.save(selection.words(rows, "about"), tmp_path / "words.svg")
    drawn = html.unescape((tmp_path / "words.svg").read_text(encoding="utf-8"))
    places = [drawn.index(f">{name}<") for name in names]
    assert places == sorted(places)


def test_figures_of_the_report():
    a, b = np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])
    assert drift.distance(a, b) == 0.5
    assert drift.distance(a, a) == 0
    assert drift.variation("aab", "abb") == pytest.approx(1 / 3)
    assert drift.shares("aab") == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}
    many = drift.shares([str(n) for n in range(20)])
    assert len(many) == 13
    assert many["(others)"] == pytest.approx(8 / 20)
    band = judge.band([1.0, 2.0, 3.0])
    assert band["mean"] == 2
    assert band["high"] == pytest.approx(2 + 4.302652729911275 / np.sqrt(3))  # Student's t of 2 degrees of freedom
    assert band["single_high"] == pytest.approx(2 + 4.302652729911275 * np.sqrt(4 / 3))
    words = drift.gained({"a": 50, "b": 50}, {"a": 10, "b": 90}, {"a": 1})
    assert [(row["ngram"], row["gained"]) for row in words] == [("a", True), ("b", False)]
    assert words[0]["selected"] == 500_000
