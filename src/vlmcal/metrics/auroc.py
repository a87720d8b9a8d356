"""How well confidence ranks right answers above wrong ones."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, metric, weighted_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray

# Pieces of a long ranking, so that its sum needs no further array of its length.
_BLOCK = 1 << 16


def _area(ranking: Ranking, weights: FloatArray) -> float:
    hits = np.where(ranking.right, weights, 0.0)
    np.cumsum(hits, out=hits)
    misses = np.cumsum(weights)
    misses -= hits
    hits, misses = ranking.at_ends(hits), ranking.at_ends(misses)
    pairs = hits[-1] * misses[-1]
    if pairs <= 0:
        return float("nan")
    # Each run of equal confidences adds its hits times the misses below it and half of its own.
    area = hits[0] * misses[0]
    for start in range(0, len(hits) - 1, _BLOCK):
        part = slice(start, start + _BLOCK + 1)
        area += np.diff(hits[part]) @ (misses[part][1:] + misses[part][:-1])
    return float(area / (2 * pairs))


def _influence(ranking: Ranking) -> FloatArray:
    """Placements of DeLong, DeLong and Clarke-Pearson, by rank: share of the other kind that a row beats."""
    right = ranking.right
    hits, misses = ranking.middle(right), ranking.middle(~right)
    m, n = int(right.sum()), int((~right).sum())
    if not m or not n:
        return np.full(len(right), np.nan)
    misses /= n
    hits /= -m
    hits += 1.0
    np.copyto(hits, misses, where=right)
    hits -= hits[right].mean()
    hits *= np.where(right, len(right) / m, len(right) / n)
    return hits


@weighted_metric(
    higher_is_better=True,
    definition="Probability that a right answer has a higher confidence than a wrong one, ties counting "
    "one half; undefined (NaN) when all rows are right or all are wrong.",
    reference="Hanley and McNeil, Radiology 1982",
)
def auroc(confidence: Any, correct: Any) -> Weighted:
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
    return RankStatistic(ranked(confidence, correct), _area, _influence)


@metric(
    higher_is_better=False,
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


def fpr_at_nearest_tpr(confidence: Any, correct: Any, *, tpr: float = 0.95) -> float:
    """False-positive rate at the corner of the ROC curve whose true-positive rate is nearest ``tpr``.

    The rule of CRL's evaluation script, which also skips points on straight pieces of the curve; it can
    lie on either side of ``tpr``.

    Source: Moon et al., "Confidence-aware learning for deep neural networks", ICML 2020, arXiv 2007.01458.

    Example:
        >>> fpr_at_nearest_tpr([0.9, 0.8, 0.7, 0.6], [True, False, True, False])
        0.5
    """
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(-values, kind="stable")
    ordered, right = values[order], verdicts[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    kept = np.cumsum(right)[last]
    wrong = last + 1 - kept
    if len(last) > 2:
        corner = (np.diff(kept, 2) != 0) | (np.diff(wrong, 2) != 0)
        where = np.concatenate(([True], corner, [True]))
        kept, wrong = kept[where], wrong[where]
    kept, wrong = np.concatenate(([0], kept)), np.concatenate(([0], wrong))
    if kept[-1] == 0 or wrong[-1] == 0:
        return float("nan")
    return float(wrong[np.argmin(np.abs(kept / kept[-1] - tpr))] / wrong[-1])
