"""Structured matrix scaling: every class score may use all log-probabilities, on top of a temperature."""

from dataclasses import replace

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.softmax_linear import Penalty
from vlmcal.calibrators.structured import StructuredCalibrator
from vlmcal.types.limits import NotNegative


@CALIBRATORS.register("sms")
class StructuredMatrix(StructuredCalibrator):
    """``p = softmax((I + diag(v) + M) log(q) + b)``, q the probabilities after one temperature.

    As ``svs``, with a matrix M off the diagonal under the stronger pull ``lambda_off_diagonal
    (K (K - 1))^rho / n^tau sum_{c != j} M_cj^2``: with few rows it is structured vector scaling, with many
    a matrix.

    Attributes:
        lambda_off_diagonal: Factor of the pull off the diagonal.

    Source: Berta, Holzmueller, Jordan and Bach, Structured matrix scaling for multi-class calibration,
    AISTATS 2026; oracle: ``SMSCalibrator`` of probmetrics 1.3.0, its ridge penalty.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> StructuredMatrix().fit(val).weights_.shape
        (2, 2)
    """

    lambda_off_diagonal: NotNegative = 1.0

    def _penalty(self, strength: float = 0.0) -> Penalty:
        k = self._classes
        off = self._pull(self.lambda_off_diagonal, k * (k - 1))
        return replace(super()._penalty(strength), off_diagonal=off)
