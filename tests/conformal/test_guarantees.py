"""Guarantees where rows come in groups, classes are rare and softmax is saturated: short simulations."""

import warnings

import numpy as np
import pytest
from scipy.special import softmax

from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import ConformalWarning
from vlmcal.conformal.clustered import Clustered
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.quantile import group_quantile
from vlmcal.conformal.scores import aps_scores, lac_scores, rank_classes, tail_scores
from vlmcal.errors import DataError
from vlmcal.metrics import evaluate
from vlmcal.posthoc.label_sets import SetRow
from vlmcal.report.pages.label_sets import falls_short, selective_risk, sets_report
from vlmcal.types.predictions import Predictions


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConformalWarning)
        yield


def patients(n, rows, seed, k=4):
    """Scores whose quality belongs to the patient: rows of one patient are alike."""
    rng = np.random.default_rng(seed)
    quality = np.repeat(rng.gamma(0.3, 6.0, size=n), rows)
    y = rng.integers(k, size=n * rows)
    z = rng.normal(size=(n * rows, k)) + quality[:, None] * np.eye(k)[y]
    return Predictions(
        logits=z, labels=y, groups=np.repeat([f"p{seed}-{i}" for i in range(n)], rows)
    )


def test_groups_of_calibration_rows_are_told_and_weights_by_group_cover_new_groups():
    plain, weighted = [], []
    for seed in range(150):
        few, new = patients(10, 20, seed), patients(40, 5, 10_000 + seed)
        fitted = LAC().fit(few, 0.1)
        plain.append(fitted.predict(new).covered().mean())
        weighted.append(LAC(hierarchical=True).fit(few, 0.1).predict(new).covered().mean())
    assert any("200 calibration rows belong to 10 groups" in m for m in fitted.messages_)
    assert np.mean(plain) < np.mean(weighted) - 0.01
    assert np.mean(weighted) > 0.9 - 3 * np.std(weighted) / np.sqrt(150)
    assert LAC(hierarchical=True).fit(few, 0.1).messages_ == []
    with pytest.raises(DataError, match="needs the group"):
        LAC(hierarchical=True).fit(Predictions(logits=few.logits, labels=few.labels), 0.1)


def test_group_weights_with_one_row_each_are_the_plain_quantile():
    scores = np.random.default_rng(0).random(57)
    for alpha in (0.1, 0.25, 0.5):
        expected = np.sort(scores)[int(np.ceil(58 * (1 - alpha))) - 1]
        assert group_quantile(scores, np.arange(57).astype(str), alpha) == expected


def test_unclustered_classes_get_a_threshold_of_their_own_rows():
    rng = np.random.default_rng(0)
    covered, told = [], False
    for _ in range(60):
        k, rare = 24, 8
        weights = np.where(np.arange(k) < rare, 0.2, 1.0)
        y = rng.choice(k, size=3400, p=weights / weights.sum())
        strength = np.where(np.arange(k) < rare, 1.0, 5.0)  # rare classes are hard
        z = rng.normal(size=(3400, k)) + strength[y][:, None] * np.eye(k)[y]
        rows = Predictions(logits=z, labels=y, ids=[f"r{i}" for i in range(3400)])
        fitted = Clustered(clusters=2, fraction=0.4).fit(rows.subset(np.arange(1400)), 0.1)
        told = told or any("too few rows to be clustered" in m for m in fitted.messages_)
        sets = fitted.predict(rows.subset(np.arange(1400, 3400)))
        apart = fitted.clusters_[sets.labels] == -1
        covered.append(sets.covered()[apart].mean() if apart.any() else np.nan)
    assert told
    assert np.nanmean(covered) > 0.885


