"""scikit-learn estimators: classifiers that come calibrated or with sets of labels."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.calibrators.proximity import ProximityCalibrator
from vlmcal.calibrators.sklearn_wrapper import ClassScores, ScoreCalibrator, ScoreEstimator
from vlmcal.conformal.base import ConformalPredictor
from vlmcal.export.sklearn_scorer import scorer
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, no_labels
from vlmcal.types.predictions import Predictions, from_probabilities

__all__ = [
    "CalibratedClassifier",
    "ConformalClassifier",
    "ScoreCalibrator",
    "ScoreConformal",
    "scorer",
]


class _Wrapped(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What both classifiers share: checked input, class scores of the inner estimator."""

    estimator: Any
    estimator_: Any
    classes_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        estimator = LogisticRegression() if self.estimator is None else self.estimator
        inner = get_tags(estimator).input_tags
        tags.input_tags.sparse, tags.input_tags.allow_nan = inner.sparse, inner.allow_nan
        return tags

    def _features(self, X: Any, y: Any = None, **how: Any) -> Any:
        """X and y checked as the inner estimator takes them; a pipeline checks its own X (texts, tables)."""
        if isinstance(self.estimator, Pipeline):
            how["skip_check_array"] = True
        else:
            tags = self.__sklearn_tags__().input_tags
            how["accept_sparse"] = "csr" if tags.sparse else False
            how["ensure_all_finite"] = "allow-nan" if tags.allow_nan else True
        return validate_data(self, X, "no_validation" if y is None else y, **how)

    def _checked(self, X: Any, y: Any) -> tuple[Any, IntArray]:
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        X, y = self._features(X, y)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, known = np.unique(y, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, got 1 class, "
                f"{self.classes_.tolist()[0]!r}"
            )
        return X, np.asarray(known, dtype=np.int64)

    def _inner(self) -> Any:
        return LogisticRegression() if self.estimator is None else clone(self.estimator)

    def _rows(self, X: Any, scores: FloatArray, labels: Any, groups: Any = None) -> Predictions:
        """Scores as rows of this package; numbers in X are what the model saw of each image."""
        if issparse(X) and self._reads_features():
            X = X.toarray()
        seen = X if isinstance(X, np.ndarray) and X.ndim == 2 else np.empty(0, dtype=np.str_)
        rest: dict[str, Any] = {
            "labels": no_labels(len(scores)) if labels is None else labels,
            "class_names": tuple(map(str, self.classes_)),
            "groups": groups,
            "extras": {"image_features": seen} if seen.dtype.kind in "fiu" else {},
        }
        if self._method(self.estimator_) == "predict_proba":
            return from_probabilities(scores, renormalise=True, **rest)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros_like(scores), scores])
        return Predictions(logits=scores.astype(np.float64), **rest)

    def _reads_features(self) -> bool:
        """Whether the method behind the classifier reads ``image_features``; others leave X sparse."""
        method: Any = vars(self).get("calibrator_", vars(self).get("conformal_"))
        return isinstance(method, ProximityCalibrator) or "image_features" in method.needs

    def _scored(self, X: Any, labels: Any = None, groups: Any = None) -> Predictions:
        scores = getattr(self.estimator_, self._method(self.estimator_))(X)
        return self._rows(X, scores, labels, groups)

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
    ``cv="prefit"`` the classifier is used as it is, and all rows fit the calibrator. X is what methods that
    read ``image_features`` read.

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
        self.calibrator_ = make(self.calibrator, self.parameters)
        if self.cv == "prefit":
            self.estimator_ = self.estimator
            rows = self._scored(X, known)
        else:
            inner = self._inner()
            fewest = int(np.bincount(known).min())
            if fewest < 2:
                self.estimator_ = inner.fit(X, known)
                rows = self._scored(X, known)
            else:
                folds = StratifiedKFold(
                    min(int(self.cv), fewest), shuffle=True, random_state=self.random_state
                )
                method = self._method(inner)
                scores = cross_val_predict(inner, X, known, cv=folds, method=method)
                self.estimator_ = inner.fit(X, known)
                rows = self._rows(X, scores, known)
        self.calibrator_.fit(rows, identify=False)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Calibrated probabilities (N, K)."""
        return self._applied(X).probabilities()

    def _applied(self, X: Any) -> Predictions:
        check_is_fitted(self, "calibrator_")
        rows = self._scored(self._features(X, reset=False))
        with Calibrator.quiet():  # said when it was fitted; scikit-learn's tools predict many times
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

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit on features (N, D) and labels (N,) of any kind.

        Args:
            X: Features.
            y: Labels.
            groups: (N,) patient, slide or stratum of each row, for methods that use them.

        Raises:
            ValueError: A single class, or features that are not finite numbers.
        """
        X, known = self._checked(X, y)
        rows = np.arange(len(known))
        held_out = rows
        if self.calibration_size is None:
            self.estimator_ = self.estimator
        else:
            enough = int(np.bincount(known).min()) > 1
            shares = {"test_size": self.calibration_size, "random_state": self.random_state}
            most = self.classes_.size <= self.calibration_size * len(known)
            stratify = known if enough and most else None
            train, held_out = train_test_split(rows, stratify=stratify, **shares)
            if np.unique(known[train]).size < self.classes_.size:
                train = rows
            self.estimator_ = self._inner().fit(_safe_indexing(X, train), known[train])
        given = None if groups is None else np.asarray(groups)[held_out]
        self.conformal_ = ConformalPredictor.made(self.method, self.parameters)
        calibration = self._scored(_safe_indexing(X, held_out), known[held_out], given)
        self.conformal_.fit(calibration, self.alpha, identify=False)
        return self

    def predict_sets(self, X: Any, groups: Any = None) -> BoolArray:
        """Which classes are in the set of each row, (N, K) bool in the order of ``classes_``."""
        return _sets(self.conformal_, self._applied(X, groups))

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities (N, K) of the classifier, as they are."""
        return self._applied(X).probabilities()

    def _applied(self, X: Any, groups: Any = None) -> Predictions:
        check_is_fitted(self, "conformal_")
        return self._scored(self._features(X, reset=False), groups=groups)


class ScoreConformal(ScoreEstimator):
    """Conformal method with ``fit(X, y)`` and ``predict_sets(X)``, X being the class scores (N, K).

    Like :class:`~vlmcal.calibrators.sklearn_wrapper.ScoreCalibrator`, for sets: ``predict`` and
    ``predict_proba`` leave the scores as they are.

    Args:
        method: Registry name ("aps", "raps(penalty=0.1)"), or an unfitted conformal method.
        alpha: Target miscoverage.
        parameters: Hyper-parameters of the method.
        scores: What X is: "logits", "log_probs" or "probs". A single column is the log-odds of the
            second class.

    Example:
        >>> model = ScoreConformal("lac", alpha=0.5).fit([[2.0, 0.0]] * 4, ["cat", "cat", "cat", "dog"])
        >>> model.predict_sets([[3.0, 0.0]]).tolist(), model.classes_.tolist()
        ([[True, False]], ['cat', 'dog'])
    """

    def __init__(
        self,
        method: str | ConformalPredictor = "aps",
        alpha: float = 0.1,
        parameters: Mapping[str, Any] | None = None,
        scores: ClassScores = "logits",
    ) -> None:
        self.method = method
        self.alpha = alpha
        self.parameters = parameters
        self.scores = scores

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Fit on scores (N, K) and labels (N,).

        Args:
            X: Class scores.
            y: Names of the columns of a data frame, class indices, or K different names in sorted order.
            groups: (N,) patient, slide or stratum of each row, for methods that use them.

        Raises:
            DataError: The labels name more classes than there are columns.
        """
        rows = replace(self._fitting(X, y), groups=groups)
        self.conformal_ = ConformalPredictor.made(self.method, self.parameters)
        self.conformal_.fit(rows, self.alpha, identify=False)
        return self

    def predict_sets(self, X: Any, groups: Any = None) -> BoolArray:
        """Which classes are in the set of each row, (N, K) bool in the order of ``classes_``."""
        return _sets(self.conformal_, replace(self._applying(X), groups=groups))

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities (N, K) of the scores, as they are."""
        return self._applying(X).probabilities()


def _sets(fitted: ConformalPredictor, rows: Predictions) -> BoolArray:
    with (
        ConformalPredictor.quiet()
    ):  # said when it was fitted; scikit-learn's tools predict many times
        return fitted.predict(rows).sets
