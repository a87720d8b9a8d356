"""CoTS: the temperature of each image that its views gave when the model was adapted to it."""

from typing import ClassVar

import numpy as np
from scipy.special import softmax

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("cots")
class CoTS(Calibrator):
    """Divide each row by its own temperature: ``p = softmax(z / T_i)``; nothing is learned.

    Prompt tuning at test time (``tpt`` and its variants, more than one view) stores the temperature as the
    extra ``cots_temperature`` (N,): the one that brings the adapted model's confidence on the image's views
    to that of the model before.

    Source: confidence-based test-time scaling (CoTS), section 2; no code is public.

    Example:
        >>> rows = Predictions(logits=[[4.0, 0.0]], labels=[0], extras={"cots_temperature": np.array([2.0])})
        >>> CoTS().fit_transform_same(rows).logits.tolist()
        [[2.0, 0.0]]
    """

    label_free: ClassVar[bool] = True
    keeps_argmax: ClassVar[bool] = True
    any_classes: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("cots_temperature",)

    def _fit(self, predictions: Predictions) -> None:
        self._scaled(predictions)

    def _transform(self, predictions: Predictions) -> Scores:
        return Scores(self._scaled(predictions), "logits")

    def _scaled(self, predictions: Predictions) -> FloatArray:
        temperature = np.asarray(predictions.extras["cots_temperature"], dtype=np.float64)
        if temperature.shape != (len(predictions),) or not (temperature > 0).all():
            raise DataError(
                f"cots_temperature: expected {len(predictions)} positive numbers, one for each row, got "
                f"shape {temperature.shape}"
            )
        return predictions.logits.astype(np.float64) / temperature[:, None]


@CALIBRATORS.register("e_cots")
class ECoTS(CoTS):
    """CoTS with the mean over the image's confident views mixed in: ``w softmax(z / T) + (1 - w) v``.

    Reads ``cots_share`` (N,), the weight w, and ``cots_views`` (N, K), the views' mean v at that temperature,
    beside ``cots_temperature``. The predicted class may change.

    Source: confidence-based test-time scaling (CoTS), section 2; no code is public.

    Example:
        >>> extras = {"cots_temperature": np.ones(1), "cots_share": np.array([0.5]),
        ...           "cots_views": np.array([[0.2, 0.8]])}
        >>> rows = Predictions(logits=[[0.0, 0.0]], labels=[0], extras=extras)
        >>> ECoTS().fit_transform_same(rows).probabilities().round(2).tolist()
        [[0.35, 0.65]]
    """

    keeps_argmax: ClassVar[bool] = False
    any_classes: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("cots_temperature", "cots_share", "cots_views")

    def _transform(self, predictions: Predictions) -> Scores:
        views = np.asarray(predictions.extras["cots_views"], dtype=np.float64)
        if views.shape != predictions.logits.shape:
            raise DataError(
                f"cots_views: expected shape {predictions.logits.shape} like the scores, got {views.shape}"
            )
        share = np.asarray(predictions.extras["cots_share"], dtype=np.float64)[:, None].clip(0, 1)
        mixed = share * softmax(self._scaled(predictions), axis=1) + (1 - share) * views
        return Scores(np.log(np.maximum(mixed, np.finfo(np.float64).tiny)), "log_probs")
