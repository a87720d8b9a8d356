"""Evaluators behind published tables: their quirks, kept on purpose."""

import warnings

import numpy as np
import pytest

from metrics.worlds import binary, classes
from vlmcal.metrics import evaluate
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.piece import piece
from vlmcal.metrics.published.binning import quantile_index, torch_edges
from vlmcal.metrics.published.evaluators import (
    dac_ece,
    tcpt_adaptive_ece,
    tcpt_confidences,
    tcpt_ece,
    tcpt_mce,
)
from vlmcal.metrics.published.libraries import netcal_errors, torchmetrics_errors
from vlmcal.metrics.published.probmetrics import probmetrics_errors
from vlmcal.metrics.published.smooth_ece import published_smooth_ece
from vlmcal.metrics.published.verified import midpoint_edges, verified_calibration_error
from vlmcal.metrics.smooth_ece import smooth_ece
from vlmcal.types.predictions import Predictions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_are_those_of_torch(dtype):
    torch = pytest.importorskip("torch")
    for bins in range(1, 130):
        wanted = torch.linspace(0, 1, bins + 1, dtype=getattr(torch, dtype)).double()
        assert torch_edges(bins, dtype).tolist() == wanted.tolist(), bins


@pytest.mark.parametrize("n", [1, 2, 7, 14, 15, 16, 29, 44, 101])
def test_the_first_equal_count_bins_take_the_rows_that_are_left_over(n):
    values = np.random.default_rng(n).permutation(np.linspace(0.01, 0.99, n))
    index = np.searchsorted(midpoint_edges(values, 15), values)
    parts = np.array_split(np.sort(values), 15)
    assert np.bincount(index).tolist() == [len(part) for part in parts if len(part)]


@pytest.mark.parametrize("mode", ["top-label", "marginal"])
def test_few_distinct_scores_are_bins_of_their_own(mode):
    p = np.tile([[0.9, 0.1], [0.3, 0.7]], (20, 1))
    labels = np.array([0, 1, 1, 1] * 10)
    found = verified_calibration_error(p, labels, mode=mode, estimator="l1_plugin", bins=1)
    # 0.9 against 10 of 20 right, 0.7 against 20 of 20 right
    assert found == pytest.approx((0.4 + 0.3) / 2)
    continuous = p + np.linspace(0, 1e-6, 40)[:, None] * [1, -1]
    merged = verified_calibration_error(
        continuous, labels, mode="top-label", estimator="l1_plugin", bins=1
    )
    assert merged == pytest.approx(0.05, abs=1e-5)


def test_torchmetrics_takes_six_tenths_into_the_upper_bin():
    assert torchmetrics_errors([0.6, 0.65], [0, 1], bins=10).ece == pytest.approx(0.125)


@pytest.mark.parametrize("rule", ["linear", "averaged_inverted_cdf"])
def test_quantile_bins_are_those_of_scikit_learn(rule):
    from sklearn.preprocessing import KBinsDiscretizer

    for seed, digits in ((0, 8), (1, 1), (2, 2)):
        values = binary(83, seed)[0].round(digits)
        reference = KBinsDiscretizer(
            10, encode="ordinal", strategy="quantile", quantile_method=rule, subsample=None
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = reference.fit_transform(values[:, None])[:, 0]
        assert quantile_index(values, 10, rule).tolist() == wanted.tolist()


def test_float32_edge_moves_seven_tenths():
    confidence, correct = np.array([0.7, 0.65]), np.array([True, False])
    assert tcpt_ece(confidence, correct) == pytest.approx(0.15 + 0.325)
    assert ece(confidence, correct, bins=10) == pytest.approx(0.175)


def test_weighted_maximum_is_never_above_the_ece():
    confidence, correct = binary(500, shift=0.2)
    assert tcpt_mce(confidence, correct) <= tcpt_ece(confidence, correct)


def test_dac_loses_certain_rows():
    assert dac_ece(np.ones(10), np.zeros(10, dtype=bool)) == 0
    assert ece(np.ones(10), np.zeros(10, dtype=bool)) == 1


def test_torchmetrics_gives_certain_rows_a_bin_of_their_own():
    confidence = np.array([0.95] * 5 + [1.0] * 5)
    correct = np.array([True] * 5 + [False] * 5)
    assert torchmetrics_errors(confidence, correct, bins=10).mce == 1.0
    assert ece(confidence, correct, bins=10, norm="max") == pytest.approx(0.475)


def test_probmetrics_forgets_absent_classes():
    p = np.zeros((20, 3))
    p[:, 0] = 1.0
    assert probmetrics_errors(p, [1] * 10 + [2] * 10).ece < 0.51
    assert ece(np.ones(20), np.zeros(20)) == 1.0


def test_authors_smooth_ece_counts_certain_rows_half():
    confidence = np.concatenate([np.full(500, 1.0), np.linspace(0.6, 0.9, 500)])
    correct = np.concatenate([np.arange(500) % 2 == 0, np.full(500, True)])
    assert smooth_ece(confidence, correct) != pytest.approx(
        published_smooth_ece(confidence, correct), rel=0.05
    )
    inner = np.clip(confidence, 0, 0.97)
    assert smooth_ece(inner, correct) == pytest.approx(
        published_smooth_ece(inner, correct), abs=4e-3
    )


def test_presets_on_predictions_use_the_models_own_precision():
    logits = classes(200, k=4).logits.astype(np.float16)
    data = Predictions(
        logits=logits,
        labels=classes(200, k=4).labels,
        extras={"knn_distance": np.linspace(0, 1, 200)},
    )
    confidence = tcpt_confidences(logits, "float16")
    correct = data.predicted() == data.labels
    found = evaluate(data, "tcpt-evaluator", intervals=False)
    assert found["tcpt_ece"].value == tcpt_ece(confidence, correct)
    assert found["tcpt_adaptive_ece"].value == tcpt_adaptive_ece(confidence, correct)
    assert not found.notes or "tcpt_piece" not in found.notes[0]


def test_netcal_agrees_where_the_definitions_do():
    netcal = pytest.importorskip("netcal.metrics")
    confidence, correct = binary(2000, seed=5, shift=0.05)
    for bins in (10, 15):
        wanted = netcal.ECE(bins).measure(confidence, correct.astype(int))
        assert netcal_errors(confidence, correct, bins=bins).ece == pytest.approx(wanted, abs=1e-12)
        assert ece(confidence, correct, bins=bins) == pytest.approx(wanted, abs=2e-3)
        wanted = netcal.MCE(bins).measure(confidence, correct.astype(int))
        assert netcal_errors(confidence, correct, bins=bins).mce == pytest.approx(wanted, abs=1e-12)


def test_piece_equals_the_evaluators_on_continuous_data():
    from vlmcal.metrics.published.evaluators import tcpt_piece

    confidence, correct = binary(997, seed=6)
    distance = np.random.default_rng(1).random(997)
    ours = piece(confidence, correct, distance, bins=10, proximity_bins=10)
    assert ours == pytest.approx(tcpt_piece(confidence, correct, distance), abs=0.02)
