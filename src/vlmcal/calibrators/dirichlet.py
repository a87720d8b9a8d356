"""Dirichlet calibration: matrix scaling of log-probabilities."""

from dataclasses import replace

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.numerics import finite_log_probs
from vlmcal.calibrators.odir import OdirCalibrator
from vlmcal.calibrators.softmax_linear import Penalty
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("dirichlet")
class Dirichlet(OdirCalibrator):
    """``p' = softmax(W log(p) + b)``, the form that Dirichlet-distributed probabilities call for.

    Minimises ``log-loss + reg_lambda * sum_{c != j} W_cj^2 + reg_mu * sum_c b_c^2`` (ODIR); the diagonal is
    free. With ``reg_mu=None`` all entries of W and b are pulled to 0 by reg_lambda (plain L2). The strengths
    are chosen by cross-validation unless they are said (the authors' search, on one line of it).

    Attributes:
        reference_row: Measure W and b relative to the last class before penalising them, as the authors'
            package does; the result then depends on the order of the classes.

    Source: Kull et al., Beyond temperature scaling, NeurIPS 2019, arXiv 1910.12656.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> Dirichlet().fit(val).weights_.shape
        (2, 2)
    """

    reference_row: bool = False

    def _penalty(self, strength: float = 0.0) -> Penalty:
        return replace(super()._penalty(strength), reference_row=self.reference_row)

    def _unit(self, predictions: Predictions) -> float:
        return 1.0

    def _start(self, predictions: Predictions) -> float:
        return self._inverse_temperature(predictions)

    def _features(self, predictions: Predictions) -> FloatArray:
        return finite_log_probs(predictions, self.zero)
