"""Weighted, cross- and p-value forms of conformal prediction, several risks, unknown classes."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.covariate_shift import likelihood_ratios, weighted_quantiles, weighted_sets
from vlmcal.conformal.cross_conformal import cross_conformal_p_values, cross_conformal_sets
from vlmcal.conformal.learn_then_test import settings_that_hold
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
