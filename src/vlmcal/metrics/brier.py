"""Brier score: mean squared error of the probabilities."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = "Brier, Verification of forecasts expressed in terms of probability, 1950"


def brier_rows(probabilities: Any, labels: Any) -> FloatArray:
    """Squared error of each row, sum_k (p_k - 1[k = label])^2, (N,)."""
    source = ClassProbabilities.of(probabilities)
    return source.summary.squares - 2 * source.label_probability(labels) + 1


def mean_of(rows: FloatArray) -> Weighted:
    """Weighted mean of fixed per-row values, as a function of the weights."""

    def value(weights: FloatArray) -> float:
        return float(weights @ rows / weights.sum())

    return value


@metric(
    name="brier",
    additive=True,
    consumes="probabilities",
    higher_is_better=False,
    bounds=(0.0, 2.0),
    definition="Squared error of the class probabilities, summed over the K classes, mean over rows "
    "(0 to 2).",
    reference=_REFERENCE,
    interval="BCa bootstrap of rows (of groups where given)",
    resample=lambda probabilities, labels: mean_of(brier_rows(probabilities, labels)),
)
def brier(probabilities: Any, labels: Any) -> float:
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
    return float(brier_rows(probabilities, labels).mean())


def _top_rows(confidence: Any, correct: Any) -> FloatArray:
    values, verdicts = as_confidences(confidence, correct)
    return np.square(values - verdicts)


@metric(
    name="top_label_brier",
    additive=True,
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Squared difference of confidence and correctness (0 or 1), mean over rows.",
    reference=_REFERENCE,
    interval="BCa bootstrap of rows (of groups where given)",
    resample=lambda confidence, correct: mean_of(_top_rows(confidence, correct)),
)
def top_label_brier(confidence: Any, correct: Any) -> float:
    """Brier score of the confidence in the given answer, (1 / N) sum_i (confidence_i - correct_i)^2.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Example:
        >>> round(top_label_brier([0.9, 0.6], [True, False]), 6)
        0.185
    """
    return float(_top_rows(confidence, correct).mean())
