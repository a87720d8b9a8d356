"""Matrix scaling: every class score may use all logits."""

from vlmcal.calibrators.base import CALIBRATORS
from vlmcal.calibrators.odir import OdirCalibrator


@CALIBRATORS.register("matrix")
class Matrix(OdirCalibrator):
    """``p = softmax(W z + b)`` with off-diagonal and intercept regularisation (ODIR).

    Minimises ``log-loss + reg_lambda * sum_{c != j} (T W_cj)^2 + reg_mu * sum_c b_c^2``, T the best single
    temperature, so the strengths mean the same for any scale of the logits. They are chosen by
    cross-validation, which keeps one temperature where the K^2 + K numbers would do harm.

    Source: Guo et al., ICML 2017, arXiv 1706.04599; ODIR: Kull et al., Beyond temperature scaling,
    NeurIPS 2019, arXiv 1910.12656.

    Example:
        >>> from vlmcal.types.predictions import Predictions
        >>> val = Predictions(logits=[[2.0, 0.0], [0.0, 2.0]] * 4, labels=[0, 1, 0, 1, 0, 1, 1, 0])
        >>> Matrix(reg_lambda=0.01, reg_mu=0.01).fit(val).nll_ <= 0.562336      # entropy of (3/4, 1/4)
        True
    """
