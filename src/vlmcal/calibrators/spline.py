"""Spline calibration: a smooth curve through the log-odds."""

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.logistic import fit_logistic, smoothed_targets
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, Space, in_order
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.limits import NotNegative

_BLOCK = 1 << 13  # rows whose numbers stay in a core's cache


@CALIBRATORS.register("spline")
class Spline(ScalarCalibrator):
    """Logistic regression on a natural cubic spline of the log-odds, for each class.

    ``logit(p') = a x + b + sum_k c_k N_k(x)`` with ``x = logit(p)``, knots at quantiles of the fitting scores
    and a ridge ``ridge / N * sum(c_k^2)``. Beyond the outer knots the curve is straight in log-odds, so it
    never runs wild; c = 0 is Platt scaling. It is smooth, and not forced to rise.

    Attributes:
        knots: Number of knots; fewer are used when there are fewer distinct scores.
        ridge: Strength of the pull of the curved part to 0 (outer knots at 0 and 1).
        smooth: Platt's smoothed targets, as in ``platt``; False is plain maximum likelihood.

    Source: Lucena, Spline-based probability calibration, 2018, arXiv 1809.07751 (there with a penalty on
    curvature and cross-validation).

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> curve = Spline(smooth=False).fit(val).curves_[0]    # two distinct scores leave a straight line
        >>> curve["knots"].size, curve["coefficients"].round(6)[0]
        (2, np.float64(1.098612))
    """

    space: ClassVar[Space] = "log_odds"
    nested: ClassVar[bool] = True

    knots: Annotated[int, Field(ge=2)] = 6
    ridge: NotNegative = 1e-3
    smooth: bool = True

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        scores, outcomes = in_order(scores, outcomes)
        shares = np.linspace(0.05, 0.95, self.knots)
        nearest = np.rint(shares * (scores.size - 1)).astype(np.int64)
        knots = np.unique(scores[nearest])
        features = _basis(scores, knots)
        size = features.shape[1]
        start = np.zeros(size)
        start[0] = 1.0
        targets = smoothed_targets(outcomes) if self.smooth else outcomes.astype(np.float64)
        ridge = np.zeros(size)
        ridge[2:] = self.ridge / scores.size
        fit = fit_logistic(features, targets, start=start, ridge=ridge)
        self._tell_step(fit.separable, scores)
        return {"knots": knots, "coefficients": fit.coefficients}

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        result: FloatArray = _basis(scores, curve["knots"]) @ curve["coefficients"]
        return result


def _basis(x: FloatArray, knots: FloatArray) -> FloatArray:
    """Columns x, 1 and the curved parts of a natural cubic spline, (N, max(2, knots))."""
    basis = np.empty((max(2, knots.size), x.size))
    basis[0], basis[1] = x, 1.0
    if knots.size > 2:
        width = knots[-1] - knots[0]
        at = (knots - knots[0]) / width
        for first in range(0, x.size, _BLOCK):
            rows = slice(first, first + _BLOCK)
            scaled = (x[rows] - knots[0]) / width
            last = _ramp(scaled, at[-1])
            end = (_ramp(scaled, at[-2]) - last) / (at[-1] - at[-2])
            for part, knot in zip(basis[2:], at[:-2], strict=True):
                rise = _ramp(scaled, knot)
                rise -= last
                rise /= at[-1] - knot
                np.subtract(rise, end, out=part[rows])
    return basis.T


def _ramp(x: FloatArray, knot: float) -> FloatArray:
    """The cube of x - knot where that is positive; a power of 3 is many times slower."""
    rise: FloatArray = np.maximum(x - knot, 0.0)
    square = rise * rise
    rise *= square
    return rise
