"""Largest gap of any bin (MCE), and the largest share-weighted gap that some papers print as MCE."""

from functools import partial

import numpy as np

from vlmcal.metrics.expected_calibration_error import norm_of
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric
from vlmcal.metrics.kit.cell_residuals import judged
from vlmcal.metrics.kit.proportions import clopper_pearson, design_effect
from vlmcal.types.estimate import Asked, Estimate

_INTERVAL = "simultaneous Clopper-Pearson intervals of the bins that hold rows (Bonferroni)"


def _infer(rows: BinnedRows, value: float, *, weighted: bool, asked: Asked) -> Estimate:
    """Largest gap, or largest share x gap, from simultaneous intervals of the bins' accuracies.

    It speaks of the bins that these rows fill, as the value does; of an empty bin nothing is known.
    """
    level, groups, generator = asked
    sums = rows.sums
    filled = np.flatnonzero(sums.count)
    count = sums.count[filled].astype(np.float64)
    scale = count / rows.n if weighted else np.ones(len(filled))
    effect = 1.0 if groups is None else design_effect(rows.confidence - rows.correct, groups)
    each = 1 - (1 - level) / len(filled)
    low, high = clopper_pearson(sums.correct[filled] / effect, count / effect, each)
    mean = sums.confidence[filled] / count
    nearest = np.maximum(np.maximum(low - mean, mean - high), 0.0) * scale
    farthest = np.maximum(high - mean, mean - low) * scale
    null = rows.null(rows.residuals(groups), generator)
    gaps = np.minimum(np.abs(null[:, filled]) * rows.n / count, 1.0) * scale
    ends = min(float(nearest.max()), value), max(float(farthest.max()), value)
    return judged(value, gaps.max(axis=1), *ends, n=rows.n, method="simultaneous Clopper-Pearson")


@binned_metric(
    calibration=True,
    definition="Largest |mean confidence - accuracy| of any non-empty one of {bins} {width} bins, "
    "{edge_rule}; bins of a few rows decide it, so read it with the counts.",
    reference="Naeini, Cooper and Hauskrecht, AAAI 2015",
    interval=_INTERVAL,
    infer=partial(_infer, weighted=False),
    counts=True,
)
def mce(rows: BinnedRows) -> float:
    """Maximum calibration error max_b |mean confidence_b - accuracy_b| over non-empty bins.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins, strategy, edges, resolution: As in :func:`vlmcal.metrics.ece`.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015.

    Example:
        >>> round(mce([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10), 6)
        0.1
    """
    return norm_of(rows.sums, "max")


@binned_metric(
    calibration=True,
    definition="Largest share of rows times |mean confidence - accuracy| of any of {bins} {width} "
    'bins, {edge_rule}; some published evaluators call this "MCE". Never larger than ECE.',
    reference="Xiong et al., NeurIPS 2023, arXiv 2306.04590 (evaluation script)",
    interval=_INTERVAL,
    infer=partial(_infer, weighted=True),
    counts=True,
)
def max_bin_contribution(rows: BinnedRows) -> float:
    """Largest single term of the ECE, max_b (n_b / N) |mean confidence_b - accuracy_b|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins, strategy, edges, resolution: As in :func:`vlmcal.metrics.ece`.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Example:
        >>> round(max_bin_contribution([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10), 6)
        0.05
    """
    return float(np.abs(rows.sums.gaps).max() / rows.n)
