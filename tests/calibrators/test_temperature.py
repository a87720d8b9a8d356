"""Temperature scaling against a minimum found without it, at every scale and in every number format."""

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from vlmcal.calibrators import temperature as module
from vlmcal.calibrators.base import CalibrationWarning
from vlmcal.calibrators.temperature import Temperature, fit_inverse_temperature
from vlmcal.errors import SpecError
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions, from_probabilities

BOUNDS = (np.exp(-16), np.exp(16))


def generated(k, n=4000, seed=0):
    """Scores z and labels drawn from softmax(z): the right temperature of s * z is s."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 1.5
    return z, (z + rng.gumbel(size=z.shape)).argmax(axis=1)


def brute_force(logits, labels, centre):
    """Minimum of the log-loss over T by golden section, without derivatives."""

    def nll(log_t):
        scaled = logits / np.exp(log_t)
        return (logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels]).mean()

    around = (np.log(centre) - 1, np.log(centre) + 1)
    found = minimize_scalar(nll, bounds=around, method="bounded", options={"xatol": 1e-10})
    return np.exp(found.x), found.fun


@pytest.mark.parametrize("k", [2, 10])
@pytest.mark.parametrize("scale", [0.01, 1.0, 1.7, 20.0])
def test_finds_the_minimum_at_every_scale_and_precision(k, scale):
    z, y = generated(k)
    right, nll = brute_force(scale * z, y, scale)
    assert right == pytest.approx(scale, rel=0.06)
    for logits in (scale * z, (scale * z).astype(np.float32), scale * z + 50.0):
        fit = Temperature().fit(Predictions(logits=logits, labels=y))
        # golden section itself is only good to the square root of the machine precision
        assert fit.temperature_ == pytest.approx(right, rel=2e-6)
        assert fit.nll_ == pytest.approx(nll, abs=1e-8)
        assert fit.bounded_ == ""
    from_logs = Predictions(logits=log_softmax(scale * z, axis=1), labels=y, kind="log_probs")
    assert Temperature().fit(from_logs).temperature_ == pytest.approx(right, rel=2e-6)


def test_the_derivative_vanishes_at_the_answer():
    z, y = generated(10)
    beta = 1 / Temperature().fit(Predictions(logits=3 * z, labels=y)).temperature_
    p = softmax(3 * z * beta, axis=1)
    gradient = ((p * 3 * z).sum(axis=1) - 3 * z[np.arange(len(y)), y]).mean()
    assert abs(gradient) < 1e-9


def test_two_classes_by_hand():
    # three of four right at distance 2: sigmoid(2 / T) = 3/4, T = 2 / ln 3
    val = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1])
    assert Temperature().fit(val).temperature_ == pytest.approx(2 / np.log(3), rel=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "end", "temperature"),
    [
        ([[2.0, 1.0], [0.0, 3.0]], [0, 1], "lowest", BOUNDS[0]),
        ([[2.0, 2.0, 1.0], [0.0, 3.0, 1.0]], [1, 1], "lowest", BOUNDS[0]),
        ([[2.0, 1.0], [0.0, 3.0]], [1, 0], "highest", BOUNDS[1]),
        ([[2.0, 0.0], [0.0, 2.0]], [0, 0], "highest", BOUNDS[1]),
        ([[2.0, 2.0], [1.0, 1.0]], [0, 1], "flat", 1.0),
    ],
)
def test_no_finite_optimum_is_bounded_and_reported(logits, labels, end, temperature):
    val = Predictions(logits=logits, labels=labels)
    with pytest.warns(CalibrationWarning, match=r"2 (rows|fitting rows)"):
        fit = Temperature(at_bound="bound").fit(val)
    assert fit.bounded_ == end
    assert fit.temperature_ == pytest.approx(temperature)


def test_rows_without_an_error_leave_the_scores_as_they_are(tmp_path):
    z, y = generated(4, n=2000)
    right = np.flatnonzero(z.argmax(axis=1) == y)[:60]
    test = Predictions(logits=z[1000:], labels=y[1000:], ids=[f"t{i}" for i in range(1000)])
    with pytest.warns(CalibrationWarning, match="cannot tell how often errors come"):
        fit = Temperature().fit(Predictions(logits=z[right], labels=y[right]))
    assert (fit.temperature_, fit.bounded_) == (1.0, "lowest")
    fit.save(tmp_path / "cal.json")
    with pytest.warns(CalibrationWarning, match="cannot tell how often errors come"):
        after = Temperature.load(tmp_path / "cal.json").transform(test)
    np.testing.assert_array_equal(after.probabilities(), test.probabilities())


def test_scores_that_say_nothing_are_flattened_as_far_as_the_rows_show_it():
    rng = np.random.default_rng(0)
    found = []
    for n in (4, 400, 40_000):
        z = 3 * rng.normal(size=(n, 3))
        labels = z.argmin(axis=1)
        with pytest.warns(CalibrationWarning, match="mildest temperature"):
            fit = Temperature().fit(Predictions(logits=z, labels=labels))
        excess = n * (fit.nll_ - np.log(3))
        assert fit.temperature_ == 1 or excess == pytest.approx(1.92, abs=0.02)
        found.append(fit.temperature_)
    assert 1 <= found[0] < found[1] < found[2] < BOUNDS[1]


def test_an_optimum_outside_the_bounds_is_cut_off_and_reported():
    z, y = generated(5)
    with pytest.warns(CalibrationWarning, match="largest allowed"):
        fit = Temperature(bounds=(0.05, 5.0)).fit(Predictions(logits=20 * z, labels=y))
    assert (fit.temperature_, fit.bounded_) == (5.0, "highest")
    with pytest.warns(CalibrationWarning, match="smallest allowed"):
        fit = Temperature(bounds=(0.05, 5.0)).fit(Predictions(logits=0.01 * z, labels=y))
    assert (fit.temperature_, fit.bounded_) == (0.05, "lowest")


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, np.inf)])
def test_impossible_bounds_are_refused(bounds):
    with pytest.raises(SpecError, match=r"0 < smallest < largest|a finite number"):
        Temperature(bounds=bounds)


def test_brier_finds_the_better_of_two_optima():
    z, y = generated(4)
    one_hot = np.eye(4)[y]
    grid = np.exp(np.linspace(-3, 4, 1401))
    scores = [((softmax(5 * z / t, axis=1) - one_hot) ** 2).mean() for t in grid]
    fit = Temperature(loss="brier").fit(Predictions(logits=5 * z, labels=y))
    assert fit.nll_ <= min(scores) + 1e-12
    assert fit.temperature_ == pytest.approx(grid[np.argmin(scores)], rel=0.005)


def test_exact_zeros_keep_their_order_and_a_finite_loss():
    probs = [[1.0, 0.0, 0.0], [0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.999, 1e-3, 0.0]] * 5
    val = from_probabilities(probs, [0, 1, 1, 2] * 5)
    out = Temperature().fit_transform_same(val)
    assert np.isfinite(out.log_probabilities()).all()
    np.testing.assert_array_equal(out.predicted(), val.predicted())
    # a zero counts as 1e-6, here below the smallest other probability of its row
    assert (
        Temperature(zero=1e-6).fit(val).temperature_ < Temperature(zero=1e-30).fit(val).temperature_
    )


def test_verbal_confidence_of_one_is_softened_too():
    rows = Confidences(confidence=[1.0, 0.9] * 20, correct=[True, False] * 20)
    out = Temperature().fit_transform_same(rows)
    assert out.confidence.max() < 0.92
    # 1 is read as 0.95, half-way to the next value, so both levels are scaled by the same T
    odds = np.log(out.confidence[:2] / (1 - out.confidence[:2]))
    assert odds[0] / odds[1] == pytest.approx(np.log(19) / np.log(9), rel=1e-6)


def test_the_result_does_not_depend_on_the_chunks(monkeypatch):
    z, y = generated(7, n=501)
    val = Predictions(logits=2 * z, labels=y)
    whole = fit_inverse_temperature(val, BOUNDS)
    monkeypatch.setattr(module.score_chunks, "__defaults__", (50,))
    parts = fit_inverse_temperature(val, BOUNDS)
    assert parts.inverse == pytest.approx(whole.inverse, rel=1e-13)
    assert parts.steps == whole.steps


def test_a_start_from_a_sample_ends_in_the_same_place(monkeypatch):
    z, y = generated(7, n=5000)
    val = Predictions(logits=2 * z, labels=y)
    whole = fit_inverse_temperature(val, BOUNDS)
    monkeypatch.setattr(module, "_SAMPLE", 100)
    sampled = fit_inverse_temperature(val, BOUNDS)
    assert sampled.inverse == pytest.approx(whole.inverse, rel=1e-9)
    assert sampled.steps < whole.steps


def test_no_second_copy_of_the_scores():
    z, y = generated(50, n=40000)
    val = Predictions(logits=z.astype(np.float32), labels=y)
    tracemalloc.start()
    fit_inverse_temperature(val, BOUNDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < val.logits.nbytes * 1.5
    assert peak < 16e6


def test_a_good_fit_does_not_warn():
    z, y = generated(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Temperature().fit(Predictions(logits=z, labels=y))
