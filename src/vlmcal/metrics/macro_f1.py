"""Macro-averaged F1."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.inputs import as_label_pair
from vlmcal.metrics.kit.proportions import (
    critical_value,
    effective_groups,
    mean_variance,
    too_few_groups,
)
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.estimate import Asked, Estimate

# Below this many rows of a class its F1 has no spread that could be estimated.
FEWEST_ROWS = 10
_COUNTED = 1 << 16


def _distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct codes, rising, and the place of each code among them; counted where they are few."""
    if codes.min() < 0 or codes.max() > max(_COUNTED, len(codes)):
        found, place = np.unique(codes, return_inverse=True)
        return found, place
    count = np.bincount(codes)
    found = np.flatnonzero(count)
    return found, (np.cumsum(count > 0) - 1)[codes]


def _infer(predicted: Any, labels: Any, *, asked: Asked) -> Estimate:
    """Delta method: the spread of each row's (or group's) first-order contribution."""
    level, groups, _ = asked
    guess, truth = as_label_pair(predicted, labels)
    value, n = macro_f1(guess, truth), len(truth)
    size = int(max(guess.max(), truth.max())) + 1
    labelled = np.bincount(truth, minlength=size)
    present = np.flatnonzero(labelled)
    if labelled[present].min() < FEWEST_ROWS or (groups is not None and too_few_groups(groups)):
        return Estimate(value, n=n)
    total = labelled + np.bincount(guess, minlength=size)
    right = np.bincount(truth[guess == truth], minlength=size)
    score = np.divide(2 * right, total, out=np.zeros(size), where=total > 0)
    # Per row: (2 hit - F1 of the label) / m of the label, minus F1 / m of the guess; only classes that occur.
    each = np.divide(1.0, total, out=np.zeros(size), where=(total > 0) & (labelled > 0))
    rows = ((2 * (guess == truth) - score[truth]) * each[truth] - score[guess] * each[guess]) * n
    rows /= len(present)
    count = None if groups is None else effective_groups(groups, rows)
    reach = critical_value(level, count) * float(np.sqrt(mean_variance(rows, groups)))
    if reach == 0:
        return Estimate(value, n=n)
    return Estimate(
        value, max(value - reach, 0.0), min(value + reach, 1.0), n=n, method="delta method"
    )


@weighted_metric(
    higher_is_better=True,
    definition="Mean of the per-class F1 over the classes that occur among the labels; 0 for a class "
    "that is never predicted.",
    reference="-",
    interval="delta method (Takahashi et al., Applied Intelligence 2022); none where a class has fewer "
    "than 10 rows or the groups are too few",
    infer=_infer,
)
def macro_f1(predicted: Any, labels: Any) -> Weighted:
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
    lowest = min(int(guess.min()), int(truth.min()))
    guess, truth = guess - lowest, truth - lowest
    classes = int(max(guess.max(), truth.max())) + 1
    pair, cell = _distinct(truth * classes + guess)
    row, column = pair // classes, pair % classes
    diagonal = np.flatnonzero(row == column)
    present = np.flatnonzero(np.bincount(truth, minlength=classes))

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
