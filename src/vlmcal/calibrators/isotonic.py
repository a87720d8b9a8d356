"""Isotonic regression: the best rising step curve, one per class or one for all."""

from typing import ClassVar, Literal

import numpy as np
from scipy.optimize import isotonic_regression

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.scalar import Curve, ScalarCalibrator, in_order
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions

_NEAR = 1e-15


@CALIBRATORS.register("isotonic")
class Isotonic(ScalarCalibrator):
    """Isotonic regression of the 0/1 outcome on the predicted probability.

    "one_vs_rest" fits one curve per class. "order_preserving" pools all N x K (probability, outcome) pairs
    into a single curve and adds ``tie_break * p``, so that the order of the classes, and with it the
    predicted class, never changes. Between the fitted points the curve is linear, outside it is constant;
    rows are normalised. Curves may reach 0 and 1 exactly; wrap in ``mixture`` for a finite log-loss.

    Attributes:
        form: "one_vs_rest" or "order_preserving".
        tie_break: Share of the input probability added to the curve (1e-9 in Mix-n-Match); by default
            1e-9 for "order_preserving" and 0 otherwise.

    Source: Zadrozny and Elkan, KDD 2002; the pooled form: Zhang, Kailkhura and Han, Mix-n-Match,
    ICML 2020, arXiv 2003.07329.

    Example:
        >>> val = Predictions(logits=[[0.0, 1.0], [0.0, -1.0]] * 4, labels=[1, 0, 1, 0, 1, 1, 0, 0])
        >>> test = Predictions(logits=[[0.0, 1.0]], labels=[1], ids=["new"])
        >>> round(float(Isotonic().fit(val).transform(test).probabilities()[0, 1]), 4)
        0.75
    """

    levels: ClassVar[str] = "y"

    form: Literal["one_vs_rest", "order_preserving"] = "one_vs_rest"
    tie_break: NotNegative | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tie_break is None:
            self.tie_break = 1e-9 if self.form == "order_preserving" else 0.0

    def unnormalised(self, predictions: Predictions) -> FloatArray:
        """The curves' outputs (N, K) plus the tie break, before the rows are made to sum to 1."""
        values = super().unnormalised(predictions)
        if self.tie_break:
            values = values + self.tie_break * self._probabilities(predictions)
        return values

    def _fit(self, predictions: Predictions) -> None:
        if self.form == "one_vs_rest":
            super()._fit(predictions)
            return
        n, k = predictions.logits.shape
        outcomes = np.zeros((n, k), dtype=np.bool_)
        outcomes[np.arange(n), predictions.labels] = True
        self.curves_ = [self._fit_curve(self._probabilities(predictions).ravel(), outcomes.ravel())]
        self._tell_infinite(self.curves_)

    def pooled(self) -> bool:
        """Whether one curve serves all classes."""
        return self.form == "order_preserving"

    def _outputs(self, predictions: Predictions) -> FloatArray:
        if self.form == "one_vs_rest":
            return super()._outputs(predictions)
        values = self._probabilities(predictions)
        return self._apply_curve(self.curves_[0], values.ravel()).reshape(values.shape)

    def _fit_curve(self, scores: FloatArray, outcomes: BoolArray) -> Curve:
        return rising_curve(scores, outcomes.astype(np.float64))

    def _apply_curve(self, curve: Curve, scores: FloatArray) -> FloatArray:
        result: FloatArray = np.interp(scores, curve["x"], curve["y"])
        return result


def rising_curve(scores: FloatArray, targets: FloatArray) -> Curve:
    """The rising curve nearest to the targets by least squares: points x and y, straight lines between them.

    Args:
        scores: (N,).
        targets: (N,) in [0, 1].

    Example:
        >>> rising_curve(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0.0, 1.0]))["y"].tolist()
        [0.5, 0.5, 1.0]
    """
    scores, targets = in_order(scores, targets)
    firsts = _apart(scores)
    rows = np.diff(firsts, append=scores.size)
    level = np.add.reduceat(targets, firsts) / rows
    level = np.clip(isotonic_regression(level, weights=rows).x, 0.0, 1.0)
    flat = level[1:] == level[:-1]
    kept = ~np.concatenate([[False], flat[:-1] & flat[1:], [False]])[: level.size]
    return {"x": scores[firsts][kept], "y": level[kept]}


def _apart(ordered: FloatArray) -> IntArray:
    """Where groups begin that count as equal: scores within 1e-15 of the first (as in scikit-learn)."""
    gaps = np.diff(ordered)
    firsts = np.flatnonzero(np.concatenate([[True], gaps >= _NEAR]))
    lasts = np.append(firsts[1:], ordered.size) - 1
    more = []
    for wide in np.flatnonzero(ordered[lasts] - ordered[firsts] >= _NEAR).tolist():
        at, end = firsts[wide], lasts[wide] + 1
        while True:
            window = ordered[at:end][: np.searchsorted(ordered[at:end], ordered[at] + 2 * _NEAR)]
            at += np.searchsorted(window - ordered[at], _NEAR)
            if at == end:
                break
            more.append(at)
    return np.sort(np.append(firsts, np.array(more, dtype=np.int64)))
