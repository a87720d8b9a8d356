"""Any calibrator as a scikit-learn classifier whose features are class scores."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.predictions import Predictions, ScoreKind, from_probabilities


class ScoreCalibrator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Calibrator with ``fit(X, y)`` and ``predict_proba(X)``, X being the class scores (N, K).

    What scikit-learn's tools expect: parameters are stored as given, learned values end in an underscore, it
    can be cloned, searched and put at the end of a pipeline. Methods that read more than scores (image or
    text features) need :class:`~vlmcal.types.predictions.Predictions` and are not available here.

    Args:
        method: Registry name.
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
        method: str = "temperature",
        parameters: Mapping[str, Any] | None = None,
        scores: Literal["logits", "log_probs", "probs", "probabilities"] = "logits",
    ) -> None:
        self.method = method
        self.parameters = parameters
        self.scores = scores

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on scores (N, K) and labels (N,): class indices, or K different names in sorted order.

        Raises:
            DataError: The labels name more classes than there are columns.
        """
        X, labels = validate_data(self, _two_dimensional(X), y, dtype=np.float64)
        check_classification_targets(labels)
        scores = self._columns(X)
        self.classes_ = _classes(labels, scores.shape[1])
        known: IntArray = np.searchsorted(self.classes_, labels).astype(np.int64)
        self.calibrator_ = make(self.method, self.parameters)
        self.calibrator_.fit(self._predictions(scores, known), identify=False)
        return self

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Calibrated probabilities (N, K)."""
        check_is_fitted(self, "calibrator_")
        X = _two_dimensional(X)
        columns = np.shape(X)[1:]
        if columns and columns[0] != self.n_features_in_ and columns[0] > 1:
            raise DataError(
                f"X has {columns[0]} features, but ScoreCalibrator is expecting {self.n_features_in_} "
                f"features as input: expected scores of {self.classes_.size} classes, got "
                f"{columns[0]} columns"
            )
        scores = self._columns(validate_data(self, X, reset=False, dtype=np.float64))
        unknown = np.zeros(len(scores), dtype=np.int64)
        rows = self._predictions(scores, unknown)
        with warnings.catch_warnings():
            # said when it was fitted; scikit-learn's tools predict many times
            warnings.simplefilter("ignore", CalibrationWarning)
            return self.calibrator_.transform(rows).probabilities()

    def predict(self, X: ArrayLike) -> Any:
        """The class with the largest calibrated probability, (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _columns(self, X: ArrayLike) -> FloatArray:
        scores: FloatArray = np.asarray(X, dtype=np.float64)
        scores = scores[:, None] if scores.ndim == 1 else scores
        if scores.ndim == 2 and scores.shape[1] == 1:
            if self.scores != "logits":
                raise SpecError(
                    f'a single column must be log-odds, scores="logits", got "{self.scores}"'
                )
            scores = np.hstack([np.zeros_like(scores), scores])
        return scores

    def _predictions(self, scores: FloatArray, labels: IntArray) -> Predictions:
        if self.scores in ("probs", "probabilities"):
            return from_probabilities(scores, labels)
        kind: ScoreKind = "log_probs" if self.scores == "log_probs" else "logits"
        return Predictions(logits=scores, labels=labels, kind=kind)


def _two_dimensional(X: Any) -> Any:
    return np.asarray(X)[:, None] if np.ndim(X) == 1 else X


def _classes(labels: Any, columns: int) -> Any:
    present = np.unique(labels)
    if present.dtype.kind in "iub" and present.min() >= 0 and present.max() < columns:
        return np.arange(columns)
    if present.size == columns:
        return present
    raise DataError(
        f"y: {present.size} different labels for {columns} columns of scores; pass class indices 0 to "
        f"{columns - 1}, or labels that name every class at least once"
    )
