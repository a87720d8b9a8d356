"""A calibrator is attached only where held-out rows do not speak against it."""

from dataclasses import replace

import numpy as np

from vlmcal.calibrators.histogram import Histogram
from vlmcal.calibrators.temperature import Temperature
from vlmcal.posthoc.harmless import why_not
from vlmcal.types.predictions import Predictions


def rows(n, sharpen, seed=0, k=4):
    draw = np.random.default_rng(seed)
    logits = 2 * draw.normal(size=(n, k))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = [draw.choice(k, p=each) for each in p]
    return Predictions(logits=sharpen * logits, labels=labels, split="val")


def test_a_repair_that_helps_is_attached():
    assert why_not(Temperature(), rows(400, 4.0)) == ""


def test_a_map_with_many_numbers_and_few_rows_is_not():
    reason = why_not(Histogram(), rows(40, 1.0))
    assert "raises the cross-validated log-loss of the 40 held-out rows from" in reason


def test_rows_that_cannot_be_split_are_no_evidence():
    one = Predictions(logits=[[1.0, 0.0]], labels=[0], split="val")
    assert "cannot be checked on the 1 held-out rows" in why_not(Temperature(), one)


def test_fewer_groups_than_folds_are_checked_all_the_same():
    two = replace(rows(400, 4.0), groups=np.arange(400) % 2)
    assert why_not(Temperature(), two) == ""
    one = replace(two, groups=np.zeros(400, dtype=int))
    assert "400 held-out rows of 1 group" in why_not(Temperature(), one)
