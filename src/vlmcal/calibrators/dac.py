"""Distance-aware calibration: classes far from the base classes get softer probabilities."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores
from vlmcal.calibrators.numerics import finite_scores
from vlmcal.errors import DataError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.state_rules import StateRule, array
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Count, NotNegative, Zero
from vlmcal.types.predictions import Predictions

_ZERO_SHOT, _TUNED = "zero_shot_text_features", "text_features"


@CALIBRATORS.register("dac")
class DAC(Calibrator):
    """Scale each row by the gain of its predicted class, ``z' = z * g_yhat``.

    ``g_c = exp(d0_c - d1_c)``, d0 (d1) the mean Euclidean distance from the zero-shot (tuned) text feature of
    class c to its k nearest base classes; 1 for a class whose nearest tuned distance is below
    ``same_class``, that is, for a base class. A class that tuning moved away from the base classes is
    softened. Needs no labels; gains are positive, so the predicted class stays.

    The rows it is applied to carry ``zero_shot_text_features`` and ``text_features`` (K, D). The base
    features ``base_zero_shot_text_features`` and ``base_text_features`` (Kb, D) are read from the fitting
    rows, or are the fitting rows' own text features where these name no base: then fit on base classes.

    Attributes:
        k: Number of nearest base classes.
        same_class: Distance below which a class counts as a base class.
        divide_by_k: Divide the sum of distances by k even if there are fewer base classes (the authors'
            code); otherwise by their number.
        base_zero_shot_: (Kb, D) base features of the frozen model.
        base_tuned_: (Kb, D) base features of the tuned model.

    Source: Wang et al., Open-vocabulary calibration for fine-tuned CLIP, ICML 2024, arXiv 2402.04655.

    Example:
        >>> frozen, tuned = np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8]])
        >>> base = {"base_zero_shot_text_features": frozen[:1], "base_text_features": tuned[:1]}
        >>> own = {"zero_shot_text_features": frozen, "text_features": tuned}
        >>> p = Predictions(logits=[[0.0, 2.0]], labels=[1], extras=base | own)
        >>> DAC(k=1).fit(p).gains(p).round(4).tolist()     # exp(sqrt(2) - sqrt(0.8))
        [1.0, 1.6817]
    """

    label_free: ClassVar[bool] = True
    keeps_argmax: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = (_ZERO_SHOT, _TUNED)
    state: ClassVar[Mapping[str, StateRule]] = {
        "base_zero_shot_": array("*", "*"),
        "base_tuned_": array("*", "*"),
    }
    any_classes: ClassVar[bool] = True

    k: Count = 5
    same_class: NotNegative = 0.05
    divide_by_k: bool = False
    zero: Zero = 1e-6

    def _fit(self, predictions: Predictions) -> None:
        extras = predictions.extras
        prefix = "base_" if "base_" + _TUNED in extras else ""
        self.base_zero_shot_ = _matrix(extras, prefix + _ZERO_SHOT)
        self.base_tuned_ = _matrix(extras, prefix + _TUNED)
        if len(self.base_zero_shot_) != len(self.base_tuned_):
            raise DataError(
                f"dac: {len(self.base_zero_shot_)} base classes in the zero-shot features and "
                f"{len(self.base_tuned_)} in the tuned ones; give both for the same classes"
            )

    def gains(self, predictions: Predictions) -> FloatArray:
        """G of every class, (K,)."""
        from sklearn.metrics import pairwise_distances  # takes a second to import

        own = {name: _matrix(predictions.extras, name) for name in self.needs}
        for name, features in own.items():
            if len(features) != predictions.n_classes:
                raise DataError(
                    f"dac: {name} has {len(features)} rows for {predictions.n_classes} classes"
                )
        before = pairwise_distances(own[_ZERO_SHOT], self.base_zero_shot_)
        after = pairwise_distances(own[_TUNED], self.base_tuned_)
        gains = np.exp(self._mean_nearest(before) - self._mean_nearest(after))
        gains[after.min(axis=1) < self.same_class] = 1.0
        return gains

    def _mean_nearest(self, distances: FloatArray) -> FloatArray:
        found = min(self.k, distances.shape[1])
        nearest = np.sort(distances, axis=1)[:, :found].sum(axis=1)
        return np.asarray(nearest / (self.k if self.divide_by_k else found))

    def _transform(self, predictions: Predictions) -> Scores:
        scores = finite_scores(predictions, self.zero)
        return Scores(scores * self.gains(predictions)[predictions.predicted()][:, None], "logits")


def _matrix(extras: Any, name: str) -> FloatArray:
    if name not in extras:
        raise UnsuitedRowsError(
            f'calibrator "dac" needs the extra {name}; these predictions carry '
            f"{', '.join(sorted(extras)) or 'no extras'}"
        )
    matrix: FloatArray = np.asarray(extras[name], dtype=np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        raise DataError(
            f"{name}: expected finite features of shape (classes, D), got {matrix.shape}"
        )
    return matrix
