"""Published figures become entries: every value as given, files that are none refused; TREC runs become results."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench import bias, experiment
from posbench.bias.posir import official
from posbench.cli import main
from posbench.errors import DataError
from posbench.leaderboard import entry, folder
from posbench.leaderboard.boards import Found, boards
from posbench.store import Results

COMMITTED = Path(__file__).parents[1] / "leaderboard" / "results"
HOSTILE = ("../../up", "=1+1", "<script>alert(1)</script>", "a\nb", "\N{RIGHT-TO-LEFT OVERRIDE}x", "..", "x" * 90)


def aggregate(*models):
    keys = [(name, length) for name in ("nDCG@10", "PSI") for length in ("", "(Q1)", "(Q2)", "(Q3)", "(Q4)")]
    return {
        model: {
            pair: {f"{name}{length}": round(0.01 * (m + s + k), 3) for k, (name, length) in enumerate(keys)}
            for s, pair in enumerate(("eng-eng", "fra-eng"))
        }
        for m, model in enumerate(models)
    }


def task(name="ArguAna", split="test", scores=(0.25, 0.75), **more):
    subsets = [
        {"hf_subset": f"s{i}", "main_score": score, "ndcg_at_10": score, "nauc_ndcg_at_1_max": float("nan")}
        for i, score in enumerate(scores)
    ]
    return {"task_name": name, "mteb_version": "2.1.1", "scores": {split: subsets}, **more}


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def read_all(root):
    return {(one.data.board, one.model.name): one for one in map(entry.read, entry.files([root]))}


def test_every_figure_of_the_paper_is_entered_as_it_is_given(shared, tmp_path):
    path = shared / "posir" / "paper_metrics_10_models.json"
    assert main(["import", str(path), "--as", "posir", "--to", str(tmp_path), "--quiet"]) == 0
    given, found = json.loads(path.read_text()), read_all(tmp_path)
    assert len(found) == len(given) == 10
    for name, settings in given.items():
        one = found["PosIR", name]
        assert one.origin == "published"
        assert one.source.url.endswith("Ziyang1060/PosIR")
        assert "2601.08363" in one.source.title
        assert one.model.parameters
        assert one.model.licence
        assert len(one.settings()) == 18
        for setting, figures in settings.items():
            for key, value in figures.items():
                measure, _, length = key.removesuffix(")").partition("(")
                assert one.figures[measure][setting][length or "all"].value == value
    assert all(file.stat().st_size < 25_000 for file in tmp_path.rglob("*.json"))


def test_every_score_of_mteb_is_entered_with_its_version_and_revision(shared, tmp_path):
    path = shared / "mteb_retrieval_scores.csv"
    assert main(["import", str(path), "--as", "mteb", "--to", str(tmp_path), "--quiet"]) == 0
    found = read_all(tmp_path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert sum(len(one.settings()) for one in found.values()) == len(rows) == 180
    for row in rows:
        one = found["MTEB retrieval", row["posir_name"]]
        assert one.figures["main score"][row["task"]]["all"].value == float(row["main_score"])
        about = one.details["tasks"][row["task"]]
        assert (about["mteb_version"], about["model_revision"]) == (row["mteb_version"], row["model_revision"])
        assert row["model_revision"] in one.source.note
        assert row["mteb_version"] in one.source.note
    assert "LEMBPasskeyRetrieval is of split test_1024" in found["MTEB retrieval", "bge-m3"].source.note


def test_the_committed_entries_are_what_the_commands_make(shared, tmp_path):
    main(["import", str(shared / "posir" / "paper_metrics_10_models.json"), "--as", "posir", "--to", str(tmp_path)])
    main(["import", str(shared / "mteb_retrieval_scores.csv"), "--as", "mteb", "--to", str(tmp_path)])
    made = sorted(tmp_path.rglob("published.json"))
    assert len(made) == 20
    for file in made:
        assert file.read_bytes() == (COMMITTED / file.relative_to(tmp_path)).read_bytes()


def test_the_committed_entries_make_two_boards():
    found = [Found(entry.read(path), path) for path in COMMITTED.rglob("published.json")]
    assert [(one.name, len(one.models), len(one.settings)) for one in boards(found)] == [
        ("MTEB retrieval", 10, 18),
        ("PosIR", 10, 18),
    ]


def test_an_entry_is_written_and_read_back_and_one_setting_stands_on_one_line(tmp_path):
    put(tmp_path / "all.json", aggregate("m"))
    main(["import", str(tmp_path / "all.json"), "--as", "posir", "--to", str(tmp_path / "to"), "--quiet"])
    path = tmp_path / "to" / "PosIR" / "m" / "published.json"
    one = entry.read(path)
    details = {"nan": float("nan"), "text": "\N{SNOWMAN}\n<", "empty": {}, "long": list(range(90))}
    more = type(one)(one.model, one.data, one.origin, one.figures, details=details)
    entry.write(more, tmp_path / "again.json")
    back = entry.read(tmp_path / "again.json")
    assert back.figures == one.figures
    assert back.details == {**details, "nan": None}
    text = path.read_text()
    line = next(line for line in text.splitlines() if '"fra-eng"' in line)
    assert all(f'"{length}"' in line for length in ("all", "Q1", "Q4"))
    assert max(map(len, text.splitlines())) <= 180


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A stored result of bm25 on a collection with evidence."""
    root = tmp_path_factory.mktemp("evaluated")
    settings = experiment.Settings(out=root / "out", cache=root / "cache")
    return experiment.run("posir-mini/spa", "bm25", settings).result


