"""Accuracy: the share of rows whose predicted class is the label."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.kit.inputs import as_label_pair
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.estimate import Estimate


def _infer(
    predicted: Any,
    labels: Any,
    *,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    guess, truth = as_label_pair(predicted, labels)
    return infer_proportion(guess == truth, level=level, groups=groups)


def _weighted(predicted: Any, labels: Any) -> Weighted:
    guess, truth = as_label_pair(predicted, labels)
    hit = (guess == truth).astype(np.float64)

    def value(weights: FloatArray) -> float:
        return float(weights @ hit / weights.sum())

    return value


@metric(
    name="accuracy",
    additive=True,
    consumes="labels",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Share of rows whose predicted class (the first largest score) is the label.",
    reference="-",
    interval="Wilson; with groups, Wilson with the effective number of rows (design effect)",
    infer=_infer,
    resample=_weighted,
    on_correctness=True,
)
def accuracy(predicted: Any, labels: Any) -> float:
    """Share of correct predictions, (1 / N) sum_i 1[predicted_i = label_i].

    Args:
        predicted: (N,) class numbers; Confidences give their correctness instead.
        labels: (N,) class numbers.

    Raises:
        DataError: No rows, other shapes, or labels that are not integers.

    Example:
        >>> accuracy([0, 1, 1, 2], [0, 1, 2, 2])
        0.75
    """
    guess, truth = as_label_pair(predicted, labels)
    return float(np.mean(guess == truth))


def _weighted_balanced(predicted: Any, labels: Any) -> Weighted:
    guess, truth = as_label_pair(predicted, labels)
    _, group = np.unique(truth, return_inverse=True)
    hit = (guess == truth).astype(np.float64)

    def value(weights: FloatArray) -> float:
        total = np.bincount(group, weights)
        right = np.bincount(group, weights * hit)
        return float((right[total > 0] / total[total > 0]).mean())

    return value


@metric(
    name="balanced_accuracy",
    consumes="labels",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Mean of the per-class accuracy over the classes that occur among the labels.",
    reference="-",
    interval="BCa bootstrap of rows (of groups where given)",
    resample=_weighted_balanced,
)
def balanced_accuracy(predicted: Any, labels: Any) -> float:
    """Mean over the classes present in ``labels`` of the share of their rows that is predicted right.

    Args:
        predicted: (N,) class numbers.
        labels: (N,) class numbers.

    Example:
        >>> balanced_accuracy([0, 0, 1, 1], [0, 0, 0, 1])
        0.8333333333333333
    """
    guess, truth = as_label_pair(predicted, labels)
    return _weighted_balanced(guess, truth)(np.ones(len(truth)))
