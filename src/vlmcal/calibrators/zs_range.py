"""One temperature that brings the adapted logits to the range of the zero-shot logits."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores
from vlmcal.calibrators.sals import zero_shot_logits
from vlmcal.errors import DataError
from vlmcal.state_rules import StateRule, number
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("zs_range")
class ZsRange(Calibrator):
    """``T = mean(max z - min z) / mean(max u - min u)`` over the fitting rows, u the zero-shot logits.

    SaLS with a single factor: no labels, and no zero-shot pass over the rows it is applied to.

    Attributes:
        temperature_: T.

    Source: the range argument of Murugesan et al., ECCV 2024, arXiv 2407.13588; the pooled form is ours.

    Example:
        >>> extras = {"zero_shot_logits": np.array([[3.0, 1.0]])}
        >>> p = Predictions(logits=[[8.0, 0.0]], labels=[0], extras=extras)
        >>> ZsRange().fit(p).temperature_
        4.0
    """

    label_free: ClassVar[bool] = True
    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    fit_needs: ClassVar[tuple[str, ...]] = ("zero_shot_logits",)
    state: ClassVar[Mapping[str, StateRule]] = {"temperature_": number(above=0)}

    zero: Zero = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        adapted = float(np.ptp(finite_scores(predictions, self.zero), axis=1).mean())
        original = float(np.ptp(zero_shot_logits(predictions), axis=1).mean())
        if adapted == 0 or original == 0:
            raise DataError(
                f"zs_range: the mean range of the adapted logits is {adapted:g} and that of the zero-shot "
                f"logits {original:g}; constant logits determine no temperature"
            )
        self.temperature_ = adapted / original

    def _transform(self, predictions: Predictions) -> Scores:
        return Scores(finite_scores(predictions, self.zero) / self.temperature_, "logits")
