"""The arrays behind a metric: checked once, computed once, chunked where they are large."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, as_array
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

# Sums of float32 probabilities pass 1 by this much.
_ROUNDING = 1e-6
PROXIMITY_EXTRAS = ("knn_distance", "proximity")


def as_confidences(confidence: Any, correct: Any) -> tuple[FloatArray, BoolArray]:
    """Confidence (N,) as float64 in [0, 1] and correctness (N,) as bool, with N >= 1.

    Raises:
        DataError: No rows, other shapes, NaN, numbers outside [0, 1] by more than 1e-6 (less is rounding and
            moved to the end), or correctness that is not 0/1.
    """
    values = as_array(confidence)
    if values.dtype.kind not in "fiub":
        raise DataError(f"confidence: expected numbers, got {values.dtype}")
    values = values.astype(np.float64, copy=False)
    if values.ndim != 1 or values.size == 0:
        raise DataError(
            f"confidence: expected shape (N,) with N >= 1, got {values.shape}"
            + ("; there are no rows to measure" if values.size == 0 else "")
            + ("; vlmcal.evaluate measures scores of classes" if values.ndim == 2 else "")
        )
    low, high = values.min(), values.max()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
        raise DataError(
            f"confidence: {wrong.size} of {values.size} are NaN or outside [0, 1], first "
            f"{values[wrong[0]]} in row {wrong[0]}; divide percentages by 100, apply softmax to logits"
        )
    if low < 0 or high > 1:
        values = np.clip(values, 0.0, 1.0)
    return values, as_correct(correct, values.size)


def as_correct(correct: Any, n: int) -> BoolArray:
    """Correctness (N,) as bool.

    Raises:
        DataError: Another shape, or values other than 0 and 1.
    """
    verdicts = as_array(correct)
    if verdicts.shape != (n,):
        raise DataError(f"correct: expected shape ({n},), got {verdicts.shape}")
    if verdicts.dtype == np.bool_:
        return verdicts
    if verdicts.dtype.kind not in "fiu" or not ((verdicts == 0) | (verdicts == 1)).all():
        raise DataError(
            f"correct: expected True/False or 0/1, got {verdicts.dtype} values such as "
            f"{verdicts[:3].tolist()}"
        )
    return verdicts.astype(np.bool_)


def as_label_pair(predicted: Any, labels: Any) -> tuple[IntArray, IntArray]:
    """Predicted and true labels (N,), as int64, with N >= 1.

    Raises:
        DataError: No rows, shapes differ, or labels that are not integers (class names must be mapped
            to numbers first).
    """
    pair = []
    for where, values in (("predicted", predicted), ("labels", labels)):
        array = as_array(values)
        if array.ndim != 1 or array.size == 0:
            raise DataError(f"{where}: expected shape (N,) with N >= 1, got {array.shape}")
        if array.dtype.kind not in "iub":
            raise DataError(
                f"{where}: expected integer class numbers, got {array.dtype} values such as "
                f"{array[:3].tolist()}; map class names to their index first"
            )
        pair.append(array.astype(np.int64, copy=False))
    if pair[0].shape != pair[1].shape:
        raise DataError(f"predicted has {pair[0].size} rows but labels has {pair[1].size}")
    return pair[0], pair[1]


class Rows:
    """Lazily computed views of Predictions, Confidences or PredictionSets, each made at most once."""

    def __init__(self, data: Predictions | Confidences | PredictionSets) -> None:
        self.data = data
        self.n = len(data)

    @staticmethod
    def accepts(data: Any) -> bool:
        """Whether ``data`` is one of the types that metrics unpack."""
        return isinstance(data, (Predictions, Confidences, PredictionSets, Rows))

    @classmethod
    def of(cls, data: Any) -> Self:
        """Rows of ``data``; Rows are returned as they are, so their work is shared."""
        if isinstance(data, Predictions | PredictionSets) and not data.labelled:
            raise DataError(
                "measuring needs the right class of each row; these rows have no labels"
            )
        return data if isinstance(data, cls) else cls(data)

    def has(self, name: str) -> bool:
        """Whether :meth:`take` can return ``name``."""
        return self._getter(name) is not None

    def take(self, name: str, metric: str) -> Any:
        """The array called ``name``.

        Raises:
            DataError: The data do not carry it.
        """
        getter = self._getter(name)
        if getter is None:
            kind = type(self.data).__name__
            extras = sorted(getattr(self.data, "extras", {}))
            carried = f" (extras: {', '.join(extras)})" if extras else ""
            raise DataError(
                f'metric "{metric}" needs {name.replace("_", " ")}, which {kind} do not carry here'
                f"{carried}; {_ADVICE.get(name, 'leave the metric out or give them')}"
            )
        return getter()

    def _getter(self, name: str) -> Callable[[], Any] | None:
        data = self.data
        if isinstance(data, Predictions):
            if name in _OF_PREDICTIONS:
                return lambda: getattr(self, name)
            if name in ("labels", "resolution", "n_classes", "logits"):
                return lambda: getattr(data, name)
            if name == "proximity" and {*PROXIMITY_EXTRAS, "image_features"} & set(data.extras):
                return lambda: self.proximity
            if name in data.extras:
                return lambda: data.extras[name]
        elif isinstance(data, Confidences) and name == "native_confidence":
            return lambda: data.confidence
        elif (
            isinstance(data, Confidences) and name in ("confidence", "correct", "resolution")
        ) or (isinstance(data, PredictionSets) and name in ("sets", "labels", "alpha")):
            return lambda: getattr(data, name)
        if name in ("groups", "kinds") and getattr(data, name, None) is not None:
            return lambda: getattr(data, name)
        return None

    @cached_property
    def probabilities(self) -> ClassProbabilities:
        """Class probabilities, computed chunk by chunk when they are read."""
        return ClassProbabilities.of(self.data)

    @property
    def confidence(self) -> FloatArray:
        """Probability of the predicted class, (N,)."""
        return self.probabilities.summary.confidence

    @cached_property
    def native_confidence(self) -> FloatArray:
        """Probability of the predicted class in the model's own precision, (N,)."""
        return self.probabilities.native_confidence()

    @property
    def predicted(self) -> IntArray:
        """Class with the largest score, (N,)."""
        return self.probabilities.summary.predicted

    @cached_property
    def correct(self) -> BoolArray:
        """Whether the predicted class is the label, (N,); cannot be written to."""
        result: BoolArray = self.predicted == self.data.labels  # type: ignore[union-attr]
        result.setflags(write=False)
        return result

    @cached_property
    def proximity(self) -> FloatArray:
        """Distance to the nearest neighbours in image-feature space, (N,): given, or computed."""
        extras = self.data.extras  # type: ignore[union-attr]
        for name in PROXIMITY_EXTRAS:
            if name in extras:
                return np.asarray(extras[name], dtype=np.float64)
        from vlmcal.types.neighbours import knn_distance

        return knn_distance(extras["image_features"])

    @property
    def groups(self) -> StrArray | None:
        """Cluster of each row, or None."""
        return getattr(self.data, "groups", None)


_OF_PREDICTIONS = frozenset(
    {"confidence", "native_confidence", "correct", "predicted", "probabilities"}
)
_ADVICE = {
    "proximity": "give image_features or knn_distance in Predictions.extras",
    "probabilities": "measure Predictions instead",
    "labels": "measure Predictions instead",
    "groups": "give a group for each row",
}
