"""Selective prediction: the risk when the least confident rows are left out."""

from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray

_REFERENCE = "Geifman, Uziel and El-Yaniv, ICLR 2019, arXiv 1805.08206"
_TIES = "rows of equal confidence are taken together, in expectation over their order"


def _check_ties(ties: str) -> None:
    if ties not in ("average", "input-order"):
        raise SpecError(f'ties: expected "average" or "input-order", got {ties!r}')


def mean_risk(weights: FloatArray, taken: FloatArray, errors: FloatArray) -> float:
    """Mean error rate of the first k rows over all k, from their weights and the sums down to each."""
    risk = np.divide(errors, taken, out=np.zeros_like(errors), where=taken > 0)
    return float(weights @ risk / taken[-1])


def _area(ranking: Ranking, weights: FloatArray) -> float:
    wrong = np.where(ranking.right, 0.0, weights)
    return mean_risk(weights[::-1], *ranking.from_top(weights, wrong))


def _influence(ranking: Ranking) -> FloatArray:
    r"""Influence by rank: :math:`R_k - A + \sum_{j \ge k} (w - R_j) / j` for a row at place k from the top.

    R_k is the error rate of the k most confident rows, A its mean, and w says whether the row is wrong.
    """
    places, risk = ranking.from_top(np.ones(len(ranking.right)), np.where(ranking.right, 0.0, 1.0))
    risk /= places
    area = risk.mean()
    # by rising confidence from here on, as all sums from a place down to the last one are
    gone = (risk / places)[::-1]
    np.cumsum(gone, out=gone)
    result = ranking.averaged(risk[::-1])
    result -= ranking.averaged(gone)
    left = np.divide(1.0, places, out=places)[::-1]
    np.cumsum(left, out=left)
    np.add(result, ranking.averaged(left), out=result, where=~ranking.right)
    result -= area
    return result


def _excess_influence(ranking: Ranking) -> FloatArray:
    wrong = 1.0 - ranking.right
    rate = float(wrong.mean())
    slope = -np.log1p(-rate) if rate < 1 else np.nan
    return _influence(ranking) - slope * (wrong - rate)


def _in_order(confidence: Any, correct: Any) -> Weighted:
    """AURC of rows whose ties stand as they came."""
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(-values, kind="stable")
    wrong = (~verdicts[order]).astype(np.float64)

    def value(weights: FloatArray) -> float:
        ordered = weights[order]
        return mean_risk(ordered, np.cumsum(ordered), np.cumsum(ordered * wrong))

    return value


def _excess_area(ranking: Ranking, weights: FloatArray) -> float:
    rate = 1 - float(weights @ ranking.right / weights.sum())
    return _area(ranking, weights) - best_aurc(rate)


def best_aurc(error_rate: float) -> float:
    """Smallest possible AURC at an error rate r: r + (1 - r) log(1 - r), and 1 for r = 1."""
    if error_rate >= 1:
        return 1.0
    return error_rate + (1 - error_rate) * float(np.log1p(-error_rate))


@weighted_metric(
    higher_is_better=False,
    definition=f"Error rate of the k most confident rows, mean over k = 1 .. N; {_TIES}.",
    reference=_REFERENCE,
)
def aurc(confidence: Any, correct: Any, *, ties: str = "average") -> Weighted:
    """Area under the risk-coverage curve, (1 / N) sum_k (errors among the k most confident) / k.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        ties: "average" takes equal confidences together; "input-order" takes them as they come, as many
            published scripts do.

    Returns:
        A fraction (papers often print it times 1000).

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019, arXiv 1805.08206.

    Example:
        >>> round(aurc([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.145833
    """
    _check_ties(ties)
    if ties == "average":
        return RankStatistic(ranked(confidence, correct), _area, _influence)
    return _in_order(confidence, correct)


@weighted_metric(
    higher_is_better=False,
    bounds=(-1.0, 1.0),
    definition=f"AURC minus its smallest possible value at this accuracy, r + (1 - r) ln(1 - r); {_TIES}.",
    reference=_REFERENCE,
)
def e_aurc(confidence: Any, correct: Any, *, ties: str = "average") -> Weighted:
    """Excess AURC over a perfect ranking of the same errors: AURC - (r + (1 - r) log(1 - r)).

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        ties: As in :func:`aurc`.

    Returns:
        The excess; 0 when every row is wrong (no ranking can help).

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019, arXiv 1805.08206.

    Example:
        >>> round(e_aurc([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.111595
    """
    _check_ties(ties)
    if ties == "average":
        return RankStatistic(ranked(confidence, correct), _excess_area, _excess_influence)
    area, wrong = _in_order(confidence, correct), 1.0 - as_confidences(confidence, correct)[1]
    return lambda weights: area(weights) - best_aurc(float(weights @ wrong / weights.sum()))


def risk_coverage_curve(confidence: Any, correct: Any) -> tuple[FloatArray, FloatArray]:
    """Coverage k / N and error rate of the k most confident rows, (N,) each, ties averaged.

    Example:
        >>> coverage, risk = risk_coverage_curve([0.9, 0.8], [True, False])
        >>> coverage.tolist(), risk.tolist()
        ([0.5, 1.0], [0.0, 0.5])
    """
    ranking = ranked(confidence, correct)
    ones = np.ones(len(ranking.right))
    taken, errors = ranking.from_top(ones, np.where(ranking.right, 0.0, ones))
    return taken / len(ones), errors / taken
