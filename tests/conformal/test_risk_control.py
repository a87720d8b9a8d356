"""Conformal risk control against its definition on all thresholds."""

import numpy as np
import pytest

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.base import ConformalPredictor, ConformalWarning
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.losses import ordinal_distance
from vlmcal.conformal.risk_control import RiskControl
from vlmcal.errors import SpecError
from vlmcal.types.predictions import from_probabilities

COSTS = np.array([0.1, 0.2, 0.5, 1.0])


def costly_miss(sets, labels):
    return COSTS[labels] * ~sets[np.arange(len(labels)), labels]


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("n", [19, 60, 119, 200])
def test_miscoverage_is_split_conformal_prediction(n, alpha):
    calibration, _ = split_rows(simulate(220, seed=n), n)
    assert (
        RiskControl().fit(calibration, alpha).threshold_ == LAC().fit(calibration, alpha).threshold_
    )


@pytest.mark.parametrize("loss", ["ordinal_distance", costly_miss])
def test_threshold_is_the_smallest_that_fulfils_the_condition(loss):
    calibration, _ = split_rows(simulate(120), 80)
    scores = LAC().scores(calibration)
    function = ordinal_distance if isinstance(loss, str) else loss
    fulfilled = [
        t
        for t in np.unique(scores)
        if (function(scores <= t, calibration.labels).sum() + 1) / 81 <= 0.1
    ]
    assert RiskControl(loss=loss).fit(calibration, 0.1).threshold_ == min(fulfilled)


@pytest.mark.parametrize("loss", ["ordinal_distance", costly_miss])
def test_expected_loss_over_many_draws(loss):
    n, m, draws, alpha = 40, 20, 400, 0.1
    every = simulate(draws * (n + m), seed=8)
    function = ordinal_distance if isinstance(loss, str) else loss
    losses = np.empty(draws)
    for draw in range(draws):
        block = every.subset(np.arange(draw * (n + m), (draw + 1) * (n + m)))
        calibration, test = split_rows(block, n)
        sets = RiskControl(loss=loss).fit(calibration, alpha).predict(test)
        losses[draw] = function(sets.sets, sets.labels).mean()
    assert losses.mean() <= alpha + 4 * losses.std() / np.sqrt(draws)
    assert losses.mean() > 0.5 * alpha


def test_distance_to_the_nearest_grade():
    sets = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
    assert ordinal_distance(sets, np.array([1, 0, 3])) == pytest.approx([1 / 3, 1, 1])


def test_losses_that_do_not_qualify():
    calibration, _ = split_rows(simulate(120), 80)
    with pytest.raises(SpecError, match="never rises"):
        RiskControl(loss=lambda sets, labels: sets.mean(axis=1)).fit(calibration, 0.1)
    with pytest.raises(SpecError, match="above bound"):
        RiskControl(loss=lambda s, y: 5 * costly_miss(s, y)).fit(calibration, 0.1)
    with pytest.raises(SpecError, match="one per row"):
        RiskControl(loss=lambda sets, labels: 1.0).fit(calibration, 0.1)
    with pytest.raises(SpecError, match="even sets of all classes"):
        RiskControl(loss=lambda s, y: np.full(len(y), 0.5)).fit(calibration, 0.1)
    with pytest.raises(SpecError, match='did you mean "miscoverage"'):
        RiskControl(loss="miscovrage").fit(calibration, 0.1)
    with pytest.raises(SpecError, match="cannot be imported"):
        RiskControl(loss="vlmcal.conformal.losses:none").fit(calibration, 0.1)
    with pytest.raises(SpecError, match="bound"):
        RiskControl(bound=0.0)


def test_rows_needed_grow_with_the_bound():
    calibration, _ = split_rows(simulate(120), 28)
    with pytest.warns(ConformalWarning, match="at least 29 are needed"):
        RiskControl(loss=lambda s, y: 3 * costly_miss(s, y), bound=3.0).fit(calibration, 0.1)
    calibration, _ = split_rows(simulate(120), 29)
    method = RiskControl(loss=lambda s, y: 3 * costly_miss(s, y), bound=3.0).fit(calibration, 0.1)
    assert np.isfinite(method.threshold_)


def test_own_loss_is_saved_by_name_and_sets_survive():
    calibration, test = split_rows(simulate(120), 80)
    method = RiskControl(loss=costly_miss).fit(calibration, 0.1)
    data = method.to_dict()
    assert data["parameters"]["loss"].endswith(":costly_miss")
    assert (
        ConformalPredictor.from_dict(data).predict(test).sets == method.predict(test).sets
    ).all()


def test_harmless_loss_allows_empty_sets():
    rows = from_probabilities([[0.5, 0.5]] * 50, [0] * 50, ids=[f"r{i}" for i in range(50)])
    method = RiskControl(loss=lambda s, y: 0.01 * (s.sum(axis=1) == 0)).fit(rows, 0.1)
    assert method.threshold_ == -np.inf
    assert ConformalPredictor.from_dict(method.to_dict()).threshold_ == -np.inf
