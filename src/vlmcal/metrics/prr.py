"""How much of the gain of a perfect rejection a confidence reaches."""

from typing import Any

import numpy as np

from vlmcal.metrics.aurc import mean_risk
from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray


def _ratio(ranking: Ranking, weights: FloatArray) -> float:
    wrong = np.where(ranking.right, 0.0, weights)
    reached = mean_risk(weights[::-1], *ranking.from_top(weights, wrong))
    rate = float(wrong.sum() / weights.sum())
    best = np.argsort(~ranking.right, kind="stable")
    possible = rate - mean_risk(weights[best], np.cumsum(weights[best]), np.cumsum(wrong[best]))
    return float("nan") if possible <= 0 else (rate - reached) / possible


@weighted_metric(
    higher_is_better=True,
    bounds=(-np.inf, 1.0),
    definition="(error rate - AURC) / (error rate - AURC of a perfect ranking): 1 where all wrong rows come "
    "last, 0 for a random order; undefined (NaN) when all rows are right or all are wrong.",
    reference="Malinin and Gales, ICLR 2021, arXiv 2002.07650",
)
def prr(confidence: Any, correct: Any) -> Weighted:
    """Prediction-rejection ratio: the gain of rejecting by confidence over that of rejecting by an oracle.

    Both gains are areas between the rejection curve (error rate of the rows that are kept) and that of a
    random order, rejecting one row after the other down to none.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Malinin and Gales, "Uncertainty estimation in autoregressive structured prediction", ICLR 2021,
    arXiv 2002.07650. Oracle: ``PredictionRejectionArea`` of lm-polygraph with ``max_rejection=1`` on 0/1
    quality, (area - mean) / (best area - mean).

    Example:
        >>> round(prr([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.555556
    """
    return RankStatistic(ranked(confidence, correct), _ratio)
