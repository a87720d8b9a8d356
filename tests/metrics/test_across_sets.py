"""Several methods on several data sets; the ranks of Demšar's own example."""

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.metrics.across_sets import (
    average_of_harmonics,
    harmonic_of_averages,
    holm,
    rank_methods,
    signed_rank,
)

# Table 6 of Demšar 2006: AUC of C4.5, and with m, cf, and both, on 14 data sets.
DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]
NAMES = ["C4.5", "+m", "+cf", "+m+cf"]


def test_ranks_and_critical_difference_are_those_of_the_published_example():
    found = rank_methods(DEMSAR, NAMES, higher_is_better=True)
    ranks = dict(zip(found.names, found.ranks, strict=True))
    assert [round(ranks[n], 3) for n in NAMES] == pytest.approx(
        [3.143, 2.000, 2.893, 1.964], abs=0.04
    )
    assert found.critical_difference == pytest.approx(1.25, abs=0.01)
    assert found.p_value < 0.05


def test_methods_within_the_critical_difference_are_said_not_to_be_distinguishable():
    found = rank_methods(DEMSAR, NAMES, higher_is_better=True)
    assert "not distinguishable" in " ".join(found.sentences())
    first = found.groups()[0]
    assert first[0] == found.names[0]
    assert all(found.same(first[0], name) for name in first)


def test_direction_turns_the_ranks_round():
    up = rank_methods(DEMSAR, NAMES, higher_is_better=True)
    down = rank_methods(DEMSAR, NAMES, higher_is_better=False)
    assert up.names == down.names[::-1]


def test_identical_methods_share_ranks_and_nothing_is_found():
    found = rank_methods(np.ones((6, 3)), ["a", "b", "c"], higher_is_better=True)
    assert found.ranks == (2.0, 2.0, 2.0)
    assert found.p_value == 1.0
    assert set(found.p_wilcoxon.values()) == {1.0}
    assert "not distinguishable" in found.sentences()[0]


def test_too_few_data_sets_for_a_signed_rank_test_are_said_to_be():
    found = rank_methods([[1, 2], [1, 2], [1, 2]], ["a", "b"], higher_is_better=True)
    assert found.p_wilcoxon == {}
    assert "too few" in found.sentences()[-1]


def test_signed_rank_needs_six_consistent_pairs():
    assert signed_rank([2, 3, 4, 5, 6], [1, 1, 1, 1, 1]) == 0.0625
    assert signed_rank([2, 3, 4, 5, 6, 7], [1, 1, 1, 1, 1, 1]) == 0.03125


def test_holm_is_monotone_and_at_most_one():
    assert holm([0.5, 0.9, 0.7]) == [1.0, 1.0, 1.0]


def test_both_harmonic_means():
    base, new = [0.8, 0.6], [0.4, 0.7]
    assert harmonic_of_averages(base, new) == pytest.approx(2 * 0.7 * 0.55 / 1.25)
    each = [2 * 0.8 * 0.4 / 1.2, 2 * 0.6 * 0.7 / 1.3]
    assert average_of_harmonics(base, new) == pytest.approx(np.mean(each))
    assert average_of_harmonics(base, new) <= harmonic_of_averages(base, new)
    with pytest.raises(DataError, match="one base and one new"):
        harmonic_of_averages([0.1], [0.1, 0.2])


def test_missing_values_are_refused():
    with pytest.raises(DataError, match="every method needs a value"):
        rank_methods([[1, np.nan], [1, 2]], ["a", "b"], higher_is_better=True)
