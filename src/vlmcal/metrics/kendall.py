"""Rank correlation of confidence and correctness."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Weighted, weighted_metric
from vlmcal.metrics.kit.ranking import Ranking, RankStatistic, ranked
from vlmcal.types.arrays import FloatArray


def _correlation(ranking: Ranking, weights: FloatArray) -> float:
    right = np.cumsum(np.where(ranking.right, weights, 0.0))
    mass = ranking.at_ends(np.cumsum(weights))
    hits = ranking.at_ends(right)
    misses = mass - hits
    mixed = hits[-1] * misses[-1]
    runs = np.diff(mass, prepend=0.0)
    untied = (mass[-1] ** 2 - float(runs @ runs)) / 2
    if mixed <= 0 or untied <= 0:
        return float("nan")
    # Above a wrong row of a run stand the right ones of higher runs, below it those of lower runs.
    own = np.diff(misses, prepend=0.0)
    lower = hits - np.diff(hits, prepend=0.0)
    difference = float(own @ (hits[-1] - hits - lower))
    return difference / float(np.sqrt(mixed * untied))


@weighted_metric(
    higher_is_better=True,
    bounds=(-1.0, 1.0),
    definition="Kendall's tau-b, (concordant - discordant pairs) / sqrt(pairs of different confidence x "
    "pairs of different correctness); undefined (NaN) when all confidences or all verdicts are equal.",
    reference="Kendall, Biometrika 1945",
)
def kendall_tau(confidence: Any, correct: Any) -> Weighted:
    """Kendall's tau-b between confidence and correctness.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Kendall, "The treatment of ties in ranking problems", Biometrika 1945. Oracle:
    ``scipy.stats.kendalltau``.

    Example:
        >>> round(kendall_tau([0.9, 0.8, 0.7, 0.6], [True, True, False, True]), 6)
        0.235702
    """
    return RankStatistic(ranked(confidence, correct), _correlation)
