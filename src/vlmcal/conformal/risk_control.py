"""Conformal risk control: sets whose expected loss is bounded, for any monotone loss."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vlmcal.conformal.base import CONFORMAL, Guarantee, KeyedRows
from vlmcal.conformal.losses import SetLoss, find_loss, loss_name
from vlmcal.conformal.score_based import ScoreBased
from vlmcal.errors import SpecError
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Positive

_CHECKED_SIZES = 17
_TOLERANCE = 1e-9


@CONFORMAL.register("risk_control")
class RiskControl(ScoreBased):
    r"""Sets :math:`\{y : s(x, y) \le \hat\lambda\}` whose expected loss is at most :math:`\alpha`.

    :math:`\hat\lambda` is the smallest :math:`\lambda` with
    :math:`\frac{n}{n+1} \hat R_n(\lambda) + \frac{B}{n+1} \le \alpha`, :math:`\hat R_n` the mean loss over
    the calibration rows and B the largest possible loss.

    Assumption: calibration rows and the new row are exchangeable, the loss never rises as sets grow and
    is at most B. Guarantee: :math:`E[\ell(C(X), Y)] \le \alpha`, over the draw of both. With the loss
    "miscoverage" it is split conformal prediction.

    Angelopoulos, Bates, Fisch, Lei and Schuster, Conformal risk control, ICLR 2024, arXiv 2208.02814.

    Attributes:
        loss: Registered name ("miscoverage", "ordinal_distance"), ``package.module:name``, or a function
            of sets (N, K) bool and labels (N,) that returns losses (N,).
        bound: B, the largest value that the loss can take.
        threshold_: :math:`\hat\lambda`; infinite when there were too few rows.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> rows = from_probabilities([[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]], [0, 0, 1], ids=list("abc"))
        >>> RiskControl().fit(rows, alpha=0.5).threshold_
        0.25
    """

    guarantee: ClassVar[Guarantee] = "risk"
    state: ClassVar[Mapping[str, StateRule]] = {"threshold_": number(infinite=True)}

    loss: str | SetLoss = "miscoverage"
    bound: Positive = 1.0

    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters by name, the loss by its own."""
        return {**super().hyperparameters(), "loss": loss_name(self.loss)}

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        risk = _Risk(
            find_loss(self.loss),
            self.scorer.class_scores(rows),
            rows.predictions.labels,
            self.bound,
            loss_name(self.loss),
        )
        candidates = np.concatenate([[-np.inf], np.unique(risk.scores)])
        risk.require_monotone(candidates)
        low, high = 0, candidates.size
        while low < high:
            middle = (low + high) // 2
            if risk.bound_at(candidates[middle]) <= alpha + _TOLERANCE:
                high = middle
            else:
                low = middle + 1
        self.threshold_ = float(candidates[low]) if low < candidates.size else float("inf")
        if np.isinf(self.threshold_) and self.threshold_ > 0:
            self._tell_full_sets(risk, alpha)

    def _tell_full_sets(self, risk: "_Risk", alpha: float) -> None:
        left = float(risk.losses_at(np.inf).mean())
        if left > alpha:
            raise SpecError(
                f"{self._who}: even sets of all classes have mean loss {left:.4g}, above the target "
                f"{alpha:g}; choose a loss that is small for full sets, or a larger target"
            )
        n = len(risk.labels)
        need = ""
        if left < alpha:
            rows = int(np.ceil((self.bound - alpha) / (alpha - left) - _TOLERANCE))
            need = f": at least {rows} are needed"
        self._tell(
            f"{n} calibration rows are too few for risk {alpha:g} with losses up to {self.bound:g}{need}, so "
            "every set holds all classes"
        )

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return self.scorer.sets_by_row(rows, np.full(len(rows.predictions), self.threshold_))


class _Risk(NamedTuple):
    """Losses of the calibration rows as a function of the threshold."""

    loss: SetLoss
    scores: FloatArray
    labels: IntArray
    bound: float
    name: str

    def losses_at(self, threshold: float) -> FloatArray:
        losses = np.asarray(self.loss(self.scores <= threshold, self.labels), dtype=np.float64)
        if losses.shape != self.labels.shape or not np.isfinite(losses).all():
            raise SpecError(
                f'loss "{self.name}": expected {self.labels.size} finite numbers, one per row, got shape '
                f"{losses.shape}"
            )
        if losses.max() > self.bound + _TOLERANCE:
            raise SpecError(
                f'loss "{self.name}" is {losses.max():.6g} in row {losses.argmax()}, above bound = '
                f"{self.bound:g}; set bound to the largest value that it can take"
            )
        return losses

    def bound_at(self, threshold: float) -> float:
        n = self.labels.size
        return float((self.losses_at(threshold).sum() + self.bound) / (n + 1))

    def require_monotone(self, candidates: FloatArray) -> None:
        places = np.linspace(0, candidates.size - 1, _CHECKED_SIZES).round().astype(int)
        previous = self.losses_at(-np.inf)
        for threshold in candidates[np.unique(places)]:
            losses = self.losses_at(float(threshold))
            rising = np.flatnonzero(losses > previous + _TOLERANCE)
            if rising.size:
                raise SpecError(
                    f'loss "{self.name}" rises from {previous[rising[0]]:.6g} to {losses[rising[0]]:.6g} '
                    f"in row {rising[0]} as the set grows; risk control needs a loss that never rises"
                )
            previous = losses
