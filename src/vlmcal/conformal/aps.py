"""APS: adaptive prediction sets."""

from typing import ClassVar, Literal

import numpy as np

from vlmcal.conformal.base import CONFORMAL, KeyedRows
from vlmcal.conformal.mapie import filled_sets
from vlmcal.conformal.scores import Ranked, mass, tail_of_labels, tail_scores, tail_sets
from vlmcal.conformal.split import RandomisedConformal, Threshold, Uniforms
from vlmcal.errors import SpecError
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray


@CONFORMAL.register("aps")
class APS(RandomisedConformal):
    r"""Sets of the likeliest classes whose probabilities add up to the threshold.

    Score: :math:`s(x, y) = \sum_{j : p_j > p_y} p_j + u\, p_y` with one uniform u per row, or u = 1 where
    not randomised. Assumption: calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - \alpha`, not randomised included (it may then cover more). Sets grow with
    the difficulty of the row, so coverage is more even than that of LAC, and sets are larger.

    Romano, Sesia and Candes, Classification with valid and adaptive coverage, NeurIPS 2020, arXiv
    2006.02544.

    Attributes:
        rule: "textbook"; "torchcp" draws one number per class in sorted order (a set may then miss a
            class likelier than one it holds); "mapie" has its quantile, calibrates on randomised scores
            and fills the set up to the threshold as ``include_last_label`` says.
        include_last_label: For the rule "mapie": whether the class that crosses the threshold is in the
            set, always (True), never unless the set would be empty (False), or at random ("randomized").

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]], [0, 1], ids=["a", "b"])
        >>> aps = APS(randomised=False).fit(rows, alpha=0.5)
        >>> aps.threshold_
        1.0
        >>> aps.label_scores(rows).tolist()
        [0.5, 1.0]
    """

    rules: ClassVar[tuple[str, ...]] = ("textbook", "torchcp", "mapie")

    include_last_label: bool | Literal["randomized"] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule != "mapie" and self.include_last_label is not True:
            raise SpecError('include_last_label: only the rule "mapie" has it; set rule="mapie"')
        if self.rule == "mapie" and not self.randomised:
            raise SpecError('randomised: the rule "mapie" always calibrates on randomised scores')

    def prediction_uniforms(self, rows: KeyedRows) -> FloatArray | None:
        """Random numbers for all classes; for the rule "mapie" only where the last class is random."""
        if self.rule == "mapie" and self.include_last_label != "randomized":
            return None
        return super().prediction_uniforms(rows)

    def _place_scores(self, ranked: Ranked, uniforms: Uniforms) -> FloatArray:
        return mass(ranked, self._share(uniforms))

    def _class_scores(self, probabilities: FloatArray, uniforms: Uniforms) -> FloatArray:
        if self.rule == "textbook":
            return tail_scores(probabilities, self._share(uniforms))
        return super()._class_scores(probabilities, uniforms)

    def _label_scores(
        self, probabilities: FloatArray, labels: IntArray, uniforms: Uniforms
    ) -> FloatArray:
        if self.rule == "textbook":
            return tail_of_labels(probabilities, labels, self._share(uniforms))
        return super()._label_scores(probabilities, labels, uniforms)

    def _sets_below(
        self, probabilities: FloatArray, uniforms: Uniforms, threshold: Threshold
    ) -> BoolArray:
        if self.rule == "textbook" and self.allow_empty and isinstance(threshold, float):
            return tail_sets(probabilities, threshold, self._share(uniforms))
        return super()._sets_below(probabilities, uniforms, threshold)

    def _block_sets(self, probabilities: FloatArray, uniforms: Uniforms) -> BoolArray:
        if self.rule != "mapie":
            return super()._block_sets(probabilities, uniforms)
        if not np.isfinite(self.threshold_):
            return np.ones(probabilities.shape, dtype=np.bool_)
        return filled_sets(probabilities, self.threshold_, self.include_last_label, uniforms)
