"""Sentences about runs whose numbers alone would mislead."""

import math

import numpy as np
import pytest

from vlmcal.experiment.evaluate import Row
from vlmcal.experiment.findings import chance_level, findings
from vlmcal.types.predictions import Predictions


def predictions(right, k=4, n=200, sure=3.0, seed=0, predicted=None):
    """Rows of balanced classes of which a share is right; the others name the next class."""
    labels = np.arange(n) % k
    draw = np.random.default_rng(seed)
    said = np.where(draw.random(n) < right, labels, (labels + 1) % k)
    said = said if predicted is None else np.where(draw.random(n) < predicted, 0, said)
    logits = sure * np.eye(k)[said] + 0.01 * draw.normal(size=(n, k))
    return Predictions(logits=logits, labels=labels, split="test")


def row(given, method="coop", seed=1, run="a", calibrator="none", classes="all"):
    cell = {
        "data": {"name": "shapes"},
        "backbone": "clip",
        "method": {"name": method},
        "objective": "" if method == "zero_shot" else "ce",
        "shots": None if method == "zero_shot" else 16,
        "seed": None if method == "zero_shot" else seed,
        "train": {},
    }
    return Row(run, cell, classes, calibrator, None, given)


def test_a_good_run_gives_no_sentence():
    rows = [row(predictions(0.6), "zero_shot", run="z"), row(predictions(0.9))]
    assert findings(rows, {"a": [{"loss": 1.0}, {"loss": 0.5}, {"loss": 0.3}]}) == []


def test_chance_is_the_share_of_the_most_frequent_class():
    imbalanced = Predictions(logits=np.eye(2)[[0] * 10], labels=[0] * 7 + [1] * 3, split="test")
    assert chance_level(imbalanced) == pytest.approx(0.7)
    (line,) = findings([row(imbalanced)], {})
    assert "accuracy 70.0% of 10 images is not above chance" in line
    assert "gives 70.0%" in line


def test_harm_is_said_where_the_paired_difference_is_beyond_chance():
    zero = row(predictions(0.8), "zero_shot", run="z")
    lines = findings([zero, row(predictions(0.6, seed=1))], {})
    assert ["tuning hurt, accuracy" in line for line in lines] == [True]
    assert findings([zero, row(predictions(0.79, seed=0))], {}) == []
    other = predictions(0.6, n=100, seed=1)
    assert findings([zero, row(other)], {}) == []  # other images are no pair


def test_a_difference_that_does_not_show_is_no_harm():
    zero, same = predictions(0.8), predictions(0.8)
    worse = Predictions(logits=same.logits * 1.0001, labels=same.labels, ids=same.ids, split="test")
    assert findings([row(zero, "zero_shot", run="z"), row(worse)], {}) == []


def test_rows_beyond_the_third_are_counted():
    rows = [row(predictions(0.1, seed=seed), seed=seed, run=str(seed)) for seed in range(4)]
    assert findings(rows, {})[3] == "1 more row at chance: see the table."


def test_overconfidence_alone_is_harm_in_log_loss():
    zero = row(predictions(0.7, sure=1.5), "zero_shot", run="z")
    (line,) = findings([zero, row(predictions(0.7, sure=15.0))], {})
    assert "NLL" in line
    assert "accuracy" not in line


def test_a_loss_that_never_moved_is_said():
    still = [{"loss": math.log(4)}] * 5
    (line,) = findings([row(predictions(0.9))], {"a": still})
    assert "never moved" in line
    assert "ln K" in line


def test_one_class_with_most_predictions_is_said():
    (line,) = findings([row(predictions(0.9, predicted=0.7))], {})
    assert '"0" gets' in line


def test_equal_predictions_of_several_seeds_are_said_once():
    same = predictions(0.9)
    rows = [row(same, seed=s, run=str(s)) for s in (1, 2, 3)]
    (line,) = findings(rows, {})
    assert "2 more seeds gave the very same predictions" in line


def test_calibrated_rows_are_passed_over():
    assert findings([row(predictions(0.1, k=4), calibrator="temperature")], {}) == []
