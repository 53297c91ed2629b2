"""Features against slow restatements of both tokenizers and hashes, character by character."""

import bisect
import hashlib
import json
import pickle
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from itertools import permutations, product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.dsir import Features, FeatureSpec, fast, featurise, ngrams, official, unicode
from posbench.errors import DataError, UsageError
from posbench.types import strings

TOOL = Path(__file__).parents[1] / "tools" / "build_unicode_table.py"
BUCKETS = (2, 10_000, 65_536, 65_537, 1 << 20, 1 << 32)
AWKWARD = [
    "",
    " \t\n",
    "...---!!!",
    "Hello, World! foo_bar 3.14 x=1",
    "ÀÉÎõü ΑΣΣ ЖЗИ İstanbul ẞ K Ⱥ ǅ",
    "漢字かなカナ。中文,abc漢def",
    "ภาษาไทย ພາສາລາວ ខ្មែរ မြန်မာ",
    "한국어 문장 \u1112\u1161\u11ab",
    "e\u0301a\u0300 \u0301x \u0301 .\u0301. 漢\u0301字 a\u200db\u00adc",
    "👩\u200d💻👋🏽 ❤\ufe0f, x\u200by\u200ez",
    "\x00\x00\x01 \x1c\x85\ufeff\ufffd\ufffda",
    "𝒳𝓎 𐐀𐐁 𠀀𠀁 \U000e0067",
    "a" * 600 + " " + "é" * 300 + "—" * 257 + "漢" + "\u0301" * 700 + "字",
    "12345678 123456789 1234567890123456 12345678901234567",
]
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
mixed = st.text(st.sampled_from("aZéΑΣ漢か.…- \n\u0301\u200dไ한\U0001f44b\U00020000İ_9"), max_size=60)
texts_of = st.lists(st.one_of(anything, mixed), max_size=8)


# ---- the restatements


def lines_of_the_table():
    return [line.split() for line in (resources.files("posbench.dsir") / "unicode.txt").read_text().splitlines()]


RANGES = [(int(x[1], 16), int(x[2], 16), x[3]) for x in lines_of_the_table() if x[0] == "class"]
FIRSTS = [first for first, _, _ in RANGES]
LOWER = {
    code: code + int(x[4])
    for x in lines_of_the_table()
    if x[0] == "lower"
    for code in range(int(x[1], 16), int(x[2], 16) + 1, int(x[3]))
}


def kind_of(char):
    at = bisect.bisect(FIRSTS, ord(char)) - 1
    return RANGES[at][2] if at >= 0 and ord(char) <= RANGES[at][1] else "other"


def fast_tokens(text, longest=256):
    tokens, last = [], "space"
    for char in text:
        kind = kind_of(char)
        if kind == "mark":
            kind, joins = ("word", False) if last == "space" else (last, True)
        else:
            joins = kind == last and kind != "single"
        if kind != "space":
            if joins and len(tokens[-1]) < longest:
                tokens[-1] += chr(LOWER.get(ord(char), ord(char)))
            else:
                tokens.append(chr(LOWER.get(ord(char), ord(char))))
        last = kind
    return tokens


WORD = (1 << 64) - 1


def fold(x):
    return (x ^ (x >> 32)) * 0x9E3779B97F4A7C15 & WORD


def fast_code(token):
    data = token.encode()
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    state = (words[0] + len(data) * 0xA0761D6478BD642F) & WORD
    for word in words[1:]:
        state = (fold(state) + word) & WORD
    state = fold(state)
    state ^= state >> 29
    state = state * 0xD6E8FEB86659FD93 & WORD
    return state ^ (state >> 32)


def fast_bucket(tokens, buckets):
    """The last token first: each earlier one is added to the multiple of what is there."""
    state = 0
    for token in reversed(tokens):
        state = (state * 0xD6E8FEB86659FD93 + fast_code(token)) & WORD
    return (fold(state) >> 32) * buckets >> 32


def official_tokens(text):
    return re.findall(r"\w+|[^\w\s]+", text.lower())


def official_bucket(tokens, buckets):
    return int(hashlib.sha256(" ".join(tokens).encode("utf-8")).hexdigest(), 16) % buckets


RESTATED = {"fast": (fast_tokens, fast_bucket), "official": (official_tokens, official_bucket)}


def restated(text, spec):
    """The tokens of a text and its buckets in order."""
    tokenise, bucket = RESTATED[spec.kind]
    tokens = tokenise(text)
    found = [
        bucket(tokens[end - order : end], spec.buckets)
        for end in range(1, len(tokens) + 1)
        for order in range(1, min(end, spec.ngrams) + 1)
    ]
    return tokens, found


