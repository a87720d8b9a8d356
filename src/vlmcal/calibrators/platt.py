"""Platt scaling: a logistic curve through the scores."""

from typing import ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.logistic import fit_logistic, smoothed_targets
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, Space
from vlmcal.types.arrays import BoolArray, FloatArray


@CALIBRATORS.register("platt")
class Platt(ScalarCalibrator):
    """Logistic regression on the log-odds of each class: ``p' = sigmoid(a log(p / (1 - p)) + b)``.

    With two classes it contains temperature scaling (b = 0, a = 1/T) and corrects a constant bias, too.

    Attributes:
        smooth: Replace the targets 1 and 0 by (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), Platt's guard
            against overfitting; the curve then stays finite on separable data. False is plain maximum
            likelihood.

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999; on log-odds as in Guo et al.,
    ICML 2017, arXiv 1706.04599.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> curve = Platt(smooth=False).fit(val).curves_[0]     # 3 of 4 right on both sides: a = ln 3, b = 0
        >>> round(curve["slope"], 6), abs(round(curve["intercept"], 6))
        (1.098612, 0.0)
    """

    space: ClassVar[Space] = "log_odds"
    nested: ClassVar[bool] = True

    smooth: bool = True

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        targets = smoothed_targets(outcomes) if self.smooth else outcomes.astype(np.float64)
        features = np.stack([scores, np.ones_like(scores)]).T
        fit = fit_logistic(features, targets, start=np.array([1.0, 0.0]))
        self._tell_step(fit.separable, scores)
        return {"slope": float(fit.coefficients[0]), "intercept": float(fit.coefficients[1])}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        return np.asarray(curve["slope"] * scores + curve["intercept"])
