"""Clinical measures against scikit-learn, statsmodels and published numbers."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    roc_auc_score,
)

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.clinical.calibration import (
    brier_skill,
    curve_errors,
    observed_to_expected,
    recalibration,
    spiegelhalter,
)
from vlmcal.metrics.clinical.decisions import (
    choose_threshold,
    clinical_decision_curve,
    decisions_at,
)
from vlmcal.metrics.clinical.discrimination import (
    average_precision,
    compare_auroc,
    diagnostic_auroc,
)
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.metrics.clinical.sample_size import rows_for_width
from vlmcal.metrics.clinical.shift import estimated_prior, expected_performance, with_prior
from vlmcal.metrics.clinical.summary import clinical_summary
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions, from_probabilities


def drawn(n=300, seed=7):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    return expit(1.6 * z + 0.3), rng.random(n) < expit(z - 0.2)


def test_against_scikit_learn_and_statsmodels():
    p, y = drawn()
    risks = Risks.of(p, y)
    area = diagnostic_auroc(risks)
    assert area.value == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert average_precision(risks).value == pytest.approx(average_precision_score(y, p), abs=1e-12)
    reference = y.mean() * (1 - y.mean())
    assert brier_skill(risks).value == pytest.approx(1 - brier_score_loss(y, p) / reference)
    # statsmodels 0.14: GLM (Binomial) with offset and with slope; lowess(frac=0.75, it=0).
    fit = recalibration(risks)
    assert fit.intercept.value == pytest.approx(-0.46315586140844794, abs=1e-9)
    assert (fit.intercept.high - fit.intercept.value) / 1.959964 == pytest.approx(
        0.1372782888303367, rel=1e-6
    )
    assert fit.slope.value == pytest.approx(0.8416097374878742, abs=1e-6)
    assert (fit.slope.high - fit.slope.value) / 1.959964 == pytest.approx(
        0.11617602966466384, rel=1e-5
    )
    errors = curve_errors(risks)
    assert errors == pytest.approx((0.08232737529711973, 0.08782582193679844, 0.1369467855144882))
    assert observed_to_expected(risks).value == pytest.approx(0.8408600253174925)


def test_delong_by_all_pairs():
    p, y = drawn(120)
    q = np.random.default_rng(3).permutation(p).round(1)
    for score in (p, p.round(1)):
        cases, others = score[y], score[~y]
        wins = (cases[:, None] > others) + 0.5 * (cases[:, None] == others)
        error = np.sqrt(
            wins.mean(1).var(ddof=1) / len(cases) + wins.mean(0).var(ddof=1) / len(others)
        )
        area = diagnostic_auroc(Risks.of(score, y))
        assert area.value == pytest.approx(wins.mean())
        assert (area.value - area.low) / 1.959964 == pytest.approx(error, rel=1e-6)
    difference = compare_auroc(Risks.of(p, y), Risks.of(q, y))
    assert difference.value == pytest.approx(roc_auc_score(y, p) - roc_auc_score(y, q))
    assert difference.p_value < 0.05
    assert compare_auroc(Risks.of(p, y), Risks.of(p, y)).p_value == 1.0


def test_rows_that_repeat_within_units_add_nothing():
    p, y = drawn(200)
    once = Risks.of(p, y, np.arange(200))
    thrice = Risks.of(np.repeat(p, 3), np.repeat(y, 3), np.repeat(np.arange(200), 3))
    for measure in (
        diagnostic_auroc,
        observed_to_expected,
        lambda r: recalibration(r).slope,
        lambda r: decisions_at(r, 0.5).sensitivity,
        average_precision,
    ):
        first, last = measure(once), measure(thrice)
        assert last.value == pytest.approx(first.value)
        assert last.high - last.low == pytest.approx(first.high - first.low, rel=0.03)


def test_intervals_and_tests_hold_their_level():
    rng = np.random.default_rng(1)
    missed, rejected = np.zeros(3), np.zeros(2)
    for _ in range(400):
        z = rng.normal(size=250)
        p = expit(z)
        risks = Risks.of(p, rng.random(250) < p)
        fit, ratio = recalibration(risks), observed_to_expected(risks)
        for at, (estimate, right) in enumerate(((fit.intercept, 0), (fit.slope, 1), (ratio, 1))):
            missed[at] += not estimate.low <= right <= estimate.high
        rejected += [ratio.p_value < 0.05, spiegelhalter(risks).p_value < 0.05]
    # The interval of O:E takes the expected number as fixed, so it is on the safe side.
    assert (missed / 400 < 0.08).all()
    assert (rejected / 400 < 0.08).all()
    assert (rejected / 400 > 0.02).all()


def test_decisions_against_a_confusion_matrix():
    p, y = drawn()
    found = decisions_at(Risks.of(p, y), 0.3)
    tn, fp, fn, tp = confusion_matrix(y, p >= 0.3).ravel()
    values = [e.value for e in (found.sensitivity, found.specificity, found.ppv, found.npv)]
    assert values == pytest.approx([tp / (tp + fn), tn / (tn + fp), tp / (tp + fp), tn / (tn + fn)])
    curve = clinical_decision_curve(Risks.of(p, y), [0.3])
    assert curve.model[0] == pytest.approx(tp / 300 - fp / 300 * 3 / 7)
    assert curve.treat_all[0] == pytest.approx(y.mean() - (1 - y.mean()) * 3 / 7)


def test_thresholds_are_chosen_by_rule():
    p, y = drawn()
    risks = Risks.of(p, y)
    strict = choose_threshold(risks, "sensitivity=0.9")
    assert decisions_at(risks, strict).sensitivity.value >= 0.9
    assert decisions_at(risks, strict + 0.02).sensitivity.value < 0.9
    assert decisions_at(risks, choose_threshold(risks, "specificity=0.8")).specificity.value >= 0.8
    with pytest.raises(SpecError, match="youden"):
        choose_threshold(risks, "best")
    with pytest.raises(DataError, match="with and without"):
        choose_threshold(Risks.of([0.5, 0.6], [1, 1]), "youden")


def test_risks_that_are_too_high_by_a_quarter_are_found():
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.1, 0.7, 500)
    risks = Risks.of(np.minimum(truth * 1.35, 1), rng.random(500) < truth)
    ratio = observed_to_expected(risks)
    assert ratio.high < 1
    assert ratio.p_value < 1e-6


def test_no_cases_and_one_class():
    none = Risks.of([0.1, 0.2], [0, 0])
    assert np.isnan(diagnostic_auroc(none).value)
    assert np.isnan(average_precision(none).value)
    assert np.isnan(recalibration(none).slope.value)
    with pytest.raises(DataError, match="two classes"):
        clinical_summary(Predictions(logits=[[1.0]], labels=[0]))


def test_subgroups_with_gaps_and_ratios():
    p, y = drawn(400)
    rows = from_probabilities(np.column_stack([1 - p, p]), y.astype(int))
    sex = np.array(["f", "m"])[np.arange(400) % 2]
    found = clinical_summary(rows, strata={"sex": sex})
    areas = [roc_auc_score(y[sex == s], p[sex == s]) for s in ("f", "m")]
    assert found.gaps["sex"]["auroc"].value == pytest.approx(max(areas) - min(areas))
    assert found.ratios["sex"]["auroc"].value == pytest.approx(min(areas) / max(areas))
    assert found.gaps["sex"]["auroc"].low < found.gaps["sex"]["auroc"].value


def test_the_positive_class():
    names = {("no", "yes"): 1, ("Positive", "Negative"): 0, ("a", "b"): 1}
    for pair, right in names.items():
        assert (
            positive_class(Predictions(logits=[[1.0, 0.0]], labels=[0], class_names=pair)) == right
        )


def test_other_shares_of_the_classes():
    rng = np.random.default_rng(2)
    old, new = np.array([0.5, 0.5]), np.array([0.8, 0.2])
    labels = rng.random(20_000) < new[1]
    x = rng.normal(size=20_000) + 2 * labels
    p = expit(2 * x - 2)  # calibrated for equal shares
    rows = np.column_stack([1 - p, p])
    assert estimated_prior(rows, old) == pytest.approx(new, abs=0.02)
    turned = with_prior(rows, old, new)
    assert observed_to_expected(Risks.of(turned[:, 1], labels)).value == pytest.approx(1, abs=0.05)
    expected = expected_performance(turned)
    assert expected.accuracy == pytest.approx((turned.argmax(1) == labels).mean(), abs=0.01)
    assert expected.confusion.sum() == pytest.approx(20_000)
    with pytest.raises(SpecError, match=r"sum to 1\.1"):
        with_prior(rows, old, np.array([0.8, 0.3]))


def test_rows_for_a_width():
    assert rows_for_width(Estimate(0.2, 0.1, 0.3, n=100), 0.1) == 400
    assert rows_for_width(Estimate(0.2), 0.1) is None
    with pytest.raises(SpecError, match="width"):
        rows_for_width(Estimate(0.2, 0.1, 0.3, n=100), 0.0)
