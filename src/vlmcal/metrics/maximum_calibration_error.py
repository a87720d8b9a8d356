"""Largest gap of any bin (MCE), and the largest share-weighted gap that some papers print as MCE."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.kit.bin_sums import sums_by_index
from vlmcal.metrics.kit.binning import Edges, Strategy, bin_index, resolution_of
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import clopper_pearson, design_effect
from vlmcal.types.arrays import StrArray
from vlmcal.types.estimate import Estimate


def _infer(
    confidence: Any,
    correct: Any,
    weighted: bool,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    """Largest gap, or largest share x gap, from simultaneous intervals of the bins' accuracies."""
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    sums = sums_by_index(values, verdicts, index, bins)
    filled = np.flatnonzero(sums.count)
    count = sums.count[filled].astype(np.float64)
    scale = count / len(values) if weighted else np.ones(len(filled))
    effect = 1.0 if groups is None else design_effect(values - verdicts, groups)
    each = 1 - (1 - level) / len(filled)
    low, high = clopper_pearson(sums.correct[filled] / effect, count / effect, each)
    mean = sums.confidence[filled] / count
    nearest = np.maximum(np.maximum(low - mean, mean - high), 0.0) * scale
    farthest = np.maximum(high - mean, mean - low) * scale
    cells = CellResiduals.of(values, verdicts, index, bins, groups)
    null = null_residuals(cells, values, index, generator, grouped=groups is not None)
    gaps = np.minimum(np.abs(null[:, filled]) * len(values) / count, 1.0) * scale
    value = float((np.abs(sums.gaps[filled]) / count * scale).max())
    return Estimate(
        value,
        min(float(nearest.max()), value),
        max(float(farthest.max()), value),
        n=len(values),
        method="simultaneous Clopper-Pearson",
        floor=float(gaps.max(axis=1).mean()),
    )


@metric(
    name="mce",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Largest |mean confidence - accuracy| of any non-empty one of {bins} equal-width bins, "
    "{edge_rule}; bins of a few rows decide it, so read it with the counts.",
    reference="Naeini, Cooper and Hauskrecht, AAAI 2015",
    interval="simultaneous Clopper-Pearson intervals of the bins (Bonferroni)",
    infer=lambda confidence, correct, **kit: _infer(confidence, correct, False, **kit),
)
def mce(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """Maximum calibration error max_b |mean confidence_b - accuracy_b| over non-empty bins.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of bins.
        strategy: "uniform" or "quantile".
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI 2015.

    Example:
        >>> round(mce([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10), 6)
        0.1
    """
    return ece(
        confidence,
        correct,
        bins=bins,
        strategy=strategy,
        norm="max",
        edges=edges,
        resolution=resolution,
    )


@metric(
    name="max_bin_contribution",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Largest share of rows times |mean confidence - accuracy| of any of {bins} equal-width "
    'bins, {edge_rule}; some published evaluators call this "MCE". Never larger than ECE.',
    reference="Xiong et al., NeurIPS 2023, arXiv 2306.04590 (evaluation script)",
    interval="simultaneous Clopper-Pearson intervals of the bins (Bonferroni)",
    infer=lambda confidence, correct, **kit: _infer(confidence, correct, True, **kit),
)
def max_bin_contribution(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """Largest single term of the ECE, max_b (n_b / N) |mean confidence_b - accuracy_b|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of equal-width bins.
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Example:
        >>> round(max_bin_contribution([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10), 6)
        0.05
    """
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, "uniform", edges, resolution)
    sums = sums_by_index(values, verdicts, index, bins)
    return float(np.abs(sums.gaps).max() / sums.n)
