"""Composed collections: the span is where it says, lengths are what was asked, nothing relevant stands around it."""

import json
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench import loaders
from posbench.cli import main
from posbench.compose import Plan, compose, finished, write
from posbench.compose.copies import Copies, normalised
from posbench.compose.segments import LONG, around, join, merged, segments
from posbench.errors import DataError, UsageError
from posbench.types import Collection, Evidence, Qrels, Run, strings


def words(texts):
    """The tokens of the tests: words by blanks."""
    return np.array([len(text.split()) for text in texts], np.int32)


def characters(texts):
    return np.array([len(text) for text in texts], np.int32)


LETTERS = str.maketrans("0123456789", "abcdefghij")
DIGITS = str.maketrans("abcdefghij", "0123456789")


def word(d, s, w):
    """A word that names its document and sentence, in letters, as text that is mostly digits is no filler."""
    return f"D{d}S{s}W{w}".translate(LETTERS)


def made(seed, n_docs=40, n_queries=30, spans=True, groups=4):
    """A collection whose every word names its document and sentence, so that text can be traced to its source."""
    rng = np.random.default_rng(seed)
    texts, sentences = [], []
    for d in range(n_docs):
        mine = []
        for s in range(int(rng.integers(3, 12))):
            size = int(rng.integers(3, 15))
            mine.append(" ".join(word(d, s, w) for w in rng.integers(0, 10**9, size)) + ".")
        sentences.append(mine)
        texts.append(" ".join(mine))
    docs = rng.integers(0, n_docs // 2, n_queries)
    start, end = [], []
    for d in docs:
        sentence = sentences[d][int(rng.integers(len(sentences[d])))]
        tokens = sentence.rstrip(".").split()
        first = int(rng.integers(len(tokens)))
        at = texts[d].index(sentence) + len(" ".join(tokens[:first])) + (first > 0)
        start.append(at)
        end.append(at + len(tokens[first]))
    chars = [len(texts[d]) for d in docs]
    evidence = Evidence(*(np.array(x, np.int32) for x in (range(n_queries), docs, start, end, chars, [-1] * n_queries)))
    return Collection(
        name="made",
        doc_ids=strings([f"d{d}" for d in range(n_docs)]),
        docs=strings(texts),
        query_ids=strings([f"q{q}" for q in range(n_queries)]),
        queries=strings([f"question {q}" for q in range(n_queries)]),
        qrels=Qrels.from_pairs(range(n_queries), docs, [1] * n_queries, n_queries),
        evidence=evidence if spans else None,
        query_labels={"domain": strings([f"x{d % 2}" for d in docs])},
        doc_labels={"group": strings([f"g{d % groups}" for d in range(n_docs)])},
        source={"licence": "CC0"},
    )


def evidence_of(part):
    """(query id, document text, start, end, tokens) of each row of evidence."""
    docs, ids = part.docs.to_pylist(), part.query_ids.to_pylist()
    rows = zip(*part.evidence.columns(), strict=True)
    return [(ids[q], docs[d], int(start), int(end), int(tokens)) for q, d, start, end, _, tokens in rows]


def sources(text):
    """The documents that a text's words are from."""
    return set(order(text))


def order(text):
    """The document of each word, in order."""
    return [int(d.translate(DIGITS)) for d in re.findall(r"D([a-j]+)S", text)]


# --- segments


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab. !?。\n\u3002”\"'A5", max_size=200) | st.text(max_size=200))
def test_pieces_joined_give_the_text_back(text):
    parts = segments(text)
    assert "".join(text[a:b] for a, b in parts) == text
    assert all(b > a for a, b in parts)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("J. Smith of the U.S. Army paid 3.5 dollars. Then he left.", 2),
        ('He said "go." Then he left.', ['He said "go."', "Then he left."]),
        ("It is e.g. small. Big.", ["It is e.g. small.", "Big."]),
        ("黑豹队赢了。他们很高兴！真的？是", ["黑豹队赢了。", "他们很高兴！", "真的？", "是"]),
        ("هل هذا سؤال؟ نعم.", ["هل هذا سؤال؟", "نعم."]),
        ("यह पहला है। यह दूसरा है।", ["यह पहला है।", "यह दूसरा है।"]),
        ("Title\n\nText goes on\nhere.", ["Title", "Text goes on\nhere."]),
    ],
)
def test_sentences(text, pieces):
    found = [text[a:b].strip() for a, b in segments(text)]
    assert len(found) == pieces if isinstance(pieces, int) else found == pieces


