"""The two halves of the ECE: gaps where the model claims too much, and gaps where it claims too little."""

from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.bin_sums import sums_by_index
from vlmcal.metrics.kit.binning import Edges, Strategy, bin_index, resolution_of
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.estimate import Estimate

_REFERENCE = (
    "Thulasidasan et al., NeurIPS 2019, arXiv 1905.11001 (idea; here the parts add up to ECE)"
)
_INTERVAL = "moment selection for the lower end, normal upper end"


def _part(
    confidence: Any,
    correct: Any,
    sign: int,
    bins: int,
    strategy: Strategy,
    edges: Edges,
    resolution: float,
) -> float:
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    sums = sums_by_index(values, verdicts, index, bins)
    return float(np.maximum(sign * sums.gaps, 0).sum() / sums.n)


def _positive_mean(t: FloatArray) -> FloatArray:
    """E max(N(t, 1), 0)."""
    density = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(density + t * ndtr(t))


def _infer_part(
    confidence: Any,
    correct: Any,
    sign: int,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    cells = CellResiduals.of(values, verdicts, index, bins, groups)
    null = null_residuals(cells, values, index, generator, grouped=groups is not None)
    totals = np.maximum(sign * null, 0).sum(axis=1)
    mean, error = sign * cells.mean, cells.error
    value = float(np.maximum(mean, 0).sum())
    z = float(ndtri((1 + level) / 2))
    ratio = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    # Only cells that may lie on this side contribute to the spread.
    spread = z * float(np.sqrt((error[ratio > -2] ** 2).sum() * cells.inflation))
    low = 0.0
    if value > np.quantile(totals, (1 + level) / 2):
        near = np.sign(ratio) * np.maximum(np.abs(ratio) - 2, 0)
        bias = float(error @ (_positive_mean(near) - np.maximum(near, 0)))
        low = max(0.0, value - bias - spread)
    return Estimate(
        value,
        low,
        value + spread,
        n=len(values),
        method="moment selection",
        floor=float(totals.mean()),
    )


@metric(
    name="overconfidence",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Part of the ECE from bins whose mean confidence exceeds their accuracy; {bins} equal-width "
    "bins, {edge_rule}.",
    reference=_REFERENCE,
    interval=_INTERVAL,
    infer=lambda confidence, correct, **kit: _infer_part(confidence, correct, 1, **kit),
)
def overconfidence(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """Sum over bins of (n_b / N) max(mean confidence_b - accuracy_b, 0).

    Together with :func:`underconfidence` it adds up to the ECE on the same bins.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of bins.
        strategy: "uniform" or "quantile".
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64.

    Example:
        >>> round(overconfidence([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1], bins=10), 6)
        0.2
    """
    return _part(confidence, correct, 1, bins, strategy, edges, resolution)


@metric(
    name="underconfidence",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Part of the ECE from bins whose accuracy exceeds their mean confidence; {bins} equal-width "
    "bins, {edge_rule}.",
    reference=_REFERENCE,
    interval=_INTERVAL,
    infer=lambda confidence, correct, **kit: _infer_part(confidence, correct, -1, **kit),
)
def underconfidence(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """Sum over bins of (n_b / N) max(accuracy_b - mean confidence_b, 0); see :func:`overconfidence`.

    Example:
        >>> round(underconfidence([0.9, 0.9, 0.6, 0.6], [1, 0, 1, 1], bins=10), 6)
        0.2
    """
    return _part(confidence, correct, -1, bins, strategy, edges, resolution)
