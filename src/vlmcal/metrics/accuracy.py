"""Accuracy: the share of rows whose predicted class is the label."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, mean_metric, weighted_metric
from vlmcal.metrics.kit.inputs import as_label_pair
from vlmcal.types.arrays import BoolArray, FloatArray


@mean_metric(
    share=True,
    additive=True,
    higher_is_better=True,
    definition="Share of rows whose predicted class (the first largest score) is the label.",
    reference="-",
    on_correctness=True,
)
def accuracy(predicted: Any, labels: Any) -> BoolArray:
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
    return np.equal(guess, truth)


@weighted_metric(
    higher_is_better=True,
    definition="Mean of the per-class accuracy over the classes that occur among the labels.",
    reference="-",
)
def balanced_accuracy(predicted: Any, labels: Any) -> Weighted:
    """Mean over the classes present in ``labels`` of the share of their rows that is predicted right.

    Args:
        predicted: (N,) class numbers.
        labels: (N,) class numbers.

    Example:
        >>> balanced_accuracy([0, 0, 1, 1], [0, 0, 0, 1])
        0.8333333333333333
    """
    guess, truth = as_label_pair(predicted, labels)
    _, group = np.unique(truth, return_inverse=True)
    hit = (guess == truth).astype(np.float64)

    def value(weights: FloatArray) -> float:
        total = np.bincount(group, weights)
        right = np.bincount(group, weights * hit)
        return float((right[total > 0] / total[total > 0]).mean())

    return value