def test_long_text_without_a_full_stop_is_cut_at_blanks():
    text = " ".join(["คำไทย"] * 300)
    parts = segments(text)
    assert len(parts) > 3
    assert max(b - a for a, b in parts) <= LONG
    assert all(text[a - 1] == " " for a, _ in parts[1:])


@given(st.lists(st.text(alphabet="ab中。", min_size=1, max_size=5), max_size=8))
def test_join_says_where_each_piece_starts(pieces):
    text, starts = join(pieces)
    assert [text[at : at + len(piece)] for at, piece in zip(starts, pieces, strict=True)] == pieces
    assert "。 中" not in text


def test_spans_are_kept_whole():
    parts = [(0, 10), (10, 20), (20, 30)]
    assert around(parts, 9, 11) == (0, 20)
    assert merged(parts, [(5, 15)]) == [(0, 20), (20, 30)]
    assert merged(parts, [(5, 8)]) == parts


# --- copies


@given(st.text(min_size=8, max_size=80), st.text(min_size=1, max_size=40))
def test_text_that_holds_the_evidence_is_a_copy(evidence, more):
    copies = Copies(["something else entirely", evidence])
    if len(normalised(evidence)) >= 5:
        assert copies.overlap(evidence) == pytest.approx(1.0)
        assert copies.overlap(f"{more}. {evidence}") == pytest.approx(1.0)


def test_copies_are_found_and_other_text_is_not():
    evidence = "The lamp was lit in 1811 by John Reid, who kept it for ten years."
    copies = Copies([evidence])
    assert copies.holds("the lamp  was lit in 1811 by John Reid, who kept it for eleven years")
    assert copies.holds("As we know: " + evidence)
    assert not copies.holds("The harbour froze in the winter of 1740 and nobody could leave the town.")


# --- insert


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["random", "topic"]))
def test_inserted_evidence_stands_where_it_says(seed, spans, filler):
    source = made(seed, spans=spans)
    plan = Plan(lengths=(160, 300), positions=(0.0, 0.5, 1.0), filler=filler, seed=seed)
    if not spans:
        plan = Plan(lengths=(260, 400), positions=(0.0, 0.5, 1.0), filler=filler, seed=seed)
    parts = compose(source, plan, words)
    assert len(parts) == 6
    relevant = set()
    chosen = [source.query_ids.to_pylist().index(query) for query in parts[0].query_ids.to_pylist()]
    for q in chosen:
        relevant |= set(source.qrels.docs[source.qrels.indptr[q] : source.qrels.indptr[q + 1]].tolist())
    place = dict(zip(source.query_ids.to_pylist(), source.qrels.docs.tolist(), strict=True))
    original = {}
    if spans:
        for row, q in enumerate(source.evidence.query):
            text = source.docs[int(source.evidence.doc[row])].as_py()
            original[f"q{q}"] = text[source.evidence.start[row] : source.evidence.end[row]]
    around_it = {}
    for part in parts:
        assert part.query_ids == parts[0].query_ids
        length = int(part.query_labels["length"][0].as_py())
        position = float(part.query_labels["position"][0].as_py())
        assert [f"d{place[q]}" for q in part.query_ids.to_pylist()] == part.query_labels["source_doc"].to_pylist()
        for query, text, start, end, tokens in evidence_of(part):
            span = text[start:end]
            assert span == (original[query] if spans else source.docs[place[query]].as_py())
            assert tokens == len(text.split())
            assert abs(tokens - length) <= 0.05 * length
            # Everything but the evidence comes from documents that answer no query of the set.
            assert sources(text) & relevant == {place[query]}
            others = [token for token in text.split() if order(token) != [place[query]]]
            assert others == around_it.setdefault((query, length), others)
            before = sum(d != place[query] for d in order(text[:start]))
            assert abs(before / len(others) - position) <= 15 / len(others)