def check(texts, spec, features):
    assert len(features) == len(texts)
    assert features.indptr[0] == 0
    assert features.indptr[-1] == len(features.buckets)
    assert features.buckets.dtype == (np.uint16 if spec.buckets <= 65_536 else np.uint32)
    for i, text in enumerate(texts):
        tokens, buckets = restated(text, spec)
        assert features.tokens[i] == len(tokens)
        assert features.buckets[features.indptr[i] : features.indptr[i + 1]].tolist() == buckets


# ---- buckets


@pytest.mark.parametrize("kind", ["fast", "official"])
@pytest.mark.parametrize("orders", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("buckets", BUCKETS)
def test_buckets_are_those_of_the_restatement(kind, orders, buckets):
    spec = FeatureSpec(kind, orders, buckets)
    check(AWKWARD, spec, featurise(AWKWARD, spec))


@pytest.mark.parametrize("kind", ["fast", "official"])
@given(texts_of, st.integers(1, 4))
@settings(deadline=None)
def test_any_text_has_the_buckets_of_the_restatement(kind, texts, orders):
    spec = FeatureSpec(kind, orders, 1 << 20)
    check(texts, spec, featurise(texts, spec))


@pytest.mark.parametrize("kind", ["fast", "official"])
@given(anything | mixed, st.integers(1, 4))
@settings(deadline=None)
def test_ngrams_can_be_read(kind, text, orders):
    tokenise, bucket = RESTATED[kind]
    spec = FeatureSpec(kind, orders, 1 << 32)
    found = ngrams(text, spec)
    assert [gram for gram in found if " " not in gram] == tokenise(text)
    assert featurise([text], spec).buckets.tolist() == [bucket(gram.split(" "), 1 << 32) for gram in found]


def test_the_tokens_of_ascii_are_wordpuncts():
    every = "".join(map(chr, range(128)))
    for text in (every, every[::-1], *AWKWARD):
        if text.isascii() and len(text) < 257:
            assert fast_tokens(text) == official_tokens(text)
    rng = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(map(chr, rng.integers(0, 128, 50)))
        assert fast_tokens(text) == official_tokens(text)
        assert featurise([text]).tokens[0] == featurise([text], FeatureSpec("official")).tokens[0]


def test_tokens_of_many_scripts():
    assert fast_tokens("Ein schöner TAG.") == ["ein", "schöner", "tag", "."]
    assert fast_tokens("漢字とカナ2024年") == ["漢", "字", "と", "カ", "ナ", "2024", "年"]
    assert fast_tokens("ที่นี่") == ["ที่", "นี่"]
    assert fast_tokens("हिन्दी में") == ["हिन्दी", "में"]
    assert fast_tokens("한국어") == ["한", "국", "어"]
    assert fast_tokens("\u1112\u1161\u11ab\u1100") == ["\u1112\u1161\u11ab", "\u1100"]
    assert fast_tokens("a\u200bb\u200fc") == ["a", "b", "c"]
    assert fast_tokens("👩\u200d💻!") == ["👩\u200d💻!"]


# ---- blocks, rows and long texts


@pytest.mark.parametrize("orders", [1, 2, 4])
@given(texts_of)
@settings(deadline=None)
def test_blocks_do_not_show_in_the_result(orders, texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "LONGEST", 3)
        patch.setattr(official, "BLOCK", 5)
        wholes = {kind: featurise(texts, FeatureSpec(kind, orders)) for kind in ("fast", "official")}
        patch.setattr(fast, "BLOCK", 20)
        patch.setattr(official, "BLOCK", 3)
        patch.setattr(official, "PIECE", 5)
        patch.setattr(official, "VOCABULARY", 4)
        patch.setattr(official, "PAIRS", 2)
        for kind, whole in wholes.items():
            same(featurise(texts, FeatureSpec(kind, orders)), whole)
            for i, text in enumerate(texts):
                same(featurise([text], FeatureSpec(kind, orders)), whole.take([i]))


@pytest.mark.parametrize("kind", ["fast", "official"])
def test_a_long_text_among_others(kind, monkeypatch):
    monkeypatch.setattr(fast, "BLOCK", 1 << 14)
    monkeypatch.setattr(official, "PIECE", 1 << 10)
    monkeypatch.setattr(official, "BLOCK", 1 << 10)
    rng = np.random.default_rng(1)
    words = ["alpha", "Beta", "γάμμα", "漢字", "...", "x" * 1000, "\u0301", "naïve_1"]
    long = " ".join(words[i] for i in rng.integers(0, len(words), 4000))
    texts = ["first", long, "", "last one", long[:70_000], "end"]
    spec = FeatureSpec(kind, 3, 1 << 20)
    assert len(long.encode()) > 10 * fast.BLOCK
    check(texts, spec, featurise(texts, spec))


@pytest.mark.parametrize("text", ["a" * 300_000, "漢" * 100_000, "\u0301" * 200_000, "—" * 100_000, " " * 300_000])
def test_one_run_without_an_end(text):
    for texts in ([text], ["b", text, "c"]):
        check(texts, FeatureSpec(), featurise(texts))


@pytest.mark.parametrize("kind", ["fast", "official"])
def test_memory_does_not_grow_with_a_text(kind):
    """Beside the features, which are held twice while they are joined, and the text itself as a string."""
    beside = []
    for repeats in (100_000, 200_000):
        text = strings(["word soup, naïve " * repeats])
        tracemalloc.start()
        features = featurise(text, FeatureSpec(kind))
        beside.append(tracemalloc.get_traced_memory()[1] - 2 * features.buckets.nbytes - text.nbytes)
        tracemalloc.stop()
    assert beside[1] - beside[0] < 2e6
    assert beside[0] < {"fast": 20e6, "official": 80e6}[kind]


def same(found, wanted):
    assert found.size == wanted.size
    for name in ("indptr", "buckets", "tokens"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_any_column_of_strings_will_do():
    texts = ["Uno, dos", "", "três 漢字"]
    wanted = featurise(texts)
    padded = pa.array(["zero", *texts, "more"])
    for column in (
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        padded[1:4],
        padded.cast(pa.large_string())[1:4],
        pa.chunked_array([texts[:1], texts[1:]]),
        tuple(texts),
    ):
        same(featurise(column), wanted)
    for none in ([], pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        empty = featurise(none)
        assert (len(empty), empty.indptr.tolist(), empty.counts().sum()) == (0, [0], 0)
        assert empty.by_row(np.ones(empty.size)).tolist() == []
    assert featurise([" ", "", "\n"]).indptr.tolist() == [0, 0, 0, 0]


# ---- Features


def dense(features):
    matrix = np.zeros((len(features), features.size))
    rows = np.repeat(np.arange(len(features)), np.diff(features.indptr))
    np.add.at(matrix, (rows, features.buckets), 1)
    return matrix


@pytest.mark.parametrize("block", [1, 3, 1 << 16])
@given(texts_of, st.data())
@settings(deadline=None)
def test_features_are_a_sparse_matrix(block, texts, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("posbench.dsir.features._BLOCK", block)
        features = featurise(texts, FeatureSpec(ngrams=2, buckets=50))
        matrix = dense(features)
        values = np.random.default_rng(2).normal(size=50)
        np.testing.assert_array_equal(features.counts(), matrix.sum(0))
        np.testing.assert_allclose(features.by_row(values), matrix @ values, atol=1e-12)
        rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=12)) if texts else []
        taken = features.take(rows)
        np.testing.assert_array_equal(dense(taken), matrix[rows])
        same(taken, featurise([texts[i] for i in rows], FeatureSpec(ngrams=2, buckets=50)))
        np.testing.assert_array_equal(taken.by_row(values), features.by_row(values)[rows])
        cut = data.draw(st.integers(0, len(texts)))
        same(Features.concat([features.take(range(cut)), features.take(range(cut, len(texts)))]), features)


def test_features_can_lie_in_a_file(tmp_path):
    features = featurise(AWKWARD * 3)
    np.save(tmp_path / "buckets.npy", features.buckets)
    mapped = Features(features.indptr, np.load(tmp_path / "buckets.npy", mmap_mode="r"), features.tokens, features.size)
    values = np.random.default_rng(3).normal(size=features.size)
    np.testing.assert_array_equal(mapped.by_row(values), features.by_row(values))
    np.testing.assert_array_equal(mapped.counts(), features.counts())
    same(mapped.take([3, 1]), features.take([3, 1]))


def test_what_cannot_be_joined_or_summed():
    small, large = featurise(["a"], FeatureSpec(buckets=10)), featurise(["a"])
    with pytest.raises(UsageError, match="10 and 10000 given"):
        Features.concat([small, large])
    with pytest.raises(UsageError, match="no part given"):
        Features.concat([])
    with pytest.raises(UsageError, match="9 values for 10 buckets"):
        small.by_row(np.ones(9))


# ---- what is refused


@pytest.mark.parametrize(
    "bad", [{"kind": "word"}, {"ngrams": 0}, {"ngrams": 9}, {"buckets": 1}, {"buckets": 2**32 + 1}]
)
def test_a_spec_out_of_range(bad):
    with pytest.raises(UsageError, match="expected"):
        FeatureSpec(**bad)


def test_texts_that_are_none():
    with pytest.raises(DataError, match="text 1 is null"):
        featurise(pa.array(["a", None, "b"]))
    with pytest.raises(DataError, match="not valid Unicode"):
        featurise(["lone \ud800 surrogate"])
    broken = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int64)), pa.py_buffer(b"a\xff")]
    )
    with pytest.raises(DataError, match="not valid Unicode"):
        featurise(broken)


