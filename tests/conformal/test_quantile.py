"""The threshold against its definition in exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmcal.conformal.quantile import conformal_quantile, rows_needed, threshold_rank, too_few
from vlmcal.errors import SpecError


@given(n=st.integers(1, 400), percent=st.integers(1, 99))
def test_enough_scores_lie_at_or_below_and_not_one_fewer(n, percent):
    alpha = percent / 100
    scores = np.random.default_rng(n).permutation(n).astype(float)
    threshold = conformal_quantile(scores, alpha)
    need = (n + 1) * (1 - Fraction(percent, 100))
    if need > n:
        assert threshold == np.inf
        return
    below = int((scores <= threshold).sum())
    assert below >= need
    assert below - 1 < need


@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.25, 0.1, 0.07, 0.05, 0.01, 0.001])
def test_rows_needed_is_the_first_n_with_a_finite_threshold(alpha):
    need = rows_needed(alpha)
    assert np.isinf(conformal_quantile(np.zeros(need - 1), alpha))
    assert conformal_quantile(np.zeros(need), alpha) == 0.0
    assert too_few(need, alpha) is None
    assert f" {need} " in too_few(need - 1, alpha)


def test_rounding_of_one_minus_alpha_does_not_move_the_rank():
    moved = [
        (n, percent)
        for n in range(1, 200)
        for percent in range(1, 100)
        if np.ceil((n + 1) * (1 - percent / 100)) != threshold_rank(n, percent / 100)
    ]
    assert (49, 42) in moved
    assert threshold_rank(49, 0.42) == 29


def test_mapie_takes_the_next_score_for_some_n_only():
    scores = np.arange(1.0, 61.0)
    assert conformal_quantile(scores, 0.1, "mapie") == conformal_quantile(scores, 0.1) == 55.0
    assert conformal_quantile(scores[:33], 0.15) == 29.0
    assert conformal_quantile(scores[:33], 0.15, "mapie") == 30.0


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 90, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(SpecError, match="between 0 and 1"):
        conformal_quantile(np.zeros(3), alpha)
