"""Calibration with a hallucination score: signs, optimum, orientation."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from vlmcal.calibrators.base import make
from vlmcal.errors import DataError
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions


def data(n=400, seed=0, sign=-2.0):
    rng = np.random.default_rng(seed)
    c, h = rng.beta(5, 2, n), rng.random(n)
    correct = rng.random(n) < expit(3 * c + sign * h - 1.5)
    rows = Confidences(confidence=c, correct=correct, ids=[f"v{i}" for i in range(n)])
    return as_binary(rows, hallucination=h), c, h, correct


def test_hac_platt_is_the_penalised_optimum():
    rows, c, h, y = data()

    def objective(w):
        odds = w[0] * c + w[1] * h + w[2]
        return (np.logaddexp(0, odds) - y * odds).mean() + 0.01 * w[1] ** 2

    best = minimize(
        objective, [1, 0, 0], method="Nelder-Mead", options={"fatol": 1e-12, "xatol": 1e-8}
    )
    fitted = make("hac_platt").fit(rows)
    np.testing.assert_allclose(
        [fitted.slope_, fitted.weight_, fitted.intercept_], best.x, atol=1e-3
    )
    assert fitted.weight_ < 0 < fitted.slope_


def test_a_score_that_points_the_wrong_way_is_ignored():
    rows, *_ = data(sign=+2.0)
    assert make("hac_platt").fit(rows).weight_ == 0.0
    assert make("hac_gate").fit(rows).alpha_ == pytest.approx(0.0, abs=1e-6)


def test_hac_gate_is_the_optimum_and_never_raises_a_confidence():
    rows, c, h, y = data()

    def objective(t):
        p = c * expit(t[1] - t[0] * h)
        return -np.where(y, np.log(p), np.log1p(-p)).mean()

    best = minimize(
        objective, [1, 1], method="Nelder-Mead", options={"fatol": 1e-12, "xatol": 1e-8}
    )
    fitted = make("hac_gate").fit(rows)
    np.testing.assert_allclose([fitted.alpha_, fitted.beta_], best.x, rtol=2e-3)
    out = make("hac_gate").fit_transform_same(rows).probabilities()[:, 1]
    assert (out <= c + 1e-12).all()


def test_class_scores_are_refused():
    p = Predictions(
        logits=np.zeros((4, 3)), labels=[0, 1, 2, 0], extras={"hallucination": np.zeros(4)}
    )
    for name in ("hac_platt", "hac_gate"):
        with pytest.raises(DataError, match="scalar confidences"):
            make(name).fit(p)


def test_one_score_per_row():
    rows, *_ = data(20)
    wrong = Predictions(
        logits=rows.logits,
        labels=rows.labels,
        kind=rows.kind,
        extras={"hallucination": np.zeros((20, 2))},
    )
    with pytest.raises(DataError, match="one finite number per row"):
        make("hac_platt").fit(wrong)