def test_a_saturated_softmax_does_not_fill_the_sets():
    rng = np.random.default_rng(0)
    sizes, covered = [], []
    for _ in range(20):
        y = rng.integers(10, size=900)
        z = rng.normal(size=(900, 10)) * 60 + 60 * np.eye(10)[y]
        rows = Predictions(logits=z, labels=y, ids=[f"r{i}" for i in range(900)])
        sets = LAC().fit(rows.subset(np.arange(300)), 0.1).predict(rows.subset(np.arange(300, 900)))
        sizes.append(sets.sizes().mean())
        covered.append(sets.covered().mean())
    assert np.mean(sizes) < 8.5
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_scores_keep_the_order_of_the_probabilities_and_agree_with_the_plain_form(scale):
    z = scale * np.random.default_rng(0).normal(size=(200, 7))
    p = softmax(z, axis=1)
    positive = p > 0
    for scores, plain in (
        (lac_scores(p), 1 - p),
        (tail_scores(p, 0.3), aps_scores(rank_classes(p), 0.3)),
        (tail_scores(p), aps_scores(rank_classes(p))),
    ):
        np.testing.assert_allclose(scores, plain, atol=5e-9)
        assert (scores <= 1).all()
        for row, kept, score in zip(z, positive, scores, strict=True):
            order = np.argsort(-row[kept])
            assert (np.diff(score[kept][order]) > 0).all()


def test_ties_share_their_mass_as_before():
    p = np.array([[0.25, 0.25, 0.25, 0.25], [0.4, 0.2, 0.2, 0.2], [0.1, 0.1, 0.4, 0.4]])
    for share in (1.0, 0.5, np.array([[0.1], [0.9], [0.0]])):
        np.testing.assert_allclose(tail_scores(p, share), aps_scores(rank_classes(p), share))


def test_ties_at_the_largest_score_are_told():
    rows = Predictions(logits=[[800.0, 0.0]] * 30, labels=[0] * 20 + [1] * 10)
    assert any("10 of 30 calibration scores tie" in m for m in LAC().fit(rows, 0.1).messages_)
    assert not any("tie" in m for m in APS().fit(patients(60, 1, 0), 0.1).messages_)


def test_a_shift_of_the_classes_is_told():
    rng = np.random.default_rng(0)

    def draw(n, weights, prefix):
        y = rng.choice(3, size=n, p=weights)
        z = rng.normal(size=(n, 3)) + 3 * np.eye(3)[y]
        return Predictions(logits=z, labels=y, ids=[f"{prefix}{i}" for i in range(n)])

    even, tilted = [1 / 3] * 3, [0.7, 0.2, 0.1]
    fitted = LAC().fit(draw(400, even, "c"), 0.1)
    with pytest.warns(ConformalWarning, match="class_conditional keeps its guarantee"):
        fitted.predict(draw(300, tilted, "t"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(40):
            fitted.predict(draw(300, even, f"e{i}-"))


def outcome(method, calibration, test, alpha=0.1):
    sets = method.fit(calibration, alpha).predict(test)
    measured = evaluate(sets, ["coverage", "mean_set_size"])
    return SetRow(method.name, method.guarantee, measured, sets)


def test_the_alarm_counts_the_draw_of_the_calibration_rows_and_the_methods():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200 * 300, 3))
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    alarms = 0
    for draw in range(200):
        part = slice(300 * draw, 300 * draw + 300)
        rows = Predictions(logits=z[part], labels=y[part])
        found = outcome(LAC(), rows.subset(np.arange(100)), rows.subset(np.arange(100, 300)))
        alarms += falls_short(found, 0.1)
    assert 1 <= alarms <= 12  # 2.5 % of 200 are 5
    shifted = Predictions(
        logits=z[:200][:, [1, 2, 0]], labels=y[:200], ids=[f"s{i}" for i in range(200)]
    )
    calibration = Predictions(logits=z[200:500], labels=y[200:500])
    assert falls_short(outcome(LAC(), calibration, shifted), 0.1, methods=12)


def test_abstaining_is_judged_by_the_risk_that_it_promises():
    from vlmcal.conformal.abstain import Abstain

    rng = np.random.default_rng(0)
    y = rng.integers(3, size=1500)
    z = rng.normal(size=(1500, 3)) + 3 * np.eye(3)[y]
    rows = Predictions(logits=z, labels=y, ids=[f"r{i}" for i in range(1500)])
    found = outcome(Abstain(), rows.subset(np.arange(700)), rows.subset(np.arange(700, 1500)))
    line = selective_risk(found, 0.1)
    assert "“abstain” answers" in line
    assert "promised: at most 10.0 %" in line
    summary = sets_report([found], 0.1).summary
    assert line in summary
    assert not any("below the target" in text for text in summary)
