"""svs, sms, enir and scaling_binning: optimality, numbers by hand, and numbers of the reference packages."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LogisticRegression

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.calibrators.near_isotonic import Steps, near_isotonic_path
from vlmcal.errors import SpecError
from vlmcal.types.predictions import Predictions

pytestmark = pytest.mark.filterwarnings("ignore::vlmcal.calibrators.base.CalibrationWarning")


def rows(n=200, k=4, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 2
    slopes, shifts = np.linspace(1.5, 0.5, k), np.linspace(0.5, -0.5, k)
    y = (z * slopes + shifts + rng.gumbel(size=z.shape)).argmax(axis=1)
    return 2 * z, y


@pytest.mark.parametrize(("name", "k"), [("svs", 2), ("svs", 4), ("sms", 2), ("sms", 4)])
def test_structured_scaling_is_at_the_optimum_that_the_paper_states(name, k):
    z, y = rows(k=k)
    n, power = len(y), 0.5
    fitted = make(name, {"tau": power, "lambda_diagonal": 2.0}).fit(Predictions(logits=z, labels=y))
    base = make("mixture", {"base": "temperature"}).fit(Predictions(logits=z, labels=y))
    log_q = base.scores(Predictions(logits=z, labels=y)).values
    free = np.eye(k, dtype=bool) if name == "svs" else np.ones((k, k), dtype=bool)
    strength = np.where(np.eye(k), 2.0 * k, k * (k - 1)) / n**power

    def objective(theta):
        change = np.zeros((k, k))
        change[free] = theta[k:]
        log_p = log_softmax(log_q @ (np.eye(k) + change).T + theta[:k], axis=1)
        pull = (strength * change**2).sum() + k / n**power * (theta[:k] ** 2).sum()
        return -log_p[np.arange(n), y].mean() + pull

    best = minimize(objective, np.zeros(k + free.sum()), tol=1e-10).x
    np.testing.assert_allclose(fitted.biases_, best[:k], atol=2e-5)
    learned = np.diag(fitted.weights_) if name == "svs" else fitted.weights_
    np.testing.assert_allclose(learned[free] - np.eye(k)[free], best[k:], atol=2e-5)


# probmetrics 1.3.0: SVSCalibrator() and SMSCalibrator() fitted on softmax of rows(), in single precision
PROBMETRICS = {
    "svs": """0.3861 0.1445 0.3313 0.1380
              0.0595 0.1656 0.5124 0.2625
              0.3715 0.0829 0.1458 0.3999""",
    "sms": """0.3370 0.1222 0.3559 0.1850
              0.0257 0.1964 0.5532 0.2246
              0.3368 0.0801 0.1757 0.4074""",
}


def table(text):
    return np.array([line.split() for line in text.splitlines()], dtype=float)


@pytest.mark.parametrize("name", ["svs", "sms"])
def test_structured_scaling_gives_the_numbers_of_probmetrics(name):
    z, y = rows()
    fitted = make(name).fit(z, y)
    np.testing.assert_allclose(
        fitted.predict_proba(z[:3] + 0.25), table(PROBMETRICS[name]), atol=1e-3
    )


def test_structured_scaling_pulls_to_one_temperature():
    z, y = rows(n=30, k=10)
    plain = make("mixture").fit(z, y).predict_proba(z + 0.1)
    moved = []
    for pull in (1e4, 10, 0.1):
        options = dict.fromkeys(
            ("lambda_diagonal", "lambda_intercept", "lambda_off_diagonal"), pull
        )
        moved.append(np.abs(make("sms", options).fit(z, y).predict_proba(z + 0.1) - plain).mean())
    assert moved[0] < 1e-3 < 5 * moved[1] < moved[2]


def test_structured_scaling_keeps_scores_without_an_error():
    z = 3.0 * np.eye(4)[np.arange(40) % 4]
    with pytest.warns(CalibrationWarning, match="right class already has the largest score"):
        fitted = make("sms").fit(z, np.arange(40) % 4)
    # q is 1/41 of uniform and 40/41 of the scores as they are
    expected = np.exp(3) / (np.exp(3) + 3) * 40 / 41 + 1 / 41 / 4
    assert fitted.predict_proba(z[:1] + 1)[0, 0] == pytest.approx(expected)


def cells(scores, outcomes):
    distinct, cell = np.unique(scores, return_inverse=True)
    count = np.bincount(cell).astype(float)
    hits = np.bincount(cell, weights=outcomes)
    return Steps(count, hits, hits / count, np.arange(distinct.size))


@pytest.mark.parametrize("case", ["plain", "ties", "falling", "one value"])
def test_every_curve_of_the_path_is_optimal(case):
    rng = np.random.default_rng(5)
    s = rng.random(151)
    s = {"ties": s.round(1), "falling": s, "one value": s * 0 + 0.5, "plain": s}[case]
    y = rng.random(151) < (1 - s if case == "falling" else s)
    start = cells(s, y)
    last = 0.0
    for steps in near_isotonic_path(start):
        level = np.repeat(steps.level, np.diff(steps.first, append=start.rows.size))
        # Karush-Kuhn-Tucker: u in [0, lambda], lambda at a fall, 0 at a rise; u sums the residuals
        u = np.cumsum(start.rows * (start.level - level))
        penalty = u.max()
        assert penalty >= last - 1e-9
        last = penalty
        assert u[-1] == pytest.approx(0, abs=1e-9)
        assert u.min() >= -1e-9
        np.testing.assert_allclose(u[:-1][np.diff(level) < -1e-9], penalty, atol=1e-9)
        np.testing.assert_allclose(u[:-1][np.diff(level) > 1e-9], 0, atol=1e-9)
    isotonic = isotonic_regression(start.level, sample_weight=start.rows)
    np.testing.assert_allclose(level, isotonic, atol=1e-9)


def test_near_isotonic_path_as_worked_out_by_hand():
    # blocks 0 | 1 | 0 0 | 1 1: the second falls by lambda and the third rises by lambda / 2, so they meet in
    # 1/3 at lambda = 2/3, which is isotonic regression and the only curve but the first
    p = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    fitted = make("enir").fit(np.stack([1 - p, p], axis=1), [0, 1, 0, 0, 1, 1], scores="probs")
    np.testing.assert_allclose(fitted.curves_[0]["values"], [0, 1 / 3, 1])
    np.testing.assert_allclose(fitted.curves_[0]["edges"], [0, 0.15, 0.45, 1])


def test_near_isotonic_weighs_two_curves():
    y = np.array([1, 1, 0, 1, 0, 0, 1, 0, 1, 1])
    p = np.linspace(0.1, 0.9, y.size)
    curves = list(near_isotonic_path(cells(p, y)))[1:]
    weights, levels = [], []
    for steps in curves:
        level = np.repeat(steps.level, np.diff(steps.first, append=y.size))
        chance = np.where(y == 1, level, 1 - level)
        weights.append(np.prod(chance) * y.size ** (-steps.level.size / 2))
        levels.append(level)
    assert len(curves) > 1
    expected = np.average(levels, axis=0, weights=weights)
    fitted = make("enir").fit(np.stack([1 - p, p], axis=1), y, scores="probs")
    found = fitted._apply_curve(fitted.curves_[0], p)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    other = make("enir", {"score": "aic"}).fit(np.stack([1 - p, p], axis=1), y, scores="probs")
    assert np.abs(other._apply_curve(other.curves_[0], p) - found).max() > 1e-3


def test_scaling_binning_is_the_mean_of_platts_curve_in_each_bin():
    rng = np.random.default_rng(2)
    s = rng.random(60)
    y = (rng.random(60) < s**2).astype(int)
    fitted = make("scaling_binning", {"bins": 3, "smooth": False}).fit(
        np.stack([1 - s, s], axis=1), y, scores="probs"
    )
    model = LogisticRegression(C=1e10, tol=1e-10).fit(logit(s)[:, None], y)
    g = np.sort(model.predict_proba(logit(s)[:, None])[:, 1])
    expected = g.reshape(3, 20).mean(axis=1)
    np.testing.assert_allclose(expit(fitted.curves_[0]["values"]), expected, atol=1e-6)
    found = fitted.predict_proba(
        np.array([[0.999, 0.001], [0.5, 0.5], [0.001, 0.999]]), scores="probs"
    )
    assert set(found[:, 1].round(5)) <= set(expected.round(5))


# PlattBinnerMarginalCalibrator(200, 10) of uncertainty-calibration 0.1.4 on softmax of rows(), not normalised
KUMAR = """0.4255 0.1816 0.3234 0.1380
           0.0728 0.1328 0.3234 0.1769
           0.4255 0.0775 0.1250 0.3610"""


def test_scaling_binning_gives_the_numbers_of_the_authors_package():
    z, y = rows()
    fitted = make("scaling_binning", {"smooth": False}).fit(z, y)
    new = Predictions(logits=z[:3] + 0.25 * np.eye(4)[0], labels=y[:3])
    np.testing.assert_allclose(fitted.unnormalised(new), table(KUMAR), atol=2e-4)


def test_scaling_binning_keeps_equal_scores_together_and_bins_need_rows():
    p = np.repeat([0.2, 0.8], 10)
    y = np.tile([0, 1], 10)
    fitted = make("scaling_binning").fit(np.stack([1 - p, p], axis=1), y, scores="probs")
    assert fitted.curves_[0]["values"].size == 2
    with pytest.raises(SpecError, match="bins: expected a whole number of at least 1"):
        make("scaling_binning", {"bins": 0})
