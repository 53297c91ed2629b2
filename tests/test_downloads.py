"""Files of the site: tables that read back as they are, the same bytes each time, and nothing that spreadsheets run."""

import csv
import io
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench.leaderboard import boards, folder, tidy
from posbench.leaderboard.boards import Found
from posbench.leaderboard.entry import Data, Entry, Figure, Model, Source
from posbench.site import downloads
from posbench.site.context import Site

NAMES = ("=cmd|' /C calc'!A0", "../../x", "+1", "-1+2", "@SUM(1)", "\t=1", "plain", "<script>", 'a,b"c\nd')


@pytest.fixture
def site(tmp_path):
    """Two boards of hostile names, one with per-query values, and a study."""
    rows = pa.table({"dataset": ["d", "d"], "query_id": ["1", "2"], "nDCG@10": [0.5, 1.0]})
    entries = []
    for i, name in enumerate(NAMES):
        figures = {"nDCG@10": {"x": {"all": Figure(i / 10, i / 20, i / 5, 7)}}, "PSI": {"x": {"Q1": Figure(-0.5)}}}
        details = {"settings": {"d": "x"}}
        one = Entry(Model(name), Data("B", "=d"), "published", figures, source=Source("@t", "u"), details=details)
        entries.append(folder.New(one, f"n{i}", rows if i < 3 else None))
    entries.append(folder.New(Entry(Model("m"), Data("=C", "d"), "here", {"AP": {"all": {"all": Figure(1.0)}}}), "n"))
    summary = {"sets": [{"recall": 0.5, "name": "=x", "none": None, "ok": True}], "n": 3}
    study = Entry(Model("m"), Data("h", "grid"), "here", kind="hnsw", details={"summary": summary})
    folder.save([*entries, folder.New(study, "s")], tmp_path / "results")
    found = tidy.read(tmp_path / "results")
    return Site(tuple(boards.boards(found)), tuple(one for one in found if one.entry.kind != "scores"))


def test_parquet_reads_back_as_the_table_and_csv_says_the_same(site):
    files = dict(downloads.files(site))
    tables = downloads.tables(site)
    assert [one.title for one in tables] == ["All boards", "=C", "B", "Studies"]
    for one in tables:
        assert pq.read_table(pa.BufferReader(files[f"{one.path}.parquet"])).equals(one.table)
        rows = list(csv.DictReader(io.StringIO(files[f"{one.path}.csv"].decode())))
        assert list(rows[0]) == one.table.column_names
        for row, own in zip(rows, one.table.to_pylist(), strict=True):
            for name, value in own.items():
                if isinstance(value, str):
                    assert row[name].removeprefix("'") == value
                else:
                    assert row[name] == "" if value is None else float(row[name]) == value


def test_every_figure_is_there(site):
    table = downloads.tables(site)[0].table
    expected = [
        (found.entry.data.board, model, setting, length, measure, figure.value, figure.low, figure.queries)
        for board in site.boards
        for model in board.models
        for found in board.entries[model]
        for measure, settings in found.entry.figures.items()
        for setting, lengths in settings.items()
        for length, figure in lengths.items()
    ]
    names = ("board", "model", "setting", "length", "measure", "value", "low", "queries")
    assert [tuple(row[name] for name in names) for row in table.to_pylist()] == expected
    assert len(expected) == 2 * len(NAMES) + 1


def test_no_cell_is_a_formula(site):
    for path, content in downloads.files(site):
        if path.endswith(".csv"):
            rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
            assert rows[1:]
            for text in (text for row in rows for text in row):
                number = text.lstrip("-").replace(".", "").isdigit()
                assert number or text[:1] not in ("=", "+", "-", "@", "\t", "\r")


def test_studies_are_rows_of_numbers_and_texts(site):
    table = downloads.tables(site)[-1].table
    assert table.column_names == tidy.STUDY_SCHEMA.names
    rows = {row["path"]: (row["value"], row["text"]) for row in table.to_pylist()}
    assert rows == {
        "sets[0].recall": (0.5, ""),
        "sets[0].name": (None, "=x"),
        "sets[0].ok": (None, "True"),
        "n": (3.0, ""),
    }


def test_per_query_values_are_the_files_beside_the_entries(site):
    files = dict(downloads.files(site))
    found = list(downloads.per_query(site))
    assert len(found) == 3
    for path, one in found:
        assert files[path] == one.table.read_bytes()


def test_paths_stay_in_their_folder_and_are_each_of_one_file(site):
    paths = [path for path, _ in downloads.files(site)]
    assert len(paths) == len(set(paths))
    for path in paths:
        assert path.startswith("downloads/")
        assert re.fullmatch(r"[A-Za-z0-9./-]+", path)
        assert not {"", ".", ".."} & set(path.split("/"))


def test_two_files_of_one_model_on_one_dataset_have_two_names(site, tmp_path):
    first = next(found for _, found in downloads.per_query(site))
    again = Found(first.entry, first.path, tmp_path / "copy.parquet")
    shutil.copy(first.table, again.table)
    twice = boards.boards([first, again])
    paths = [path for path, _ in downloads.per_query(Site(tuple(twice)))]
    assert len(set(paths)) == 2


def test_the_same_site_gives_the_same_bytes(site):
    assert list(downloads.files(site)) == list(downloads.files(site))


def test_the_page_leads_to_every_file(site):
    [page] = downloads.pages(site)
    assert (page.path, page.template) == ("downloads.html", "downloads.html")
    stems = {one["path"] for one in page.values["tables"]} | {one["path"] for one in page.values["queries"]}
    for path, _ in downloads.files(site):
        assert path in stems or path.rsplit(".", 1)[0] in stems
    pytest.importorskip("jinja2")
    from posbench.site.render import environment

    shared = {"page": page, "site": site, "navigation": (), "paths": {page.path}, "version": "0"}
    html = environment().get_template(page.template).render(shared | dict(page.values))
    assert "<script>" not in html
    for path, _ in downloads.files(site):
        assert f'href="{path}"' in html


def test_an_empty_site_has_a_page_and_no_file():
    [page] = downloads.pages(Site(()))
    assert page.values["tables"] == []
    assert list(downloads.files(Site(()))) == []
