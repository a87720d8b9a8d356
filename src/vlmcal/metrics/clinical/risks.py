"""Predicted risks of one condition and whether it was there: the input of every clinical measure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import (
    BoolArray,
    FloatArray,
    StrArray,
    as_array,
    as_strings,
    require_finite,
)
from vlmcal.types.binary import positive_class as positive_class
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

# Log-odds beyond this come from probabilities that were rounded to 0 or 1.
LARGEST_LOG_ODDS = 36.0


@dataclass(frozen=True, eq=False)
class Risks:
    """Probability of a condition, and whether it was there.

    Attributes:
        risk: (N,) probability of the condition.
        present: (N,) bool.
        groups: (N,) unit (patient) of each row, or None.
        weights: (N,) weights of the rows, or None; read by :func:`vlmcal.metrics.clinical.summary.measure`.

    Example:
        >>> Risks.of([0.9, 0.2], [1, 0]).log_odds.round(3).tolist()
        [2.197, -1.386]
    """

    risk: FloatArray
    present: BoolArray
    groups: StrArray | None = None
    weights: FloatArray | None = None

    @classmethod
    def of(cls, risk: Any, present: Any, groups: Any = None) -> Self:
        """From plain arrays.

        Raises:
            DataError: Shapes differ, no rows, NaN, or risks outside [0, 1].
        """
        values = as_array(risk).astype(np.float64)
        truth = as_array(present)
        if values.ndim != 1 or values.size == 0 or truth.shape != values.shape:
            raise DataError(
                f"expected risks and outcomes (N,), got {values.shape} and {truth.shape}"
            )
        require_finite(values, "risk")
        if values.min() < 0 or values.max() > 1:
            raise DataError("risk: expected probabilities in [0, 1]")
        units = None if groups is None else as_strings(groups, values.size, "groups")
        return cls(values, truth.astype(np.bool_), units)

    @cached_property
    def log_odds(self) -> FloatArray:
        """Logit of the risk, finite, (N,)."""
        with np.errstate(divide="ignore"):
            found: FloatArray = np.log(self.risk) - np.log1p(-self.risk)
        return np.clip(found, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS, out=found)

    @classmethod
    def of_class(cls, predictions: Predictions, index: int) -> Self:
        """The probability of one class against all others.

        Raises:
            DataError: The rows have no labels.
        """
        return next(cls.of_classes(predictions, [index]))

    @classmethod
    def of_classes(cls, predictions: Predictions, indices: Sequence[int]) -> Iterator[Self]:
        """The same of several classes, one after the other, from one pass over the probabilities.

        Raises:
            DataError: The rows have no labels.
        """
        predictions.require_labels("measuring")
        columns = np.asarray(indices, dtype=np.int64)
        risks = np.empty((len(predictions), len(columns)), order="F")
        for rows, chunk in ClassProbabilities.of(predictions).chunks():
            risks[rows] = chunk[:, columns]
        np.minimum(risks, 1.0, out=risks)
        for place, index in enumerate(columns.tolist()):
            yield cls.of(risks[:, place], predictions.labels == index, predictions.groups)

    def __len__(self) -> int:
        return int(self.risk.size)

    @property
    def both(self) -> bool:
        """Whether there are rows with and without the condition."""
        return bool(self.present.any() and not self.present.all())