def authors_files(report, root, model="some-model", pair="spa-spa"):
    """Per-query values as PosIR's eval.py writes them: MODEL/PAIR/DOMAIN.json."""
    domains = {}
    for row in report.queries.to_pylist():
        names = {"ndcg_cut_10": "nDCG@10", "recall_100": "R@100"}
        domains.setdefault(row["domain"], {})[row["query_id"]] = {
            "pos_char_span": [row["span_start"], row["span_end"]],
            "pos_char_length": row["doc_chars"],
            "pos_token_length": row["doc_tokens"],
            "scores": {**{theirs: row[ours] for theirs, ours in names.items()}, "P_5": 0.2},
        }
    for domain, values in domains.items():
        content = {"domain": domain, "model_name": model, "evaluation_results": values, "overall_scores": {}}
        content |= {"queries_path": f"B/{pair[:3]}-X/{domain}/queries.parquet"}
        content |= {"corpus_path": f"B/{pair[4:]}-X/{domain}/corpus.parquet"}
        put(root / model / pair / f"{domain}.json", content)
    return domains


def test_the_authors_per_query_files_give_the_official_columns_and_intervals(evaluated, tmp_path):
    report = evaluated.report()
    domains = authors_files(report, tmp_path / "in")
    assert main(["import", str(tmp_path / "in"), "--as", "posir", "--to", str(tmp_path / "to"), "--quiet"]) == 0
    one = entry.read(tmp_path / "to" / "PosIR" / "some-model" / "published.json")
    columns = {name: report.queries[name].to_numpy() for name in ("span_start", "span_end", "doc_chars", "doc_tokens")}
    middle = (columns["span_start"] + columns["span_end"]) / 2
    expected = official(report.values("nDCG@10"), middle / columns["doc_chars"], columns["doc_tokens"])
    for key, value in expected.items():
        measure, _, length = key.removesuffix(")").partition("(")
        if not np.isnan(value):
            assert one.figures[measure]["spa-spa"][length or "all"].value == pytest.approx(value, abs=1e-12)
    whole = one.figures["nDCG@10"]["spa-spa"]["all"]
    assert whole.low < whole.value < whole.high
    assert whole.queries == len(report.queries)
    assert one.figures["R@100"]["spa-spa"]["all"].value == pytest.approx(report.values("R@100").mean(), abs=1e-12)
    assert one.details["domains"] == {"spa-spa": len(domains)}
    table = pq.read_table(entry.per_query(one, tmp_path / "to" / "PosIR" / "some-model" / "published.json"))
    assert sorted(table["query_id"].to_pylist()) == sorted(report.queries["query_id"].to_pylist())
    documents = {(row["domain"], row["doc_id"]) for row in report.queries.to_pylist()}
    assert len(set(table["doc_id"].to_pylist())) <= len(documents)


