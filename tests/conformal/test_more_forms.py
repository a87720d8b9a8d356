"""Weighted, cross- and p-value forms of conformal prediction, several risks, unknown classes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from conformal.conformal_rows import simulate, split_rows
from vlmcal.calibrators.isotonic import Isotonic
from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.covariate_shift import likelihood_ratios, weighted_quantiles, weighted_sets
from vlmcal.conformal.cross_conformal import (
    CrossConformal,
    cross_conformal_p_values,
    cross_conformal_sets,
)
from vlmcal.conformal.fixed_sequence import hoeffding_bentkus_p_values
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.learn_then_test import LearnThenTest, settings_that_hold
from vlmcal.conformal.losses import deferral, miscoverage
from vlmcal.conformal.online import jumper_martingale, online_p_values, stream_sets
from vlmcal.conformal.p_values import conformal_p_values, credible, p_values
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.posthoc.ood_scores import detection, energy, max_logit, mcm, neg_label, negative_words

pytestmark = pytest.mark.filterwarnings("ignore::vlmcal.conformal.base.ConformalWarning")


@pytest.fixture(scope="module")
def rows():
    return split_rows(simulate(500, seed=1), 400)


@pytest.mark.parametrize("score", ["lac", "aps", "margin"])
def test_with_weights_of_one_the_sets_are_those_of_split_conformal(score, rows):
    calibration, test = rows
    split = CONFORMAL.get(score)().fit(calibration, 0.1).predict(test)
    for factor in (1.0, 7.0):
        found = weighted_sets(calibration, test, 0.1, score=score, weights=np.full(400, factor),
                              new_weights=np.full(100, factor))  # fmt: skip
        np.testing.assert_array_equal(found.sets, split.sets)


@pytest.mark.parametrize("n", [8, 9, 10, 33, 99])
@pytest.mark.parametrize("alpha", [0.1, 0.15, 0.42])
def test_the_weighted_threshold_is_the_split_one_at_weights_one(n, alpha):
    scores = np.random.default_rng(n).random(n)
    found = weighted_quantiles(scores, np.ones(n), np.ones(1), alpha)
    assert found[0] == conformal_quantile(scores, alpha)


def test_weights_keep_the_coverage_where_images_shift():
    draw = np.random.default_rng(0)
    plain, weighted = [], []
    for _ in range(300):
        x, new = draw.normal(size=300), draw.normal(size=50) + 1.5
        scores, fresh = (np.abs(draw.normal(size=v.size)) * np.exp(0.7 * v) for v in (x, new))
        ratio = [np.exp(1.5 * v - 1.5**2 / 2) for v in (x, new)]
        plain.append((fresh <= conformal_quantile(scores, 0.1)).mean())
        weighted.append((fresh <= weighted_quantiles(scores, *ratio, 0.1)).mean())
    assert np.mean(plain) < 0.75
    assert np.mean(weighted) > 0.89
    ratios = likelihood_ratios(x[:, None], new[:, None], [[0.0], [1.0]])
    assert ratios[1] > 2 * ratios[0]


def test_features_without_a_ratio_are_refused():
    x = np.zeros((3, 2))
    for wrong in (np.zeros(3), np.zeros((3, 4)), np.full((3, 2), -np.inf)):
        with pytest.raises(DataError, match="features"):
            likelihood_ratios(x, x, wrong)


def test_weights_that_mean_nothing_are_refused(rows):
    calibration, test = rows
    for weights in (np.ones(3), -np.ones(400), np.full(400, np.nan)):
        with pytest.raises(DataError, match="400 finite numbers"):
            weighted_sets(calibration, test, 0.1, weights=weights, new_weights=np.ones(100))
    with pytest.raises(SplitError):
        weighted_sets(
            replace(calibration, split="test"),
            test,
            0.1,
            weights=np.ones(400),
            new_weights=np.ones(100),
        )


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_labels_above_alpha_are_the_split_set(score, rows):
    calibration, test = rows
    values = conformal_p_values(calibration, test, score=score)
    for alpha in (0.05, 0.1, 0.33):
        sets = CONFORMAL.get(score)().fit(calibration, alpha).predict(test).sets
        np.testing.assert_array_equal(values > alpha, sets)


def test_p_values_are_valid_and_answers_are_read_from_them():
    draw = np.random.default_rng(0)
    found = np.concatenate(
        [p_values(draw.random(49), draw.random((20, 1)))[:, 0] for _ in range(500)]
    )
    for alpha in (0.05, 0.1, 0.5):
        assert (found <= alpha).mean() == pytest.approx(alpha, abs=0.02)
    answer = credible(np.array([[0.02, 0.6, 0.1], [0.01, 0.02, 0.015]]))
    assert answer.predicted.tolist() == [1, 1]
    assert answer.confidence.tolist() == pytest.approx([0.9, 0.985])
    assert answer.credibility.tolist() == [0.6, 0.02]


def test_one_fold_is_split_conformal_and_folds_count_each_model():
    draw = np.random.default_rng(0)
    scores, new = draw.random(40), draw.random((1, 30, 4))
    one = cross_conformal_p_values(scores, np.zeros(40, int), new)
    np.testing.assert_allclose(one, p_values(scores, new[0]))
    for alpha in (0.1, 0.25):
        expected = new[0] <= conformal_quantile(scores, alpha)
        np.testing.assert_array_equal(
            cross_conformal_sets(scores, np.zeros(40, int), new, alpha), expected
        )
    folds, both = np.arange(40) % 2, draw.random((2, 30, 4))
    by_hand = np.zeros((30, 4))
    for i in range(40):
        by_hand += scores[i] >= both[folds[i]]
    np.testing.assert_allclose(cross_conformal_p_values(scores, folds, both), (by_hand + 1) / 41)
    with pytest.raises(DataError, match="0 to 0"):
        cross_conformal_p_values(scores, folds, new)


def test_p_values_are_those_of_crepes():
    scores = np.array([0.64, 0.27, 0.04, 0.02, 0.81, 0.91, 0.61, 0.73, 0.54])
    new = np.array([[0.94, 0.82], [0.0, 0.86], [0.03, 0.73]])
    assert p_values(scores, new).tolist() == [[0.1, 0.2], [1.0, 0.2], [0.9, 0.4]]
    # label-conditional: ConformalClassifier with bins
    first = p_values(scores[:4], new[:, 0])
    assert first.round(6).tolist() == [0.2, 1.0, 0.8]
    second = p_values(scores[4:], new[:, 1])
    assert second.round(6).tolist() == [0.333333, 0.333333, 0.666667]


def test_p_values_per_class_use_the_rows_of_the_class(rows):
    calibration, test = rows
    found = conformal_p_values(calibration, test, per_class=True)
    sets = CONFORMAL.get("class_conditional")().fit(calibration, 0.2).predict(test).sets
    np.testing.assert_array_equal(found > 0.2, sets)
    none = calibration.subset(calibration.labels != 2)
    assert (conformal_p_values(none, test, per_class=True)[:, 2] == 1).all()
    with pytest.raises(SplitError, match="400 rows"):
        conformal_p_values(calibration, calibration)
    with pytest.raises(DataError, match="classes"):
        conformal_p_values(calibration, replace(test, class_names=tuple("abcd")))


def test_cv_plus_is_mapies():
    # CrossConformalClassifier(cv=KFold(2), conformity_score="lac"), agg_scores="crossval"
    own = [0.2, 0.7, 0.4, 0.9, 0.1, 0.6, 0.3, 0.5]
    new = [[[0.35, 0.65], [0.05, 0.95]], [[0.45, 0.55], [0.15, 0.85]]]
    folds = [0, 0, 0, 0, 1, 1, 1, 1]
    found = cross_conformal_p_values(own, folds, new)
    assert (found * 9).round(9).tolist() == [[6.0, 4.0], [8.0, 1.0]]
    for alpha, sets in ((0.2, [[1, 1], [1, 0]]), (0.45, [[1, 0], [1, 0]]), (0.1, [[1, 1], [1, 1]])):
        assert cross_conformal_sets(own, folds, new, alpha).astype(int).tolist() == sets


@pytest.mark.filterwarnings("ignore::vlmcal.calibrators.base.CalibrationWarning")
def test_folds_make_good_what_fitting_twice_on_the_same_rows_breaks():
    crossed, twice = [], []
    for seed in range(30):
        calibration, test = split_rows(replace(simulate(260, seed=seed), groups=None), 60)
        method = CrossConformal(calibrator="isotonic", folds=4).fit(calibration, 0.1)
        crossed.append(method.predict(test).covered().mean())
        fitted = Isotonic().fit(calibration, identify=False)
        split = LAC().fit(fitted.transform(calibration), 0.1)
        twice.append(split.predict(fitted.transform(test)).covered().mean())
    assert np.mean(crossed) > 0.88
    assert np.mean(twice) < 0.86


def test_identity_in_all_folds_is_split_conformal(rows):
    calibration, test = rows
    for alpha in (0.05, 0.1, 0.33):
        crossed = CrossConformal(calibrator="identity").fit(calibration, alpha).predict(test)
        np.testing.assert_array_equal(
            crossed.sets, LAC().fit(calibration, alpha).predict(test).sets
        )
    fitted = CrossConformal(calibrator="identity").fit(calibration, 0.1)
    patients = np.arange(400).astype(str).repeat(2)[:400]
    together = CrossConformal().fit(replace(calibration, groups=patients), 0.1)
    assert (together.folds_[::2] == together.folds_[1::2]).all()
    assert np.bincount(fitted.folds_).tolist() == [80] * 5
    four = CrossConformal().fit(calibration.subset([0, 1, 2, 3]), 0.1)
    assert np.bincount(four.folds_).tolist() == [1] * 4  # each is held out alone
    assert np.isfinite(four.scores_).all()
    one = CrossConformal().fit(calibration.subset([0]), 0.4)
    assert one.predict(test).sets.all()  # a single row says nothing
    with pytest.raises(SpecError, match="vector"):
        CrossConformal(calibrator="vectr")


def test_several_risks_hold_together():
    draw = np.random.default_rng(0)
    levels = np.linspace(0, 1, 11)
    broken, none = 0, 0
    for _ in range(200):
        confidence = draw.random(300)
        right = draw.random(300) < 0.6 + 0.4 * confidence
        error = (confidence[:, None] >= levels) & ~right[:, None]
        defer = confidence[:, None] < levels
        held = settings_that_hold(
            {"error": error, "deferral": defer}, {"error": 0.1, "deferral": 0.7}
        )
        true_error = 0.2 * (1 - levels) ** 2
        broken += bool(((true_error > 0.1) | (levels > 0.7))[held].any())
        none += not held.any()
    assert broken / 200 <= 0.1
    assert none < 100


def test_procedures_agree_where_they_must():
    losses = {"risk": np.stack([np.zeros(200), np.arange(200) < 11, np.arange(200) < 100], axis=1)}
    target = {"risk": 0.1}
    assert settings_that_hold(losses, target, procedure="bonferroni").tolist() == [
        True,
        False,
        False,
    ]
    assert settings_that_hold(losses, target, procedure="holm").tolist() == [True, True, False]
    fixed = settings_that_hold(losses, target, procedure="fixed_sequence", order=[0, 1, 2])
    assert fixed.tolist() == [True, True, False]
    fixed = settings_that_hold(losses, target, procedure="fixed_sequence", order=[2, 1, 0])
    assert not fixed.any()
    with pytest.raises(SpecError, match="order"):
        settings_that_hold(losses, target, procedure="fixed_sequence")
    with pytest.raises(SpecError, match="target for each risk"):
        settings_that_hold(losses, {"other": 0.1})
    with pytest.raises(DataError, match="0 to 1"):
        settings_that_hold({"risk": 2 * np.ones((3, 2))}, target)


def test_p_values_of_risks_are_those_of_mapie():
    found = hoeffding_bentkus_p_values(np.array([0, 4, 10, 16, 19, 40]), 200, 0.1)
    expected = [7.05507911e-10, 2.28781349e-5, 0.0219399321, 0.563982594, 0.97219386, 1.0]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_sets_that_keep_two_risks():
    held, passed = 0, 0
    grand = simulate(20_000, seed=100)
    method = LearnThenTest(limits={"deferral": 0.6})
    for seed in range(30):
        try:
            fitted = method.fit(simulate(400, seed=seed), 0.15)
        except DataError:
            continue
        if np.isinf(fitted.threshold_):
            continue
        passed += 1
        sets = fitted.predict(replace(grand, ids=[f"n{i}" for i in range(20_000)])).sets
        risks = miscoverage(sets, grand.labels).mean(), deferral(sets, grand.labels).mean()
        held += risks[0] <= 0.15 and risks[1] <= 0.6
    assert passed > 10
    assert held >= passed - 3


def test_limits_that_mean_nothing_are_refused(rows):
    with pytest.raises(SpecError, match="deferral"):
        LearnThenTest(limits={"deferal": 0.1})
    with pytest.raises(SpecError, match="between 0 and 1"):
        LearnThenTest(limits={"deferral": 1.5})
    with pytest.raises(SpecError, match="from alpha"):
        LearnThenTest(limits={"miscoverage": 0.1})
    with pytest.raises(SpecError, match="lac, aps, margin"):
        LearnThenTest(score="raps")
    with pytest.warns(UserWarning, match=r"deferral 0\.\d+ \(limit 0.01\)"):
        none = LearnThenTest(limits={"deferral": 0.01}).fit(rows[0], 0.1)
    assert none.predict(rows[1]).sets.all()
    falling = LearnThenTest(procedure="fixed_sequence").fit(rows[0], 0.1)
    assert falling.threshold_ <= LearnThenTest().fit(rows[0], 0.1).threshold_


def test_the_stream_is_that_of_crepes():
    scores = [0.3, 0.1, 0.3, 0.9, 0.5, 0.95, 0.97, 0.99]
    found = online_p_values(scores, np.full(8, 0.25))
    expected = [0.25, 0.625, 1 / 6, 0.0625, 0.25, 1 / 24, 1 / 28, 1 / 32]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(
        online_p_values(scores[3:], np.full(5, 0.25), before=scores[:3]), expected[3:]
    )
    p = [0.9, 0.7, 0.2, 0.05, 0.04, 0.03, 0.02, 0.01]
    expected = [1.0, 1.0528, 0.934792, 0.8556833176, 0.8988910922, 1.0545115426, 1.3383587622]
    np.testing.assert_allclose(np.exp(jumper_martingale(p)), [*expected, 1.7933016704], rtol=1e-9)
    with pytest.raises(DataError, match="0 to 1"):
        jumper_martingale([1.2])


def test_a_change_of_the_stream_is_told_and_sets_follow_it():
    calibration, stream = split_rows(simulate(1300, seed=3), 300)
    quiet = stream_sets(calibration, stream, 0.1)
    assert quiet.alarm is None
    assert "no alarm" in quiet.sentence()
    assert quiet.sets.covered().mean() == pytest.approx(0.9, abs=0.03)
    draw = np.random.default_rng(0)
    turned = stream.logits.copy()
    turned[500:] = draw.normal(size=turned[500:].shape) * 8  # the model knows nothing from here on
    broken = replace(stream, logits=turned)
    loud = stream_sets(calibration, broken, 0.1)
    assert 500 < loud.alarm < 560
    assert f"alarm at row {loud.alarm}" in loud.sentence()
    fixed = stream_sets(calibration, broken, 0.1, rate=0)
    assert (fixed.levels == 0.1).all()
    late = slice(700, None)
    assert fixed.sets.covered()[late].mean() < loud.sets.covered()[late].mean()
    t, rate = 1000, 0.005
    assert abs(loud.sets.covered().mean() - 0.9) <= (0.9 + rate) / (t * rate)


def test_streams_raise_few_false_alarms_and_refuse_nonsense(rows):
    draw = np.random.default_rng(1)
    most = [jumper_martingale(draw.random(400)).max() for _ in range(200)]
    assert np.mean(np.array(most) >= np.log(20)) <= 0.08
    calibration, test = rows
    empty = stream_sets(calibration, test.subset([0, 1, 2]), 0.1, rate=1.0)
    assert empty.levels.round(6).tolist()[1] in (0.1 + 0.1, round(0.1 - 0.9, 6))
    with pytest.raises(SplitError):
        stream_sets(calibration, calibration, 0.1)
    with pytest.raises(SpecError, match="rate"):
        stream_sets(calibration, test, 0.1, rate=-1)
    with pytest.raises(DataError, match="classes"):
        stream_sets(calibration, replace(test, class_names=tuple("abcd")), 0.1)


def test_scores_of_unknown_classes_by_hand():
    cosine = np.array([[0.3, 0.1], [0.2, 0.2]])
    logits = 100 * cosine
    np.testing.assert_allclose(mcm(logits), softmax(cosine, axis=1).max(axis=1))
    np.testing.assert_allclose(energy(logits), np.log(np.exp(logits).sum(axis=1)))
    assert max_logit(logits).tolist() == [30.0, 20.0]
    negatives = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
    known = np.exp(cosine).sum(axis=1)
    np.testing.assert_allclose(
        neg_label(cosine, negatives), known / (known + np.exp(negatives).sum(axis=1))
    )
    apart = np.mean(
        [known / (known + np.exp(negatives[:, [i]]).sum(axis=1)) for i in range(3)], axis=0
    )
    np.testing.assert_allclose(neg_label(cosine, negatives, groups=3), apart)
    with pytest.raises(DataError, match="groups"):
        neg_label(cosine, negatives, groups=4)
    words, classes = np.eye(3), np.array([[1.0, 0.2, 0.0], [0.9, 0.4, 0.0]])
    assert negative_words(words, classes, 2).tolist() == [2, 1]


def test_detection_is_scikit_learns():
    draw = np.random.default_rng(0)
    known, unknown = draw.normal(size=300) * 40 + 30, draw.normal(size=200) * 40
    found = detection(known, unknown)
    assert found.auroc == pytest.approx(roc_auc_score([1] * 300 + [0] * 200, [*known, *unknown]))
    threshold = np.sort(known)[15]
    assert found.fpr95 == pytest.approx((unknown >= threshold).mean())
