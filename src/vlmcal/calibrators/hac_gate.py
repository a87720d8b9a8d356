"""HAC-Gate: a hallucination score that closes the gate on a stated confidence."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy.special import expit, log_expit

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.hac_platt import LEFT_OUT, confidence_and_hallucination, least
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions

_SHUT = 40.0  # beyond, the gate is open or shut to machine precision


@CALIBRATORS.register("hac_gate")
class HacGate(Calibrator):
    """``p = c * sigmoid(beta - alpha h)`` with alpha >= 0, c the confidence, h the hallucination score.

    The gate can only lower the confidence, so it cannot repair underconfidence. Minimises the log-loss; a
    confidence of exactly 1 is read as ``1 - zero`` there.

    Attributes:
        zero: Smallest distance of p from 0 and 1 in the log-loss.
        alpha_: Slope of the gate.
        beta_: Where it is open.

    Source: Byun et al., arXiv 2604.02543.

    Example:
        >>> from vlmcal.types.binary import as_binary
        >>> from vlmcal.types.confidences import Confidences
        >>> rows = Confidences(confidence=[0.8] * 4, correct=[True, True, False, False])
        >>> both = as_binary(rows, hallucination=[0.1, 0.2, 0.2, 0.9])
        >>> bool((HacGate().fit_transform_same(both).probabilities()[:, 1] <= 0.8).all())
        True
    """

    needs: ClassVar[tuple[str, ...]] = ("hallucination",)
    scalar: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {"alpha_": number(low=0), "beta_": number()}

    zero: Zero = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        confidence, score = confidence_and_hallucination(predictions, self.name)
        c = np.clip(confidence, self.zero, 1.0 - self.zero)
        right = predictions.labels == 1

        def objective(theta: FloatArray) -> tuple[float, FloatArray]:
            odds = theta[1] - theta[0] * score
            gate = expit(odds)
            p = c * gate
            loss = -np.where(right, np.log(c) + log_expit(odds), np.log1p(-p))
            slope = np.where(right, gate - 1.0, p * (1.0 - gate) / (1.0 - p)) / len(score)
            return float(loss.mean()), np.array([-(slope * score).sum(), slope.sum()])

        self.alpha_, self.beta_ = least(objective, [1.0, 2.0], [(0.0, None), (-_SHUT, _SHUT)])
        if self.alpha_ == 0:
            self._tell(LEFT_OUT)
        if abs(self.beta_) >= _SHUT:
            self._tell(
                f"the gate is open on all {len(score)} fitting rows; confidences stay, and may be too low"
                if self.beta_ > 0
                else f"the gate is shut on all {len(score)} fitting rows, so confidences become 0"
            )

    def _transform(self, predictions: Predictions) -> Scores:
        confidence, score = confidence_and_hallucination(predictions, self.name)
        p = confidence * expit(self.beta_ - self.alpha_ * score)
        with np.errstate(divide="ignore"):
            return Scores(np.column_stack([np.log1p(-p), np.log(p)]), "log_probs")
