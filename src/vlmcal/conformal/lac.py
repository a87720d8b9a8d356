"""LAC: least ambiguous set-valued classifiers."""

from typing import ClassVar

import numpy as np

from vlmcal.conformal.base import CONFORMAL, KeyedRows
from vlmcal.conformal.mapie import TOLERANCE
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.conformal.scores import at_most, lac_scores
from vlmcal.conformal.split import SplitConformal, Threshold, Uniforms
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.scores import ClassProbabilities
from vlmcal.types.softmax import softmax

_SMALLEST = 1e-6  # probability of which 1 - p is told from others


@CONFORMAL.register("lac")
class LAC(SplitConformal):
    r"""Sets :math:`\{y : 1 - p_y \le \hat q\}`, the smallest on average among all with one threshold.

    Assumption: calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - \alpha`, and at most :math:`1 - \alpha + 1/(n+1)` if scores do not tie.
    Easy rows get one label or none, so coverage is uneven over hard and easy rows.

    Sadinle, Lei and Wasserman, Least ambiguous set-valued classifiers with bounded error levels, JASA
    2019, arXiv 1609.00451.

    Attributes:
        rule: "textbook", or "mapie" for its quantile, one order statistic higher for some n, and tolerance.

    Example:
        >>> from vlmcal.types.predictions import Predictions, from_probabilities
        >>> rows = from_probabilities([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]], [0, 0, 1, 1])
        >>> fitted = LAC().fit(rows, alpha=0.4)
        >>> round(fitted.threshold_, 3)
        0.3
        >>> new = from_probabilities([[0.75, 0.25]], [0], ids=["new"])
        >>> fitted.predict(new).sets.tolist()
        [[True, False]]
    """

    rules: ClassVar[tuple[str, ...]] = ("textbook", "mapie")

    def _class_scores(self, probabilities: FloatArray, uniforms: Uniforms) -> FloatArray:
        return lac_scores(probabilities) if self.rule == "textbook" else 1.0 - probabilities

    def calibration_scores(self, rows: KeyedRows) -> FloatArray:
        """As of every method, without the probabilities of the other classes."""
        self._calibration_uniforms(rows)
        own = ClassProbabilities.of(rows.predictions).chosen(rows.predictions.labels)
        return lac_scores(own) if self.rule == "textbook" else 1.0 - own

    def _scores_to_fit(self, rows: KeyedRows, alpha: float) -> FloatArray:
        """As of every method; of float32 logits, float64 is left to rows near the threshold."""
        source, labels = ClassProbabilities.of(rows.predictions), rows.predictions.labels
        if self.rule != "textbook" or self.hierarchical or not source.rough:
            return super()._scores_to_fit(rows, alpha)
        self._calibration_uniforms(rows)
        scores = lac_scores(source.roughly_chosen(labels))
        near = np.abs(scores - conformal_quantile(scores, alpha)) <= 2 * source.rough
        exact = ClassProbabilities(source.scores[near], source.kind).chosen(labels[near])
        scores[near] = lac_scores(exact)
        return scores

    def sets_at(self, rows: KeyedRows, threshold: Threshold) -> BoolArray:
        """As of every method; of float32 logits, float64 is left to rows that float32 cannot tell."""
        source, limits = ClassProbabilities.of(rows.predictions), 1.0 - np.asarray(threshold)
        plain = self.rule == "textbook" and self.allow_empty
        told = plain and source.rough and bool(((limits >= _SMALLEST) | (limits <= 0)).all())
        if not told:
            return super().sets_at(rows, threshold)
        self.prediction_uniforms(rows)
        high, low = (np.float32(limits * (1 + sign * source.rough)) for sign in (1, -1))
        sets = np.empty(source.shape, dtype=np.bool_)
        for part, probabilities in source.chunks(np.float32):
            held = np.greater_equal(probabilities, high, out=sets[part])
            maybe = probabilities >= low
            if np.count_nonzero(held) != np.count_nonzero(maybe):
                near = np.flatnonzero((held != maybe).any(axis=1))
                held[near] = at_most(softmax(source.scores[part][near]), threshold)
        return sets

    def _sets_below(
        self, probabilities: FloatArray, uniforms: Uniforms, threshold: Threshold
    ) -> BoolArray:
        if self.rule == "textbook" and self.allow_empty:
            return at_most(probabilities, threshold)
        return super()._sets_below(probabilities, uniforms, threshold)

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return (
            super()._sets(rows, notes)
            if self.rule == "mapie"
            else self.sets_at(rows, self.threshold_)
        )

    def _block_sets(self, probabilities: FloatArray, uniforms: Uniforms) -> BoolArray:
        scores = self._class_scores(probabilities, uniforms)
        return self.sets_below(scores, self.threshold_ + TOLERANCE)
