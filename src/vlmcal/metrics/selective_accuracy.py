"""Answer only when confident: accuracy at a coverage, and coverage at an accuracy."""

from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Weighted, metric, weighted_metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray

_REFERENCE = "El-Yaniv and Wiener, JMLR 2010; Geifman and El-Yaniv, NeurIPS 2017, arXiv 1705.08500"


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise SpecError(f"{name}: expected a share in (0, 1], got {value}")


@weighted_metric(
    higher_is_better=True,
    definition="Accuracy of the {coverage} of rows with the highest confidence (rounded up to whole rows); "
    "equal confidences are taken together, in expectation over their order.",
    reference=_REFERENCE,
)
def accuracy_at_coverage(confidence: Any, correct: Any, *, coverage: float = 0.8) -> Weighted:
    """Accuracy of the ceil(coverage x N) most confident rows.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        coverage: Share of rows that are answered, in (0, 1].

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: Coverage outside (0, 1].

    Example:
        >>> accuracy_at_coverage([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 0], coverage=0.5)
        1.0
    """
    _check_share("coverage", coverage)

    def value(ranking: Ranking, weights: FloatArray) -> float:
        covered, hits = ranking.from_top(weights, np.where(ranking.right, weights, 0.0))
        # A small allowance keeps 0.7 x 10 rows at 7 rows.
        target = max(np.ceil(coverage * covered[-1] - 1e-9), 1.0)
        return float(np.interp(target, covered, hits) / target)

    return RankStatistic(ranked(confidence, correct), value)


@metric(
    higher_is_better=True,
    definition="Largest share of rows, taken by falling confidence and whole runs of equal confidence, whose "
    "accuracy is at least {accuracy}; 0 when there is none.",
    reference=_REFERENCE,
)
def coverage_at_accuracy(confidence: Any, correct: Any, *, accuracy: float = 0.95) -> float:
    """Largest coverage at which the answered rows reach an accuracy.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        accuracy: Accuracy that the answered rows must reach, in (0, 1].

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: Accuracy outside (0, 1].

    Example:
        >>> coverage_at_accuracy([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1], accuracy=0.75)
        1.0
    """
    _check_share("accuracy", accuracy)
    values, verdicts = as_confidences(confidence, correct)
    order = np.argsort(-values, kind="stable")
    ordered = values[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    taken = ends + 1
    reached = np.cumsum(verdicts[order])[ends] >= accuracy * taken - 1e-9
    return float(taken[reached].max(initial=0) / len(values))
