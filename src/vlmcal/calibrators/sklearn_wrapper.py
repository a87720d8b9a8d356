"""Any calibrator as a scikit-learn classifier whose features are class scores."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from vlmcal.calibrators.base import make
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray, IntArray, StrArray
from vlmcal.types.predictions import Predictions, from_probabilities
from vlmcal.types.split import Split


class ScoreCalibrator(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Calibrator with ``fit(X, y)`` and ``predict_proba(X)``, X being the class scores (N, K).

    What scikit-learn's tools expect: parameters are stored as given, learned values end in an underscore, it
    can be cloned, searched and put at the end of a pipeline. Methods that read more than scores (image or
    text features) need :class:`~vlmcal.types.predictions.Predictions` and are not available here.

    Args:
        method: Registry name.
        parameters: Hyper-parameters of the method.
        scores: What X is: "logits", "log_probs" or "probabilities". A single column is the log-odds of the
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
        scores: Literal["logits", "log_probs", "probabilities"] = "logits",
    ) -> None:
        self.method = method
        self.parameters = parameters
        self.scores = scores

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on scores (N, K) and labels (N,): class indices, or K different names in sorted order.

        Raises:
            DataError: The labels name more classes than there are columns.
        """
        scores = self._columns(X)
        self.n_features_in_ = np.asarray(X).reshape(len(scores), -1).shape[1]
        labels = np.asarray(y)
        self.classes_ = _classes(labels, scores.shape[1])
        known: IntArray = np.searchsorted(self.classes_, labels).astype(np.int64)
        self.calibrator_ = make(self.method, self.parameters)
        self.calibrator_.fit(self._predictions(scores, known, "fitting row", "val"))
        return self

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Calibrated probabilities (N, K)."""
        check_is_fitted(self, "calibrator_")
        scores = self._columns(X)
        if scores.shape[1] != self.classes_.size:
            raise DataError(
                f"X: expected scores of {self.classes_.size} classes, got {scores.shape[1]} columns"
            )
        unknown = np.zeros(len(scores), dtype=np.int64)
        rows = self._predictions(scores, unknown, "new row", "unknown")
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

    def _predictions(
        self, scores: FloatArray, labels: IntArray, what: str, split: Split
    ) -> Predictions:
        # Names of rows are made up: scikit-learn's tools predict on fitting rows as a matter of course.
        ids: StrArray = np.char.add(f"{what} ", np.arange(len(scores)).astype(np.str_))
        if self.scores == "probabilities":
            return from_probabilities(scores, labels, ids=ids, split=split)
        return Predictions(logits=scores, labels=labels, ids=ids, kind=self.scores, split=split)


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
