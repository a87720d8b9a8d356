"""Decisions, decompositions, label sets and prompt analysis against hand-made numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.worlds import classes
from vlmcal.errors import DataError, SpecError
from vlmcal.metrics import METRICS, evaluate
from vlmcal.metrics.brier import brier
from vlmcal.metrics.brier_decomposition import (
    brier_decomposition,
    corp_decomposition,
    top_label_brier_decomposition,
)
from vlmcal.metrics.expected_cost import cost_matrix_loss, expected_cost
from vlmcal.metrics.groupwise_ece import groupwise_ece
from vlmcal.metrics.net_benefit import acceptance_curve, net_benefit
from vlmcal.metrics.prompt_analysis import angular_spread, margins, text_moment_distance
from vlmcal.metrics.refinement import inverse_temperature, refinement_split
from vlmcal.metrics.selective_accuracy import accuracy_at_coverage, coverage_at_accuracy
from vlmcal.metrics.set_mass import cumulative_mass_ce
from vlmcal.types.neighbours import knn_distance
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

SETS = PredictionSets(
    sets=[[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0], [0, 1, 1]], labels=[0, 1, 2, 0, 0], alpha=0.2
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coverage", 0.6),
        ("mean_set_size", 8 / 5),
        ("empty_sets", 0.2),
        ("full_sets", 0.2),
        ("singleton_sets", 0.2),
        ("coverage_gap", (abs(1 / 3 - 0.8) + 0.2 + 0.2) / 3),
        ("worst_class_coverage", 1 / 3),
        ("size_stratified_violation", 0.3),
    ],
)
def test_summaries_of_sets_by_hand(name, value):
    assert METRICS.get(name)(SETS) == pytest.approx(value)


def test_coverage_has_a_wilson_interval():
    found = evaluate(SETS, ["coverage", "mean_set_size"], resamples=100)["coverage"]
    assert (found.low, found.high) == pytest.approx((0.2307, 0.8824), abs=1e-4)


def test_selective_accuracy_by_hand():
    confidence, correct = [0.9, 0.8, 0.8, 0.7, 0.1], [1, 1, 0, 0, 1]
    assert accuracy_at_coverage(confidence, correct, coverage=0.4) == pytest.approx(0.75)
    assert accuracy_at_coverage(confidence, correct, coverage=0.6) == pytest.approx(2 / 3)
    assert coverage_at_accuracy(confidence, correct, accuracy=0.66) == pytest.approx(0.6)
    assert coverage_at_accuracy(confidence, correct, accuracy=1.0) == pytest.approx(0.2)
    assert coverage_at_accuracy([0.9], [0], accuracy=0.5) == 0
    with pytest.raises(SpecError, match="coverage"):
        accuracy_at_coverage(confidence, correct, coverage=0)


def test_net_benefit_and_cost_by_hand():
    confidence, correct = [0.9, 0.8, 0.6, 0.2], [1, 0, 1, 1]
    assert net_benefit(confidence, correct, threshold=0.5) == pytest.approx((2 - 1) / 4)
    assert net_benefit(confidence, correct, threshold=0.8) == pytest.approx((1 - 4) / 4)
    curve = acceptance_curve(confidence, correct, [0.5])
    assert curve.accept_all[0] == pytest.approx(0.75 - 0.25)
    assert expected_cost(confidence, correct, wrong_cost=1, defer_cost=0.25) == pytest.approx(
        (0 + 1 + 0.25 + 0.25) / 4
    )
    with pytest.raises(DataError, match="costs"):
        cost_matrix_loss([[0.5, 0.5]], [0], [[1.0, 0.0]])
    with pytest.raises(SpecError, match="threshold"):
        net_benefit(confidence, correct, threshold=1.0)


@given(st.integers(0, 8), st.integers(1, 15))
def test_brier_parts_add_up(seed, bins):
    data = classes(60, k=3, seed=seed)
    parts = brier_decomposition(data.probabilities(), data.labels, bins=bins)
    assert parts.brier == pytest.approx(brier(data), abs=1e-12)
    assert parts.reliability >= 0
    assert parts.resolution >= 0
    assert parts.brier == pytest.approx(
        parts.reliability - parts.resolution + parts.uncertainty + parts.within, abs=1e-12
    )


def test_brier_parts_of_stated_confidences_have_nothing_within_bins():
    confidence = np.tile([0.55, 0.75, 0.95], 40)
    correct = np.random.default_rng(0).random(120) < 0.7
    parts = top_label_brier_decomposition(confidence, correct, bins=10)
    assert parts.within == pytest.approx(0, abs=1e-12)
    corp = corp_decomposition(confidence, correct)
    assert corp.score == pytest.approx(parts.brier)
    assert corp.miscalibration >= 0
    assert corp.discrimination >= 0
    assert corp.uncertainty == pytest.approx(parts.uncertainty)
    assert corp_decomposition(confidence, correct, loss="nll").miscalibration >= 0


def test_refinement_finds_the_temperature_and_what_it_repairs():
    data = classes(4000, k=4, seed=1, scale=2.0)
    logits = data.logits.astype(np.float64)
    assert 1 / inverse_temperature(logits, data.labels) == pytest.approx(2.0, abs=0.15)
    parts = refinement_split(data, data.labels)
    truth = refinement_split(classes(4000, k=4, seed=1), data.labels)
    assert parts.refinement == pytest.approx(truth.loss, abs=0.01)
    assert parts.calibration > 0.1
    assert abs(truth.calibration) < 0.01
    calm = refinement_split(data, data.labels, recalibrator="isotonic", loss="brier")
    assert calm.calibration > 0.02
    with pytest.raises(SpecError, match="folds"):
        refinement_split(data, data.labels, folds=1)


def test_groupwise_error_cannot_cancel():
    confidence = np.full(100, 0.5)
    kinds = np.repeat(["a", "b"], 50)
    correct = kinds == "a"
    assert METRICS.get("ece")(confidence, correct) == pytest.approx(0, abs=1e-12)
    assert groupwise_ece(confidence, correct, kinds) == pytest.approx(0.5)
    assert groupwise_ece(confidence, correct, kinds, reduce="max") == pytest.approx(0.5)
    assert groupwise_ece(confidence, correct, kinds, reduce="spread") == pytest.approx(0)
    with pytest.raises(DataError, match="kinds"):
        groupwise_ece(confidence, correct, kinds[:3])


def test_cumulative_mass_of_a_calibrated_model_is_small():
    data = classes(20_000, k=5)
    assert cumulative_mass_ce(data.probabilities(), data.labels) < 0.01
    wrong = classes(20_000, k=5, scale=2.0)
    assert cumulative_mass_ce(wrong.probabilities(), wrong.labels) > 0.03


def test_neighbours_by_full_sort():
    rows = np.random.default_rng(0).normal(size=(50, 6))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distance = np.linalg.norm(unit[:, None] - unit, axis=2)
    np.fill_diagonal(distance, np.inf)
    wanted = np.sort(distance, axis=1)[:, :10].mean(axis=1)
    assert knn_distance(rows) == pytest.approx(wanted, abs=1e-9)
    other = np.random.default_rng(1).normal(size=(7, 6))
    assert knn_distance(rows, k=3, reference=other).shape == (50,)
    with pytest.raises(DataError, match="at least one other row"):
        knn_distance([[1.0, 2.0]])


def test_piece_is_computed_from_image_features():
    data = classes(120)
    features = np.random.default_rng(0).normal(size=(120, 5))
    with_features = Predictions(
        logits=data.logits, labels=data.labels, extras={"image_features": features}
    )
    top = data.top_label()
    given = METRICS.get("piece")(top.confidence, top.correct, knn_distance(features))
    assert METRICS.get("piece")(with_features) == pytest.approx(given)


def test_prompts_by_hand():
    square = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert angular_spread(square) == pytest.approx(90)
    assert angular_spread(5 * square, classes=[0, 1]) == pytest.approx(90)
    assert np.isnan(angular_spread(square[:1]))
    assert text_moment_distance(square, square) == 0
    turned = np.random.default_rng(0).normal(size=(6, 4))
    frozen = np.random.default_rng(1).normal(size=(6, 4))
    t, f = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (turned, frozen))
    wanted = (
        np.square(t.mean(0) - f.mean(0)).sum()
        + np.square(np.cov(t.T, bias=True) - np.cov(f.T, bias=True)).sum()
    )
    assert text_moment_distance(turned, frozen) == pytest.approx(wanted)
    assert margins([[1.0, 3.0, 2.0]], [2]).tolist() == [-1.0]
    with pytest.raises(DataError, match="differ in shape"):
        text_moment_distance(square, square[:2])