def test_the_authors_gathered_file_says_the_same(evaluated, tmp_path):
    domains = authors_files(evaluated.report(), tmp_path / "in")
    gathered = {"spa-spa": {name: {"evaluation_results": values} for name, values in domains.items()}}
    put(tmp_path / "some-model.json", gathered)
    for name, source in (("a", tmp_path / "in"), ("b", tmp_path / "some-model.json")):
        main(["import", str(source), "--as", "posir", "--to", str(tmp_path / name), "--quiet"])
    one, other = (entry.read(next((tmp_path / name).rglob("*.json"))) for name in "ab")
    assert one.figures == other.figures
    assert one.queries == other.queries


def test_mteb_files_and_folders(tmp_path):
    place = tmp_path / "results" / "Org__some-model" / "abc123"
    put(place / "ArguAna.json", task())
    put(place / "Long.json", {**task("Long"), "scores": {"test_256": task()["scores"]["test"], "dev": []}})
    banking = {**task("Banking77"), "scores": {"test": [{"hf_subset": "default", "main_score": 0.9, "accuracy": 0.9}]}}
    put(place / "Banking77.json", banking)
    put(
        place / "model_meta.json",
        {"name": "Org/some-model", "revision": "abc123", "n_parameters": 5.68e8, "license": "mit"},
    )
    arguments = ["import", str(tmp_path / "results"), "--as", "mteb", "--to", str(tmp_path / "to")]
    assert main(arguments) == 2  # Long has two splits
    assert not (tmp_path / "to").exists()
    assert main([*arguments, "--split", "test_1024,test_256"]) == 0
    one = entry.read(tmp_path / "to" / "MTEB_retrieval" / "some-model" / "published.json")
    assert {name: figures["all"].value for name, figures in one.figures["main score"].items()} == {
        "ArguAna": 0.5,
        "Long": 0.5,
    }
    assert one.details["tasks"]["Long"]["split"] == "test_256"
    assert one.model.weights == "Org/some-model, revision abc123"
    assert (one.model.parameters, one.model.licence) == ("568M", "mit")


def test_a_file_that_posbench_exports_for_mteb_comes_back(evaluated, tmp_path):
    main(["export", str(evaluated.folder), "--format", "mteb-json", "--to", str(tmp_path / "out")])
    file = next((tmp_path / "out").glob("*.json"))
    assert main(["import", str(file), "--as", "mteb", "--to", str(tmp_path / "to")]) == 0
    one = entry.read(next((tmp_path / "to").rglob("published.json")))
    assert one.model.name == "bm25"
    value = one.figures["main score"]["posir-mini/spa-Latn"]["all"].value
    assert value == evaluated.report().values("nDCG@10").mean()


QUERY = {"pos_char_span": [2, 9], "pos_char_length": 20, "pos_token_length": 4, "scores": {"ndcg_cut_10": 1}}


def domain(**queries):
    paths = {"queries_path": "a/eng-X/d/q", "corpus_path": "a/eng-X/d/c"}
    return {"model_name": "m", "domain": "d", **paths, "evaluation_results": queries}


