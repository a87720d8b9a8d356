"""Calibration of the mass that sets of labels claim: the k largest probabilities together, for every k."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.debiased_ece import top_k
from vlmcal.types.binning import check_bins
from vlmcal.types.scores import ClassProbabilities


@metric(
    higher_is_better=False,
    definition="Gap between the summed probability of the k most probable classes and how often the label "
    "is among them, all k and all rows pooled into {bins} bins ({strategy}), [lo, hi) with the last closed.",
    reference="Adaptive set-mass calibration with conformal prediction, arXiv 2505.15437",
)
def cumulative_mass_ce(
    probabilities: Any,
    labels: Any,
    *,
    bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    weighted: bool = True,
) -> float:
    """Binned error of the cumulative masses m_ik = sum of the k largest probabilities, pooled over i and k.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        bins: Number of bins.
        strategy: "uniform" or "quantile" edges (of all masses together).
        weighted: Weight bins by their share; False takes the plain mean over non-empty bins.

    Raises:
        DataError: Rows that are not distributions, or labels out of range.
        SpecError: Unknown strategy.

    Source: "Adaptive set-mass calibration with conformal prediction", arXiv 2505.15437.

    Example:
        >>> round(cumulative_mass_ce([[0.75, 0.25], [0.75, 0.25]], [0, 1], bins=4), 6)
        0.125
    """
    check_bins(bins)
    source = ClassProbabilities.of(probabilities)
    values, hits = top_k(source, labels, source.shape[1])
    mass = np.minimum(np.cumsum(values, axis=1), 1.0).ravel()
    covered = np.cumsum(hits, axis=1).ravel()
    if strategy == "uniform":
        edges = np.linspace(0, 1, bins + 1)
    elif strategy == "quantile":
        edges = np.quantile(mass, np.linspace(0, 1, bins + 1))
    else:
        raise SpecError(f'strategy: expected "uniform" or "quantile", got {strategy!r}')
    index = np.clip(np.searchsorted(edges, mass, side="right") - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, mass - covered, minlength=bins))
    if weighted:
        return float(gap.sum() / len(mass))
    filled = count > 0
    return float((gap[filled] / count[filled]).mean())