# ---- the table


def test_the_table_says_what_unicode_says():
    table = unicode.table()
    classes, lower = table & 7, table >> unicode.CLASS_BITS
    checked = 0
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        category = unicodedata.category(char)
        if category in {"Cn", "Cs", "Co", "Cf"}:
            continue
        checked += 1
        if char.isspace():
            assert classes[code] == unicode.SPACE
        elif category[0] == "M":
            assert classes[code] == unicode.MARK
        elif char.isalnum() or category == "Pc":
            hangul_tail = unicodedata.name(char, "").startswith(("HANGUL JUNGSEONG", "HANGUL JONGSEONG"))
            assert classes[code] == unicode.MARK if hangul_tail else classes[code] in (unicode.WORD, unicode.SINGLE)
        else:
            assert classes[code] == unicode.OTHER
        small = char.lower()
        if lower[code] != code or (len(small) == 1 and len(small.encode()) == len(char.encode())):
            assert chr(lower[code]) == small
    assert checked > 140_000
    for char, kind in {"漢": 3, "あ": 3, "ー": 3, "ก": 3, "ກ": 3, "က": 3, "ក": 3, "한": 3, "א": 1, "ب": 1}.items():
        assert classes[ord(char)] == kind


def test_the_table_is_what_the_tool_writes(tmp_path):
    if unicodedata.unidata_version != unicode.version():
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}, the table {unicode.version()}")
    subprocess.run([sys.executable, str(TOOL), str(tmp_path / "table")], check=True)
    shipped = (resources.files("posbench.dsir") / "unicode.txt").read_bytes()
    assert (tmp_path / "table").read_bytes() == shipped


