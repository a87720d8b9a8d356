"""No headline says "fine" while a test that is printed rejects, for any number of classes."""

import numpy as np
import pytest

from vlmcal.metrics import evaluate
from vlmcal.report.pages.class_verdict import headline_verdict
from vlmcal.types.predictions import Predictions, from_probabilities

METRICS = ["ece", "classwise_ece"]


def world(k, n, seed, permuted):
    """Calibrated rows; ``permuted``: the top label keeps its probability, the others exchange theirs."""
    rng = np.random.default_rng([k, seed])
    p = rng.dirichlet(np.full(k, 0.5), size=n)
    labels = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    stated, top = p.copy(), p.argmax(axis=1)
    for row in range(n) if permuted else ():
        others = np.delete(np.arange(k), top[row])
        stated[row, others] = np.roll(p[row, others], 1)
    return from_probabilities(stated, labels=labels, split="test")


@pytest.mark.parametrize("k", [3, 5, 10])
def test_classes_that_are_wrong_lead_a_top_label_that_is_right(k):
    data = world(k, 1500, 1, permuted=True)
    measured = evaluate(data, METRICS, resamples=100)
    assert measured["classwise_ece"].p_value < 0.01
    first, *rest = headline_verdict(data, measured).sentences
    assert "more than chance" in first or "is too" in first
    assert rest[0].startswith("By the top label, mean confidence and accuracy agree within chance")


@pytest.mark.parametrize("k", [2, 3, 10])
def test_fine_is_said_with_what_a_single_test_doubts(k):
    plain = doubted = 0
    for seed in range(25):
        data = world(k, 300, seed, permuted=False)
        measured = evaluate(data, METRICS, resamples=0 if k == 10 else 60, seed=seed)
        tested = [e.p_value for e in measured.estimates.values() if e.p_value is not None]
        first = headline_verdict(data, measured).sentences[0]
        fine = "within chance" in first and "doubt" not in first and "; " not in first
        assert not (fine and min(tested, default=1) < 0.05), first
        plain, doubted = plain + fine, doubted + ("doubt" in first)
    assert plain >= 18


def test_two_classes_whose_errors_cancel_by_side_and_on_average():
    """Too high from .1 to .3 and .5 to .7, too low elsewhere: only the test of the class-wise ECE sees it."""
    rng = np.random.default_rng(0)
    risk = rng.uniform(0.1, 0.9, 4000)
    shift = np.where(np.floor(risk * 10) % 2 == 0, 0.09, -0.09)
    ill = rng.random(4000) < (risk + shift).clip(0, 1)
    data = from_probabilities(
        np.stack([1 - risk, risk], axis=1), labels=ill.astype(int), split="test"
    )
    measured = evaluate(data, METRICS, resamples=60)
    verdict = headline_verdict(data, measured)
    assert measured["classwise_ece"].p_value < 0.01
    assert "within chance" not in verdict.sentences[0]


def test_a_single_row_has_a_headline():
    data = Predictions(logits=[[1.0, 0.0, 0.0]], labels=[0])
    assert headline_verdict(data, evaluate(data, METRICS, resamples=0)).sentences
