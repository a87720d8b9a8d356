"""No calibration: the baseline of every comparison."""

from typing import ClassVar

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("none")
class Identity(Calibrator):
    """Leave the scores as they are: ``p = softmax(z)``.

    Example:
        >>> val = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["a"])
        >>> test = Predictions(logits=[[1.0, 3.0]], labels=[1], ids=["b"])
        >>> Identity().fit(val).transform(test).logits.tolist()
        [[1.0, 3.0]]
    """

    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    draws_in_ends: ClassVar[bool] = False

    def _fit(self, predictions: Predictions) -> None:
        pass

    def _transform(self, predictions: Predictions) -> Scores:
        return Scores(predictions.logits, predictions.kind)
