"""Published figures become entries: every value as given, and files that are none refused."""

import csv
import json
from pathlib import Path

from posbench.cli import main
from posbench.leaderboard import entry

COMMITTED = Path(__file__).parents[1] / "leaderboard" / "results"
AGGREGATE = {
    f"m{m}": {
        pair: {f"{name}{length}": 0.01 * (m + s + k) for k, name in enumerate(("nDCG@10", "PSI"))
               for length in ("", "(Q1)", "(Q2)", "(Q3)", "(Q4)")}
        for s, pair in enumerate(("eng-eng", "fra-eng"))
    }
    for m in range(3)
}  # fmt: skip


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
    for file in tmp_path.rglob("published.json"):
        assert file.read_bytes() == (COMMITTED / file.relative_to(tmp_path)).read_bytes()
