"""Selective prediction: the promise over many draws, and the bounds against exact numbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.abstain import Abstain
from vlmcal.conformal.base import ConformalPredictor, ConformalWarning
from vlmcal.conformal.fixed_sequence import (
    affordable,
    binomial_p_values,
    descend,
    hoeffding_bentkus_p_values,
    intraclass,
)
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
        for _ in range(draws):
            confidence = generator.random(n)
            correct = generator.random(n) >= chance(confidence)
            rows = Confidences(confidence=confidence, correct=correct, ids=ids)
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
    with pytest.warns(ConformalWarning, match="1 groups are too few.*one row of each group"):
        assert Abstain().fit_confidences(rows, 0.1).threshold_ == 0.0
    many = replace(rows, groups=np.repeat(np.arange(10), 10).astype(str))
    with pytest.warns(ConformalWarning, match="100 count as 10 .*one row of each group"):
        assert Abstain().fit_confidences(many, 0.1).threshold_ == np.inf


def test_first_steps_are_where_one_error_more_can_be_afforded():
    assert affordable(binomial_p_values, 0.1, 0.1, 80).tolist() == [22, 38, 52, 65, 78]
    assert affordable(binomial_p_values, 0.1, 0.1, 5).tolist() == [22]
    assert affordable(binomial_p_values, 0.05, 0.05, 100).tolist() == [59, 93]


def ordered(wrong_places, n=22):
    """Rows whose confidence falls by place; some are wrong."""
    return Confidences(
        confidence=np.linspace(1, 0.5, n), correct=~np.isin(np.arange(n), wrong_places)
    )


def test_twenty_two_rows_without_an_error_are_just_enough():
    assert Abstain().fit_confidences(ordered([]), 0.1).threshold_ == 0.5
    with pytest.warns(ConformalWarning, match="at least 22"):
        assert Abstain().fit_confidences(ordered([], n=21), 0.1).threshold_ == np.inf


def test_one_error_is_carried_between_two_steps_and_two_are_not():
    """Of 60 rows the steps are 22, 38, 52 and 60: the 31st may be wrong, the 38th then not, too."""
    carried = Abstain().fit_confidences(ordered([30], n=60), 0.1)
    assert carried.threshold_ == 0.5
    stopped = Abstain().fit_confidences(ordered([30, 37], n=60), 0.1)
    assert stopped.threshold_ == np.linspace(1, 0.5, 60)[21]


def test_equal_confidences_are_accepted_together_or_not_at_all():
    values = np.repeat([0.9, 0.8, 0.7], [15, 15, 30])
    correct = np.ones(60, dtype=bool)
    correct[30:] = np.arange(30) % 2 == 0
    fitted = Abstain().fit_confidences(Confidences(confidence=values, correct=correct), 0.1)
    assert fitted.threshold_ == 0.8


def test_intraclass_correlation_by_hand():
    """Groups (1, 1), (0, 0), (1, 0): B = 2 (1/4 + 1/4 + 0) / 2 = 1/2, W = (1/2) / 3 = 1/6, m0 = 2.

    rho = (1/2 - 1/6) / (1/2 + 1/6) = 1/2; its error sqrt(2 / (2 * 1 * 2)) * (1/2) * (3/2) = 0.530.
    """
    found = intraclass(np.array([1.0, 1, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 2, 2]))
    assert found == pytest.approx(1.0)  # 0.5 + 0.530, no more than 1
    # A hundred times the same: B = 100 / 299, rho = 0.335, and its error 0.051.
    many = intraclass(np.tile([1.0, 1, 0, 0, 1, 0], 100), np.arange(600) // 2)
    assert many == pytest.approx(0.386, abs=0.001)


def test_copies_of_a_row_count_once():
    once = Confidences(confidence=np.linspace(1, 0, 50), correct=np.arange(50) % 9 != 8)
    thrice = Confidences(
        confidence=np.repeat(once.confidence, 3),
        correct=np.repeat(once.correct, 3),
        groups=np.repeat(np.arange(50), 3).astype(str),
    )
    one, three = descend(once), descend(thrice)
    np.testing.assert_allclose(three.total, one.total)
    np.testing.assert_allclose(three.errors, one.errors)


def test_clustered_rows_do_not_exceed_the_risk_more_often_than_promised():
    """Rows of one image share their luck, and all are used; the true risk is just above the target."""
    generator, delta, draws, failures = np.random.default_rng(5), 0.1, 300, 0
    ids, groups = [f"r{i}" for i in range(240)], np.repeat(np.arange(60), 4).astype(str)
    method = Abstain(delta=delta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "_tell", lambda message: None)
        for _ in range(draws):
            shared = np.repeat(generator.random(60) < 0.5, 4)
            luck = np.where(shared, np.repeat(generator.random(60), 4), generator.random(240))
            rows = Confidences(
                confidence=generator.random(240), correct=luck >= 0.101, ids=ids, groups=groups
            )
            failures += bool(np.isfinite(method.fit_confidences(rows, 0.1).threshold_))
    assert failures <= binom.ppf(0.999, draws, delta)


def test_a_share_of_answers_is_reached_with_few_rows():
    """Errors of 0.24 (1 - c): of 300 rows half can be answered, of 1,200 seven tenths, at best 83 %."""
    generator = np.random.default_rng(0)
    for n, least in ((153, 0.25), (300, 0.42), (1200, 0.65)):
        shares = []
        for _ in range(40):
            c = generator.random(n)
            rows = Confidences(confidence=c, correct=generator.random(n) >= 0.24 * (1 - c))
            path = Abstain()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(path, "_tell", lambda message: None)
                shares.append(max(0.0, 1 - path.fit_confidences(rows, 0.1).threshold_))
        assert np.mean(shares) > least


def test_how_many_rows_would_be_needed():
    """One error in 20 wherever one looks: at 5 % observed, 78 rows (4 errors allowed) show 10 %."""
    few = Confidences(confidence=np.linspace(0, 1, 40), correct=np.arange(40) % 20 != 7)
    outlook = Abstain().more_rows(few, 0.1)
    assert outlook is not None
    assert 40 < outlook.rows < 200
    hopeless = Confidences(confidence=np.linspace(0, 1, 60), correct=np.arange(60) % 2 == 0)
    assert Abstain().more_rows(hopeless, 0.1) is None
    done = Confidences(confidence=np.linspace(0, 1, 60), correct=np.ones(60, dtype=bool))
    assert Abstain().more_rows(done, 0.1) is None


@pytest.mark.parametrize("wrong", [{"delta": 0}, {"start": -0.1}, {"start": 1.1}, {"bound": "x"}])
def test_impossible_options(wrong):
    with pytest.raises(SpecError):
        Abstain(**wrong)
