"""Every layout from small files, every kind of broken input, and real collections."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from posbench.errors import DataError, MissingPartError, PosbenchError, RecipeError, UsageError
from posbench.loaders import LoadOptions, load, trec

TEXTS = {"a": "Bees keep honey in the comb.", "b": "A lens throws the beam seaward."}
DROP = LoadOptions(drop_faults=True)


def write_posir(folder, docs=None, queries=None, qrels=None):
    """One domain in PosIR's layout; rows may be changed to break it."""
    docs = docs or [{"_id": key, "text": text, "extra": 1} for key, text in TEXTS.items()]
    place = {"pos_char_span": [10, 27], "pos_char_length": 28, "pos_token_length": 8}
    queries = queries or [{"_id": "1", "text": "where is honey", **place}]
    qrels = qrels or [{"query-id": "1", "corpus-id": "a", "score": 1}]
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(docs), folder / "corpus.parquet")
    pq.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(qrels), folder / "qrels" / "test.parquet")
    return folder


def only(path, options=None):
    (collection,) = load(str(path), options or LoadOptions())
    return collection


def test_posir_domain_language_and_root(tmp_path):
    for domain in ("law", "sports"):
        write_posir(tmp_path / "eng-Latn" / domain)
    domain = only(tmp_path / "eng-Latn" / "law")
    assert domain.docs.to_pylist() == list(TEXTS.values())
    assert [column.tolist() for column in domain.evidence.columns()] == [[0], [0], [10], [27], [28], [8]]
    assert len(load(str(tmp_path / "eng-Latn"))) == len(load(str(tmp_path))) == 2
    assert load(str(tmp_path))[0].query_labels["domain"].to_pylist() == ["law"]


def test_posir_qrels_hold_more_queries_by_design(tmp_path):
    more = [{"query-id": query, "corpus-id": "a", "score": 1} for query in ("1", "7", "8")]
    found = only(write_posir(tmp_path / "law", qrels=more))
    assert len(found.qrels.docs) == 1
    assert found.notes["judgements_of_other_queries"] == 2


