"""scikit-learn's own checks, and its tools around the calibrated classifiers."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import check_estimator

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.histogram import Histogram
from vlmcal.calibrators.proximity import ProximityCalibrator
from vlmcal.calibrators.sklearn_wrapper import SCORE_CHECKS
from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.lac import LAC
from vlmcal.errors import DataError, SpecError
from vlmcal.export.sklearn import (
    CalibratedClassifier,
    ConformalClassifier,
    ScoreCalibrator,
    ScoreConformal,
    scorer,
)
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.metrics import METRICS
from vlmcal.types.predictions import from_probabilities

# What methods may read that features and labels do not hold: these say so.
NEEDY = {n: (*c.needs, *c.fit_needs) for n, c in CALIBRATORS.items()}
NEEDY |= {n: c.needs for n, c in CONFORMAL.items()}
MISSING = {n: set(needs) - {"image_features"} for n, needs in NEEDY.items()}


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        1200, 8, n_informative=6, n_classes=3, flip_y=0.2, random_state=0, shuffle=True
    )
    return X, np.array(["a", "b", "c"])[y]


def own_checks(model, **expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            model, on_fail=None, on_skip=None, expected_failed_checks=expected
        )
    return {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CALIBRATORS.names() if not MISSING[n]])
def test_scikit_learns_own_checks_of_a_classifier_with_every_calibrator(name):
    assert own_checks(CalibratedClassifier(calibrator=name, cv=2)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in CONFORMAL.names() if not MISSING[n]])
def test_scikit_learns_own_checks_of_a_classifier_with_every_conformal_method(name):
    options = {"by": "predicted"} if hasattr(CONFORMAL.get(name), "by") else {}
    model = ConformalClassifier(method=name, parameters=options)
    # features are compared by their direction, which rows of zeros do not have
    zeros = {f"check_estimator_sparse_{kind}": "rows of zeros" for kind in ("array", "matrix")}
    assert own_checks(model, **(zeros if NEEDY[name] else {})) == {}


@pytest.mark.parametrize("kind", [CalibratedClassifier, ConformalClassifier])
def test_scikit_learns_own_checks_of_both_classifiers(kind):
    assert own_checks(kind()) == {}


@pytest.mark.parametrize("name", CALIBRATORS.names())
def test_scikit_learns_own_checks_of_every_calibrator_of_scores(name, data):
    if NEEDY[name] or issubclass(CALIBRATORS.get(name), ProximityCalibrator):
        with pytest.raises(UnsuitedRowsError, match=(*NEEDY[name], "image_features")[0]):
            ScoreCalibrator(name).fit(data[0][:, :3], data[1])
    else:
        assert own_checks(ScoreCalibrator(name), **SCORE_CHECKS) == {}


@pytest.mark.parametrize("name", CONFORMAL.names())
def test_scikit_learns_own_checks_of_every_conformal_method_of_scores(name):
    options = {"by": "predicted"} if hasattr(CONFORMAL.get(name), "by") else {}
    if NEEDY[name]:
        with pytest.raises(UnsuitedRowsError, match=NEEDY[name][0]):
            ScoreConformal(name, parameters=options).fit(np.eye(3), [0, 1, 2])
    else:
        assert own_checks(ScoreConformal(name, parameters=options), **SCORE_CHECKS) == {}


@pytest.mark.parametrize("name", [n for n in CALIBRATORS.names() if not MISSING[n]])
def test_every_calibrator_behind_a_classifier(name, data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = CalibratedClassifier(GaussianNB(), name, cv=3).fit(X[:600], y[:600])
    p = model.predict_proba(X[600:])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert model.score(X[600:], y[600:]) > 0.5


@pytest.mark.parametrize("name", [n for n in CONFORMAL.names() if not MISSING[n]])
def test_every_conformal_method_behind_a_classifier_and_on_scores(name, data):
    X, y = data
    groups = np.where(X[:, 0] > 0, "old", "young")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ConformalClassifier(GaussianNB(), name, 0.2, calibration_size=0.5)
        model.fit(X[:800], y[:800], groups=groups[:800])
    sets = model.predict_sets(X[800:], groups=groups[800:])
    covered = sets[np.arange(400), np.searchsorted(model.classes_, y[800:])].mean()
    assert covered > 0.7
    assert set(model.predict(X[800:])) <= set("abc")
    if not NEEDY[name]:
        inner = GaussianNB().fit(X[:400], y[:400])
        scores = inner.predict_proba(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = ScoreConformal(name, 0.2, scores="probs")
            alone.fit(scores[400:800], y[400:800], groups=groups[400:800])
        sets = alone.predict_sets(scores[800:], groups=groups[800:])
        assert sets[np.arange(400), np.searchsorted(alone.classes_, y[800:])].mean() > 0.7


def test_options_of_a_calibrator_are_searched_in_place(data):
    X, y = data
    model = CalibratedClassifier(GaussianNB(), Histogram(), cv=2)
    found = GridSearchCV(
        model, {"calibrator__bins": [2, 10], "estimator__var_smoothing": [1e-9]}, cv=2
    ).fit(X, y)
    assert found.best_estimator_.calibrator_.bins == found.best_params_["calibrator__bins"]
    assert model.calibrator.bins == Histogram().bins
    with pytest.raises(SpecError, match="bins"):
        clone(model).set_params(calibrator__bins="ten")
    sets = ScoreConformal(LAC(), 0.2, {"hierarchical": True})
    assert clone(sets).get_params()["method"].get_params()["hierarchical"] is False
    assert Histogram(bins=3).set_params(bins=4).get_params() == Histogram(bins=4).get_params()


@pytest.mark.parametrize("labels", [["c", "b", "a"], [2, 3, 1]], ids=["names", "numbers"])
def test_columns_of_a_data_frame_name_the_classes_of_scores(labels):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(150, 3))
    y = np.array(labels)[(logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)]
    frame, order = pd.DataFrame(logits, columns=map(str, labels)), np.argsort(labels)
    plain = ScoreCalibrator("vector").fit(logits[:, order], y)
    named = ScoreCalibrator("vector").fit(frame, y)
    assert named.classes_.tolist() == sorted(labels)
    np.testing.assert_array_equal(named.predict_proba(frame), plain.predict_proba(logits[:, order]))
    sets = ScoreConformal("lac", 0.2).fit(frame, y).predict_sets(frame)
    assert sets[np.arange(150), np.searchsorted(sorted(labels), y)].mean() > 0.75
    few = y != max(labels)
    if isinstance(labels[0], str):
        assert ScoreCalibrator().fit(frame[few], y[few]).classes_.tolist() == ["a", "b", "c"]
    else:  # 1 and 2 may be names, or the second column and the third
        with pytest.raises(DataError, match="names or positions"):
            ScoreCalibrator().fit(frame[few], y[few])


def test_texts_tables_and_sparse_features_reach_a_pipeline():
    words = ["small nodule", "clear lungs", "large nodule", "clear, no nodule"] * 10
    y = ["ill", "well", "ill", "well"] * 10
    pipe = make_pipeline(CountVectorizer(), LogisticRegression())
    model = CalibratedClassifier(pipe).fit(words, y)
    assert model.predict(["large nodule"]).tolist() == ["ill"]
    assert ConformalClassifier(pipe).fit(words, y).predict_sets(words).shape == (40, 2)
    counts = CountVectorizer().fit_transform(words)
    assert CalibratedClassifier().fit(counts, y).predict_proba(counts).shape == (40, 2)
    table = pd.DataFrame({"kind": ["a", "b", None, "b"] * 10, "age": [1.0, 2.0, 3.0, np.nan] * 10})
    columns = make_column_transformer((OneHotEncoder(), ["kind"]), (SimpleImputer(), ["age"]))
    mixed = CalibratedClassifier(make_pipeline(columns, LogisticRegression())).fit(table, y)
    assert mixed.predict_proba(table).shape == (40, 2)
    with pytest.raises(ValueError, match="feature names"):
        mixed.predict_proba(table.rename(columns={"age": "years"}))


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


@pytest.mark.parametrize("names", [np.array([1, 2, 3]), np.array(["z", "a", "m"])], ids=["1", "a"])
def test_a_scorer_knows_the_classes_that_a_fold_lacks(data, names):
    X, y = data[0], np.searchsorted(["a", "b", "c"], data[1])
    model = LogisticRegression().fit(X, names[y])
    some = (y == 0) | (y == 2)
    column = {name: i for i, name in enumerate(model.classes_)}
    found = model.predict_proba(X)[some, [column[name] for name in names[y[some]]]]
    assert scorer("nll")(model, X[some], names[y[some]]) == pytest.approx(np.log(found).mean())
    weights = np.arange(some.sum()) % 3
    weighted = scorer("nll")(model, X[some], names[y[some]], sample_weight=weights)
    assert weighted == pytest.approx(np.average(np.log(found), weights=weights))
    without = LogisticRegression().fit(X[some], names[y[some]])
    with pytest.raises(DataError, match="fitted without"):
        scorer("nll")(without, X, names[y])


def test_a_scorer_takes_options_by_name(data):
    X, y = data
    model = LogisticRegression().fit(X, y)
    rows = from_probabilities(model.predict_proba(X), np.searchsorted(["a", "b", "c"], y))
    expected = -METRICS.get("ece")(rows, bins=7)
    assert scorer("ece(bins=7)")(model, X, y) == scorer({"name": "ece", "bins": 7})(model, X, y)
    assert scorer("ece(bins=7)")(model, X, y) == expected != scorer("ece")(model, X, y)
    with pytest.raises(SpecError, match='did you mean "bins"'):
        scorer("ece(bin=7)")
