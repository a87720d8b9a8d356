"""How well confidence ranks right answers above wrong ones."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, metric
from vlmcal.metrics.inputs import as_confidences
from vlmcal.types.arrays import FloatArray


def _weighted(confidence: Any, correct: Any) -> Weighted:
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    right = verdicts[order]

    def value(weights: FloatArray) -> float:
        sorted_weights = weights[order]
        positive = np.where(right, sorted_weights, 0.0)
        hits = np.add.reduceat(positive, starts)
        misses = np.add.reduceat(sorted_weights, starts) - hits
        pairs = hits.sum() * misses.sum()
        if pairs == 0:
            return float("nan")
        below = np.cumsum(misses) - misses / 2
        return float(hits @ below / pairs)

    return value


@metric(
    name="auroc",
    consumes="confidences",
    higher_is_better=True,
    bounds=(0.0, 1.0),
    definition="Probability that a right answer has a higher confidence than a wrong one, ties counting "
    "one half; undefined (NaN) when all rows are right or all are wrong.",
    reference="Hanley and McNeil, Radiology 1982",
    interval="BCa bootstrap of rows (of groups where given)",
    resample=_weighted,
)
def auroc(confidence: Any, correct: Any) -> float:
    """Area under the ROC curve of confidence against correctness, with mid-ranks for ties.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.

    Example:
        >>> auroc([0.9, 0.8, 0.8, 0.3], [True, True, False, False])
        0.875
    """
    values, verdicts = as_confidences(confidence, correct)
    return _weighted(values, verdicts)(np.ones(len(values)))


@metric(
    name="fpr_at_95_tpr",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Share of wrong answers at or above the highest confidence that keeps at least 95 % of "
    "the right answers.",
    reference="Hendrycks and Gimpel, ICLR 2017, arXiv 1610.02136",
)
def fpr_at_95_tpr(confidence: Any, correct: Any, *, tpr: float = 0.95) -> float:
    """False-positive rate at the threshold that keeps a share ``tpr`` of the right answers.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        tpr: Share of right answers that must be kept.

    Returns:
        The share of wrong answers kept; NaN when all rows are right or all are wrong.

    Source: Hendrycks and Gimpel, ICLR 2017, arXiv 1610.02136.

    Example:
        >>> fpr_at_95_tpr([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
        0.5
    """
    values, verdicts = as_confidences(confidence, correct)
    right, wrong = np.sort(values[verdicts]), values[~verdicts]
    if not right.size or not wrong.size:
        return float("nan")
    keep = int(np.ceil(tpr * right.size - 1e-9))
    return float(np.mean(wrong >= right[right.size - keep]))
