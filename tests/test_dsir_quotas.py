"""Quotas: shares in whole numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posbench.dsir import quotas
from posbench.errors import UsageError

SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(lambda shares: sum(shares) > 1e-6)


@given(st.integers(0, 5000), SHARES)
def test_apportioned_numbers_add_up_and_stay_within_one(k, shares):
    found = quotas.apportion(k, shares)
    exact = k * np.array(shares) / np.sum(shares)
    assert found.sum() == k
    assert (np.abs(found - exact) < 1 + 1e-6).all()


def test_the_largest_remainders_are_rounded_up_and_ties_go_to_the_first():
    assert quotas.apportion(10, [1, 1, 1]).tolist() == [4, 3, 3]
    assert quotas.apportion(10, [0.47, 0.16, 0.158, 0.12, 0.061, 0.031]).tolist() == [5, 2, 1, 1, 1, 0]
    assert quotas.apportion(600, [100, 200, 300]).tolist() == [100, 200, 300]
    assert quotas.apportion(0, [1, 2]).tolist() == [0, 0]


@pytest.mark.parametrize("shares", [[0, 0], [-1, 2], [float("nan"), 1], [float("inf")]])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(UsageError, match="shares"):
        quotas.apportion(3, shares)


@given(st.data())
def test_no_stratum_gives_more_than_it_has(data):
    sizes = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    shares = data.draw(st.lists(st.floats(0, 10), min_size=len(sizes), max_size=len(sizes)))
    k = data.draw(st.integers(0, sum(sizes)))
    found = quotas.spread(k, shares, sizes)
    assert found.sum() == k
    assert (found <= sizes).all()
    assert (found >= 0).all()


def test_what_a_stratum_lacks_goes_to_the_others_by_share():
    assert quotas.spread(12, [2, 1, 1], [2, 50, 50]).tolist() == [2, 5, 5]
    assert quotas.spread(12, [2, 2, 1, 0], [2, 50, 50, 9]).tolist() == [2, 7, 3, 0]
    assert quotas.spread(8, [1, 0, 0], [4, 10, 2]).tolist() == [4, 3, 1]
    with pytest.raises(UsageError, match="ask for fewer"):
        quotas.spread(3, [1, 1], [1, 1])


LABELS = ["b"] * 6 + ["a"] * 3 + ["c"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("raw", {"a": 2, "b": 3, "c": 0}),
        ("target", {"a": 1, "b": 3, "c": 1}),
        ("equal", {"a": 2, "b": 2, "c": 1}),
        ({"a": 2, "b": 3}, {"a": 2, "b": 3, "c": 0}),
        ({"b": 0.8, "c": 0.2}, {"a": 0, "b": 4, "c": 1}),
    ],
)
def test_quotas_by_every_rule(by, expected):
    found = quotas.strata(LABELS, 5, by, target=["b", "b", "b", "a", "c"])
    assert found.names == ("a", "b", "c")
    assert [found.names[code] for code in found.codes] == LABELS
    assert dict(zip(found.names, found.quotas.tolist(), strict=True)) == expected


def test_a_stratum_that_is_too_small_is_named_or_spills():
    with pytest.raises(UsageError, match=r"'c' has 1 of 3.*'d' has 0 of 3"):
        quotas.strata(LABELS, 9, {"b": 1, "c": 1, "d": 1})
    found = quotas.strata(LABELS, 9, {"b": 1, "c": 1, "d": 1}, spill=True)
    assert dict(zip(found.names, found.quotas.tolist(), strict=True)) == {"a": 2, "b": 6, "c": 1, "d": 0}


@pytest.mark.parametrize(
    ("by", "k", "words"), [("half", 1, "quota rule"), ("target", 1, "labels"), ({}, 1, "shares"), ("raw", 11, "strata")]
)
def test_rules_that_cannot_be_kept_are_refused(by, k, words):
    with pytest.raises(UsageError, match=words):
        quotas.strata(LABELS, k, by, spill=True)


def test_bands_hold_about_equally_many_of_the_target():
    like = np.arange(1000)
    codes, shares = quotas.bands([-5, 0, 130, 999, 5000], like, 8)
    assert codes.tolist() == [0, 0, 1, 7, 7]
    assert len(shares) == 8
    assert shares.sum() == 1000
    assert np.ptp(shares) <= 1
    codes, shares = quotas.bands([1, 7, 9], [7, 7, 7], 8)
    assert shares.tolist() == [3, 0]
    assert codes.tolist() == [0, 0, 1]
    assert quotas.bands([1, 2], [5], 1)[0].tolist() == [0, 0]
