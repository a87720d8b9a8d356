"""Several conformal methods side by side."""

import warnings

import numpy as np
import pytest

import vlmcal
from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.lac import LAC
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.posthoc.label_sets import conformal_sets
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import SharedRowsWarning


def test_all_methods_that_suit_run_quietly():
    calibration, test = split_rows(simulate(900), 400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # of the methods nothing is heard; what both sides share is said once, for all of them
        with pytest.warns(SharedRowsWarning, match="^2 of 2 groups of the test rows") as told:
            found = vlmcal.conformal_sets(calibration, test)
    assert len(told) == 1
    assert sorted(row.name for row in found.rows) == CONFORMAL.names()
    assert all(row.evaluation.estimates["coverage"].value > 0.8 for row in found.rows)
    assert "groups of these rows were fitted on" in found["lac"].notes
    title, lines = found.shown()
    assert f"{len(CONFORMAL.names())} methods, target coverage 0.9" in title
    assert len(lines) == len(CONFORMAL.names()) + 1


def test_methods_that_need_more_are_left_out_unless_named():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(60, 3))
    rows = Predictions(logits=z, labels=rng.integers(3, size=60), ids=[f"r{i}" for i in range(60)])
    calibration, test = split_rows(rows, 40)
    found = conformal_sets(calibration, test)
    left_out = {row.name: row.notes for row in found.rows if row.evaluation is None}
    assert set(left_out) == {"lata", "group_conditional", "weighted"}
    assert "image_features" in left_out["lata"]
    with pytest.raises(DataError, match="image_features"):
        conformal_sets(calibration, test, 0.1, ["lata"])
    with pytest.raises(SplitError):
        conformal_sets(calibration, calibration)
    with pytest.raises(SpecError, match="alpha"):
        conformal_sets(calibration, test, 1.5)


def test_predictors_under_names_of_ones_own_and_options_in_names():
    calibration, test = split_rows(simulate(200), 150)
    own = {"fair": APS(randomised=False), "small": LAC()}
    found = conformal_sets(calibration, test, 0.1, own)
    assert (found["small"].sets.sets == LAC().fit(calibration, 0.1).predict(test).sets).all()
    assert found["fair"].sets.sets.sum() > found["small"].sets.sets.sum()
    named = conformal_sets(calibration, test, 0.1, ["aps(randomised=false)"])
    assert (named.rows[0].sets.sets == found["fair"].sets.sets).all()


def test_unknown_method():
    calibration, test = split_rows(simulate(20), 10)
    with pytest.raises(SpecError, match='did you mean "raps"'):
        conformal_sets(calibration, test, 0.1, ["rapss"])
