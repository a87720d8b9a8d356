"""Kolmogorov-Smirnov calibration error: the largest cumulative gap, without bins."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.cell_residuals import judged, null_p_value, widened
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import (
    critical_value,
    design_effect,
    effective_groups,
    leverage,
    widest_gap,
)
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Asked, Estimate

_DRAWS = 400
_POINTS = 2048


def _ends(values: FloatArray) -> tuple[Any, Any]:
    """Sorting order and the last position of each run of equal confidences."""
    order = np.argsort(values)
    ordered = values[order]
    return order, np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)


def _infer(confidence: Any, correct: Any, *, asked: Asked) -> Estimate:
    level, groups, generator = asked
    values, verdicts = as_confidences(confidence, correct)
    n = len(values)
    order, ends = _ends(values)
    residual = (values - verdicts)[order]
    if len(ends) > _POINTS:
        ends = ends[np.linspace(0, len(ends) - 1, _POINTS).astype(np.int64)]
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1][order]
    reached = np.cumsum(residual)[ends] / n
    variance = values[order] * (1 - values[order])
    effect = 1.0 if groups is None else design_effect(values - verdicts, groups)
    error = np.sqrt(np.diff(np.cumsum(variance)[ends], prepend=0.0) * effect) / n
    steps = generator.standard_normal((_DRAWS, len(ends))) * error
    count = None if groups is None else effective_groups(groups, values - verdicts)
    null = np.cumsum(steps if count is None else widened(steps, count, generator), axis=1)
    floors = np.abs(null).max(axis=1)
    largest = np.empty(_DRAWS)
    size = np.bincount(units).astype(np.float64)
    factor = np.ones(len(size)) if groups is None else leverage(size)
    for draw in range(_DRAWS):
        weight = (generator.standard_normal(len(size)) * factor)[units]
        process = np.cumsum(weight * residual)[ends] / n - weight.mean() * reached
        largest[draw] = np.abs(process).max()
    value = float(np.abs(reached).max())
    wider = critical_value(level, count) / critical_value(level)
    reach = float(np.quantile(largest, level)) * wider
    low = max(0.0, value - reach) if null_p_value(floors, value) < (1 - level) / 2 else 0.0
    high = min(max(value + reach, widest_gap(values, verdicts, level, groups)), 1.0)
    return judged(value, floors, low, high, n=n, method="multiplier bootstrap, simultaneous")


@metric(
    calibration=True,
    definition="Largest |sum of (confidence - correct)| / N over the rows up to any confidence; equal "
    "confidences are taken together.",
    reference="Gupta et al., ICLR 2021, arXiv 2006.12800",
    interval="simultaneous band of the cumulative gap by a multiplier bootstrap",
    infer=_infer,
)
def ks_error(confidence: Any, correct: Any) -> float:
    """KS calibration error max_t |(1 / N) sum_{i: c_i <= t} (c_i - y_i)|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Gupta et al., "Calibration of neural networks using splines", ICLR 2021, arXiv 2006.12800.

    Example:
        >>> round(ks_error([0.5, 0.9, 0.9], [True, True, False]), 6)
        0.166667
    """
    values, verdicts = as_confidences(confidence, correct)
    order, ends = _ends(values)
    return float(np.abs(np.cumsum((values - verdicts)[order])[ends]).max() / len(values))