def test_the_answer_stands_nowhere_else_and_copies_of_evidence_are_left_out():
    source = made(3)
    first = source.docs[int(source.evidence.doc[0])].as_py()
    sentence = next(s for s in first.split(". ") if first[source.evidence.start[0] : source.evidence.end[0]] in s)
    texts = source.docs.to_pylist()
    texts[30:] = [f"{text} Again {sentence}. More of it." for text in texts[30:]]
    spoiled = replace(source, docs=strings(texts))
    parts = compose(spoiled, Plan(lengths=(300,), positions=(0, 1)), words)
    assert parts[0].notes["sentences_left_out_as_copies_of_evidence"] >= 1
    for part in parts:
        for text in part.docs.to_pylist():
            assert text.count(sentence) <= 1
            assert "Again" not in text


def test_one_document_for_all_queries_of_one_sentence():
    source = made(5, n_docs=12, n_queries=60)
    (part, *_) = compose(source, Plan(lengths=(160,), positions=(0, 1)), words)
    assert len(part.query_ids) > len(part.doc_ids)
    found = [text for _, text, *_ in evidence_of(part)]
    assert len(set(found)) == len(part.doc_ids)


def test_topic_filler_is_of_the_same_group_as_long_as_it_lasts():
    source = made(7, n_docs=80, groups=2)
    (part, _) = compose(source, Plan(lengths=(160,), positions=(0, 1), filler="topic"), words)
    for text in part.docs.to_pylist():
        assert len({d % 2 for d in sources(text)}) == 1
    assert "documents_filled_up_at_random" not in part.notes
    (part, _) = compose(made(7, groups=40), Plan(lengths=(300,), positions=(0, 1), filler="topic"), words)
    assert part.notes["documents_filled_up_at_random"] == len(part.doc_ids)


def test_hard_filler_follows_the_ranking():
    source = made(8)
    n = len(source.query_ids)
    docs = np.tile(np.arange(39, 19, -1, dtype=np.int32), (n, 1))
    ranked = Run(docs, -np.arange(20, dtype=np.float32) * np.ones((n, 1), np.float32))
    (part, _) = compose(source, Plan(lengths=(160,), positions=(0, 1), filler="hard"), words, candidates=ranked)
    for (_, text, *_), own in zip(evidence_of(part), part.query_labels["source_doc"].to_pylist(), strict=True):
        others = [d for d in order(text) if f"d{d}" != own]
        assert others[0] == 39
        assert others == sorted(others, reverse=True)


def test_distractors_hold_no_evidence_and_are_the_same_at_every_place():
    source = made(9)
    parts = compose(source, Plan(lengths=(160,), positions=(0, 1), distractors=5), words)
    relevant = {int(name[1:]) for name in parts[0].query_labels["source_doc"].to_pylist()}
    tails = [part.docs.to_pylist()[-5:] for part in parts]
    assert tails[0] == tails[1]
    assert parts[0].doc_ids.to_pylist()[-5:] == [f"filler-{n}" for n in range(5)]
    for text in tails[0]:
        assert not sources(text) & relevant
        assert abs(len(text.split()) - 160) <= 8


def test_a_passage_relevant_to_several_queries_stays_relevant_to_all():
    source = made(11, n_docs=60, n_queries=6, spans=False)
    qrels = Qrels.from_pairs([0, 0, 1, 2, 3], [0, 1, 1, 2, 3], [1, 1, 2, 1, 1], 6)
    source = replace(source, qrels=qrels)
    (part, _) = compose(source, Plan(lengths=(400,), positions=(0, 1)), words)
    ids = part.doc_ids.to_pylist()
    for row, query in enumerate(part.query_ids.to_pylist()):
        judged = part.qrels.docs[part.qrels.indptr[row] : part.qrels.indptr[row + 1]]
        expected = {"q0": {"d0", "d1"}, "q1": {"d1"}, "q2": {"d2"}, "q3": {"d3"}}[query]
        assert {ids[d] for d in judged} == expected & set(ids)
    assert part.notes == {}


