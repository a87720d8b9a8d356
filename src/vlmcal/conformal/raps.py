"""RAPS: regularised adaptive prediction sets."""

from typing import Annotated

from pydantic import Field

from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.scores import Ranked, raps_places
from vlmcal.conformal.split import RandomisedConformal
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import NotNegative


@CONFORMAL.register("raps")
class RAPS(RandomisedConformal):
    r"""APS with a penalty on unlikely classes, which keeps sets short where K is large.

    Score: the APS score plus ``penalty`` :math:`\cdot \max(0, rank(y) - k_{reg})`. Assumption:
    calibration rows and the new row are exchangeable, and the two hyper-parameters were not chosen on
    the calibration rows. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha`.

    Angelopoulos, Bates, Malik and Jordan, Uncertainty sets for image classifiers using conformal
    prediction, ICLR 2021, arXiv 2009.14193.

    Attributes:
        rule: "textbook"; "torchcp" draws one number per class in sorted order.
        penalty: Added for each place below ``k_reg``; 0 gives APS.
        k_reg: Number of classes that are free of the penalty.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], [0, 1], ids=["a", "b"])
        >>> RAPS(randomised=False, penalty=0.5, k_reg=1).label_scores(rows).tolist()
        [0.5, 1.5]
    """

    penalty: NotNegative = 0.01
    k_reg: Annotated[int, Field(ge=0)] = 5

    def _place_scores(self, ranked: Ranked, uniforms: FloatArray | None) -> FloatArray:
        return raps_places(ranked, self._share(uniforms), self.penalty, self.k_reg)
