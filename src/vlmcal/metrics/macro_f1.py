"""Macro-averaged F1."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.kit.inputs import as_label_pair
from vlmcal.types.arrays import FloatArray


def _weighted(predicted: Any, labels: Any) -> Weighted:
    guess, truth = as_label_pair(predicted, labels)
    lowest = min(int(guess.min()), int(truth.min()))
    guess, truth = guess - lowest, truth - lowest
    classes = int(max(guess.max(), truth.max())) + 1
    pair, cell = np.unique(truth * classes + guess, return_inverse=True)
    row, column = pair // classes, pair % classes
    diagonal = np.flatnonzero(row == column)
    present = np.unique(truth)

    def value(weights: FloatArray) -> float:
        mass = np.bincount(cell, weights, minlength=len(pair))
        right = np.zeros(classes)
        right[row[diagonal]] = mass[diagonal]
        total = np.bincount(row, mass, minlength=classes)
        total += np.bincount(column, mass, minlength=classes)
        # A class that a resample happens to miss keeps its place in the average.
        scores = np.divide(2 * right, total, out=np.zeros(classes), where=total > 0)
        return float(scores[present].mean())

    return value


@metric(
    name="macro_f1",
    consumes="labels",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Mean of the per-class F1 over the classes that occur among the labels; 0 for a class "
    "that is never predicted.",
    reference="-",
    interval="BCa bootstrap of rows (of groups where given)",
    resample=_weighted,
)
def macro_f1(predicted: Any, labels: Any) -> float:
    """Mean over classes of F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c), over the classes present in ``labels``.

    Args:
        predicted: (N,) class numbers.
        labels: (N,) class numbers.

    Raises:
        DataError: No rows, other shapes, or labels that are not integers.

    Example:
        >>> round(macro_f1([0, 1, 1], [0, 1, 0]), 6)
        0.666667
    """
    guess, truth = as_label_pair(predicted, labels)
    return _weighted(guess, truth)(np.ones(len(truth)))
