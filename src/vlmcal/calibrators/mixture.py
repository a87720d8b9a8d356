"""Any calibrator, mixed with a little of the uniform distribution."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores, make
from vlmcal.state_rules import StateRule, number, sane
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions
from vlmcal.types.softmax import blocks


@CALIBRATORS.register("mixture")
class Mixture(Calibrator):
    """``p' = (1 - e) p_base + e / K`` with ``e = strength / (n + strength)``, n the number of fitting rows.

    Laplace's rule for calibrators: no class ever gets probability 0, so the log-loss stays finite even where
    the base calibrator is certain (separable data, empty bins). With ``base="temperature"`` this is the
    "ts-mix" of refine-then-calibrate.

    Attributes:
        base: Name of the calibrator to wrap.
        parameters: Its hyper-parameters.
        strength: Number of pseudo-rows with a uniform outcome.
        base_: The fitted base calibrator.
        share_: e.

    Source: Berta, Holzmueller, Jordan and Bach, Rethinking early stopping: refine, then calibrate, 2025,
    arXiv 2501.19195.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0]] * 3, labels=[0, 0, 1])
        >>> test = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["new"])
        >>> cal = Mixture().fit(val)            # (1 - 1/4) 2/3 + 1/4 1/2
        >>> round(float(cal.transform(test).probabilities()[0, 0]), 6)
        0.625
    """

    scalar: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {"base_": sane, "share_": number(low=0, high=1)}

    base: str = "temperature"
    parameters: dict[str, Any] = field(default_factory=dict)
    strength: NotNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.base_: Calibrator | None = None

    def _fit(self, predictions: Predictions) -> None:
        # what a base calibrator warns of (no finite optimum, empty bins) is what the mixture cures
        with Calibrator.quiet():
            self.base_ = make(self.base, self.parameters).fit(predictions, identify=False)
        self.share_ = self.strength / (len(predictions) + self.strength)

    def _check_learned(self) -> None:
        super()._check_learned()
        self._require_nested("base_", [self.base_], self.base)

    def takes_any_classes(self) -> bool:
        """Whether its base fits any class list; the mixture itself learns nothing per class."""
        kind = CALIBRATORS.get(self.base) if self.base_ is None else type(self.base_)
        return kind.any_classes

    def _transform(self, predictions: Predictions) -> Scores:
        assert self.base_ is not None
        inner = self.base_.mapped(predictions).log_probabilities()
        if self.share_ == 0:
            return Scores(inner, "log_probs")
        mixed = np.empty(inner.shape)
        for rows, axis, block in blocks(inner):
            np.exp(block, out=block)
            block *= 1 - self.share_
            block += self.share_ / predictions.n_classes
            np.log(block, out=block)
            mixed[rows] = block if axis == 1 else block.T
        return Scores(mixed, "log_probs")


def default_refine() -> Calibrator:
    """Temperature scaling mixed with 1/(n + 1) of uniform, at its bound where no finite optimum exists."""
    return make("mixture", {"parameters": {"at_bound": "bound"}})
