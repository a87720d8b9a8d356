"""Findings that do not exclude each other: the numbers of scikit-learn and of each finding by itself."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

import vlmcal
from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.clinical.risks import Risks
from vlmcal.metrics.clinical.summary import measure
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.multi_label import evaluate_multi_label
from vlmcal.types.multi_label import MultiLabel

N, L = 300, 4


def drawn(seed=0, n=N, rounded=2, slope=0.7):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, L)) * 1.5 + np.linspace(-2, 0, L)
    p = (1 / (1 + np.exp(-z))).round(rounded)
    y = (rng.random((n, L)) < 1 / (1 + np.exp(-slope * z))).astype(float)
    return p, y


P, Y = drawn()


def test_each_finding_is_measured_as_by_itself():
    found = evaluate_multi_label(MultiLabel(probabilities=P, labels=Y), resamples=0)
    for at in range(L):
        alone = measure(Risks.of(P[:, at], Y[:, at]))
        own = found.groups[str(at)]
        for name in ("prevalence", "auroc", "average_precision", "brier", "brier_skill", "oe"):
            assert own[name].value == pytest.approx(alone[name].value, abs=1e-12)
        for name in ("intercept", "slope"):
            assert own[name].value == pytest.approx(alone[name].value, abs=1e-7)
        assert own["ece"].value == pytest.approx(ece(P[:, at], Y[:, at] == 1), abs=1e-12)
        assert own["brier"].value == pytest.approx(brier_score_loss(Y[:, at], P[:, at]))


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_the_averages_of_scikit_learn(average):
    found = vlmcal.evaluate(P, Y, multi_label=True, intervals=False)
    area = roc_auc_score(Y, P, average=average)
    precision = average_precision_score(Y, P, average=average)
    assert found[f"{average}_auroc"].value == pytest.approx(area, abs=1e-12)
    assert found[f"{average}_average_precision"].value == pytest.approx(precision, abs=1e-12)


def test_unknown_truths_are_left_out_and_uncertain_ones_only_as_said():
    y = Y.copy()
    y[::3, 1] = -1
    with pytest.raises(DataError, match="uncertain"):
        vlmcal.evaluate(P, y, multi_label=True)
    found = vlmcal.evaluate(P, y, multi_label=True, uncertain="ignore", intervals=False)
    keep = y[:, 1] >= 0
    assert found.groups["1"]["auroc"].n == keep.sum()
    assert found.groups["1"]["auroc"].value == pytest.approx(roc_auc_score(Y[keep, 1], P[keep, 1]))
    positive = vlmcal.evaluate(P, y, multi_label=True, uncertain="positive", intervals=False)
    assert positive.groups["1"]["prevalence"].value == pytest.approx(np.abs(y[:, 1]).mean())


def test_rare_findings_are_no_part_of_the_averages():
    y = Y.copy()
    y[:, 2] = 0
    y[:3, 2] = 1
    found = vlmcal.evaluate(P, y, multi_label=True, resamples=50)
    rest = [0, 1, 3]
    assert found["macro_auroc"].value == pytest.approx(roc_auc_score(y[:, rest], P[:, rest]))
    assert any("left out of the macro" in note and "2." in note for note in found.notes)
    assert found.groups["2"]["auroc"].low is None
    assert found.groups["0"]["auroc"].low is not None


def test_order_of_findings_and_rows_does_not_matter_and_weights_repeat_rows():
    rows, columns = np.random.default_rng(1).permutation(N), [2, 0, 3, 1]
    found = evaluate_multi_label(MultiLabel(probabilities=P, labels=Y), resamples=0)
    moved = MultiLabel(
        probabilities=P[rows][:, columns], labels=Y[rows][:, columns], names=tuple("2031")
    )
    other = evaluate_multi_label(moved, resamples=0)
    weights = np.random.default_rng(2).integers(0, 4, N)
    weighted = evaluate_multi_label(
        MultiLabel(probabilities=P, labels=Y), resamples=0, weights=weights
    )
    repeated = MultiLabel(probabilities=P.repeat(weights, axis=0), labels=Y.repeat(weights, axis=0))
    again = evaluate_multi_label(repeated, resamples=0)
    for name, value in found.estimates.items():
        assert other[name].value == pytest.approx(value.value, abs=1e-8), name
        assert weighted[name].value == pytest.approx(again[name].value, abs=1e-7), name


def test_intervals_treat_groups_as_units():
    doubled = [np.repeat(a, 2, axis=0) for a in (P, Y)]
    groups = np.repeat(np.arange(N), 2)
    once = evaluate_multi_label(MultiLabel(probabilities=P, labels=Y), resamples=200)
    twice = evaluate_multi_label(
        MultiLabel(probabilities=doubled[0], labels=doubled[1], groups=groups), resamples=200
    )
    widths = [e["macro_auroc"].high - e["macro_auroc"].low for e in (once, twice)]
    assert widths[1] == pytest.approx(widths[0], rel=0.2)
    assert "300 groups" in twice.notes[-1]


def test_calibrated_probabilities_have_a_small_error():
    rng = np.random.default_rng(0)
    p = rng.random((20_000, 3)) * 0.5
    y = rng.random(p.shape) < p
    found = vlmcal.evaluate(p, y, multi_label=True, intervals=False)
    assert found["macro_ece"].value < 0.02
    assert found["macro_slope"].value == pytest.approx(1, abs=0.05)


def test_intervals_of_averages_are_those_of_independent_findings():
    """Findings drawn apart: the variance of the mean is the sum of the variances over L squared."""
    found = evaluate_multi_label(MultiLabel(probabilities=P, labels=Y), resamples=300)
    alone = [measure(Risks.of(P[:, at], Y[:, at]))["auroc"] for at in range(L)]
    width = np.sqrt(sum((e.high - e.low) ** 2 for e in alone)) / L
    macro = found["macro_auroc"]
    assert macro.high - macro.low == pytest.approx(width, rel=0.25)


def test_refusals():
    with pytest.raises(DataError, match="outside"):
        vlmcal.evaluate([[1.2, 0.1]], [[1, 0]], multi_label=True)
    with pytest.raises(DataError, match="shape"):
        vlmcal.evaluate([[0.2, 0.1]], [1], multi_label=True)
    with pytest.raises(SpecError, match="metrics"):
        vlmcal.evaluate(P, Y, "ece", multi_label=True)
    with pytest.raises(SpecError, match="uncertain"):
        vlmcal.evaluate(P, Y, uncertain="ignore")
    with pytest.raises(DataError, match="no truth is known"):
        evaluate_multi_label(MultiLabel(probabilities=P))