def test_half_of_the_documents_stay_filler():
    source = made(12, n_docs=20, n_queries=80)
    parts = compose(source, Plan(lengths=(160,), positions=(0, 1)), words)
    assert len(set(parts[0].query_labels["source_doc"].to_pylist())) <= 10
    few = compose(source, Plan(lengths=(160,), positions=(0, 1), queries=7), words)
    assert len(few[0].query_ids) == 7
    assert "queries_left_out_to_keep_filler" not in few[0].notes


def test_evidence_too_long_drops_its_query_everywhere():
    source = made(13, spans=False)
    lengths = words(source.docs.to_pylist())
    shortest = int(np.median(lengths[source.qrels.docs]) * 2)
    parts = compose(source, Plan(lengths=(shortest, 4 * shortest), positions=(0, 1)), words)
    assert parts[0].notes["queries_with_evidence_too_long"] > 0
    assert len({tuple(part.query_ids.to_pylist()) for part in parts}) == 1


# --- move and mirror


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_moved_evidence_keeps_its_document(seed):
    source = made(seed)
    parts = compose(source, Plan(method="move", positions=(0, 0.5, 1), seed=seed), words)
    texts = dict(zip(source.doc_ids.to_pylist(), source.docs.to_pylist(), strict=True))
    shares = []
    for part in parts:
        own = part.query_labels["source_doc"].to_pylist()
        for (_, text, start, end, _), name in zip(evidence_of(part), own, strict=True):
            assert sorted(text.split()) == sorted(texts[name].split())
            assert text[start:end] in texts[name]
        others = part.docs.to_pylist()[len(set(own)) :]
        assert set(others) <= set(texts.values())
        shares.append(np.mean([start / len(text) for _, text, start, _, _ in evidence_of(part)]))
    assert shares == sorted(shares)
    documents = parts[0].query_labels["source_doc"].to_pylist()
    assert len({(d, text) for d, (_, text, *_) in zip(documents, evidence_of(parts[0]), strict=True)}) == len(
        set(documents)
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6))
def test_mirrored_documents_have_their_sentences_in_reverse(seed):
    source = made(seed)
    original, mirrored = compose(source, Plan(method="mirror", seed=seed), words)
    assert [part.query_labels["position"][0].as_py() for part in (original, mirrored)] == ["original", "mirrored"]
    for one, other in zip(original.docs.to_pylist(), mirrored.docs.to_pylist(), strict=True):
        assert [piece.rstrip(".") for piece in one.split(". ")] == [piece.rstrip(".") for piece in other.split(". ")][
            ::-1
        ]
    assert original.docs == source.docs
    for (_, a, start, end, _), (_, b, first, last, _) in zip(evidence_of(original), evidence_of(mirrored), strict=True):
        assert a[start:end] == b[first:last]
    assert original.qrels.docs.tolist() == mirrored.qrels.docs.tolist()


# --- folders


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("method", ["insert", "move", "mirror"])
def test_a_folder_reads_back_the_same_and_has_the_same_bytes(tmp_path, method):
    plan = Plan(method=method, lengths=(160,), positions=(0, 0.5, 1))
    for name in "ab":
        parts = compose(made(1), plan, words)
        write(tmp_path / name, parts, {"plan": 1})
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    found = loaders.load(str(tmp_path / "a"))
    assert [part.fingerprint for part in found] == [part.fingerprint for part in parts]
    assert found[0].notes == parts[0].notes
    assert found[0].source["licence"] == "CC0"
    assert found[0].source["composed"]["of"]["name"] == "made"
    assert finished(tmp_path / "a", {"plan": 1})["parts"][0]["queries"] == len(parts[0].query_ids)
    assert finished(tmp_path / "c", {"plan": 1}) is None
    with pytest.raises(UsageError, match="another composition"):
        finished(tmp_path / "a", {"plan": 2})


