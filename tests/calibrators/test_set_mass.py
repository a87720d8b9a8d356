"""Set-mass calibration: thresholds, sets and masses by hand and by the defining equations."""

import numpy as np
import pytest
from scipy.special import softmax

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.errors import SpecError
from vlmcal.types.predictions import Predictions

FORMS = ["normalisation", "temperature"]


def data(n=200, k=5, seed=0, prefix="v"):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 2
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    return Predictions(logits=z, labels=y, ids=[f"{prefix}{i}" for i in range(n)])


@pytest.mark.parametrize("alpha", [0.1, 0.25])
def test_lac_threshold_is_the_order_statistic(alpha):
    val = data(19)
    scores = np.sort(1 - val.probabilities()[np.arange(19), val.labels])
    rank = int(np.ceil(20 * (1 - alpha)))
    assert make("set_mass", {"alpha": alpha}).fit(val).q_ == pytest.approx(scores[rank - 1])


def test_the_rank_reads_alpha_as_it_is_printed():
    val = data(49)
    scores = np.sort(1 - val.probabilities()[np.arange(49), val.labels])
    assert make("set_mass", {"alpha": 0.42}).fit(val).q_ == scores[28]  # 50 * 0.58 = 29


def test_the_class_at_the_threshold_is_in_its_set():
    rng = np.random.default_rng(0)
    for p in np.round(np.arange(0.01, 0.5, 0.01), 2):
        logits = np.log([[p, 1 - p]] * 9) + rng.normal(size=(9, 1))
        val = Predictions(logits=logits, labels=[0] * 9)
        fitted = make("set_mass", {"alpha": 0.1}).fit(val)
        same = Predictions(logits=logits, labels=[0] * 9, ids=[f"new {i}" for i in range(9)])
        assert fitted.sets(same).all(), p  # 1 - (1 - p) is above p for some


def test_aps_scores_and_sets_by_hand():
    p = np.array([[0.5, 0.3, 0.2]] * 4)
    val = Predictions(logits=np.log(p), labels=[0, 1, 1, 2])
    fitted = make("set_mass", {"score": "aps", "alpha": 0.4}).fit(val)
    assert fitted.q_ == pytest.approx(0.8)  # scores .5 .8 .8 1, third smallest
    test = Predictions(logits=np.log([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05]]), labels=[0, 0])
    assert fitted.sets(test).tolist() == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("form", FORMS)
def test_the_set_gets_the_promised_mass(form, score):
    val, test = data(), data(500, seed=1, prefix="t")
    fitted = make("set_mass", {"form": form, "score": score, "alpha": 0.15}).fit(val)
    members = fitted.sets(test)
    probs = fitted.transform(test).probabilities()
    inner = members.any(axis=1) & ~members.all(axis=1)
    assert inner.sum() > 100
    mass = (probs * members).sum(axis=1)[inner]
    if form == "temperature":
        # as flat as possible: tau stops where the mass is exactly 1 - alpha, or at its largest value
        capped = fitted.temperatures(test)[inner] > 1e5
        np.testing.assert_allclose(mass[~capped], 0.85, atol=1e-8)
        assert (mass >= 0.85 - 1e-8).all()
    else:
        np.testing.assert_allclose(mass, 0.85, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_empty_and_full_sets_are_left_alone(form):
    val = data()
    fitted = make("set_mass", {"form": form}).fit(val)
    fitted.q_ = 0.5
    test = Predictions(logits=np.log([[0.45, 0.3, 0.25]]), labels=[0], class_names="abc")
    assert not fitted.sets(test).any()
    np.testing.assert_allclose(fitted.transform(test).probabilities(), test.probabilities())
    fitted.q_ = 0.9
    assert fitted.sets(test).all()
    np.testing.assert_allclose(fitted.transform(test).probabilities(), test.probabilities())


def test_temperature_form_keeps_the_order_and_solves_its_equation():
    val, test = data(), data(50, seed=1, prefix="t")
    fitted = make("set_mass", {"form": "temperature"}).fit(val)
    tau, members = fitted.temperatures(test), fitted.sets(test)
    mass = (softmax(test.logits / tau[:, None], axis=1) * members).sum(axis=1)
    more = (softmax(test.logits / (1.001 * tau[:, None]), axis=1) * members).sum(axis=1)
    inner = members.any(axis=1) & ~members.all(axis=1)
    assert (mass[inner] >= 0.9 - 1e-9).all()
    assert (more[inner] < mass[inner]).all()
    np.testing.assert_array_equal(fitted.transform(test).predicted(), test.predicted())


def test_too_few_rows_say_how_many_are_needed_and_change_nothing():
    val, test = data(8), data(20, seed=1, prefix="t")
    with pytest.warns(CalibrationWarning, match="8 fitting rows are too few .* at least 9"):
        fitted = make("set_mass", {"alpha": 0.1}).fit(val)
    np.testing.assert_allclose(fitted.transform(test).probabilities(), test.probabilities())
    make("set_mass", {"alpha": 0.1}).fit(data(9))


@pytest.mark.parametrize(
    "parameters", [{"alpha": 0.0}, {"alpha": 1.0}, {"form": "mass"}, {"score": "raps"}]
)
def test_impossible_settings_are_refused(parameters):
    with pytest.raises(SpecError, match=r"expected|must be"):
        make("set_mass", parameters)
