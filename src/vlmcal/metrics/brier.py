"""Brier score: mean squared error of the probabilities."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import mean_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = "Brier, Verification of forecasts expressed in terms of probability, 1950"


def brier_rows(probabilities: Any, labels: Any) -> FloatArray:
    """Squared error of each row, sum_k (p_k - 1[k = label])^2, (N,)."""
    return ClassProbabilities.of(probabilities).squared_error(labels)


@mean_metric(
    additive=True,
    higher_is_better=False,
    bounds=(0.0, 2.0),
    definition="Squared error of the class probabilities, summed over the K classes, mean over rows "
    "(0 to 2).",
    reference=_REFERENCE,
)
def brier(probabilities: Any, labels: Any) -> FloatArray:
    """Brier score (1 / N) sum_i sum_k (p_ik - 1[k = label_i])^2, between 0 and 2.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.

    Raises:
        DataError: Rows that are not distributions, or labels out of range.

    Source: Brier, "Verification of forecasts expressed in terms of probability", 1950.

    Example:
        >>> round(brier([[0.7, 0.3], [0.4, 0.6]], [0, 0]), 6)
        0.45
    """
    return brier_rows(probabilities, labels)


@mean_metric(
    additive=True,
    higher_is_better=False,
    definition="Squared difference of confidence and correctness (0 or 1), mean over rows.",
    reference=_REFERENCE,
)
def top_label_brier(confidence: Any, correct: Any) -> FloatArray:
    """Brier score of the confidence in the given answer, (1 / N) sum_i (confidence_i - correct_i)^2.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Example:
        >>> round(top_label_brier([0.9, 0.6], [True, False]), 6)
        0.185
    """
    values, verdicts = as_confidences(confidence, correct)
    return np.square(values - verdicts)
