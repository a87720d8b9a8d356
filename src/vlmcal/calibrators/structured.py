"""The shared body of structured vector and matrix scaling: a linear map on top of a temperature."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.calibrators.linear import LinearCalibrator
from vlmcal.calibrators.numerics import finite_log_probs
from vlmcal.calibrators.softmax_linear import Penalty
from vlmcal.state_rules import StateRule, sane
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions


@dataclass
class StructuredCalibrator(LinearCalibrator):
    """``softmax((I + D) log(q) + b)``, q the probabilities after one temperature; D and b are pulled to 0.

    q is ``mixture`` of ``temperature`` (1 / (n + 1) of uniform). The pull on a group of numbers has the
    strength ``lambda s^rho / n^tau`` with n fitting rows and s = K, off the diagonal K (K - 1): what many
    classes or few rows cannot tell stays at 0, without a search.

    Attributes:
        rho: Power of the number of classes.
        tau: Power of the number of rows.
        lambda_intercept: Factor of the pull on the biases.
        lambda_diagonal: Factor of the pull on the diagonal.
        base_: The fitted mixture.
    """

    state: ClassVar[Mapping[str, StateRule]] = {**LinearCalibrator.state, "base_": sane}
    nested: ClassVar[bool] = False

    rho: float = 1.0
    tau: float = 1.0
    lambda_intercept: NotNegative = 1.0
    lambda_diagonal: NotNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.base_: Calibrator | None = None
        self._rows = 0

    def _fit(self, predictions: Predictions) -> None:
        options = {"at_bound": self.at_bound, "zero": self.zero}
        self.base_ = make("mixture", {"parameters": options}).fit(predictions, identify=False)
        self._rows, self._classes = len(predictions), predictions.n_classes
        super()._fit(predictions)

    def _pull(self, factor: float, size: int) -> float:
        """Strength of the pull on ``size`` numbers per row or column."""
        return float(factor * size**self.rho / self._rows**self.tau)

    def _penalty(self, strength: float = 0.0) -> Penalty:
        k = self._classes
        return Penalty(
            diagonal=self._pull(self.lambda_diagonal, k), bias=self._pull(self.lambda_intercept, k)
        )

    def _unit(self, predictions: Predictions) -> float:
        return 1.0

    def _features(self, predictions: Predictions) -> FloatArray:
        assert self.base_ is not None
        return finite_log_probs(self.base_.mapped(predictions), self.zero)

    def _check_learned(self) -> None:
        super()._check_learned()
        self._require_nested("base_", [self.base_], "mixture")
