"""scikit-learn estimators whose features are class scores: any calibrator as one."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.errors import DataError, SpecError
from vlmcal.io.labels import is_integer
from vlmcal.types.arrays import FloatArray, IntArray, no_labels
from vlmcal.types.measurable import class_codes
from vlmcal.types.predictions import Predictions, ScoreKind, from_probabilities

ClassScores = Literal["logits", "log_probs", "probs", "probabilities"]

# scikit-learn's own checks of an estimator give it features, not scores, and so ask some things that class
# scores cannot do: name of the check -> why it does not apply (``check_estimator(expected_failed_checks=)``).
_MORE_LABELS = "it gives labels of more classes than there are columns of scores"
_FEATURES = "it gives features and expects them to be learned from; scores are only calibrated"
_LOG_ODDS = "one number per row is the log-odds of two classes"
SCORE_CHECKS = {
    "check_estimators_overwrite_params": _MORE_LABELS,
    "check_estimators_fit_returns_self": _MORE_LABELS,
    "check_readonly_memmap_input": _MORE_LABELS,
    "check_classifiers_classes": _MORE_LABELS,
    "check_classifiers_one_label": _FEATURES,
    "check_classifiers_train": _FEATURES,
    "check_fit2d_predict1d": _LOG_ODDS,
}


class ScoresError(DataError, ValueError):
    """Scores or labels that do not fit each other, as the error that scikit-learn's tools expect."""


class ScoreEstimator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What estimators on class scores (N, K) share: their input, checked, as rows of this package."""

    scores: str
    classes_: Any
    n_features_in_: int
    _order: IntArray

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Probabilities (N, K)."""
        raise NotImplementedError

    def predict(self, X: ArrayLike) -> Any:
        """The class with the largest probability, (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _fitting(self, X: Any, y: Any) -> Predictions:
        names = tuple(getattr(X, "columns", ()))
        X, labels = validate_data(self, _two_dimensional(X), y, dtype=np.float64)
        check_classification_targets(labels)
        labels = column_or_1d(labels, warn=True)
        classes = _classes(labels, max(X.shape[1], 2), names)
        self._order = np.argsort(classes)
        self.classes_ = classes[self._order]
        known: IntArray = np.searchsorted(self.classes_, labels).astype(np.int64)
        return self._predictions(self._columns(X), known)

    def _applying(self, X: Any) -> Predictions:
        check_is_fitted(self)
        X = _two_dimensional(X)
        columns = (X if hasattr(X, "shape") else np.asarray(X)).shape[1:]
        if columns and columns[0] != self.n_features_in_ and columns[0] > 1:
            raise ScoresError(
                f"X has {columns[0]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input: expected scores of {self.classes_.size} classes, "
                f"got {columns[0]} columns"
            )
        scores = self._columns(validate_data(self, X, reset=False, dtype=np.float64))
        return self._predictions(scores, no_labels(len(scores)))

    def _columns(self, X: FloatArray) -> FloatArray:
        """Scores of the classes in sorted order."""
        if X.shape[1] > 1:
            return X[:, self._order]
        if self.scores != "logits":
            raise SpecError(
                f'a single column must be log-odds, scores="logits", got "{self.scores}"'
            )
        return np.hstack([np.zeros_like(X), X])

    def _predictions(self, scores: FloatArray, labels: IntArray) -> Predictions:
        if self.scores in ("probs", "probabilities"):
            return from_probabilities(scores, labels)
        kind: ScoreKind = "log_probs" if self.scores == "log_probs" else "logits"
        return Predictions(logits=scores, labels=labels, kind=kind)


class ScoreCalibrator(ScoreEstimator):
    """Calibrator with ``fit(X, y)`` and ``predict_proba(X)``, X being the class scores (N, K).

    What scikit-learn's tools expect: parameters are stored as given, learned values end in an underscore, it
    can be cloned, searched and put at the end of a pipeline. Of scikit-learn's own checks it passes those
    that do not take X for features (``SCORE_CHECKS`` says which do). Methods that read more than scores
    (image or text features) need :class:`~vlmcal.types.predictions.Predictions` and are not available here.

    Args:
        method: Registry name ("temperature", "histogram(bins=10)"), or an unfitted calibrator.
        parameters: Hyper-parameters of the method.
        scores: What X is: "logits", "log_probs" or "probs". A single column is the log-odds of the
            second class.

    Example:
        >>> model = ScoreCalibrator("temperature").fit([[2.0, 0.0]] * 4, ["cat", "cat", "cat", "dog"])
        >>> model.predict_proba([[2.0, 0.0]]).round(3).tolist(), model.predict([[2.0, 0.0]]).tolist()
        ([[0.75, 0.25]], ['cat'])
    """

    def __init__(
        self,
        method: str | Calibrator = "temperature",
        parameters: Mapping[str, Any] | None = None,
        scores: ClassScores = "logits",
    ) -> None:
        self.method = method
        self.parameters = parameters
        self.scores = scores

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on scores (N, K) and labels (N,).

        Labels are names of the columns of a data frame, class indices, or K different names in sorted order.

        Raises:
            DataError: The labels name more classes than there are columns.
        """
        rows = self._fitting(X, y)
        self.calibrator_ = make(self.method, self.parameters)
        self.calibrator_.fit(rows, identify=False)
        return self

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Calibrated probabilities (N, K)."""
        rows = self._applying(X)
        with Calibrator.quiet():  # said when it was fitted; scikit-learn's tools predict many times
            return self.calibrator_.transform(rows).probabilities()


def _two_dimensional(X: Any) -> Any:
    if getattr(X, "ndim", None) == 1 or (isinstance(X, list) and np.ndim(X) == 1):
        return np.asarray(X)[:, None]
    return X


def _classes(labels: Any, columns: int, names: tuple[Any, ...]) -> Any:
    """The class of each column: as a data frame calls it, by its position, or the sorted labels."""
    present = np.unique(labels)
    whole = present.dtype.kind in "iub" or (
        present.dtype.kind == "f" and bool((present == present.astype(np.int64)).all())
    )
    called = tuple(map(str, names))
    if len(set(called)) == columns and (not whole or all(map(is_integer, called))):
        words = set(map(str, present.astype(np.int64) if whole else present))
        if words <= set(called):
            class_codes(
                labels, called, len(labels), columns
            )  # refuses integers that may be positions
            kind = object if present.dtype.kind == "O" else None
            return np.asarray(list(map(int, called)) if whole else called, dtype=kind)
    if whole and present.min() >= 0 and present.max() < columns:
        return np.arange(columns)
    if present.size == columns:
        return present
    raise ScoresError(
        f"y: {present.size} different labels for {columns} columns of scores; pass class indices 0 to "
        f"{columns - 1}, or labels that name every class at least once"
    )
