"""Levels of length and domain against least squares on dummy columns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posbench.bias.levels import Levels
from posbench.bias.placed import Placed


def queries(n, domains, seed):
    rng = np.random.default_rng(seed)
    tokens = rng.choice([-1, 100, 800, 1200, 3000], n)
    zeros = np.zeros(n, np.int64)
    return Placed(rng.random(n), rng.random(n), tokens, zeros, rng.integers(0, domains, n))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.integers(1, 12), st.integers(0, 10_000))
def test_least_squares_on_dummies(n, domains, seed):
    some = queries(n, domains, seed)
    dummies = [some.length[:, None] == np.arange(-1, 4), some.stratum[:, None] == np.arange(domains)]
    design = np.hstack(dummies).astype(float)
    expected = design @ np.linalg.lstsq(design, some.score, rcond=None)[0]
    levels = Levels.of(some)
    assert levels.fitted(some.score) == pytest.approx(expected, abs=1e-9)
    assert levels.without(some.score) == pytest.approx(some.score - expected, abs=1e-9)


def test_what_is_left_has_no_levels():
    some = queries(500, 7, 1)
    left = Levels.of(some).without(some.score)
    for code in (some.length + 1, some.stratum):
        assert np.abs(np.bincount(code, left)).max() < 1e-9
