"""One-dimensional calibrators against independent solutions of the same problems."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.calibrators.logistic import fit_logistic
from vlmcal.calibrators.numerics import log_odds
from vlmcal.errors import SpecError
from vlmcal.types.binning import fitted_edges, index_between
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import from_probabilities


def binary(n=400, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 2, n) if decimals is None else np.round(rng.beta(2, 2, n), decimals)
    y = rng.random(n) < p**2
    return p, y


def confidences(p, y, prefix="v"):
    return Confidences(confidence=p, correct=y, ids=[f"{prefix}{i}" for i in range(len(p))])


def apply(name, p, y, at, **parameters):
    fitted = make(name, parameters).fit(confidences(p, y))
    return fitted.transform(confidences(at, np.ones(len(at), bool), "t")).confidence


BINS = {"bins": 2}
GRID = np.linspace(0.02, 0.98, 25)


def test_isotonic_is_scikit_learns():
    p, y = binary(decimals=2)
    model = IsotonicRegression(out_of_bounds="clip").fit(p, y)
    np.testing.assert_allclose(apply("isotonic", p, y, GRID), model.predict(GRID), atol=1e-12)


def test_platt_is_unpenalised_logistic_regression():
    p, y = binary()
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(logit(p)[:, None], y)
    expected = model.predict_proba(logit(GRID)[:, None])[:, 1]
    np.testing.assert_allclose(apply("platt", p, y, GRID, smooth=False), expected, atol=1e-6)


def test_smooth_platt_targets_keep_separable_data_finite():
    p, y = np.array([0.2, 0.3, 0.7, 0.8]), np.array([0, 0, 1, 1], bool)
    with pytest.warns(CalibrationWarning, match="separate a class perfectly"):
        sharp = apply("platt", p, y, [0.9], smooth=False)
    assert sharp[0] > 1 - 1e-6
    smooth = apply("platt", p, y, [0.3, 0.7])
    # targets 1/4 and 3/4, symmetric: the mean of the curve over the fitting rows is 1/2
    assert smooth.sum() == pytest.approx(1.0)
    assert 0.75 < apply("platt", p, y, [0.8])[0] < 0.9


@pytest.mark.parametrize("power", [2.0, 0.4, -1.0])
def test_beta_is_the_bounded_optimum(power):
    rng = np.random.default_rng(3)
    p = rng.beta(2, 2, 500)
    y = rng.random(500) < (p**power if power > 0 else 1 - p)
    features = np.column_stack([np.log(p), -np.log(1 - p), np.ones(500)])

    def objective(w):
        odds = features @ w
        return (np.logaddexp(0, odds) - y * odds).mean()

    bounds = [(0, None), (0, None), (None, None)]
    right = minimize(objective, [1, 1, 0], bounds=bounds, method="L-BFGS-B", tol=1e-14)
    at = np.column_stack([np.log(GRID), -np.log(1 - GRID), np.ones(GRID.size)])
    np.testing.assert_allclose(
        apply("beta", p, y, GRID, smooth=False), expit(at @ right.x), atol=2e-4
    )


def test_spline_with_a_strong_ridge_is_platt_and_is_straight_outside():
    p, y = binary(2000)
    platt = apply("platt", p, y, GRID)
    np.testing.assert_allclose(apply("spline", p, y, GRID, ridge=1e9), platt, atol=1e-6)
    odds = np.array([6.0, 7.0, 8.0])
    out = logit(apply("spline", p, y, expit(odds)))
    assert out[2] - out[1] == pytest.approx(out[1] - out[0], rel=1e-6)


def test_spline_follows_a_bend_that_platt_cannot():
    def bent(x):
        return expit(1.1 * x + 0.9 * np.sqrt(x**2 + 1) - 0.9)

    rng = np.random.default_rng(5)
    x, at = rng.uniform(-4, 4, 20000), np.linspace(-3, 3, 13)
    y = rng.random(x.size) < bent(x)
    spline = np.abs(apply("spline", expit(x), y, expit(at)) - bent(at)).max()
    platt = np.abs(apply("platt", expit(x), y, expit(at)) - bent(at)).max()
    assert spline < 0.03 < 0.08 < platt


def test_histogram_by_hand():
    p = np.array([0.1, 0.2, 0.3, 0.6, 0.9])
    y = np.array([0, 1, 0, 1, 1], bool)
    # two bins (0, .5] and (.5, 1]: 1/3 and 1; four bins: the empty ones keep their centre
    np.testing.assert_allclose(apply("histogram", p, y, [0.5, 0.51], bins=2), [1 / 3, 1])
    four = apply("histogram", np.array([0.1, 0.9]), np.array([0, 1], bool), [0.4, 0.6], bins=4)
    np.testing.assert_allclose(four, [0.375, 0.625])


def test_edges_are_those_of_the_metrics_in_single_precision_too():
    edges = np.linspace(0, 1, 11)
    for k in range(1, 10):
        single = np.array([np.float32(k / 10)], dtype=np.float64)
        assert index_between(single, edges, "uniform").tolist() == [k - 1]


def test_equal_mass_bins_hold_equal_numbers_and_keep_ties_together():
    rng = np.random.default_rng(0)
    edges = fitted_edges(rng.random(1000), 8, "quantile")
    assert edges.size == 9
    scores = np.repeat([0.5, 0.6, 0.9, 1.0], [10, 20, 30, 40])
    edges = fitted_edges(scores, 10, "quantile")
    index = index_between(scores, edges, "quantile")
    assert len(set(index)) <= 4
    assert all(len(set(index[scores == s])) == 1 for s in set(scores))


@pytest.mark.parametrize("wiggle", [0.7, 0.1 * 7, 1 - 0.3, np.nextafter(0.7, 1)])
def test_a_score_on_an_edge_belongs_below_it_however_it_was_computed(wiggle):
    assert index_between(np.array([wiggle]), np.linspace(0, 1, 11), "uniform").tolist() == [6]


@pytest.mark.parametrize(("n", "decimals"), [(1, 2), (3, 1), (30, 1), (60, 3)])
def test_venn_abers_is_two_isotonic_regressions(n, decimals):
    p, y = binary(n, seed=n, decimals=decimals)
    at = np.concatenate([np.round(GRID, 2), p, [0.0, 1.0]])
    fitted = make("venn_abers")._fit_curve(p, y)
    got = make("venn_abers")._apply_curve(fitted, at)
    for score, value in zip(at, got, strict=True):
        low, high = (
            IsotonicRegression().fit_transform(np.append(p, score), np.append(y, outcome))[-1]
            for outcome in (0.0, 1.0)
        )
        assert value == pytest.approx(high / (1 - low + high), abs=1e-12)


def test_bbq_bdeu_is_the_posterior_mean_over_histograms():
    p, y = binary(40)
    fitted = make("bbq")._fit_curve(p, y)
    order = np.argsort(p)
    log_weights, values = [], []
    for bins in range(1, int(np.ceil(40 / 5)) + 1):
        edges = np.concatenate([[0], np.quantile(p, np.linspace(0, 1, bins + 1))[1:-1], [1]])
        index = np.searchsorted(edges[1:-1], p, side="left")
        weight, value = 0.0, np.zeros(40)
        for b in range(bins):
            rows = index == b
            centre, strength = (edges[b] + edges[b + 1]) / 2, 2 / bins
            ones = centre * strength
            for i, outcome in enumerate(y[rows]):  # the chain rule of the beta-binomial
                hits = y[rows][:i].sum()
                chance = (hits + ones) / (i + strength)
                weight += np.log(chance if outcome else 1 - chance)
            value[rows] = (y[rows].sum() + ones) / (rows.sum() + strength)
        log_weights.append(weight)
        values.append(value)
    weights = np.exp(log_weights - np.max(log_weights))
    expected = (weights[:, None] * np.array(values)).sum(axis=0) / weights.sum()
    got = make("bbq")._apply_curve(fitted, p)
    np.testing.assert_allclose(got[order], expected[order], atol=1e-6)


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("score", ["bic", "aic"])
def test_bbq_and_histogram_agree_with_netcal(k, score):
    netcal = pytest.importorskip("netcal.binning")
    rng = np.random.default_rng(k)
    probs = rng.dirichlet(np.ones(k), 300)
    labels = (np.log(probs) * 1.5 + rng.gumbel(size=probs.shape)).argmax(axis=1)
    val = from_probabilities(probs[:200], labels[:200], ids=[f"v{i}" for i in range(200)])
    test = from_probabilities(probs[200:], labels[200:], ids=[f"t{i}" for i in range(100)])
    pairs = [
        (netcal.HistogramBinning(bins=12), make("histogram", {"bins": 12})),
        (
            netcal.BBQ(score_function=score.upper()),
            make("bbq", {"score": score, "strategy": "equal_width", "elbow": 0.001}),
        ),
    ]
    for theirs, ours in pairs:
        expected = theirs.fit(probs[:200], labels[:200]).transform(probs[200:])
        got = ours.fit(val).transform(test).probabilities()
        np.testing.assert_allclose(got[:, 1] if k == 2 else got, expected, atol=2e-6)


def test_one_vs_rest_rows_are_normalised_and_certain_classes_stay_precise():
    # class 0 leads by 50: its log-odds must not saturate at float64's 1.0
    scores = np.array([[50.0, 0.0, 0.0], [0.0, 1.0, -1.0]])
    odds = log_odds(scores)
    assert odds[0, 0] == pytest.approx(50 - np.log(2), abs=1e-12)
    assert odds[0, 1] == pytest.approx(-50, abs=1e-12)
    p = np.exp(scores[1]) / np.exp(scores[1]).sum()
    np.testing.assert_allclose(odds[1], logit(p), atol=1e-12)


def test_log_odds_of_hopelessly_separated_scores_do_not_become_infinite():
    odds = log_odds(np.array([[3000.0, 0.0, 1000.0]]))
    np.testing.assert_allclose(odds, [[2000.0, -3000.0, -2000.0]])


@pytest.mark.parametrize("policy", ["input", "zero"])
def test_a_class_without_fitting_rows(policy):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 60)
    val = from_probabilities(probs, rng.integers(0, 2, 60))
    test = from_probabilities(probs[:5], [2] * 5, ids=list("abcde"))
    with pytest.warns(CalibrationWarning, match="no fitting row of 1 of 3 classes"):
        fitted = make("isotonic", {"absent": policy}).fit(val)
    raw = fitted.unnormalised(test)
    np.testing.assert_allclose(raw[:, 2], probs[:5, 2] if policy == "input" else 0.0)


@pytest.mark.parametrize("name", ["isotonic", "histogram", "platt"])
def test_zero_policy_with_one_of_two_classes_gives_the_other_everything(name):
    p = np.linspace(0.3, 0.9, 40)
    with pytest.warns(CalibrationWarning):
        out = apply(
            name,
            p,
            np.ones(40, bool),
            p[:5],
            absent="zero",
            **{"histogram": BINS, "platt": {"smooth": False}}.get(name, {}),
        )
    assert out.min() > 0.99


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("isotonic", {"form": "pooled"}),
        ("isotonic", {"absent": "drop"}),
        ("bbq", {"score": "mdl"}),
        ("spline", {"knots": 1}),
    ],
)
def test_unknown_settings_are_refused(name, parameters):
    with pytest.raises(SpecError, match=r"expected|must be"):
        make(name, parameters)


@pytest.mark.parametrize(
    ("bins", "strategy"), [(0, "uniform"), (10**9, "uniform"), (5, "quartile")]
)
def test_impossible_bins_are_refused(bins, strategy):
    with pytest.raises(SpecError, match="expected"):
        fitted_edges(GRID, bins, strategy)


def test_logistic_newton_reaches_a_zero_gradient_with_ridge_and_offset():
    rng = np.random.default_rng(1)
    x, y, offset = rng.normal(size=(80, 3)), rng.random(80), rng.normal(size=80)
    start, ridge = np.array([1.0, 0.0, -1.0]), np.array([0.1, 0.0, 0.5])
    w = fit_logistic(x, y, start=start, ridge=ridge, offset=offset).coefficients
    gradient = x.T @ (expit(x @ w + offset) - y) / 80 + 2 * ridge * (w - start)
    assert np.abs(gradient).max() < 1e-8
