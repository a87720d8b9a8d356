"""SAPS: sorted adaptive prediction sets."""

import numpy as np

from vlmcal.conformal.base import CONFORMAL
from vlmcal.conformal.scores import Ranked, saps_places
from vlmcal.conformal.split import RandomisedConformal
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.limits import NotNegative


@CONFORMAL.register("saps")
class SAPS(RandomisedConformal):
    r"""Adaptive sets that trust only the largest probability and the order of the others.

    Score: :math:`u\, p_{max}` for the likeliest class, else :math:`p_{max} + w (rank(y) - 2 + u)`; u = 1
    where not randomised. Assumption: calibration rows and the new row are exchangeable, and w was not
    chosen on the calibration rows. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha`.

    Huang, Xi, Zhang, Yao, Qiu and Wei, Conformal prediction for deep classifier via label ranking, ICML
    2024, arXiv 2310.06430.

    Attributes:
        rule: "textbook"; "torchcp" draws one number per class in sorted order and, where not randomised,
            calibrates a row whose label is the likeliest class with 0 although the class itself gets
            p_max in a set: calibration and test scores differ, and the guarantee is void.
        weight: w, what each further place costs.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], [0, 1], ids=["a", "b"])
        >>> SAPS(randomised=False, weight=0.5).label_scores(rows).tolist()
        [0.5, 1.25]
        >>> SAPS(rule="torchcp", randomised=False, weight=0.5).label_scores(rows).tolist()
        [0.0, 1.25]
    """

    weight: NotNegative = 0.2

    def _place_scores(self, ranked: Ranked, uniforms: FloatArray | None) -> FloatArray:
        return saps_places(ranked, self._share(uniforms), self.weight)

    def _label_scores(
        self, probabilities: FloatArray, labels: IntArray, uniforms: FloatArray | None
    ) -> FloatArray:
        scores = super()._label_scores(probabilities, labels, uniforms)
        if self.rule == "textbook":
            return scores
        u = np.zeros(len(labels)) if uniforms is None else uniforms[:, 0]
        likeliest = probabilities.argmax(axis=1) == labels
        return np.where(likeliest, u * probabilities.max(axis=1), scores)
