"""Repairs do no harm: on calibrated scores, with few rows, without errors, at a bound. Short simulations."""

import warnings

import numpy as np
import pytest

from vlmcal.calibrators.base import CALIBRATORS, CalibrationWarning, make, open_ends
from vlmcal.calibrators.losses import mean_loss
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions


def world(k, n, seed, temperature=1.0, m=2000):
    """Scores of which ``temperature`` is the right one: n fitting rows and m others."""
    rng = np.random.default_rng(seed)
    z = 1.5 * rng.normal(size=(n + m, k))
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    z *= temperature
    return (
        Predictions(logits=z[:n], labels=y[:n], ids=[f"v{i}" for i in range(n)]),
        Predictions(logits=z[n:], labels=y[n:], ids=[f"t{i}" for i in range(m)]),
    )


def rises(name, k, n, temperature=1.0, draws=40, **parameters):
    """Log-loss after less before on other rows, for each draw of the fitting rows."""
    found = np.empty(draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        for seed in range(draws):
            val, test = world(k, n, seed, temperature)
            after = make(name, parameters).fit(val).transform(test)
            found[seed] = mean_loss(after, "nll") - mean_loss(test, "nll")
    return found


def test_adaptive_temperature_never_explodes_and_repairs_what_one_temperature_repairs():
    calibrated = rises("adaptive_temperature", 2, 50, draws=100)
    assert calibrated.max() < 0.15
    assert calibrated.mean() < rises("temperature", 2, 50, draws=100).mean() + 0.01
    assert rises("adaptive_temperature", 10, 200, 2.0, draws=10).max() < -0.2


def test_adaptive_temperature_is_only_applied_to_what_it_has_seen():
    val, _ = world(4, 300, 0, 2.0)
    fitted = make("adaptive_temperature").fit(val)
    far = Predictions(logits=[[1e6, 0, 0, 0], [0.0] * 4], labels=[0, 0], ids=["a", "b"])
    ratio = far.logits[0, 0] / np.ptp(fitted.transform(far).logits[0])
    low, high = np.exp(fitted.log_t_)
    assert low <= ratio <= high
    assert high / low == pytest.approx(9)


@pytest.mark.parametrize("name", ["platt", "beta", "spline"])
def test_curves_for_each_class_survive_five_rows_a_class(name):
    smoothed = rises(name, 10, 50, draws=15)
    assert smoothed.max() < 0.6
    assert smoothed.mean() < rises(name, 10, 50, draws=15, smooth=False).mean()
    assert rises(name, 2, 500, 2.0, draws=5).max() < -0.03


@pytest.mark.parametrize("name", ["matrix", "dirichlet"])
def test_more_numbers_than_rows_are_told(name):
    fixed = {"reg_lambda": 0.01, "reg_mu": 0.01}
    val, _ = world(10, 50, 0)
    with pytest.warns(CalibrationWarning, match="110 numbers are learned from 50 rows"):
        make(name, fixed).fit(val)
    val, _ = world(10, 200, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(name, fixed).fit(val)


@pytest.mark.parametrize("name", ["matrix", "dirichlet"])
def test_the_penalty_chosen_by_cross_validation_does_no_harm(name):
    few = rises(name, 10, 50, draws=3)
    assert few.mean() < 0.08
    assert rises(name, 10, 50, draws=2, reg_lambda=0.01, reg_mu=0.01).mean() > 0.5  # without it
    val, test = world(10, 50, 0)
    with pytest.warns(CalibrationWarning, match="clearly better than one temperature"):
        after = make(name).fit(val).transform(test)
    np.testing.assert_allclose(
        after.probabilities(),
        make("temperature").fit(val).transform(test).probabilities(),
        atol=1e-9,
    )


@pytest.mark.parametrize("name", ["matrix", "dirichlet"])
def test_where_classes_are_mixed_up_the_chosen_penalty_repairs_it(name):
    val, test = world(5, 600, 0)
    turn = np.eye(5) + 0.4 * np.roll(np.eye(5), 1, axis=0)
    mixed = [
        Predictions(
            logits=rows.logits @ turn + [1.0, 0, 0, 0, -1.0], labels=rows.labels, ids=rows.ids
        )
        for rows in (val, test)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = make(name).fit(mixed[0]).transform(mixed[1])
    assert mean_loss(after, "nll") < mean_loss(mixed[1], "nll") - 0.2
    one = make("temperature").fit(mixed[0]).transform(mixed[1])
    assert mean_loss(after, "nll") < mean_loss(one, "nll") - 0.1


def test_beyond_fifty_classes_nothing_is_searched_and_folds_keep_groups():
    val, _ = world(60, 300, 0)
    with pytest.warns(CalibrationWarning, match="3660 numbers would be learned from 300 rows"):
        fitted = make("matrix").fit(val)
    assert np.count_nonzero(fitted.weights_) == 60
    val, _ = world(3, 300, 0, 2.0)
    one = Predictions(logits=val.logits, labels=val.labels, groups=["a"] * 300)
    weights = make("matrix").fit(one).weights_
    np.testing.assert_array_equal(
        weights, make("matrix", {"reg_lambda": 0.01, "reg_mu": 0.01}).fit(one).weights_
    )
    same = {"reg_lambda": 0.1, "reg_mu": 0.1}
    np.testing.assert_array_equal(
        make("matrix", same).fit(val).weights_,
        make("matrix", {"reg_lambda": 0.1, "reg_mu": 0.1}).fit(one).weights_,
    )


LEARNING = [n for n, c in CALIBRATORS.items() if not c.needs + c.fit_needs and "pro" not in n]


@pytest.mark.parametrize(
    "name", sorted({*LEARNING} - {"enir", "feature_isotonic", "histogram", "isotonic"})
)
def test_sixty_rows_without_an_error_do_not_ruin_the_rest(name):
    val, test = world(5, 4000, 1)
    right = np.flatnonzero(val.predicted() == val.labels)[:60]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        after = make(name).fit(val.subset(right)).transform(test)
    assert mean_loss(after, "nll") < mean_loss(test, "nll") + 1.0


@pytest.mark.parametrize("name", ["vector", "matrix", "dirichlet", "ensemble_temperature"])
def test_rows_without_an_error_are_told_again_at_every_use(name):
    val, test = world(5, 4000, 1)
    right = np.flatnonzero(val.predicted() == val.labels)[:60]
    with pytest.warns(CalibrationWarning, match="cannot tell how often errors come"):
        fitted = make(name).fit(val.subset(right))
    with pytest.warns(CalibrationWarning, match="cannot tell how often errors come"):
        after = fitted.transform(test)
    np.testing.assert_allclose(after.probabilities(), test.probabilities(), atol=1e-12)


@pytest.mark.parametrize("name", ["isotonic", "histogram"])
def test_what_may_give_an_infinite_loss_says_so(name):
    val, test = world(3, 200, 0)
    with pytest.warns(CalibrationWarning, match="may be infinite; wrap it in mixture"):
        make(name).fit(val)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed = make("mixture", {"base": name}).fit(val).transform(test)
    assert np.isfinite(mean_loss(mixed, "nll"))


def test_methods_without_labels_say_where_the_labels_show_harm():
    val, _ = world(4, 500, 0)
    flat = {"zero_shot_logits": 0.2 * val.logits}
    good = {"zero_shot_logits": val.logits}
    for name in ("sals", "zs_range"):
        rows = Predictions(logits=val.logits, labels=val.labels, ids=val.ids, extras=flat)
        with pytest.warns(CalibrationWarning, match="raises the log-loss from .* does harm here"):
            make(name).fit(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            make(name).fit(Predictions(logits=val.logits, labels=val.labels, extras=good))


def test_active_bounds_of_the_hallucination_calibrators_are_told():
    rng = np.random.default_rng(0)
    correct = rng.random(300) < 0.6
    rows = Confidences(confidence=np.where(correct, 0.8, 0.6), correct=correct)
    turned = as_binary(rows, hallucination=np.where(correct, 0.8, 0.2) + 0.1 * rng.random(300))
    for name in ("hac_platt", "hac_gate"):
        with pytest.warns(CalibrationWarning, match="check that 0 means grounded"):
            make(name).fit(turned)
    with pytest.warns(CalibrationWarning, match="confidence is left out"):
        make("hac_platt").fit(
            as_binary(
                Confidences(confidence=np.where(correct, 0.3, 0.9), correct=correct),
                hallucination=rng.random(300),
            )
        )


def test_ends_are_half_way_whether_or_not_they_were_seen():
    assert (
        open_ends(np.array([0.5, 0.75]))
        == open_ends(np.array([0.5, 0.75, 1.0, 0.0]))
        == (0.25, 0.875)
    )
    rng = np.random.default_rng(0)
    c = rng.choice([0.5, 0.6, 0.7, 0.8, 0.9], 200)
    fitted = make("platt").fit(Confidences(confidence=c, correct=rng.random(200) < c))
    after = fitted.transform(
        Confidences(confidence=[1.0, 0.9], correct=[True, True], ids=["a", "b"])
    )
    assert after.confidence[1] < after.confidence[0] < 0.99


def test_other_classes_are_told_where_they_are_allowed():
    val, test = world(3, 200, 0)
    fitted = make("temperature").fit(val)
    other = Predictions(logits=test.logits, labels=test.labels, class_names=("a", "b", "c"))
    with pytest.warns(CalibrationWarning, match="fitted on other classes"):
        fitted.transform(other)
