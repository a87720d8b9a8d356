"""SaLS: sample-adaptive logit scaling to the range of the zero-shot logits."""

from typing import ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores
from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Zero
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("sals")
class SaLS(Calibrator):
    """Map each row of adapted logits z affinely onto the range of its zero-shot logits u.

    ``z' = (z - min z) (max u - min u) / (max z - min z) + min u``: a temperature of its own for each row,
    without labels. A row of equal logits stays as it is. Reads the extra ``zero_shot_logits`` (N, K).

    Source: Murugesan et al., Robust calibration of large vision-language adapters, ECCV 2024,
    arXiv 2407.13588.

    Example:
        >>> extras = {"zero_shot_logits": np.array([[3.0, 1.0]])}
        >>> p = Predictions(logits=[[8.0, 0.0]], labels=[0], extras=extras)
        >>> SaLS().fit_transform_same(p).logits.tolist()
        [[3.0, 1.0]]
    """

    label_free: ClassVar[bool] = True
    keeps_argmax: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("zero_shot_logits",)
    any_classes: ClassVar[bool] = True

    zero: Zero = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        zero_shot_logits(predictions)

    def _transform(self, predictions: Predictions) -> Scores:
        scores = finite_scores(predictions, self.zero)
        other = zero_shot_logits(predictions)
        low, width = scores.min(axis=1), np.ptp(scores, axis=1)
        gain = np.ptp(other, axis=1) / np.where(width > 0, width, 1.0)
        shifted = (scores - low[:, None]) * gain[:, None] + other.min(axis=1)[:, None]
        return Scores(shifted, "logits")


def zero_shot_logits(predictions: Predictions) -> FloatArray:
    """The extra ``zero_shot_logits`` in float64.

    Raises:
        DataError: Its shape is not that of the scores.
    """
    other = np.asarray(predictions.extras["zero_shot_logits"], dtype=np.float64)
    if other.shape != predictions.logits.shape:
        raise DataError(
            f"zero_shot_logits: expected shape {predictions.logits.shape} like the scores, got "
            f"{other.shape}; compute them for the same images and classes"
        )
    return other
