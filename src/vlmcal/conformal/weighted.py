"""Weighted conformal prediction as a method: the likelihood ratio of each row comes with the rows."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from vlmcal.conformal.base import CONFORMAL, KeyedRows
from vlmcal.conformal.covariate_shift import weighted_quantiles
from vlmcal.conformal.quantile import rows_needed, too_few
from vlmcal.conformal.score_based import ScoreBased
from vlmcal.errors import DataError
from vlmcal.state_rules import StateRule, array
from vlmcal.types.arrays import BoolArray, FloatArray


@CONFORMAL.register("weighted")
class Weighted(ScoreBased):
    r"""Sets for images distributed otherwise than the calibration images, by their likelihood ratios.

    Each row carries w(x) = dP_new / dP_calibration, up to one factor, as the extra ``likelihood_ratio``
    (array ``extra_likelihood_ratio`` (N,) of an NPZ file), which
    :func:`~vlmcal.conformal.covariate_shift.likelihood_ratios` estimates from features. With equal weights
    this is split conformal prediction.

    Assumption: labels given the image are distributed as before, rows are independent, and the weights are
    the true ratio. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha` over the new distribution. A row whose
    weight outweighs the calibration rows gets all labels.

    Tibshirani, Barber, Candes and Ramdas, Conformal prediction under covariate shift, NeurIPS 2019, arXiv
    1904.06019.

    Attributes:
        scores_: (n,) calibration scores.
        weights_: (n,) their likelihood ratios.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> p = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
        >>> ratio = {"likelihood_ratio": np.ones(4)}
        >>> fitted = Weighted().fit(from_probabilities(p, [0, 0, 1, 1], extras=ratio), alpha=0.4)
        >>> ratio = {"likelihood_ratio": np.array([1.0, 9.0])}
        >>> new = from_probabilities([[0.75, 0.25]] * 2, [0, 0], ids=["new", "strange"], extras=ratio)
        >>> fitted.predict(new).sets.tolist()
        [[True, False], [True, True]]
    """

    needs: ClassVar[tuple[str, ...]] = ("likelihood_ratio",)
    state: ClassVar[Mapping[str, StateRule]] = {
        "scores_": array("*", infinite=True),
        "weights_": array("*", low=0),
    }
    any_classes: ClassVar[bool] = True
    tells_shift: ClassVar[bool] = False  # the weights are there for it

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        self.scores_ = self.scorer.calibration_scores(rows)
        self.weights_ = self._ratios(rows)
        if not self.weights_.any():
            raise DataError(f"{self._who}: all likelihood ratios of the calibration rows are 0")
        # so many equal weights would say as much
        effective = int(self.weights_.sum() ** 2 / (self.weights_**2).sum())
        if message := too_few(effective, alpha):
            self._tell(message)
        elif effective < len(self.weights_) / 10:
            self._tell(
                f"the weights of {len(self.weights_)} calibration rows are as uneven as if there were "
                f"{effective}; alpha = {alpha:g} needs {rows_needed(alpha)}, and sets vary more"
            )

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        ratios = self._ratios(rows)
        thresholds = weighted_quantiles(self.scores_, self.weights_, ratios, self.alpha_)
        full = int(np.isinf(thresholds).sum())
        if full and not any("too few" in message for message in self.messages_):
            notes.append(
                f"{full} of {len(ratios)} rows outweigh the calibration rows and get all labels"
            )
        return self.scorer.sets_by_row(rows, thresholds)

    def _ratios(self, rows: KeyedRows) -> FloatArray:
        ratios = np.asarray(rows.predictions.extras["likelihood_ratio"], dtype=np.float64)
        n = len(rows.predictions)
        if ratios.shape != (n,) or not np.isfinite(ratios).all() or (ratios < 0).any():
            raise DataError(
                f"{self._who}: likelihood_ratio: expected {n} finite numbers that are not negative, one for "
                "each row"
            )
        return ratios