def test_the_spec_describes_all_that_decides_a_bucket():
    fast_one, official_one = FeatureSpec().describe(), FeatureSpec("official", 3, 7).describe()
    assert fast_one == {"kind": "fast", "ngrams": 2, "buckets": 10_000, "version": 1, "unicode": "15.1.0"}
    assert official_one["unicode"] == unicodedata.unidata_version
    assert (official_one["ngrams"], official_one["buckets"]) == (3, 7)


def test_the_buckets_of_version_1_stay_what_they_are():
    """A change here is a new ``fast.VERSION``: stored features would no longer fit new ones."""
    features = featurise(["Where is honey kept? 漢字 naïve"], FeatureSpec(ngrams=3, buckets=1 << 32))
    assert hashlib.sha256(features.buckets.astype("<u4").tobytes()).hexdigest()[:16] == "e95de682eb0d5426"


# ---- the hash


def codes_of(words):
    return np.concatenate([block.codes for block in fast.tokenise(strings(words))])


FAMILIES = {
    "numbers": [str(i) for i in range(50_000)],
    "padded numbers": [f"{i:012}" for i in range(50_000)],
    "anagrams": ["".join(order) for order in permutations("abcdefgh")],
    "long anagrams": ["".join(order) * 3 for order in permutations("abcdefg")],
    "repeated": [char * n for char in "az09_=-.~\x00" for n in range(1, 257)],
    "short": ["".join(pair) for n in (1, 2, 3) for pair in product("abcdefghijklmnopqrstuvwxyz_0123456789", repeat=n)],
    "characters": [chr(code) for code in range(0x4E00, 0x9FA6)],
    "common beginning": [f"international{i}" for i in range(20_000)],
    "common end": [f"{i}_standardisation" for i in range(20_000)],
    "one bit apart": ["".join(chr(ord("a") + (i >> place & 1)) for place in range(15)) for i in range(1 << 15)],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("buckets", [64, 1021])
def test_tokens_spread_evenly_over_buckets(family, buckets):
    """Chi-square of the buckets of distinct tokens within five standard deviations, for tokens and for their pairs."""
    words = FAMILIES[family]
    codes = codes_of(words)
    assert len(codes) == len(words)
    assert len(np.unique(codes)) == len(words)
    spec = FeatureSpec(ngrams=2, buckets=buckets)
    texts = {"tokens": words, "before": [f"a {word}" for word in words], "after": [f"{word} a" for word in words]}
    texts["twice"] = [f"{word} {word}" for word in words]
    for what, column in texts.items():
        last = featurise(column, spec)
        counts = np.bincount(last.buckets[last.indptr[1:] - 1], minlength=buckets)
        expected = len(words) / buckets
        chi = ((counts - expected) ** 2).sum() / expected
        assert abs(chi - (buckets - 1)) < 5 * np.sqrt(2 * buckets), what


def test_pairs_that_meet_once_do_not_meet_again():
    """Where (a, x) and (a, y) share a bucket, (b, x) and (b, y) do so by chance only."""
    size, words = 32, [f"w{i}" for i in range(150)]
    spec = FeatureSpec(buckets=size)
    grid = np.zeros((150, 150), np.int64)
    for i, first in enumerate(words):
        found = featurise([f"{first} {word}" for word in words], spec)
        grid[i] = found.buckets[found.indptr[1:] - 1]
    for table in (grid, grid.T):
        x, y = np.triu_indices(150, 1)
        meet = table[:, x] == table[:, y]
        together = (meet[0::2] & meet[1::2]).mean()
        assert meet.mean() == pytest.approx(1 / size, rel=0.05)
        assert together == pytest.approx(1 / size**2, rel=0.15)
        assert (np.bincount((table[:, x] - table[:, y]).ravel() % size) / meet.size).max() < 1.1 / size


def test_order_and_neighbours_matter():
    spec = FeatureSpec(buckets=1 << 32)
    seen = {
        tuple(sorted(featurise([text], spec).buckets)) for text in ("a b c", "c b a", "ab c", "a bc", "abc", "b a c")
    }
    assert len(seen) == 6


# ---- the official package


PARITY = [
    "The quick brown Fox, jumps over 3.14 lazy dogs!",
    "Zażółć gęślą jaźń. ΟΔΥΣΣΕΥΣ İstanbul ß",
    "漢字かな交じり文 और हिन्दी 한국어 ไทย",
    "don't stop -- e.g. foo_bar(x)[0] += 1 \u0301 👋🏽",
    "one",
    "a a a a a a a",
]


@pytest.mark.parametrize("orders", [1, 2, 3])
@pytest.mark.parametrize("buckets", [10_000, 97])
def test_weights_are_those_of_the_package(orders, buckets, tmp_path):
    package = pytest.importorskip("data_selection")
    rng = np.random.default_rng(orders)
    words = " ".join(PARITY).split()
    texts = PARITY + [" ".join(words[i] for i in rng.integers(0, len(words), 30)) for _ in range(50)]
    target = [text.upper() for text in texts[::7]]
    for name, column in (("raw", texts), ("target", target)):
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in column))
    paths = [[str(tmp_path / name)] for name in ("raw", "target")]
    theirs = package.HashedNgramDSIR(*paths, str(tmp_path / "cache"), num_proc=1, ngrams=orders, num_buckets=buckets)
    theirs.tokenizer = lambda text: re.findall(r"\w+|[^\w\s]+", text)
    theirs.fit_importance_estimator(num_tokens_to_fit="all")
    theirs.compute_importance_weights()
    wanted = np.load(tmp_path / "cache" / "log_importance_weights" / "0.npy")
    lengths = np.load(tmp_path / "cache" / "perexample_metadata" / "0.npy")

    spec = FeatureSpec("official", orders, buckets)
    raw, aim = featurise(texts, spec), featurise(target, spec)
    q, p = (part.counts() / part.counts().sum() for part in (raw, aim))
    found = raw.by_row(np.log(p + 1e-8) - np.log(q + 1e-8))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    long = raw.tokens >= orders
    np.testing.assert_array_equal(raw.tokens[long], lengths[long])


@pytest.mark.parametrize("kind", ["fast", "official"])
def test_what_the_package_fails_on(kind):
    """Texts with replaced surrogates and blank ones, and a tokenizer that was used before it is sent to processes."""
    texts = ["used before", "\ufffd\ufffd lone", "", " \n ", "short"]
    spec = FeatureSpec(kind)
    whole = featurise(texts, spec)
    assert (np.diff(whole.indptr) > 0).tolist() == [True, True, False, False, True]
    same(pickle.loads(pickle.dumps(whole)), whole)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = list(pool.map(featurise, [texts[:2], texts[2:]], [spec, spec]))
    same(Features.concat(parts), whole)
