"""Matrix scaling: every class score may use all logits."""

from dataclasses import dataclass

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.linear import LinearCalibrator
from vlmcal.calibrators.softmax_linear import Penalty


@CALIBRATORS.register("matrix")
@dataclass
class Matrix(LinearCalibrator):
    """``p = softmax(W z + b)`` with off-diagonal and intercept regularisation (ODIR).

    Minimises ``log-loss + reg_lambda * sum_{c != j} (T W_cj)^2 + reg_mu * sum_c b_c^2``, T the best single
    temperature, so the strengths mean the same for any scale of the logits. K^2 + K numbers are
    learned: with few rows prefer ``vector`` or ``temperature``.

    Source: Guo et al., ICML 2017, arXiv 1706.04599; ODIR: Kull et al., Beyond temperature scaling,
    NeurIPS 2019, arXiv 1910.12656.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> Matrix().fit(val).nll_ <= 0.562336               # entropy of (3/4, 1/4)
        True
    """

    reg_lambda: float = 1e-2
    reg_mu: float = 1e-2

    def _penalty(self) -> Penalty:
        return Penalty(off_diagonal=self.reg_lambda, bias=self.reg_mu)
