"""Intervals cover: short simulations (the long ones are in benchmarks/interval_coverage.py)."""

import numpy as np
import pytest

from metrics.worlds import binary, classes
from vlmcal.metrics import METRICS, evaluate
from vlmcal.metrics.kit.absolute_sums import folded_mean
from vlmcal.metrics.kit.classwise_inference import binomial_deviation
from vlmcal.metrics.kit.proportions import clopper_pearson, design_effect, wilson
from vlmcal.types.confidences import Confidences


@pytest.mark.parametrize(("shift", "truth"), [(0.0, 0.0), (0.1, 0.0995)])
@pytest.mark.parametrize("name", ["ece", "ace", "smooth_ece", "ks_error", "debiased_ece"])
def test_calibration_errors_are_covered_with_and_without_miscalibration(name, shift, truth):
    held = []
    for seed in range(80):
        confidence, correct = binary(400, seed, shift)
        rows = Confidences(confidence=confidence, correct=correct)
        found = evaluate(rows, [name])[name]
        held.append(found.low - 1e-9 <= truth <= found.high + 1e-9)
    assert np.mean(held) >= 0.88, np.mean(held)


def test_the_floor_is_what_a_calibrated_model_shows():
    for name in ("ece", "ace", "mce", "smooth_ece", "overconfidence"):
        values, floors = [], []
        for seed in range(60):
            confidence, correct = binary(500, seed)
            found = evaluate(Confidences(confidence=confidence, correct=correct), [name])[name]
            values.append(found.value)
            floors.append(found.floor)
        assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.12), name


def test_classwise_floor_is_what_a_calibrated_model_shows():
    found = [
        evaluate(classes(400, k=8, seed=s), ["classwise_ece"])["classwise_ece"] for s in range(30)
    ]
    assert np.mean([f.floor for f in found]) == pytest.approx(
        np.mean([f.value for f in found]), rel=0.08
    )
    assert np.mean([f.low == 0 for f in found]) >= 0.85


def test_piece_is_noise_and_its_debiased_form_is_not():
    raw, debiased = [], []
    for seed in range(20):
        confidence, correct = binary(1000, seed)
        near = np.random.default_rng(seed + 1000).random(1000)
        raw.append(METRICS.get("piece")(confidence, correct, near))
        debiased.append(METRICS.get("piece_debiased")(confidence, correct, near))
    assert np.mean(raw) == pytest.approx(0.103, abs=0.012)  # published simulation, N = 1000
    assert np.mean(debiased) < 0.03
    wrong = [
        METRICS.get("piece_debiased")(*binary(1000, s, 0.2), np.random.default_rng(s).random(1000))
        for s in range(10)
    ]
    assert np.mean(wrong) == pytest.approx(0.2, abs=0.03)


def test_folded_mean_and_binomial_deviation_by_simulation():
    draws = np.random.default_rng(0).normal(size=400_000)
    for t in (0.0, 0.7, 2.0):
        assert folded_mean(np.array(t)) == pytest.approx(np.abs(draws + t).mean(), abs=0.004)
    for n, p in ((1, 0.3), (7, 0.5), (40, 0.02)):
        hits = np.random.default_rng(1).binomial(n, p, 400_000)
        wanted = np.abs(hits - n * p).mean()
        assert binomial_deviation(np.array(float(n)), np.array(p)) == pytest.approx(
            wanted, rel=0.02
        )


def test_shares_by_published_values():
    # Brown, Cai and DasGupta, Statistical Science 2001: 95 % limits for 10 of 20.
    low, high = wilson(np.array(10.0), np.array(20.0))
    assert (float(low), float(high)) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    low, high = clopper_pearson(np.array(10.0), np.array(20.0))
    assert (float(low), float(high)) == pytest.approx((0.2720, 0.7280), abs=1e-4)
    assert clopper_pearson(np.array(0.0), np.array(5.0)).low == 0
    assert clopper_pearson(np.array(5.0), np.array(5.0)).high == 1
    values = np.random.default_rng(0).normal(size=50)
    copies = np.repeat(values, 4)
    assert design_effect(copies, np.repeat(np.arange(50), 4).astype(str)) == pytest.approx(
        4, rel=0.05
    )


def test_an_interval_that_hangs_on_two_rows_is_not_shown():
    confidence = np.concatenate([np.full(298, 0.5), np.full(2, 0.95)])
    correct = np.concatenate([np.arange(298) % 2 == 0, [False, True]])
    found = evaluate(
        Confidences(confidence=confidence, correct=correct),
        ["net_benefit"],
        options={"net_benefit": {"threshold": 0.9}},
        resamples=200,
    )["net_benefit"]
    assert found.low is None
    assert found.value == pytest.approx((1 - 9) / 300)


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize(
    "name", ["auroc", "aurc", "e_aurc", "auprc_correct", "auprc_error", "brier"]
)
def test_the_influence_of_a_row_is_the_slope_in_its_weight(name, decimals):
    if name == "brier":
        data = classes(60, 3, 0)
        statistic = METRICS.get(name).resample(data, data.labels)
    else:
        confidence, correct = binary(60, 1)
        confidence = confidence if decimals is None else np.round(confidence, decimals)
        statistic = METRICS.get(name).resample(confidence, correct)
    n, step = 60, 1e-6
    slopes = []
    for row in range(n):
        weights = np.full(n, 1 - step)
        weights[row] += step * n
        slopes.append((statistic(weights) - statistic(np.ones(n))) / step)
    # a tie is spread over its places, which a step of one row changes by 1 / n
    np.testing.assert_allclose(
        statistic.influence(), slopes, atol=2e-3 if decimals is None else 0.05
    )


def test_many_rows_have_analytic_intervals_as_wide_as_resampled_ones():
    confidence, correct = binary(10_000, 0)
    rows = Confidences(confidence=confidence, correct=correct)
    names = ["top_label_brier", "auroc", "aurc", "auprc_correct", "auprc_error"]
    large = evaluate(rows, names)
    few = evaluate(rows.subset(slice(9_999)), names, resamples=200)
    for name in names:
        assert large[name].method == "influence function, normal"
        assert few[name].method == "bootstrap, BCa"
        widths = [found[name].high - found[name].low for found in (large, few)]
        assert widths[0] == pytest.approx(widths[1], rel=0.25)