PLACE = {"pos_char_span": [10, 27], "pos_char_length": 28, "pos_token_length": 8}
BROKEN = {
    "a span outside": ({"queries": [{"_id": "1", "text": "q", **PLACE, "pos_char_span": [10, 99]}]}, "row 1.*99"),
    "a reversed span": ({"queries": [{"_id": "1", "text": "q", **PLACE, "pos_char_span": [9, 3]}]}, "row 1"),
    "an empty text": ({"docs": [{"_id": "a", "text": "x" * 28}, {"_id": "b", "text": " "}]}, "row 2, column text"),
    "a duplicate id": ({"docs": [{"_id": "a", "text": "x" * 28}] * 2}, r"row 2, column _id: id 'a' stands in .*row 1"),
    "an unknown document": (
        {"qrels": [{"query-id": "1", "corpus-id": "zz", "score": 1}]},
        "row 1, column corpus-id: no document has the id 'zz'",
    ),
    "a wrong type": ({"docs": [{"_id": "a", "text": 5}]}, "column text holds int64; expected strings"),
    "a missing column": ({"docs": [{"_id": "a", "body": "x"}]}, "no column text; found _id, body"),
    "a grade that is no number": ({"qrels": [{"query-id": "1", "corpus-id": "a", "score": "x"}]}, "column score"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_posir_names_file_row_and_column(tmp_path, fault):
    parts, message = BROKEN[fault]
    with pytest.raises(DataError, match=f"(?s){message}") as error:
        load(str(write_posir(tmp_path / "law", **parts)))
    assert ".parquet" in str(error.value)
    assert "\n" not in str(error.value)


def test_dropped_faults_are_counted(tmp_path):
    docs = [{"_id": "a", "text": TEXTS["a"]}, {"_id": "b", "text": ""}, {"_id": "a", "text": "again"}]
    qrels = [{"query-id": "1", "corpus-id": doc, "score": 1} for doc in ("a", "zz")]
    found = only(write_posir(tmp_path / "law", docs=docs, qrels=qrels), DROP)
    assert found.doc_ids.to_pylist() == ["a"]
    assert found.notes["empty_texts"] == found.notes["duplicate_ids"] == found.notes["unknown_ids"] == 1


def test_damaged_parquet_is_named(tmp_path):
    folder = write_posir(tmp_path / "law")
    data = (folder / "corpus.parquet").read_bytes()
    (folder / "corpus.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"corpus\.parquet: not a readable parquet file"):
        load(str(folder))


def write_beir(folder, corpus=None, qrels="query-id\tcorpus-id\tscore\n1\ta\t2\n"):
    (folder / "qrels").mkdir(parents=True)
    lines = corpus or [json.dumps({"_id": key, "title": "T", "text": text}) for key, text in TEXTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    queries = [{"_id": "1", "text": "honey"}, {"_id": "2", "text": "of another split"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


def test_beir(tmp_path):
    found = only(write_beir(tmp_path / "set"))
    assert found.docs.to_pylist() == [f"T {text}" for text in TEXTS.values()]
    assert found.query_ids.to_pylist() == ["1"]
    assert found.qrels.grades.tolist() == [2]
    (tmp_path / "set" / "corpus.jsonl.gz").write_bytes(gzip.compress((tmp_path / "set" / "corpus.jsonl").read_bytes()))
    (tmp_path / "set" / "corpus.jsonl").unlink()
    assert only(tmp_path / "set").fingerprint == found.fingerprint


def test_beir_as_the_hub_has_it(tmp_path):
    plain = only(write_beir(tmp_path / "set"))
    for kind in ("corpus", "queries"):
        rows = [json.loads(line) for line in (tmp_path / "set" / f"{kind}.jsonl").read_text().splitlines()]
        (tmp_path / "hub" / kind).mkdir(parents=True)
        table = pa.Table.from_pylist([{"title": "", **row} for row in rows])
        pq.write_table(table, tmp_path / "hub" / kind / f"{kind}-00000-of-00001.parquet")
    (tmp_path / "hub" / "qrels").mkdir()
    (tmp_path / "hub" / "qrels" / "test.tsv").write_text((tmp_path / "set" / "qrels" / "test.tsv").read_text())
    assert only(tmp_path / "hub").fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": ['{"_id": "a", "text": "x"}', '{"_id": "b"']}, r"corpus\.jsonl: line 2: not a JSON object"),
        ({"corpus": ['{"_id": "a"}']}, r"corpus\.jsonl: line 1.*missing required field `text`"),
        ({"corpus": ['{"_id": "a", "text": [1]}']}, r"corpus\.jsonl: line 1, column text: expected `str`"),
        ({"qrels": "1\ta\n"}, r"test\.tsv: line 1: 2 columns; expected 3"),
        ({"qrels": "q\td\ts\n1\ta\tx\n"}, r"test\.tsv: line 2, column score: 'x'; expected a whole number"),
        ({"qrels": "q\td\ts\n1\tzz\t1\n"}, r"test\.tsv: line 2, column corpus-id: no document has the id 'zz'"),
    ],
)
def test_broken_beir(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        load(str(write_beir(tmp_path / "set", **change)))


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"dev\.tsv: no such file; splits found: test"):
        load(str(write_beir(tmp_path / "set")), LoadOptions(split="dev"))


def squad(paragraphs):
    return {"data": [{"title": "t", "paragraphs": paragraphs}]}


def question(number, answer, start):
    return {"id": number, "question": f"what {number}", "answers": [{"text": answer, "answer_start": start}]}


def test_squad_paragraphs_and_articles(tmp_path):
    paragraphs = [
        {"context": TEXTS["a"], "qas": [question("1", "honey", 10)]},
        {"context": TEXTS["b"], "qas": [question("2", "lens", 2), {"id": "3", "question": "?", "answers": []}]},
    ]
    path = tmp_path / "set.json"
    path.write_text(json.dumps(squad(paragraphs)))
    found = only(path)
    assert found.evidence.start.tolist() == [10, 2]
    assert found.notes["questions_without_answers"] == 1
    article = only(path, LoadOptions(documents="article"))
    text = article.docs[0].as_py()
    assert text == "\n\n".join(TEXTS.values())
    assert [text[s:e] for s, e in zip(article.evidence.start, article.evidence.end, strict=True)] == ["honey", "lens"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a readable JSON file"),
        (b'{"data": [{"paragraphs": [{"context": 1}]}]}', r"at data\[0\]\.paragraphs\[0\]\.context: expected `str`"),
        (b'{"data": []}', "no question has an answer"),
        (b'{"data": [{"title": "\xff"}]}', "not a readable JSON"),
        (json.dumps(squad([{"context": "x", "qas": [question("1", "honey", 10)]}])).encode(), "question 1"),
    ],
)
def test_broken_squad(tmp_path, content, message):
    (tmp_path / "set.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "set.json"))


@pytest.mark.parametrize("language", ["en", "de", "es", "zh", "ar", "ru"])
@pytest.mark.parametrize("documents", ["paragraph", "article"])
def test_xquad(shared, language, documents):
    path = shared / "xquad" / f"xquad.{language}.json"
    found = only(path, LoadOptions(documents=documents))
    assert len(found.query_ids) == 1190
    assert len(found.doc_ids) == (240 if documents == "paragraph" else 48)
    answers = {
        item["id"]: item["answers"][0]["text"]
        for article in json.loads(path.read_text())["data"]
        for paragraph in article["paragraphs"]
        for item in paragraph["qas"]
    }
    texts, ids = found.docs.to_pylist(), found.query_ids.to_pylist()
    for query, doc, start, end in zip(*found.evidence.columns()[:4], strict=True):
        assert texts[doc][start:end] == answers[ids[query]]


def test_cacm_and_cranfield(shared):
    cacm = only(shared / "cacm")
    assert (len(cacm.doc_ids), len(cacm.query_ids)) == (3204, 52)
    # As trec_eval counts: a judged document that is not there is relevant and never found.
    assert cacm.notes["judgements_of_absent_documents"] == 55 == int((cacm.qrels.docs >= 3204).sum())
    assert len(cacm.qrels.docs) == len((shared / "cacm" / "qrels.cacm.txt").read_text().splitlines())
    assert only(shared / "cacm", DROP).qrels.docs.max() < 3204
    cranfield = only(shared / "cranfield", DROP)
    # The copy at hand has five foreign records at its end; two of the abstracts are empty.
    assert (len(cranfield.doc_ids), len(cranfield.query_ids)) == (1400 + 5 - 2, 225)
    assert set(cranfield.qrels.grades.tolist()) == {0, 1, 2, 3, 4}


def test_trec_sgml_in_several_files(tmp_path):
    for name in "ab":
        text = f"<DOC><DOCNO> {name} </DOCNO><TEXT>{name} &lt; c <b>and</b> 2 < 3</TEXT></DOC>"
        (tmp_path / f"{name}.trec").write_text(text)
    (tmp_path / "topics.txt").write_text("<top><num> Number: 1 <title> comparing\n</top>")
    (tmp_path / "qrels.txt").write_text("1 0 b 1\n")
    found = only(tmp_path)
    assert found.docs.to_pylist() == ["a < c and 2 < 3", "b < c and 2 < 3"]
    assert found.queries.to_pylist() == ["comparing"]


def test_a_damaged_gzip_is_named(tmp_path):
    folder = write_beir(tmp_path / "set")
    packed = bytearray(gzip.compress((folder / "corpus.jsonl").read_bytes() * 50))
    packed[len(packed) // 2] ^= 0xFF
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.jsonl.gz").write_bytes(packed[:-10])
    with pytest.raises(DataError, match=r"corpus\.jsonl\.gz: (not readable|line)"):
        load(str(folder))


def test_jsonl(tmp_path):
    docs = [{"id": key, "text": text, "domain": "x"} for key, text in TEXTS.items()]
    asked = {"id": "1", "text": "honey?", "positives": ["a"], "evidence": {"doc": "a", "start": 10, "end": 15}}
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in docs))
    (tmp_path / "queries.jsonl").write_text(json.dumps(asked) + "\n")
    found = only(tmp_path)
    assert found.evidence.doc_chars.tolist() == [len(TEXTS["a"])]
    assert found.doc_labels["domain"].to_pylist() == ["x", "x"]
    (tmp_path / "evidence.jsonl").write_text('{"query": "1", "doc": "a", "start": 0, "end": 4}\n')
    assert only(tmp_path).evidence.end.tolist() == [4]
    (tmp_path / "evidence.jsonl").unlink()
    (tmp_path / "qrels.txt").write_text("1 0 b 3\n")
    assert only(tmp_path).qrels.grades.tolist() == [3]
    (tmp_path / "queries.jsonl").write_text(json.dumps({**asked, "evidence": {"doc": "a", "start": 10, "end": 99}}))
    with pytest.raises(DataError, match=r"queries\.jsonl: line 1, column evidence"):
        load(str(tmp_path))


def write_jsonl(folder, **rows):
    for name, records in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))


def test_a_title_moves_the_evidence(tmp_path):
    docs = [{"id": "a", "title": " Bees ", "text": TEXTS["a"], "group": "g"}, {"id": "b", "text": TEXTS["b"]}]
    place = {"doc": "a", "start": 10, "end": 15}
    write_jsonl(tmp_path, documents=docs, queries=[{"id": "1", "text": "honey?", "evidence": place}])
    found = only(tmp_path)
    text = found.docs[0].as_py()
    assert text == f"Bees\n{TEXTS['a']}"
    assert text[found.evidence.start[0] : found.evidence.end[0]] == TEXTS["a"][10:15]
    assert found.evidence.doc_chars.tolist() == [len(text)]
    assert found.doc_labels["group"].to_pylist() == ["g", ""]
    for bad in ({"start": -3, "end": 4}, {"start": 10, "end": len(TEXTS["a"]) + 1}):
        write_jsonl(tmp_path, queries=[{"id": "1", "text": "honey?", "evidence": place | bad}])
        with pytest.raises(
            DataError, match=rf"span \[{bad['start']}, {bad['end']}\].*expected .* <= {len(TEXTS['a'])}"
        ):
            load(str(tmp_path))


def packed(folder):
    """The same folder with every file gzipped."""
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return folder


def test_gzipped_folders_read_alike(tmp_path):
    mine, trec_style, beir = (tmp_path / name for name in ("mine", "trec", "beir"))
    for folder in (mine, trec_style, beir / "qrels"):
        folder.mkdir(parents=True)
    docs = [{"id": key, "text": text} for key, text in TEXTS.items()]
    write_jsonl(mine, documents=docs, queries=[{"id": "1", "text": "honey?"}])
    write_jsonl(mine, evidence=[{"query": "1", "doc": "a", "start": 0, "end": 4}])
    (mine / "qrels.tsv").write_text("1\ta\t2\n")
    (trec_style / "docs.trec").write_text("<DOC><DOCNO>a</DOCNO>bees</DOC><DOC><DOCNO>b</DOCNO>beams</DOC>")
    (trec_style / "topics.txt").write_text("<top><num> 1 <title> honey </top>")
    (trec_style / "qrels.txt").write_text("1 0 a 1\n")
    write_jsonl(beir, corpus=[{"_id": "a", "text": "x"}], queries=[{"_id": "1", "text": "y"}])
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n")
    for folder in (mine, trec_style, beir):
        plain = only(folder).fingerprint
        assert only(packed(folder)).fingerprint == plain


def test_a_family_without_a_default_asks_for_a_subset():
    with pytest.raises(RecipeError, match=r"beir has 14 subsets and no default; name one, as beir/arguana"):
        load("beir")
    with pytest.raises(RecipeError, match=r"no subset of beir 'scifax' \(did you mean scifact"):
        load("beir/scifax")


def test_a_recipe_of_the_users_own(tmp_path):
    write_posir(tmp_path / "files" / "eng-Latn" / "law")
    recipe = 'kind = "posir"\ndescription = "mine"\nlicence = "none"\nlanguages = ["eng-Latn"]\ndomains = ["law"]\n'
    (tmp_path / "mine.toml").write_text(recipe + 'default = "eng-Latn"\n[[source]]\npath = "files"\n')
    assert only(tmp_path / "mine.toml").name == "mine/eng-Latn/law"


@pytest.mark.parametrize("name", ["posir/eng/law", "beir/scifact", "xquad/en"])
def test_the_hub_path_up_to_the_download(name):
    with pytest.raises(MissingPartError):
        load(name)


@pytest.mark.parametrize("name", ["posir/xxx", "posir/eng/lawn", "beir/scifct", "xquad/xx", "posir-mini/eng/nothing"])
def test_unknown_subsets(name):
    with pytest.raises(RecipeError):
        load(name)


def test_paths_that_hold_nothing_known(tmp_path):
    with pytest.raises(PosbenchError, match="no known layout"):
        load(str(tmp_path))
    with pytest.raises(UsageError, match="expected paragraph or article"):
        LoadOptions(documents="chapter")


QRELS = "q1 0 d1 1\nq1\t0\td2 0\r\n\n q2  0 d3 2 \n"
RUN = "q1 Q0 d2 1 2.5 t\nq1 Q0 d1 2 1e0 t\nq9 Q0 d1 1 1 t\n"


def files(tmp_path, qrels=QRELS, run=RUN):
    (tmp_path / "q").write_text(qrels)
    (tmp_path / "r").write_text(run)
    return tmp_path / "q", tmp_path / "r"


def test_trec_files_with_any_white_space(tmp_path):
    ids, run, qrels, notes = trec.score_inputs(*files(tmp_path))
    assert ids.to_pylist() == ["q1", "q2"]
    assert run.scores.tolist() == [[2.5, 1.0], [0.0, 0.0]]
    assert qrels.grades.tolist() == [1, 0, 2]
    assert notes == {"missing_queries": 1, "extra_queries": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "q1 Q0 d1 1 2.5\n"}, r"r: line 1: 5 columns; expected 6"),
        ({"run": "q1 Q0 d1 1 x t\n"}, r"r: line 1, column score: 'x'; expected a number"),
        ({"run": "q1 Q0 d1 1 1 t\nq1 Q0 d2 1 nan t\n"}, r"r: line 2, column score: nan is not a finite"),
        ({"run": "q1 Q0 d1 1 1 t\nq1 Q0 d1 2 0 t\n"}, r"r: line 2: document 'd1' stands more than once for query 'q1'"),
        ({"run": ""}, r"r: empty"),
        ({"run": "q1 Q0 d1 1 1 t\n\n\nq1 Q0 d2 1 x t\n"}, r"r: line 4, column score: 'x'"),
        ({"qrels": "q1 0 d1 high\n"}, r"q: line 1, column grade: 'high'; expected a whole number"),
        ({"qrels": "q1 0 d1 1\nq1 0 d1 1\n"}, r"q: line 2: document 'd1' stands more than once"),
    ],
)
def test_broken_trec_files(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        trec.score_inputs(*files(tmp_path, **change))


def test_gzipped_trec_files_read_alike(tmp_path):
    names = dict(zip(("qrels_path", "run_path"), files(tmp_path), strict=True))
    _, plain, _, _ = trec.score_inputs(**names)
    for name, path in names.items():
        names[name] = path.with_name(path.name + ".gz")
        names[name].write_bytes(gzip.compress(path.read_bytes()))
    _, packed, _, _ = trec.score_inputs(**names)
    assert np.array_equal(plain.scores, packed.scores)
    names["run_path"].write_bytes(names["run_path"].read_bytes()[:-9])
    with pytest.raises(DataError, match=r"r\.gz: not readable: Compressed file ended"):
        trec.score_inputs(**names)


def test_a_folder_with_one_parquet_file_in_squad_form(tmp_path):
    answers = {"text": ["honey"], "answer_start": [10]}
    row = {"id": "1", "context": TEXTS["a"], "question": "what do bees keep", "answers": answers}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "validation-00000.parquet")
    assert only(tmp_path).evidence.start.tolist() == [10]
