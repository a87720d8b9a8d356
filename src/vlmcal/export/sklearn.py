"""scikit-learn estimators and scorers: classifiers that come calibrated or with sets of labels."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vlmcal.calibrators.base import CALIBRATORS, CalibrationWarning, Calibrator
from vlmcal.calibrators.sklearn_wrapper import ScoreCalibrator
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor, ConformalWarning
from vlmcal.errors import SpecError
from vlmcal.metrics import METRICS, evaluate
from vlmcal.options import build
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.predictions import Predictions, from_probabilities

__all__ = ["CalibratedClassifier", "ConformalClassifier", "ScoreCalibrator", "scorer"]


class _Wrapped(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What both classifiers share: checked input, class scores of the inner estimator."""

    estimator: Any
    classes_: Any

    def _checked(self, X: Any, y: Any) -> tuple[Any, IntArray]:
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self.classes_, known = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, got 1 class, "
                f"{self.classes_[0]!r}"
            )
        return X, np.asarray(known, dtype=np.int64)

    def _inner(self) -> Any:
        return LogisticRegression() if self.estimator is None else clone(self.estimator)

    def _rows(self, scores: FloatArray, labels: IntArray | None, method: str) -> Predictions:
        known = np.zeros(len(scores), dtype=np.int64) if labels is None else labels
        names = tuple(map(str, self.classes_))
        if method == "predict_proba":
            return from_probabilities(scores, known, class_names=names, renormalise=True)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros_like(scores), scores])
        return Predictions(logits=scores.astype(np.float64), labels=known, class_names=names)

    def _method(self, estimator: Any) -> str:
        return "predict_proba" if hasattr(estimator, "predict_proba") else "decision_function"

    def predict(self, X: Any) -> Any:
        """The class with the largest score, (N,)."""
        best = self._applied(X).predicted()
        return self.classes_[best]

    def _applied(self, X: Any) -> Predictions:
        raise NotImplementedError


class CalibratedClassifier(_Wrapped):
    """Any classifier with any calibrator behind it, fitted on scores of rows that it has not seen.

    The calibrator learns from out-of-fold scores (stratified folds), the classifier then from all rows; with
    ``cv="prefit"`` the classifier is used as it is, and all rows fit the calibrator.

    Args:
        estimator: A classifier with ``predict_proba`` or ``decision_function``; None is logistic regression.
        calibrator: Name ("temperature", "histogram(bins=10)") or an unfitted calibrator.
        parameters: Hyper-parameters of the calibrator by name.
        cv: Number of folds (fewer where a class has fewer rows), or "prefit".
        random_state: Seed of the folds.

    Example:
        >>> X = np.arange(40.0)[:, None]
        >>> y = np.where(np.arange(40) % 4, X[:, 0] > 20, X[:, 0] < 20).astype(int)
        >>> model = CalibratedClassifier(LogisticRegression(), "platt").fit(X, y)
        >>> model.predict_proba(X).shape, model.predict([[0.0], [39.0]]).tolist()
        ((40, 2), [0, 1])
    """

    def __init__(
        self,
        estimator: Any = None,
        calibrator: str | Calibrator = "temperature",
        parameters: Mapping[str, Any] | None = None,
        cv: int | str = 5,
        random_state: int | None = 0,
    ) -> None:
        self.estimator = estimator
        self.calibrator = calibrator
        self.parameters = parameters
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on features (N, D) and labels (N,) of any kind.

        Raises:
            ValueError: A single class, or features that are not finite numbers.
        """
        X, known = self._checked(X, y)
        if self.cv == "prefit":
            self.estimator_ = self.estimator
            method = self._method(self.estimator_)
            scores = getattr(self.estimator_, method)(X)
        else:
            inner = self._inner()
            method = self._method(inner)
            fewest = int(np.bincount(known).min())
            if fewest < 2:
                scores = getattr(clone(inner).fit(X, known), method)(X)
            else:
                folds = StratifiedKFold(
                    min(int(self.cv), fewest), shuffle=True, random_state=self.random_state
                )
                scores = cross_val_predict(inner, X, known, cv=folds, method=method)
            self.estimator_ = inner.fit(X, known)
        if isinstance(self.calibrator, Calibrator):
            self.calibrator_ = self.calibrator.fresh()
        else:
            self.calibrator_ = build(CALIBRATORS, self.calibrator, self.parameters)
        self.calibrator_.fit(self._rows(scores, known, method), identify=False)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Calibrated probabilities (N, K)."""
        return self._applied(X).probabilities()

    def _applied(self, X: Any) -> Predictions:
        check_is_fitted(self, "calibrator_")
        X = validate_data(self, X, reset=False)
        method = self._method(self.estimator_)
        rows = self._rows(getattr(self.estimator_, method)(X), None, method)
        with warnings.catch_warnings():
            # said when it was fitted; scikit-learn's tools predict many times
            warnings.simplefilter("ignore", CalibrationWarning)
            return self.calibrator_.transform(rows)


