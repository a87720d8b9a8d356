"""Class-conditional conformal prediction: a threshold for every class."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from vlmcal.conformal.base import CONFORMAL, Guarantee, KeyedRows
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.conformal.score_based import ScoreBased, few_rows_message
from vlmcal.state_rules import StateRule, array
from vlmcal.types.arrays import BoolArray


@CONFORMAL.register("class_conditional")
class ClassConditional(ScoreBased):
    r"""Sets :math:`\{y : s(x, y) \le \hat q_y\}` with a threshold from the calibration rows of class y.

    Assumption: within each class, calibration rows and the new row are exchangeable (class frequencies
    may shift). Guarantee: :math:`P(Y \in C(X) \mid Y = y) \ge 1 - \alpha` for every class y, hence also
    marginally. A class with fewer than :math:`\lceil 1/\alpha \rceil - 1` calibration rows is in every
    set, and the fit says so.

    Vovk, Conditional validity of inductive conformal predictors, ACML 2012, arXiv 1209.2673.

    Attributes:
        thresholds_: (K,) one per class; infinite where rows were too few.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]], [0, 0, 1], ids=list("abc"))
        >>> ClassConditional().fit(rows, alpha=0.5).thresholds_.tolist()
        [0.5, 0.0]
    """

    guarantee: ClassVar[Guarantee] = "per class"
    # the guarantee holds within each class, whatever their frequencies
    tells_shift: ClassVar[bool] = False
    state: ClassVar[Mapping[str, StateRule]] = {"thresholds_": array("K", infinite=True)}

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        scores, labels = self.scorer.calibration_scores(rows), rows.predictions.labels
        names = rows.predictions.class_names
        counts = np.bincount(labels, minlength=len(names)).tolist()
        by_class = np.split(scores[np.argsort(labels, kind="stable")], np.cumsum(counts)[:-1])
        self.thresholds_ = np.array([conformal_quantile(own, alpha) for own in by_class])
        by_name = dict(zip(names, counts, strict=True))
        self._tell(few_rows_message(by_name, alpha, "classes", "they are in every set"))

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return self.scorer.sets_at(rows, self.thresholds_)
