"""Margin: distance of a class to the best of the others."""

from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.scores import margin_scores
from vlmcal.conformal.split import SplitConformal
from vlmcal.types.arrays import FloatArray


@CONFORMAL.register("margin")
class Margin(SplitConformal):
    r"""Sets of the classes with :math:`\max_{j \ne y} p_j - p_y \le \hat q`.

    Assumption: calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - \alpha`.

    Johansson, Linusson, Lofstrom and Bostrom, Model-agnostic nonconformity functions for conformal
    classification, IJCNN 2017.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.75, 0.25], [0.25, 0.75]], [0, 0], ids=["a", "b"])
        >>> Margin().fit(rows, alpha=0.5).threshold_
        0.5
    """

    def _class_scores(self, probabilities: FloatArray, uniforms: FloatArray | None) -> FloatArray:
        return margin_scores(probabilities)
