"""Methods beside the best one of a data set."""

import numpy as np
import pytest

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.across_sets import holm
from vlmcal.metrics.against_best import against_best
from vlmcal.types.confidences import Confidences


def rows(share, n=300, seed=0, ids=None):
    draw = np.random.default_rng(seed)
    more = {} if ids is None else {"ids": ids}
    return Confidences(confidence=draw.uniform(0.5, 1, n), correct=draw.random(n) < share, **more)


def test_one_seed_is_the_paired_bootstrap_of_two_models():
    from vlmcal.metrics.comparison import compare

    good, poor = rows(0.8), rows(0.7, seed=1)
    (found,) = against_best({"poor": [poor], "good": [good]})
    plain = compare(poor, good, "accuracy")
    assert (found.method, found.best) == ("poor", "good")
    assert found.comparison.difference.value == pytest.approx(plain.difference.value)
    assert found.comparison.difference.low == pytest.approx(plain.difference.low, abs=0.01)


def test_a_seed_given_twice_says_no_more_than_once():
    good, poor = rows(0.75), rows(0.7, seed=1)
    (once,) = against_best({"poor": [poor], "good": [good]})
    (twice,) = against_best({"poor": [poor, poor], "good": [good, good]})
    assert twice.comparison.difference.low == pytest.approx(
        once.comparison.difference.low, abs=0.01
    )
    assert twice.p_value == pytest.approx(once.p_value, rel=0.2)


def test_seeds_of_different_number_and_order_are_paired():
    good = [rows(0.8, seed=s) for s in range(3)]
    shuffled = [each.subset(np.random.default_rng(9).permutation(300)) for each in good]
    poor = [rows(0.7, seed=9)]
    (one,) = against_best({"poor": poor, "good": good})
    (two,) = against_best({"poor": poor, "good": shuffled})
    gap = poor[0].correct.mean() - np.mean([each.correct.mean() for each in good])
    assert one.comparison.difference.value == pytest.approx(gap)
    assert two.comparison.difference == one.comparison.difference


@pytest.mark.parametrize("metric", ["accuracy", "ece", "top_label_brier"])
def test_p_values_are_corrected_for_all_methods(metric):
    found = against_best({str(s): [rows(0.7, seed=s)] for s in range(5)}, metric)
    raw = [each.comparison.p_value for each in found]
    assert [each.p_value for each in found] == pytest.approx(holm(raw))
    assert len(found) == 4


def test_other_rows_are_not_compared():
    ids = [f"x{i}" for i in range(300)]
    (found,) = against_best({"here": [rows(0.9)], "there": [rows(0.5, ids=ids)]})
    assert (found.comparison, found.verdict) == (None, "other rows")


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="at least two methods"):
        against_best({"one": [rows(0.5)]})
    with pytest.raises(DataError, match='method "b" has no rows'):
        against_best({"a": [rows(0.5)], "b": []})
    with pytest.raises(DataError, match='seeds of method "b" were measured on different rows'):
        against_best({"a": [rows(0.5)], "b": [rows(0.5), rows(0.5, n=299)]})
    with pytest.raises(SpecError, match="accuracy"):
        against_best({"a": [rows(0.5)], "b": [rows(0.6)]}, "acuracy")