WRONG = {
    "not json": ("posir", "{", "not a readable JSON file"),
    "a list": ("posir", [1], "expected an object"),
    "out of range": ("posir", {"m": {"eng-eng": {**aggregate("m")["m"]["eng-eng"], "PSI": 7}}}, "m > eng-eng > PSI"),
    "a key missing": ("posir", {"m": {"eng-eng": {"nDCG@10": 0.5}}}, "m > eng-eng > nDCG@10(Q1)"),
    "no scores": ("posir", domain(q={"pos_char_span": [1, 2]}), "query q > scores"),
    "a span that ends first": ("posir", domain(q={**QUERY, "pos_char_span": [9, 2]}), "pos_char_span [9, 2]"),
    "no span": ("posir", domain(q=QUERY, r={**QUERY, "pos_char_span": None}), "query r: pos_char_span None"),
    "a score of 2": ("posir", domain(q={**QUERY, "scores": {"ndcg_cut_10": 2}}), "query q > scores > ndcg_cut_10: 2"),
    "no nDCG": ("posir", domain(q={**QUERY, "scores": {"P_5": 0}}), "no ndcg_cut_10"),
    "no languages": ("posir", {**domain(q=QUERY), "corpus_path": ""}, "no languages"),
    "no model": ("mteb", task(), "--of"),
    "another task": ("mteb", {**task(), "scores": {"test": [{"accuracy": 1.0}]}}, "no ndcg_at_10"),
    "a subset twice": ("mteb", {**task(), "scores": {"test": task()["scores"]["test"] * 2}}, "stands twice"),
    "a score of 40": ("mteb", {**task(scores=(40.0,)), "model": "m"}, "main_score: 40.0"),
    "another json": ("mteb", {"some": 1}, "found the keys some"),
    "posir's as mteb": ("mteb", aggregate("m"), "found the keys m"),
    "mteb's as posir": ("posir", task(), "expected an object"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_with_what_is_wrong_and_nothing_is_written(case, tmp_path, capsys):
    kind, content, message = WRONG[case]
    path = put(tmp_path / "in" / "file.json", content)
    good = put(tmp_path / "good.json", aggregate("good") if kind == "posir" else {**task("Other"), "model": "good"})
    assert main(["import", good, path, "--as", kind, "--to", str(tmp_path / "to"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert path in error
    assert not (tmp_path / "to").exists()


HEAD = "model,task,split,n_subsets,main_score,mteb_version,model_revision\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,task\nm,t\n", "no column split"),
        (HEAD + "m,t,test,1,none,2,r\n", "line 2: main_score"),
        (HEAD + "m,t,test,x,.5,2,r\n", "line 2: n_subsets"),
        (HEAD + "m,t,test,1,.5\n", "line 2: found another number"),
        (HEAD + "m,t,test,1,.5,2,r\n" * 2, "line 2 too"),
        ("", "no row"),
    ],
)
def test_wrong_tables_are_refused(text, message, tmp_path, capsys):
    path = put(tmp_path / "scores.csv", text)
    assert main(["import", path, "--as", "mteb", "--to", str(tmp_path / "to"), "--quiet"]) == 2
    assert message in capsys.readouterr().err


def test_what_is_there_is_overwritten_only_when_told(tmp_path, capsys):
    arguments = ["import", str(tmp_path / "all.json"), "--as", "posir", "--to", str(tmp_path / "to"), "--quiet"]
    put(tmp_path / "all.json", aggregate("m"))
    assert main(arguments) == 0
    before = (tmp_path / "to" / "PosIR" / "m" / "published.json").read_bytes()
    assert main(arguments) == 0  # the same again
    put(tmp_path / "all.json", aggregate("x", "m"))  # other figures of m
    capsys.readouterr()
    assert main(arguments) == 2
    assert "--replace" in capsys.readouterr().err
    assert not (tmp_path / "to" / "PosIR" / "x").exists()
    assert (tmp_path / "to" / "PosIR" / "m" / "published.json").read_bytes() == before
    assert main([*arguments, "--name", "second"]) == 0
    assert main([*arguments, "--replace"]) == 0
    assert (tmp_path / "to" / "PosIR" / "m" / "published.json").read_bytes() != before


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_in_the_folder(name, tmp_path):
    put(tmp_path / "in" / "all.json", aggregate(name))
    root = tmp_path / "a" / "b" / "to"
    assert main(["import", str(tmp_path / "in" / "all.json"), "--as", "posir", "--to", str(root), "--board", name]) == 0
    written = [path for path in tmp_path.rglob("*.json") if path.parent.name != "in"]
    assert len(written) == 1
    assert len(written[0].relative_to(root).parts) == 3
    one = entry.read(written[0])
    assert (one.model.name, one.data.board) == (name, name)


def test_two_names_of_one_folder_are_told_apart(tmp_path, capsys):
    put(tmp_path / "all.json", aggregate("a b", "a?b"))
    assert main(["import", str(tmp_path / "all.json"), "--as", "posir", "--to", str(tmp_path / "to")]) == 2
    assert "a b" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


def test_a_trec_run_becomes_the_result_that_eval_makes(shared, tmp_path, capsys):
    data = shared / "cacm"
    common = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--quiet"]
    assert main(["import", str(data / "cacm-bm25.txt"), "--as", "trec", "--dataset", str(data), *common]) == 0
    imported = Path(capsys.readouterr().out.strip())
    assert main(["eval", "--model", str(data / "cacm-bm25.txt"), "--dataset", str(data), "--json", *common]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert Path(summary["result"]) == imported
    assert (
        main(["import", str(data / "cacm-bm25.txt"), "--as", "trec", "--qrels", str(data / "qrels.cacm.txt"), *common])
        == 0
    )
    bare = Path(capsys.readouterr().out.strip())
    reports = {one.folder: one.report() for one in Results(tmp_path / "out").all()}
    for name, mean in summary["measures"].items():
        assert reports[imported].values(name).mean() == mean
        assert reports[bare].values(name).mean() == pytest.approx(mean, abs=1e-12)
    assert main(["submit", str(bare), "--to", str(tmp_path / "to")]) == 2
    assert "qrels alone" in capsys.readouterr().err


def test_runs_that_are_none_are_refused(tmp_path, capsys):
    run = put(tmp_path / "x.run", "q1 Q0 d1 1 2.5\n")
    qrels = put(tmp_path / "qrels", "q1 0 d1 1\n")
    arguments = ["import", "--as", "trec", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "c")]
    for more, message in (
        ([run], "none of --dataset and --qrels"),
        ([run, "--qrels", qrels, "--dataset", "posir-mini"], "both of"),
        ([run, "--qrels", qrels], "5 columns; expected 6"),
        ([str(tmp_path), "--qrels", qrels], "no such run file"),
        ([run, "--dataset", "posir-mini/spa"], "5 columns; expected 6"),
    ):
        assert main([*arguments, *more]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_per_query_files_are_the_same_bytes_for_the_same_rows(tmp_path):
    table = pa.table({"dataset": ["a", "a"], "query_id": pa.array(["1", "2"], pa.large_string()), "AP": [0.5, 0.25]})
    again = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    figures = {"AP": {"all": {"all": entry.Figure(0.375)}}}
    one = entry.Entry(entry.Model("m"), entry.Data("b", "d"), "here", figures)
    for name, rows in (("x", table), ("y", again)):
        folder.save([folder.New(one, "n", rows)], tmp_path / name)
    x, y = (tmp_path / name / "b" / "m" / "n.queries.parquet" for name in "xy")
    assert x.read_bytes() == y.read_bytes()
    assert pq.read_table(x).to_pylist() == table.to_pylist()
    shutil.copy(x, y.with_name("other"))
    y.write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="its content is not"):
        entry.per_query(entry.read(y.with_name("n.json")), y.with_name("n.json"))


def test_position_analysis_is_kept_with_the_figures(evaluated, tmp_path):
    authors_files(evaluated.report(), tmp_path / "in")
    main(["import", str(tmp_path / "in"), "--as", "posir", "--to", str(tmp_path / "to"), "--quiet"])
    one = entry.read(next((tmp_path / "to").rglob("published.json")))
    assert set(one.details["bias"]) == {"spa-spa"}
    own = bias.position_report(evaluated.report(), "nDCG@10")
    assert one.details["bias"]["spa-spa"]["official"] == pytest.approx(own["official"], nan_ok=True)
