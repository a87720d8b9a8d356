"""Beta calibration: a curve family that contains the identity and is bounded at both ends."""

from typing import ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.logistic import fit_logistic, smoothed_targets
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, Space
from vlmcal.types.arrays import BoolArray, FloatArray


@CALIBRATORS.register("beta")
class Beta(ScalarCalibrator):
    """``log(p' / (1 - p')) = a log(p) - b log(1 - p) + c`` with a, b >= 0 for each class.

    A logistic regression on the two logarithms; a coefficient that would be negative (a falling curve) is
    set to 0 and the others are fitted again, which is the optimum of the bounded problem.

    Attributes:
        smooth: Platt's smoothed targets, as in ``platt``; False is plain maximum likelihood, as published.

    Source: Kull, Silva Filho and Flach, Beta calibration, AISTATS 2017 (the three-parameter form).

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> cal = Beta(smooth=False).fit(val)
        >>> test = Predictions(logits=[[0.0, 1.0]], labels=[1], ids=["new"])
        >>> round(float(cal.transform(test).probabilities()[0, 1]), 4)
        0.75
    """

    space: ClassVar[Space] = "log_odds"
    nested: ClassVar[bool] = True

    smooth: bool = True

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        features = np.stack([*_logs(scores), np.ones_like(scores)]).T
        targets = smoothed_targets(outcomes) if self.smooth else outcomes.astype(np.float64)
        best = None
        for free in ([0, 1, 2], [1, 2], [0, 2], [2]):
            fit = fit_logistic(features[:, free], targets, start=np.array([1.0, 1.0, 0.0])[free])
            full = np.zeros(3)
            full[free] = fit.coefficients
            if (full[:2] >= 0).all() and (best is None or fit.loss < best[0]):
                best = (fit.loss, full, fit.separable)
            if best is not None and len(free) == 3:
                break
        assert best is not None  # the intercept alone is always feasible
        self._tell_step(best[2], scores)
        a, b, c = (float(x) for x in best[1])
        return {"a": a, "b": b, "c": c}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        log_p, minus_log_rest = _logs(scores)
        result: FloatArray = curve["a"] * log_p + curve["b"] * minus_log_rest + curve["c"]
        return result


def _logs(odds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log(p) and -log(1 - p) from log-odds."""
    tail = np.exp(np.copysign(odds, -1.0))
    np.log1p(tail, out=tail)
    return np.minimum(odds, 0.0) - tail, np.maximum(odds, 0.0) + tail