@pytest.mark.parametrize("names", [("x/law", "x/news"), ("x/eng/law", "x/deu/law")])
def test_parts_of_several_sources_stay_apart(tmp_path, names):
    plan = Plan(lengths=(160,), positions=(0, 1))
    parts = [part for name in names for part in compose(replace(made(1), name=name), plan, words)]
    write(tmp_path / "several", parts, {})
    assert len({part.name for part in loaders.load(str(tmp_path / "several"))}) == 4


def test_judged_documents_that_the_source_lacks_survive_mirroring(tmp_path):
    source = made(2)
    n = len(source.query_ids)
    pairs = [(q, d, 1) for q, d in zip(range(n), source.qrels.docs.tolist(), strict=True)] + [(0, 99, 1)]
    source = replace(source, qrels=Qrels.from_pairs(*zip(*pairs, strict=True), n))
    parts = compose(source, Plan(method="mirror"), words)
    assert parts[0].qrels.relevant[0] == 2
    write(tmp_path / "m", parts, {})
    found = loaders.load(str(tmp_path / "m"))
    assert found[0].fingerprint == parts[0].fingerprint
    assert found[0].qrels.relevant[0] == 2


def test_a_damaged_part_is_refused(tmp_path):
    write(tmp_path / "a", compose(made(1), Plan(lengths=(160,), positions=(0, 1)), words), {})
    (tmp_path / "a" / "160" / "0" / "corpus.parquet").write_bytes(
        (tmp_path / "a" / "160" / "1" / "corpus.parquet").read_bytes()
    )
    with pytest.raises(DataError, match="compose it anew|stands at|characters"):
        loaders.load(str(tmp_path / "a"))
    (tmp_path / "a" / "composition.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="format 9"):
        loaders.load(str(tmp_path / "a"))


# --- what cannot be composed


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"method": "shake"}, "method 'shake'"),
        ({"filler": "nice"}, "filler 'nice'"),
        ({"lengths": ()}, "lengths"),
        ({"lengths": (256, 256)}, "lengths"),
        ({"lengths": (4,)}, "lengths"),
        ({"positions": (0.5,)}, "positions 0.5"),
        ({"positions": (0.0, 1.5)}, "positions"),
        ({"queries": -1}, "queries -1"),
        ({"distractors": -1}, "distractors -1"),
    ],
)
def test_plans_that_make_no_sense_are_refused(plan, message):
    with pytest.raises(UsageError, match=message):
        Plan(**plan)


def test_what_cannot_be_composed_is_refused():
    source, plan = made(1), Plan(lengths=(160,), positions=(0, 1))
    with pytest.raises(UsageError, match="does not say where"):
        compose(made(1, spans=False), Plan(method="move"), words)
    with pytest.raises(UsageError, match="one language"):
        compose(replace(source, source={"cross_lingual": True}), plan, words)
    with pytest.raises(UsageError, match="topic filler needs"):
        compose(replace(source, doc_labels={}), Plan(lengths=(160,), filler="topic"), words)
    with pytest.raises(UsageError, match="needs a ranking"):
        compose(source, Plan(lengths=(160,), filler="hard"), words)
    with pytest.raises(UsageError, match="no query is left"):
        compose(source, Plan(lengths=(100_000,), positions=(0, 1)), words)
    empty = replace(source, qrels=Qrels.from_pairs([0], [0], [0], len(source.query_ids)))
    with pytest.raises(UsageError, match="none of its"):
        compose(empty, plan, words)


# --- real collections


@pytest.mark.parametrize("language", ["en", "zh", "ar", "ru"])
def test_xquad(shared, language):
    (source,) = loaders.load(str(shared / "xquad" / f"xquad.{language}.json"))
    count = characters if language == "zh" else words
    plan = Plan(lengths=(200,), positions=(0, 1), queries=60, filler="topic")
    parts = compose(source, plan, count)
    assert 50 <= len(parts[0].query_ids) <= 60
    ids = source.query_ids.to_pylist()
    for part in parts:
        for query, text, start, end, tokens in evidence_of(part):
            row = ids.index(query)
            doc = source.docs[int(source.evidence.doc[row])].as_py()
            assert text[start:end] == doc[source.evidence.start[row] : source.evidence.end[row]]
            assert 190 <= tokens <= 210


