"""Selective prediction by joint risk: wrong and answered, among all rows."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray


def _area(ranking: Ranking, weights: FloatArray) -> float:
    taken, errors = ranking.from_top(weights, np.where(ranking.right, 0.0, weights))
    before = np.concatenate(([0.0], errors[:-1]))
    return float(weights[::-1] @ (errors + before) / (2 * taken[-1] ** 2))


@weighted_metric(
    higher_is_better=False,
    bounds=(0.0, 0.5),
    definition="Area under the share of all rows that are wrong and among the k most confident, over the "
    "coverage k / N by the trapezoid rule; rows of equal confidence are taken together, in expectation over "
    "their order.",
    reference="Traub et al., NeurIPS 2024, arXiv 2407.01032",
)
def augrc(confidence: Any, correct: Any) -> Weighted:
    """Area under the generalised risk-coverage curve: (1 - AUROC) a (1 - a) + (1 - a)^2 / 2, a the accuracy.

    The mean risk of an undetected error over all thresholds. Unlike AURC it does not weigh the few most
    confident rows above all others.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Traub, Bungert, Lueth, Baumgartner, Maier-Hein, Maier-Hein and Jaeger, "Overcoming common flaws in
    the evaluation of selective classification systems", NeurIPS 2024, arXiv 2407.01032. Oracle: the
    closed form above, with scikit-learn's ``roc_auc_score``; torch-uncertainty's ``AUGRC`` leaves out the
    coverage below 1 / N and divides by 1 - 1 / N.

    Example:
        >>> augrc([0.9, 0.8, 0.7, 0.6], [True, True, False, True])
        0.09375
    """
    return RankStatistic(ranked(confidence, correct), _area)
