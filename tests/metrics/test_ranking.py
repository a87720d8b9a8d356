"""How well confidence ranks: against closed forms and other libraries."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import roc_auc_score

from vlmcal.metrics.augrc import augrc
from vlmcal.metrics.aurc import aurc
from vlmcal.metrics.feature_spectrum import smallest_singular_value
from vlmcal.metrics.kendall import kendall_tau
from vlmcal.metrics.prr import prr


def rows(seed, n=60, ties=False):
    draw = np.random.default_rng(seed)
    confidence = draw.random(n)
    if ties:
        confidence = confidence.round(1)
    return confidence, draw.random(n) < 0.3 + 0.5 * confidence


CASES = [rows(seed, ties=ties) for seed in range(3) for ties in (False, True)]


@pytest.mark.parametrize(("confidence", "correct"), CASES)
def test_augrc_is_its_closed_form(confidence, correct):
    right = correct.mean()
    expected = (1 - roc_auc_score(correct, confidence)) * right * (1 - right) + (1 - right) ** 2 / 2
    assert augrc(confidence, correct) == pytest.approx(expected)


@pytest.mark.parametrize(("confidence", "correct"), CASES)
def test_kendall_is_scipys(confidence, correct):
    assert kendall_tau(confidence, correct) == pytest.approx(
        kendalltau(confidence, correct).statistic
    )


@pytest.mark.parametrize(("confidence", "correct"), CASES[::2])
def test_prr_is_the_ratio_of_rejection_areas(confidence, correct):
    def area(order):
        kept = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
        return kept.mean()

    best = area(np.argsort(~correct, kind="stable"))
    expected = (area(np.argsort(-confidence)) - correct.mean()) / (best - correct.mean())
    assert prr(confidence, correct) == pytest.approx(expected)
    assert prr(correct.astype(float), correct) == pytest.approx(1)


def test_an_even_confidence_ranks_nothing():
    correct = np.arange(10) < 7
    even = np.full(10, 0.5)
    assert np.isnan(kendall_tau(even, correct))
    assert prr(even, correct) == pytest.approx(0)
    assert augrc(even, correct) == pytest.approx(0.3 / 2)
    assert aurc(even, correct) == pytest.approx(0.3)
    ones = np.ones(10, bool)
    assert np.isnan(prr(np.linspace(0, 1, 10), ones))
    assert augrc(np.linspace(0, 1, 10), ones) == 0


def test_the_smallest_singular_value_by_hand():
    assert smallest_singular_value(np.eye(4)) == pytest.approx(0.25)
    assert smallest_singular_value(5 * np.eye(4)[:3]) == pytest.approx(0)
    draw = np.random.default_rng(0).normal(size=(50, 3))
    unit = draw / np.linalg.norm(draw, axis=1, keepdims=True)
    expected = np.linalg.svd(unit, compute_uv=False)[-1] ** 2 / 50
    assert smallest_singular_value(draw) == pytest.approx(expected)
