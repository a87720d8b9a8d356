"""Selective prediction: the promise over many draws, and the bounds against exact numbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.abstain import (
    Abstain,
    binomial_p_values,
    hoeffding_bentkus_p_values,
)
from vlmcal.conformal.base import ConformalPredictor, ConformalWarning
from vlmcal.errors import SpecError, SplitError
from vlmcal.types.confidences import Confidences

GRID = np.linspace(0, 1, 100_001)
CHANCE_OF_ERROR = {
    "falling": lambda c: 0.5 * (1 - c),
    "low above a half": lambda c: np.where(c > 0.5, 0.02, 0.4),
    "sure and wrong": lambda c: np.where(c > 0.97, 0.6, 0.4 * (1 - c)),
    "useless": lambda c: np.full_like(c, 0.15),
    "at the target": lambda c: np.full_like(c, 0.1),
}


def true_risk(chance):
    """Risk among confidences (uniform on [0, 1]) at or above each point of the grid."""
    upper = np.cumsum(chance(GRID)[::-1])[::-1]
    return upper / np.arange(GRID.size, 0, -1)


@pytest.mark.parametrize("bound", ["binomial", "hoeffding_bentkus"])
@pytest.mark.parametrize("shape", sorted(CHANCE_OF_ERROR))
def test_risk_is_exceeded_no_more_often_than_promised(shape, bound):
    chance, n, delta = CHANCE_OF_ERROR[shape], 300, 0.1
    draws = 1000 if bound == "binomial" else 200
    risks, generator, answered, failures = true_risk(chance), np.random.default_rng(0), 0, 0
    method = Abstain(delta=delta, bound=bound)
    ids = [f"r{i}" for i in range(n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "_tell", lambda message: None)
        for draw in range(draws):
            confidence = generator.random(n)
            correct = generator.random(n) >= chance(confidence)
            rows = Confidences(confidence=confidence, correct=correct, ids=ids)
            method.seed = draw
            threshold = method.fit_confidences(rows, 0.1).threshold_
            if np.isfinite(threshold):
                answered += 1
                failures += risks[np.searchsorted(GRID, threshold)] > 0.1 + 1e-4
    assert failures <= binom.ppf(0.9999, draws, delta)
    if shape == "low above a half":
        assert answered > 0.8 * draws


def test_p_values_are_those_of_clopper_and_pearson():
    errors, count = np.array([0, 3, 10]), np.array([30, 50, 60])
    upper = beta.ppf(0.95, errors + 1, count - errors)
    for e, n, u in zip(errors, count, upper, strict=True):
        assert binomial_p_values(np.array([e]), np.array([n]), u) == pytest.approx([0.05])


def test_p_value_of_no_rows_is_one():
    none = np.array([0])
    assert binomial_p_values(none, none, 0.1) == pytest.approx([1.0])
    assert hoeffding_bentkus_p_values(none, none, 0.1) == pytest.approx([1.0])


def test_hoeffding_bentkus_by_hand_and_never_below_the_exact_one():
    # exp(-44 KL(0 || 0.1)) = 0.9 ** 44, and 0.9 ** 44 * e is larger.
    assert hoeffding_bentkus_p_values(np.array([0]), np.array([44]), 0.1)[0] == pytest.approx(
        0.9**44
    )
    errors = np.arange(60)
    count = np.full(60, 60)
    exact, loose = (f(errors, count, 0.2) for f in (binomial_p_values, hoeffding_bentkus_p_values))
    assert (loose >= exact - 1e-12).all()
    assert loose[-1] == pytest.approx(1.0)


def test_all_right_answers_everything():
    rows = Confidences(confidence=np.linspace(0, 1, 100), correct=np.ones(100, dtype=bool))
    method = Abstain().fit_confidences(rows, 0.1)
    assert method.threshold_ == 0.0
    new = Confidences(confidence=[0.0, 0.5], correct=[False, True], ids=["a", "b"])
    chosen = method.select(new)
    assert chosen.accepted.tolist() == [True, True]
    assert (chosen.target_risk, chosen.delta) == (0.1, 0.1)


def test_all_wrong_answers_nothing_and_says_so():
    rows = Confidences(confidence=np.linspace(0, 1, 100), correct=np.zeros(100, dtype=bool))
    with pytest.warns(ConformalWarning, match="left to a human"):
        method = Abstain().fit_confidences(rows, 0.1)
    assert method.threshold_ == np.inf
    assert not method.select(
        Confidences(confidence=[1.0], correct=[True], ids=["a"])
    ).accepted.any()


def test_verbal_confidences_are_cut_at_a_value_that_occurs():
    values = np.repeat([0.6, 0.7, 0.8, 0.9], 200)
    correct = np.arange(800) % 200 >= np.repeat([100, 80, 10, 2], 200)
    method = Abstain().fit_confidences(Confidences(confidence=values, correct=correct), 0.1)
    # Errors among 0.8 and 0.9 are 3 %, with 0.7 they are 15 %.
    assert 0.7 < method.threshold_ <= 0.8


def test_as_a_conformal_method():
    rows = replace(simulate(700, seed=15), groups=None)
    calibration, test = split_rows(rows, 600)
    method = Abstain().fit(calibration, 0.15)
    assert 0 < method.threshold_ < 1
    sets, confidence = method.predict(test), test.top_label().confidence
    answered = confidence >= method.threshold_
    assert sets.sizes().tolist() == np.where(answered, 1, 4).tolist()
    assert (sets.sets[answered].argmax(axis=1) == test.predicted()[answered]).all()
    direct = Abstain().fit_confidences(calibration.top_label(), 0.15)
    assert direct.threshold_ == method.threshold_
    assert (direct.select(test.top_label()).accepted == answered).all()


def test_split_rules_and_saved_form():
    rows = Confidences(confidence=np.linspace(0, 1, 100), correct=np.ones(100, dtype=bool))
    with pytest.raises(SplitError):
        Abstain().fit_confidences(replace(rows, split="test"), 0.1)
    with pytest.raises(SpecError, match="not fitted"):
        Abstain().select(rows)
    method = Abstain().fit_confidences(rows, 0.1)
    with pytest.raises(SplitError):
        method.select(rows)
    assert ConformalPredictor.from_dict(method.to_dict()).threshold_ == 0.0


def test_rows_of_one_patient_are_pointed_out():
    rows = Confidences(
        confidence=np.linspace(0, 1, 100), correct=np.ones(100, dtype=bool), groups=["p"] * 100
    )
    with pytest.warns(ConformalWarning, match="one row of each group"):
        Abstain().fit_confidences(rows, 0.1)


@pytest.mark.parametrize(
    "wrong", [{"delta": 0}, {"starts": 0}, {"tuning_fraction": 1.0}, {"bound": "x"}]
)
def test_impossible_options(wrong):
    with pytest.raises(SpecError):
        Abstain(**wrong)