class ConformalClassifier(_Wrapped):
    """Any classifier with sets of labels that hold the truth with a stated probability.

    Part of the rows fits the classifier, the others the thresholds (split conformal prediction); with
    ``calibration_size=None`` the classifier is fitted already, and all rows fit the thresholds.

    Args:
        estimator: A classifier with ``predict_proba`` or ``decision_function``; None is logistic regression.
        method: Name ("aps", "raps(penalty=0.1)") or an unfitted conformal method.
        alpha: Target miscoverage.
        parameters: Hyper-parameters of the method by name.
        calibration_size: Share of the rows that fits the thresholds, or None.
        random_state: Seed of the split.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(400, 2))
        >>> y = np.where(X[:, 0] + rng.normal(size=400) > 0, "ill", "well")
        >>> model = ConformalClassifier(LogisticRegression(), "lac", alpha=0.2).fit(X, y)
        >>> model.predict_sets(X).shape, model.classes_.tolist()
        ((400, 2), ['ill', 'well'])
    """

    def __init__(
        self,
        estimator: Any = None,
        method: str | ConformalPredictor = "aps",
        alpha: float = 0.1,
        parameters: Mapping[str, Any] | None = None,
        calibration_size: float | None = 0.25,
        random_state: int | None = 0,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.alpha = alpha
        self.parameters = parameters
        self.calibration_size = calibration_size
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on features (N, D) and labels (N,) of any kind.

        Raises:
            ValueError: A single class, or features that are not finite numbers.
        """
        X, known = self._checked(X, y)
        if self.calibration_size is None:
            self.estimator_, held_out, labels = self.estimator, X, known
        else:
            enough = int(np.bincount(known).min()) > 1
            shares = {"test_size": self.calibration_size, "random_state": self.random_state}
            most = self.classes_.size <= self.calibration_size * len(known)
            stratify = known if enough and most else None
            train, held_out, seen, labels = train_test_split(X, known, stratify=stratify, **shares)
            if np.unique(seen).size < self.classes_.size:
                train, seen = X, known
            self.estimator_ = self._inner().fit(train, seen)
        if isinstance(self.method, ConformalPredictor):
            self.conformal_ = self.method.fresh()
        else:
            self.conformal_ = build(CONFORMAL, self.method, self.parameters)
        how = self._method(self.estimator_)
        scores = getattr(self.estimator_, how)(held_out)
        self.conformal_.fit(self._rows(scores, labels, how), self.alpha, identify=False)
        return self

    def predict_sets(self, X: Any) -> BoolArray:
        """Which classes are in the set of each row, (N, K) bool in the order of ``classes_``."""
        rows = self._applied(X)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConformalWarning)
            return self.conformal_.predict(rows).sets

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities (N, K) of the classifier, as they are."""
        return self._applied(X).probabilities()

    def _applied(self, X: Any) -> Predictions:
        check_is_fitted(self, "conformal_")
        X = validate_data(self, X, reset=False)
        how = self._method(self.estimator_)
        return self._rows(getattr(self.estimator_, how)(X), None, how)


def scorer(metric: str) -> Any:
    """A metric as a scikit-learn scorer, for ``scoring=`` of searches; losses are negated.

    Args:
        metric: Name of a metric of class probabilities ("ece", "nll", "brier", "accuracy", ...).

    Raises:
        SpecError: No such metric, or one of which neither more nor less is better.

    Example:
        >>> from sklearn.model_selection import cross_val_score
        >>> X = np.arange(40.0)[:, None]
        >>> y = (np.arange(40) % 4 > 0).astype(int)
        >>> cross_val_score(LogisticRegression(), X, y, cv=2, scoring=scorer("ece")).max() <= 0
        np.True_
    """
    better = METRICS.get(metric).higher_is_better
    if better is None:
        raise SpecError(
            f'scorer: neither more nor less of "{metric}" is better, so nothing can be chosen by it'
        )

    def value(y_true: Any, probabilities: Any) -> float:
        proba = np.asarray(probabilities, dtype=np.float64)
        if proba.ndim == 1:
            proba = np.column_stack([1 - proba, proba])
        labels = np.asarray(y_true)
        classes = np.unique(labels)
        whole = labels.dtype.kind in "iub" and labels.min() >= 0 and labels.max() < proba.shape[1]
        known = labels.astype(np.int64) if whole else np.searchsorted(classes, labels)
        rows = from_probabilities(proba, known, renormalise=True)
        return evaluate(rows, [metric], intervals=False).estimates[metric].value

    return make_scorer(value, response_method="predict_proba", greater_is_better=better)
