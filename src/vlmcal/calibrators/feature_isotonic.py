"""Isotonic regression in two groups: rows whose features support the prediction, and the others."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.isotonic import rising_curve
from vlmcal.calibrators.proximity import image_features, with_top_confidence
from vlmcal.calibrators.scalar import Curve
from vlmcal.errors import DataError
from vlmcal.state_rules import StateRule, array
from vlmcal.state_rules import curve as sound_curve
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Count, Fraction, NotNegative
from vlmcal.types.neighbours import nearest
from vlmcal.types.predictions import Predictions


def _two_curves(value: Any, k: int) -> str:
    if not isinstance(value, list) or len(value) != 2:
        return "expected two curves"
    for each in value:
        if found := sound_curve(each, k):
            return found
        if each and (set(each) != {"x", "y"} or np.shape(each["x"]) != np.shape(each["y"])):
            return "expected x and y of equal length"
    return ""


@CALIBRATORS.register("feature_isotonic")
class FeatureIsotonic(Calibrator):
    """Uncertainty-aware isotonic calibration of the top-label confidence, by conformal grouping.

    A row is *putatively correct* when its conformal p-value for the predicted class exceeds ``alpha``:
    nonconformity is the share of its k nearest fitting rows (image features, Euclidean) that have another
    label, compared with the same number of every fitting row for its own label. Putatively correct rows get
    ordinary isotonic regression of correctness on confidence; the others get

        ``argmin_f sum (f(c_i) - correct_i)^2 + shrink * sum (f(c_i) - 1/K)^2``, f rising,

    that is, isotonic regression pulled towards the uniform probability. Other classes share the rest in
    proportion.

    The abstract names the two groups, proximity-based conformal prediction and an
    "underconfidence-regularised" isotonic regression; the nonconformity, alpha, the regulariser and its
    strength are not public, and are chosen here as stated.

    Attributes:
        neighbours: k.
        alpha: Significance level of the grouping.
        shrink: Strength of the pull to 1/K in the second group.
        reference_: (M, D) image features of the fitting rows.
        labels_: (M,) their labels.
        nonconformity_: (M,) sorted, of the fitting rows for their labels.
        curves_: Curves of the putatively correct and of the other rows; empty without rows.

    Source: idea: uncertainty-aware post-hoc calibration, 2025, arXiv 2510.17915.

    Example:
        >>> features = {"image_features": np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])}
        >>> labels = [0, 0, 0, 1, 1, 1]
        >>> val = Predictions(logits=[[0.0, 1.0]] * 6, labels=labels, extras=features)
        >>> cal = FeatureIsotonic(neighbours=2, alpha=0.2).fit(val)            # all are predicted as 1
        >>> cal.supported(val).tolist()
        [False, False, False, True, True, True]
    """

    needs: ClassVar[tuple[str, ...]] = ("image_features",)
    state: ClassVar[Mapping[str, StateRule]] = {
        "reference_": array("*", "*"),
        "labels_": array("*", low=0),
        "nonconformity_": array("*", low=0, high=1),
        "curves_": _two_curves,
    }

    neighbours: Count = 10
    alpha: Fraction = 0.1
    shrink: NotNegative = 0.25

    def _fit(self, predictions: Predictions) -> None:
        self.reference_ = image_features(predictions, self.name)
        self.labels_ = predictions.labels
        k = min(self.neighbours, len(predictions) - 1)
        if k < 1:
            raise DataError("feature_isotonic: neighbours need at least 2 fitting rows")
        _, rows = nearest(self.reference_, None, k)
        votes = self.labels_[rows]
        self.nonconformity_ = np.sort((votes != predictions.labels[:, None]).mean(axis=1))
        group = self._group(votes, predictions.predicted())
        top = predictions.top_label()
        self.curves_: list[Curve] = [
            self._curve(top.confidence[group], top.correct[group], 0.0, predictions.n_classes),
            self._curve(
                top.confidence[~group], top.correct[~group], self.shrink, predictions.n_classes
            ),
        ]
        if any(
            curve and (curve["y"].max() >= 1 or curve["y"].min() <= 0) for curve in self.curves_
        ):
            self._tell(
                "a curve reaches 0 or 1 exactly, so the log-loss of new rows may be infinite; wrap it in "
                "mixture where log-loss matters"
            )

    def supported(self, predictions: Predictions) -> BoolArray:
        """Which rows are putatively correct, (N,)."""
        k = min(self.neighbours, len(self.reference_))
        _, rows = nearest(self.reference_, image_features(predictions, self.name), k)
        return self._group(self.labels_[rows], predictions.predicted())

    def _group(self, votes: IntArray, predicted: IntArray) -> BoolArray:
        own = (votes != predicted[:, None]).mean(axis=1)
        n = self.nonconformity_.size
        at_least = n - np.searchsorted(self.nonconformity_, own - 1e-12, side="left")
        return np.asarray((at_least + 1) / (n + 1) > self.alpha)

    def _curve(self, scores: FloatArray, correct: BoolArray, shrink: float, classes: int) -> Curve:
        if not scores.size:
            return {}
        # The penalty only moves the targets: both terms are squares of the same curve.
        targets = (correct + shrink / classes) / (1.0 + shrink)
        return rising_curve(scores, targets)

    def _transform(self, predictions: Predictions) -> Scores:
        confidence = predictions.probabilities().max(axis=1).copy()
        group = self.supported(predictions)
        for rows, curve in zip((group, ~group), self.curves_, strict=True):
            if curve:
                confidence[rows] = np.interp(confidence[rows], curve["x"], curve["y"])
        return with_top_confidence(predictions, confidence)
