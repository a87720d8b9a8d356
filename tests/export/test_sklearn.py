"""scikit-learn's own checks, and its tools around the calibrated classifiers."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.lac import LAC
from vlmcal.errors import SpecError
from vlmcal.export.sklearn import (
    CalibratedClassifier,
    ConformalClassifier,
    ScoreCalibrator,
    scorer,
)

PLAIN = [n for n, c in CALIBRATORS.items() if not c.needs + c.fit_needs and "pro" not in n[:3]]
SETS = [n for n, c in CONFORMAL.items() if not c.needs and n != "group_conditional"]


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        1200, 8, n_informative=6, n_classes=3, flip_y=0.2, random_state=0, shuffle=True
    )
    return X, np.array(["a", "b", "c"])[y]


@pytest.mark.parametrize("kind", [CalibratedClassifier, ConformalClassifier])
def test_scikit_learns_own_checks(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(kind())


@pytest.mark.parametrize("name", [n for n in PLAIN if n != "feature_isotonic"])
def test_every_calibrator_behind_a_classifier(name, data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = CalibratedClassifier(GaussianNB(), name, cv=3).fit(X[:600], y[:600])
    p = model.predict_proba(X[600:])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert model.score(X[600:], y[600:]) > 0.5


@pytest.mark.parametrize("name", SETS)
def test_every_conformal_method_behind_a_classifier(name, data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ConformalClassifier(GaussianNB(), name, 0.2, calibration_size=0.5).fit(
            X[:800], y[:800]
        )
    sets = model.predict_sets(X[800:])
    covered = sets[np.arange(400), np.searchsorted(model.classes_, y[800:])].mean()
    assert covered > 0.7
    assert set(model.predict(X[800:])) <= set("abc")


def test_pipelines_searches_clones_and_out_of_fold_predictions(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), CalibratedClassifier(GaussianNB()))
    grid = {"calibratedclassifier__calibrator": ["identity", "temperature"]}
    found = GridSearchCV(clone(pipe), grid, scoring=scorer("nll"), cv=3).fit(X, y)
    assert found.best_score_ < 0
    assert found.best_params_["calibratedclassifier__calibrator"] == "temperature"
    assert cross_val_predict(pipe, X, y, cv=3, method="predict_proba").shape == (1200, 3)


def test_scores_without_probabilities_and_fitted_classifiers(data):
    X, y = data
    two = y != "c"
    model = CalibratedClassifier(LinearSVC(), "platt").fit(X[two], y[two])
    assert model.predict_proba(X[two]).shape == (two.sum(), 2)
    assert CalibratedClassifier(LinearSVC()).fit(X, y).predict_proba(X).shape == (1200, 3)
    inner = LogisticRegression().fit(X[:400], y[:400])
    ready = CalibratedClassifier(inner, cv="prefit").fit(X[400:], y[400:])
    assert ready.estimator_ is inner
    sets = ConformalClassifier(inner, LAC(), calibration_size=None).fit(X[400:], y[400:])
    assert sets.predict_sets(X).shape == (1200, 3)
    assert sets.get_params()["method"].threshold_ != sets.conformal_.threshold_


def test_scorers(data):
    X, y = data
    losses = cross_val_score(LogisticRegression(), X, y, cv=3, scoring=scorer("brier"))
    assert (losses < 0).all()
    assert cross_val_score(LogisticRegression(), X, y, cv=3, scoring=scorer("accuracy")).min() > 0.5
    with pytest.raises(SpecError, match="did you mean"):
        scorer("accurcy")
    scores = LogisticRegression().fit(X, y).decision_function(X)
    assert cross_val_score(ScoreCalibrator(), scores, y, cv=3, scoring=scorer("ece")).max() <= 0
