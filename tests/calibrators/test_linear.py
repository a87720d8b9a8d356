"""Vector, matrix, Dirichlet, ensemble and adaptive scaling: optima that other solvers confirm."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.calibrators.softmax_linear import Penalty, _DiagonalProblem, _FullProblem, fit_linear
from vlmcal.calibrators.temperature import Temperature
from vlmcal.types.predictions import Predictions


def data(n=300, k=3, seed=0, scale=2.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k))
    y = (z * [1.5, 1.0, 0.5][:k] + [0.5, 0.0, -0.5][:k] + rng.gumbel(size=z.shape)).argmax(axis=1)
    return scale * z, y


def nll(log_probs, y):
    return -log_probs[np.arange(len(y)), y].mean()


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("reference_row", [True, False])
def test_gradient_of_the_objective(diagonal, reference_row):
    z, y = data(40)
    penalty = Penalty(0.3, 0.2, 0.1, 0.7, reference_row)
    problem = (_DiagonalProblem if diagonal else _FullProblem)(z + 5.0, y, penalty)
    theta = np.random.default_rng(1).normal(size=(3, 2) if diagonal else (3, 4))
    weights, biases = problem.unpack(theta)
    np.testing.assert_allclose(problem.pack(weights, biases), theta, rtol=1e-9)
    direct = nll(log_softmax((z + 5.0) @ weights.T + biases, axis=1), y)
    assert problem.value(theta)[0] == pytest.approx(direct + penalty.value(weights, biases)[0])
    shape, at = theta.shape, theta.ravel()
    numeric = approx_fprime(at, lambda t: problem.value(t.reshape(shape))[0], 1e-7)
    np.testing.assert_allclose(problem.value(theta)[1].ravel(), numeric, atol=2e-5)
    way = np.random.default_rng(2).normal(size=shape)
    bent = problem.value(theta + 1e-5 * way)[1] - problem.value(theta - 1e-5 * way)[1]
    problem.value(theta)
    np.testing.assert_allclose(problem.curvature(way), bent / 2e-5, rtol=1e-3, atol=1e-4)


def test_full_map_with_l2_is_scikit_learns():
    z, y = data()
    strength = 0.01
    penalty = Penalty(strength, strength, strength, centre=0.0)
    found = fit_linear(z, y, penalty, diagonal=False)
    design = np.column_stack([z, np.ones(len(z))])
    model = LogisticRegression(
        C=1 / (2 * len(z) * strength), fit_intercept=False, tol=1e-10, max_iter=5000
    ).fit(design, y)
    np.testing.assert_allclose(found.weights, model.coef_[:, :3], atol=1e-5)
    np.testing.assert_allclose(found.biases, model.coef_[:, 3], atol=1e-5)


def test_vector_without_penalty_is_a_plain_maximum_likelihood_fit():
    z, y = data()
    fitted = make("vector", {"reg_lambda": 0.0}).fit(Predictions(logits=z, labels=y))

    def objective(theta):
        return nll(log_softmax(z * theta[:3] + theta[3:], axis=1), y)

    best = minimize(objective, np.r_[np.ones(3), np.zeros(3)], method="BFGS", tol=1e-9)
    assert fitted.nll_ == pytest.approx(best.fun, abs=1e-7)
    np.testing.assert_allclose(fitted.weights_, best.x[:3], atol=1e-3)


@pytest.mark.parametrize("name", ["vector", "matrix", "dirichlet"])
def test_the_fit_does_not_depend_on_the_scale_of_the_logits(name):
    z, y = data(scale=1.0)
    new, label = data(50, seed=1, scale=1.0)
    outs = []
    for scale in (0.01, 1.0, 20.0):
        if name == "dirichlet" and scale != 1.0:
            continue
        val = Predictions(logits=scale * z, labels=y, ids=[f"v{i}" for i in range(300)])
        test = Predictions(logits=scale * new, labels=label, ids=[f"t{i}" for i in range(50)])
        outs.append(make(name).fit(val).transform(test).probabilities())
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], atol=1e-5)


@pytest.mark.parametrize("name", ["vector", "matrix", "dirichlet"])
def test_better_than_temperature_where_classes_differ(name):
    z, y = data(2000)
    val = Predictions(logits=z, labels=y)
    assert make(name).fit(val).nll_ < Temperature().fit(val).nll_ - 0.01


def test_absent_classes_are_reported():
    z, y = data()
    val = Predictions(logits=z, labels=np.minimum(y, 1))
    with pytest.warns(CalibrationWarning, match="no fitting row of 1 of 3 classes"):
        fitted = make("vector").fit(val)
    assert np.isfinite(fitted.biases_).all()


def test_dirichlet_does_not_depend_on_the_order_of_the_classes_unless_asked():
    z, y = data()
    order = np.array([2, 0, 1])
    turned = Predictions(logits=z[:, order], labels=np.argsort(order)[y])
    plain = Predictions(logits=z, labels=y)
    for reference, same in ((False, True), (True, False)):
        parameters = {"reg_lambda": 0.1, "reg_mu": 0.1, "reference_row": reference}
        a = make("dirichlet", parameters).fit(plain).nll_
        b = make("dirichlet", parameters).fit(turned).nll_
        assert (abs(a - b) < 1e-7) is same


@pytest.mark.parametrize("loss", ["nll", "brier"])
def test_ensemble_weights_are_the_best_of_a_grid(loss):
    z, y = data(200, scale=4.0)
    fitted = make("ensemble_temperature", {"loss": loss}).fit(Predictions(logits=z, labels=y))
    parts = [softmax(z / t, axis=1) for t in (fitted.temperature_, 1.0)] + [
        np.full((200, 3), 1 / 3)
    ]
    one_hot = np.eye(3)[y]

    def value(w):
        p = sum(weight * part for weight, part in zip(w, parts, strict=True))
        return nll(np.log(p), y) if loss == "nll" else ((p - one_hot) ** 2).mean()

    steps = np.linspace(0, 1, 41)
    grid = [value((a, b, 1 - a - b)) for a in steps for b in steps if a + b <= 1]
    assert value(fitted.weights_) <= min(grid) + 1e-10
    assert fitted.weights_.sum() == pytest.approx(1)
    assert (fitted.weights_ >= 0).all()


def test_adaptive_temperature_learns_that_sure_rows_are_less_overconfident():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(8000, 5)) * rng.choice([0.5, 3.0], 8000)[:, None]
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    probs = softmax(z, axis=1)
    entropy = -(probs * np.log(probs)).sum(axis=1) / np.log(5)
    # distort by a temperature that depends on the entropy, so that the inverse map is not constant
    logits = z * np.where(entropy > 0.6, 3.0, 1.2)[:, None]
    val = Predictions(logits=logits, labels=y)
    adaptive, single = make("adaptive_temperature").fit(val), Temperature().fit(val)
    assert adaptive.nll_ < single.nll_ - 0.005

    def objective(theta):
        p = softmax(logits, axis=1)
        h = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1) / np.log(5)
        t = np.exp(theta[0] * np.log(np.maximum(h, 1e-12)) + theta[1])
        return nll(log_softmax(logits / t[:, None], axis=1), y)

    best = minimize(objective, [0.1, 0.5], method="Nelder-Mead", options={"fatol": 1e-10})
    assert adaptive.nll_ == pytest.approx(best.fun, abs=1e-6)


@pytest.mark.parametrize("name", ["ensemble_temperature", "adaptive_temperature", "dirichlet"])
def test_saturated_scores_stay_finite(name):
    z, y = data(60)
    val = Predictions(logits=z, labels=y, ids=[f"v{i}" for i in range(60)])
    test = Predictions(logits=[[2000.0, 0.0, -500.0]], labels=[1], ids=["new"])
    out = make(name).fit(val).transform(test)
    assert np.isfinite(out.log_probabilities()).all()


def test_mixture_is_the_base_with_a_pseudo_row():
    z, y = data(30)
    val = Predictions(logits=z, labels=y, ids=[f"v{i}" for i in range(30)])
    test = Predictions(logits=z[:5], labels=y[:5], ids=[f"t{i}" for i in range(5)])
    base = Temperature().fit(val).transform(test).probabilities()
    out = make("mixture").fit(val).transform(test).probabilities()
    np.testing.assert_allclose(out, base * 30 / 31 + 1 / 31 / 3, atol=1e-12)


def test_mixture_makes_separable_data_finite():
    val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1] * 4)
    wrong = Predictions(logits=[[2.0, 0.0]], labels=[1], ids=["new"])
    mixture = make("mixture", {"parameters": {"at_bound": "bound"}})
    out = mixture.fit(val).transform(wrong)
    assert out.probabilities()[0].tolist() == pytest.approx([17 / 18, 1 / 18])
    assert mixture.base_.bounded_ == "lowest"
