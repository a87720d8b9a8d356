"""Structured vector scaling: a scale and a shift for each class, on top of a temperature."""

from typing import ClassVar

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.structured import StructuredCalibrator


@CALIBRATORS.register("svs")
class StructuredVector(StructuredCalibrator):
    """``p = softmax((1 + v) * log(q) + b)``, q the probabilities after one temperature.

    Minimises ``log-loss + K^rho / n^tau (lambda_diagonal sum_c v_c^2 + lambda_intercept sum_c b_c^2)``: the
    pull follows the numbers of classes and rows. q is ``mixture`` of ``temperature``.

    Source: Berta, Holzmueller, Jordan and Bach, Structured matrix scaling for multi-class calibration,
    AISTATS 2026; oracle: ``SVSCalibrator`` of probmetrics 1.3.0, its ridge penalty.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> (StructuredVector().fit(val).biases_.round(6) + 0).tolist()      # both classes alike: no shift
        [0.0, 0.0]
    """

    diagonal: ClassVar[bool] = True
