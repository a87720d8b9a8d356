"""HAC-Platt: Platt scaling of a stated confidence together with a hallucination score."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.errors import DataError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions

LEFT_OUT = (
    "the hallucination score would raise the confidence on these rows, which is not allowed, so it is left "
    "out; check that 0 means grounded"
)


@CALIBRATORS.register("hac_platt")
class HacPlatt(Calibrator):
    """``p = sigmoid(a c + b h + d)`` with a >= 0 and b <= 0, c the confidence, h the hallucination score.

    Minimises log-loss plus ``ridge * b^2``. The signs make sure that a higher hallucination score can only
    lower the confidence, so h must be oriented that way (0 = grounded).

    Works on confidences: ``as_binary(confidences, hallucination=h)`` carries h (N,) along.

    Attributes:
        ridge: Strength of the pull of b to 0.
        slope_: a.
        weight_: b.
        intercept_: d.

    Source: Byun et al., arXiv 2604.02543.

    Example:
        >>> from vlmcal.types.binary import as_binary
        >>> from vlmcal.types.confidences import Confidences
        >>> rows = Confidences(confidence=[0.9] * 4, correct=[True, True, False, False])
        >>> cal = HacPlatt().fit(as_binary(rows, hallucination=[0.1, 0.2, 0.2, 0.9]))
        >>> cal.weight_ < 0 <= cal.slope_
        True
    """

    needs: ClassVar[tuple[str, ...]] = ("hallucination",)
    scalar: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "slope_": number(low=0),
        "weight_": number(high=0),
        "intercept_": number(),
    }

    ridge: NotNegative = 0.01

    def _fit(self, predictions: Predictions) -> None:
        confidence, score = confidence_and_hallucination(predictions, self.name)
        features = np.column_stack([confidence, score, np.ones_like(score)])
        targets = predictions.labels.astype(np.float64)

        def objective(w: FloatArray) -> tuple[float, FloatArray]:
            odds = features @ w
            loss = float((np.logaddexp(0.0, odds) - targets * odds).mean()) + self.ridge * w[1] ** 2
            slope = features.T @ (expit(odds) - targets) / len(odds)
            slope[1] += 2 * self.ridge * w[1]
            return loss, slope

        bounds = [(0.0, None), (None, 0.0), (None, None)]
        self.slope_, self.weight_, self.intercept_ = least(objective, [1.0, 0.0, 0.0], bounds)
        if self.weight_ == 0:
            self._tell(LEFT_OUT)
        if self.slope_ == 0:
            self._tell(
                "a higher confidence would lower the probability on these rows, which is not allowed, so the "
                "confidence is left out"
            )
        if targets.min() == targets.max():
            self._tell(
                f"all {len(targets)} fitting rows are {'right' if targets[0] else 'wrong'}, so the fit is "
                "a constant; add fitting rows"
            )

    def _transform(self, predictions: Predictions) -> Scores:
        confidence, score = confidence_and_hallucination(predictions, self.name)
        odds = self.slope_ * confidence + self.weight_ * score + self.intercept_
        return Scores(np.column_stack([np.zeros_like(odds), odds]), "logits")


def least(
    objective: Callable[[FloatArray], tuple[float, FloatArray]],
    start: list[float],
    bounds: Sequence[tuple[float | None, float | None]],
) -> list[float]:
    """Where an objective, given with its gradient, is smallest within bounds."""
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return [float(x) for x in found.x]


def confidence_and_hallucination(
    predictions: Predictions, name: str
) -> tuple[FloatArray, FloatArray]:
    """C (N,) and h (N,) of a two-class problem whose class 1 is "right".

    Raises:
        DataError: More than two classes, or h is not one finite number per row.
    """
    if predictions.n_classes != 2:
        raise UnsuitedRowsError(
            f'calibrator "{name}" works on scalar confidences, got scores of {predictions.n_classes} '
            "classes; take predictions.top_label() first"
        )
    score = np.asarray(predictions.extras["hallucination"], dtype=np.float64)
    if score.shape != (len(predictions),) or not np.isfinite(score).all():
        raise DataError(
            f"hallucination: expected one finite number per row, ({len(predictions)},), got "
            f"{score.shape}"
        )
    return predictions.probabilities()[:, 1], score
