"""Precision-recall: how well confidence finds right answers, and how well its lack finds errors."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray, IntArray

_REFERENCE = "Davis and Goadrich, ICML 2006; Hendrycks and Gimpel, ICLR 2017, arXiv 1610.02136"


def _precision(found: FloatArray, taken: FloatArray) -> float:
    """Average precision from cumulative positives and rows, best first, at the ends of runs."""
    if found[-1] <= 0:
        return float("nan")
    precision = np.divide(found, taken, out=np.zeros_like(taken), where=taken > 0)
    return float(np.diff(found, prepend=0.0) @ precision / found[-1])


def _of_correct(ranking: Ranking, weights: FloatArray) -> float:
    below = np.cumsum(np.where(ranking.right, weights, 0.0))
    found = _from_above(ranking.at_ends(below))
    return _precision(found, _from_above(ranking.at_ends(np.cumsum(weights))))


def _of_error(ranking: Ranking, weights: FloatArray) -> float:
    found = np.cumsum(np.where(ranking.right, 0.0, weights))
    return _precision(ranking.at_ends(found), ranking.at_ends(np.cumsum(weights)))


def _influence(positive: FloatArray, ends: IntArray) -> FloatArray:
    r"""Influence by rank, best first, with positives y, P their share and runs of equal confidence u, v.

    .. math:: \Bigl( y \frac{F_u}{T_u} + \sum_{v \ge u} p_v \Bigl( \frac{y}{T_v} - \frac{F_v}{T_v^2} \Bigr)
        - y A \Bigr) / P

    p_v is the share of rows that are positives of run v, F_v and T_v the shares of positives and of rows
    down to its end, and A the average precision.
    """
    n = len(positive)
    found, taken = np.cumsum(positive)[ends] / n, (ends + 1) / n
    inside = np.diff(found, prepend=0.0)
    gained = np.cumsum((inside / taken)[::-1])[::-1]
    lost = np.cumsum((inside * found / taken**2)[::-1])[::-1]
    run = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=-1))
    average = float(inside @ (found / taken)) / found[-1]
    own = (found / taken + gained - average)[run]
    return np.asarray((positive * own - lost[run]) / found[-1])


def _influence_of_correct(ranking: Ranking) -> FloatArray:
    ends, n = ranking.ends, len(ranking.right)
    from_top = None if ends is None else (n - 2 - np.append(-1, ends[:-1]))[::-1]
    return _by_runs(ranking.right[::-1].astype(np.float64), from_top)[::-1]


def _by_runs(positive: FloatArray, ends: IntArray | None) -> FloatArray:
    if not positive.any():
        return np.full(len(positive), np.nan)
    return _influence(positive, np.arange(len(positive)) if ends is None else ends)


def _from_above(cumulated: FloatArray) -> FloatArray:
    return np.asarray(cumulated[-1] - np.concatenate(([0.0], cumulated[:-1]))[::-1])


@weighted_metric(
    higher_is_better=True,
    definition="Average precision of confidence at finding right answers (step-wise, ties together); NaN "
    "when none is right.",
    reference=_REFERENCE,
)
def auprc_correct(confidence: Any, correct: Any) -> Weighted:
    """Average precision sum_n (R_n - R_n-1) P_n with right answers as the positives.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Example:
        >>> round(auprc_correct([0.9, 0.8, 0.7], [True, False, True]), 6)
        0.833333
    """
    return RankStatistic(ranked(confidence, correct), _of_correct, _influence_of_correct)


@weighted_metric(
    higher_is_better=True,
    definition="Average precision of low confidence at finding wrong answers (step-wise, ties together); "
    "NaN when none is wrong.",
    reference=_REFERENCE,
)
def auprc_error(confidence: Any, correct: Any) -> Weighted:
    """Average precision sum_n (R_n - R_n-1) P_n with wrong answers as the positives, least confident first.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Example:
        >>> round(auprc_error([0.9, 0.8, 0.7], [True, False, True]), 6)
        0.5
    """
    return RankStatistic(
        ranked(confidence, correct), _of_error, lambda r: _by_runs(1.0 - r.right, r.ends)
    )
