"""Vector scaling: a scale and a shift for each class."""

from typing import ClassVar

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.linear import LinearCalibrator
from vlmcal.calibrators.softmax_linear import Penalty
from vlmcal.types.limits import NotNegative


@CALIBRATORS.register("vector")
class Vector(LinearCalibrator):
    """``p = softmax(w * z + b)`` with one weight and one bias per class.

    Minimises ``log-loss + reg_lambda * (sum_c (w_c T - 1)^2 + sum_c b_c^2)``, T the best single temperature:
    the pull is towards temperature scaling and does not depend on the scale of the logits. It keeps
    classes without fitting rows from vanishing; 0 gives the published, unregularised form.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> Vector().fit(val).weights_.round(4).tolist()     # 3 of 4 right: ln 3 / 2 for both
        [0.5493, 0.5493]
    """

    diagonal: ClassVar[bool] = True

    reg_lambda: NotNegative = 1e-3

    def _penalty(self, strength: float = 0.0) -> Penalty:
        return Penalty(diagonal=self.reg_lambda, bias=self.reg_lambda)
