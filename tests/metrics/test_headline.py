"""The metrics of the default table against hand-made numbers, slow versions and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from metrics.worlds import binary, classes, slow_ece
from vlmcal.errors import DataError
from vlmcal.metrics.accuracy import accuracy, balanced_accuracy
from vlmcal.metrics.adaptive_calibration_error import ace
from vlmcal.metrics.auprc import auprc_correct, auprc_error
from vlmcal.metrics.aurc import aurc, best_aurc, e_aurc, risk_coverage_curve
from vlmcal.metrics.auroc import auroc, fpr_at_95_tpr
from vlmcal.metrics.brier import brier, top_label_brier
from vlmcal.metrics.classwise_ece import classwise_ece, thresholded_classwise_ece
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.macro_f1 import macro_f1
from vlmcal.metrics.maximum_calibration_error import max_bin_contribution, mce
from vlmcal.metrics.nll import nll, top_label_nll
from vlmcal.metrics.over_under_confidence import overconfidence, underconfidence
from vlmcal.metrics.topk_ece import topk_ece

rows = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@given(rows, st.integers(1, 20), st.sampled_from(["l1", "l2", "max"]))
@settings(max_examples=60, deadline=None)
def test_ece_matches_the_slow_version(pairs, bins, norm):
    confidence, correct = zip(*pairs, strict=True)
    near = [abs(abs(c * bins - round(c * bins)) / bins - 1e-6) for c in confidence]
    if min(near) < 1e-12:
        return
    got = ece(confidence, correct, bins=bins, norm=norm)
    assert got == pytest.approx(slow_ece(confidence, correct, bins, norm=norm), abs=1e-12)


@given(rows)
@settings(deadline=None)
def test_bounds_and_parts(pairs):
    confidence, correct = (np.array(x) for x in zip(*pairs, strict=True))
    total = ece(confidence, correct)
    assert 0 <= total <= 1
    assert overconfidence(confidence, correct) + underconfidence(
        confidence, correct
    ) == pytest.approx(total, abs=1e-12)
    assert max_bin_contribution(confidence, correct) <= total + 1e-12
    assert total <= mce(confidence, correct) + 1e-12
    assert abs(confidence.mean() - correct.mean()) <= total + 1e-11
    assert 0 <= aurc(confidence, correct) <= 1
    assert e_aurc(confidence, correct) >= -1e-12


@given(rows, st.randoms())
@settings(deadline=None)
def test_order_of_rows_does_not_matter(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    for metric in (ece, ace, mce, auroc, aurc, auprc_correct, auprc_error, top_label_brier):
        one = metric(*zip(*pairs, strict=True))
        two = metric(*zip(*shuffled, strict=True))
        assert one == pytest.approx(two, abs=1e-12, nan_ok=True)
    assert ece(*zip(*pairs, strict=True)) == ece(*zip(*shuffled, strict=True))


def test_large_sample_oracle_in_float64():
    confidence, correct = binary(200_000, seed=3, shift=0.1)
    index = np.minimum(np.ceil(np.round(confidence * 15, 12) - 15e-6) - 1, 14).astype(int)
    total = sum(
        abs(np.sum(confidence[index == b]) - np.sum(correct[index == b])) for b in range(15)
    )
    assert ece(confidence, correct) == pytest.approx(total / 200_000, abs=1e-12)


def test_classwise_matches_one_column_at_a_time():
    data = classes(700, k=7, scale=1.4)
    p = data.probabilities()
    columns = [slow_ece(p[:, k], data.labels == k) for k in range(7)]
    assert classwise_ece(p, data.labels) == pytest.approx(np.mean(columns), abs=1e-12)
    assert classwise_ece(data) == pytest.approx(np.mean(columns), abs=1e-12)
    assert topk_ece(p, data.labels, k=1) == pytest.approx(ece(data), abs=1e-12)
    assert topk_ece(p, data.labels, k=7) == pytest.approx(0, abs=1e-9)


def test_thresholded_classwise_by_brute_force():
    data = classes(400, k=6)
    p, threshold = data.probabilities(), 0.05
    errors = []
    for k in range(6):
        kept = p[:, k] > threshold
        errors.append(slow_ece(p[kept, k], data.labels[kept] == k))
    got = thresholded_classwise_ece(p, data.labels, threshold=threshold)
    assert got == pytest.approx(np.mean(errors), abs=1e-12)


@given(st.integers(0, 5), st.permutations(range(4)))
@settings(max_examples=15, deadline=None)
def test_names_of_classes_do_not_matter(seed, order):
    data = classes(50, k=4, seed=seed)
    p, order = data.probabilities(), list(order)
    renamed = np.argsort(order)[data.labels]
    for metric in (classwise_ece, brier, nll):
        assert metric(p[:, order], renamed) == pytest.approx(metric(p, data.labels), abs=1e-12)
    predicted = p.argmax(axis=1)
    assert macro_f1(np.argsort(order)[predicted], renamed) == pytest.approx(
        macro_f1(predicted, data.labels), abs=1e-12
    )


def test_scikit_learn_agrees():
    from sklearn import metrics as sk

    data = classes(500, k=4, scale=1.5)
    p, predicted = data.probabilities(), data.predicted()
    confidence, correct = p.max(axis=1).round(2), predicted == data.labels
    assert macro_f1(predicted, data.labels) == pytest.approx(
        sk.f1_score(data.labels, predicted, average="macro"), abs=1e-12
    )
    assert balanced_accuracy(predicted, data.labels) == pytest.approx(
        sk.balanced_accuracy_score(data.labels, predicted), abs=1e-12
    )
    assert nll(p, data.labels) == pytest.approx(sk.log_loss(data.labels, p), abs=1e-12)
    assert auroc(confidence, correct) == pytest.approx(
        sk.roc_auc_score(correct, confidence), abs=1e-12
    )
    assert auprc_correct(confidence, correct) == pytest.approx(
        sk.average_precision_score(correct, confidence), abs=1e-12
    )
    assert auprc_error(confidence, correct) == pytest.approx(
        sk.average_precision_score(~correct, -confidence), abs=1e-12
    )
    assert top_label_brier(confidence, correct) == pytest.approx(
        sk.brier_score_loss(correct, confidence), abs=1e-12
    )
    rates = sk.roc_curve(correct, confidence, drop_intermediate=False)
    assert fpr_at_95_tpr(confidence, correct) == pytest.approx(
        rates[0][np.flatnonzero(rates[1] >= 0.95)[0]], abs=1e-12
    )


def test_aurc_with_ties_is_the_mean_over_orders():
    from itertools import permutations

    confidence, correct = [0.9, 0.6, 0.6, 0.6, 0.2], [1, 1, 0, 0, 1]
    values = []
    for order in permutations((1, 2, 3)):
        wrong = [1 - correct[i] for i in (0, *order, 4)]
        values.append(np.mean([sum(wrong[: k + 1]) / (k + 1) for k in range(5)]))
    assert aurc(confidence, correct) == pytest.approx(np.mean(values), abs=1e-12)
    assert aurc(confidence, correct, ties="input-order") == pytest.approx(values[0], abs=1e-12)
    coverage, risk = risk_coverage_curve(confidence, correct)
    assert coverage[-1] == 1
    assert risk.mean() == pytest.approx(aurc(confidence, correct))


def test_best_possible_ranking_has_no_excess():
    confidence = np.linspace(1, 0, 2000)
    correct = np.arange(2000) < 1500
    assert e_aurc(confidence, correct) == pytest.approx(0, abs=1e-3)
    assert best_aurc(1.0) == 1.0


@pytest.mark.parametrize(
    ("confidence", "correct", "expected"),
    [
        ([0.8], [True], {"ece": 0.2, "ace": 0.2, "mce": 0.2, "aurc": 0.0, "nll": -np.log(0.8)}),
        ([1.0, 1.0], [False, False], {"ece": 1.0, "mce": 1.0, "aurc": 1.0, "e_aurc": 0.0}),
        ([1.0, 1.0], [True, True], {"ece": 0.0, "ace": 0.0, "nll": 0.0, "brier": 0.0}),
        ([0.0, 0.0], [False, False], {"ece": 0.0, "ace": 0.0, "brier": 0.0}),
        ([0.0, 1.0], [True, False], {"ece": 1.0, "brier": 1.0, "nll": -np.log(1e-12)}),
        ([0.5] * 4, [1, 0, 1, 0], {"ece": 0.0, "ace": 0.0, "auroc": 0.5, "aurc": 0.5}),
    ],
)
def test_hard_cases_have_defined_answers(confidence, correct, expected):
    table = {
        "ece": ece,
        "ace": ace,
        "mce": mce,
        "aurc": aurc,
        "e_aurc": e_aurc,
        "auroc": auroc,
        "nll": top_label_nll,
        "brier": top_label_brier,
    }
    for name, value in expected.items():
        assert table[name](confidence, correct) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("correct", [[True, True], [False, False]])
def test_rankings_of_one_kind_are_undefined_not_wrong(correct):
    assert np.isnan(auroc([0.5, 0.6], correct))
    assert np.isnan(fpr_at_95_tpr([0.5, 0.6], correct))
    assert np.isnan(auprc_error([0.5, 0.6], correct)) == (correct[0] is True)


def test_one_class_and_missing_classes():
    one = np.ones((5, 1))
    assert brier(one, np.zeros(5, dtype=int)) == 0
    assert classwise_ece(one, np.zeros(5, dtype=int)) == 0
    wide = np.full((6, 10), 0.1)
    assert classwise_ece(wide, np.zeros(6, dtype=int)) == pytest.approx(0.9 / 10 + 9 * 0.1 / 10)
    assert macro_f1([0, 0, 1], [0, 0, 0]) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float16, 2e-3), (np.float32, 1e-6), (np.float64, 1e-12)]
)
def test_all_float_kinds_are_accepted(dtype, tolerance):
    data = classes(300, k=6)
    p = data.probabilities()
    for metric in (brier, nll, classwise_ece):
        assert metric(p.astype(dtype), data.labels) == pytest.approx(
            metric(p, data.labels), abs=50 * tolerance
        )


def test_rows_slightly_off_are_accepted_and_rows_clearly_off_are_refused():
    p = softmax(np.random.default_rng(0).normal(size=(20, 3)), axis=1)
    labels = np.zeros(20, dtype=int)
    assert brier(p * (1 + 1e-6), labels) == pytest.approx(brier(p, labels), abs=1e-5)
    with pytest.raises(DataError, match="not a distribution"):
        brier(p * 1.01, labels)
    with pytest.raises(DataError, match="softmax"):
        brier(np.array([[4.0, -1.0, 0.0]]), [0])
    with pytest.raises(DataError, match="not a distribution"):
        nll(np.array([[0.5, np.nan, 0.5]]), [0])


def test_cosine_similarities_are_refused():
    with pytest.raises(DataError, match="similarities"):
        classwise_ece(np.array([[0.21, 0.24, 0.2]]), [1])


@pytest.mark.parametrize("labels", [[3, 0], [-1, 0]])
def test_labels_out_of_range_are_refused(labels):
    with pytest.raises(DataError, match="outside 0 to 2"):
        brier(np.full((2, 3), 1 / 3), labels)


def test_string_labels_are_refused():
    with pytest.raises(DataError, match="map class names"):
        accuracy(["cat", "dog"], ["cat", "cat"])
    with pytest.raises(DataError, match="map class names"):
        brier(np.full((2, 2), 0.5), ["cat", "dog"])


def test_saturated_logits_keep_their_likelihood():
    from vlmcal.types.predictions import Predictions

    data = Predictions(logits=[[800.0, 0.0], [0.0, 30.0]], labels=[1, 1])
    assert nll(data) == pytest.approx((800 + np.log1p(np.exp(-30))) / 2)
    assert ece(data) == pytest.approx(0.5)


def test_rounding_above_one_is_not_an_error():
    assert ece([1 + 1e-7, -1e-9], [True, False]) == pytest.approx(0, abs=1e-12)
    with pytest.raises(DataError, match="outside"):
        ece([1 + 1e-5], [True])


def test_a_perfect_model_tends_to_zero():
    values = [ece(*binary(n, seed=1)) for n in (200, 5000, 200_000)]
    assert values[0] > values[1] > values[2]
    assert values[2] < 0.006