@pytest.mark.parametrize("name", ["cacm", "cranfield"])
def test_passage_collections(shared, name):
    (source,) = loaders.load(str(shared / name))
    parts = compose(source, Plan(lengths=(256,), positions=(0, 1), queries=30), words)
    assert len(parts[0].query_ids) >= 20
    texts = dict(zip(source.doc_ids.to_pylist(), source.docs.to_pylist(), strict=True))
    for (_, text, start, end, _), own in zip(
        evidence_of(parts[1]), parts[1].query_labels["source_doc"].to_pylist(), strict=True
    ):
        assert text[start:end] == texts[own].strip()
        assert end == len(text)


# --- the command


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_compose_and_eval(capsys, tmp_path):
    pytest.importorskip("wordllama")
    places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    wanted = ["compose", "--tokenizer", "wordllama", "--lengths", "128", "--queries", "60", "--filler", "hard"]
    wanted += ["--to", tmp_path / "set", "--json", *places]
    status, out, _ = call(capsys, *wanted)
    first = json.loads(out)
    assert (status, first["fresh"], len(first["parts"])) == (0, True, 5)
    assert first["used"]["tokens"]["tokenizer_of"] == "wordllama"
    assert first["recipe"]["licences"]
    _, out, _ = call(capsys, *wanted)
    assert json.loads(out) == {**first, "fresh": False}
    status, out, _ = call(capsys, "eval", "--model", "wordllama", "--dataset", tmp_path / "set", "--json", *places)
    found = json.loads(out)["bias"]["composed"]
    assert status == 0
    assert found["queries"] == first["parts"][0]["queries"] > 40
    assert found["tests"]["all"]["shape"] == "flat"
    assert abs(found["tests"]["all"]["signed"]["value"]) < 0.02
    status, out, _ = call(capsys, "eval", "--model", "wordllama", "--dataset", tmp_path / "set", *places)
    assert "paired by query" in out
    assert f"{found['queries']} queries from" in out
    status, out, _ = call(capsys, "compose", "--to", tmp_path / "set", "--tokenizer", "wordllama", *places)
    assert status == 2


def test_mirror_and_eval(capsys, tmp_path):
    pytest.importorskip("wordllama")
    places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    wanted = ["--method", "mirror", "--tokenizer", "wordllama", "--to", tmp_path / "m", *places]
    status, out, _ = call(capsys, "compose", *wanted)
    assert status == 0
    assert "own/mirrored" in out
    status, out, _ = call(capsys, "eval", "--model", "bm25", "--dataset", tmp_path / "m", *places)
    assert status == 0
    assert "difference-in-differences" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lengths", "many"], "--lengths 'many'"),
        (["--positions", "0,x"], "--positions 'x'"),
        (["--positions", "0"], "positions 0; expected two or more"),
        (["--tokenizer", "bm25"], "bm25 has no tokenizer"),
        (["--tokenizer", "e55"], "no ranker 'e55'"),
        (["--dataset", "nothing"], "no dataset 'nothing'"),
    ],
)
def test_errors_are_one_line_and_status_2(capsys, tmp_path, arguments, message):
    status, out, err = call(capsys, "compose", "--to", tmp_path / "x", "--cache", tmp_path / "c", *arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_file_is_no_folder_to_compose_to(capsys, tmp_path):
    (tmp_path / "x").write_text("mine")
    status, _, err = call(capsys, "compose", "--to", tmp_path / "x", "--cache", tmp_path / "c")
    assert status == 2
    assert "holds something else" in err
    assert (tmp_path / "x").read_text() == "mine"


def test_labels_join_over_parts():
    parts = compose(made(4), Plan(lengths=(160, 300), positions=(0, 1)), words)
    for part in parts:
        assert pa.compute.unique(part.query_labels["method"]).to_pylist() == ["insert"]
        assert set(part.query_labels) == {"domain", "method", "length", "position", "source_doc"}
