"""Top-k: the k likeliest classes of every row."""

from typing import ClassVar

import numpy as np

from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.mapie import topk_sets
from vlmcal.conformal.scores import Ranked
from vlmcal.conformal.split import RandomisedConformal
from vlmcal.types.arrays import BoolArray, FloatArray


@CONFORMAL.register("topk")
class TopK(RandomisedConformal):
    r"""Sets of the k likeliest classes, with k chosen by the calibration rows.

    Score: rank(y) from 1, or :math:`rank(y) - 1 + u` where randomised. Assumption: calibration rows and
    the new row are exchangeable. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha`; ranks tie, so that
    without randomisation coverage may be well above.

    Angelopoulos, Bates, Malik and Jordan, ICLR 2021, arXiv 2009.14193, section 4 (fixed-size sets).

    Attributes:
        rule: "textbook"; "torchcp" draws one number per class in sorted order; "mapie" has its quantile,
            counts ranks from 0 and takes in whatever ties with the last class of the set.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0]], [2, 1], ids=["a", "b"])
        >>> TopK().label_scores(rows).tolist()
        [3.0, 2.0]
    """

    tells_ties: ClassVar[bool] = False
    rules: ClassVar[tuple[str, ...]] = ("textbook", "torchcp", "mapie")

    randomised: bool = False

    def _place_scores(self, ranked: Ranked, uniforms: FloatArray | None) -> FloatArray:
        first = 0 if self.rule == "mapie" else 1
        return ranked.rank - 1 + self._share(uniforms) - (1 - first)

    def _block_sets(self, probabilities: FloatArray, uniforms: FloatArray | None) -> BoolArray:
        if self.rule != "mapie" or not np.isfinite(self.threshold_):
            return super()._block_sets(probabilities, uniforms)
        return topk_sets(probabilities, int(self.threshold_))
