"""Sweep ECE: equal-mass ECE with as many bins as keep the accuracies rising."""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.null_floor import with_null
from vlmcal.types.binning import resolution_of, tolerance_for
from vlmcal.types.estimate import Asked, Estimate


class Sweep(NamedTuple):
    """Value and the number of bins it was taken at."""

    value: float
    bins: int


def sweep(confidence: Any, correct: Any, *, resolution: float = 0.0) -> Sweep:
    """Sweep ECE with its number of bins.

    Example:
        >>> sweep([0.5, 0.6, 0.8, 0.9], [False, True, False, True]).bins
        3
    """
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    n = len(values)
    ticks = np.rint(values / tolerance_for(resolution))
    order = np.argsort(ticks)
    ordered = ticks[order]
    stops = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), n - 1) + 1
    starts = np.concatenate(([0], stops[:-1]))
    hits = np.concatenate(([0], np.cumsum(verdicts[order])))
    mass = np.concatenate(([0.0], np.cumsum(values[order])))
    best = Sweep(float(abs(mass[-1] - hits[-1]) / n), 1)
    for bins in range(2, n + 1):
        # Runs of equal confidences go to the bin of their mean rank.
        slot = np.minimum(bins * (starts + stops) // (2 * n), bins - 1)
        last = np.append(np.flatnonzero(slot[1:] != slot[:-1]), len(slot) - 1)
        cut = np.concatenate(([0], stops[last]))
        count, right, total = np.diff(cut), np.diff(hits[cut]), np.diff(mass[cut])
        accuracy = right / count
        if (np.diff(accuracy) < 0).any():
            break
        best = Sweep(float(np.abs(total - right).sum() / n), bins)
        if len(last) == len(stops):
            break
    return best


def _infer(confidence: Any, correct: Any, *, resolution: float = 0.0, asked: Asked) -> Estimate:
    values, verdicts = as_confidences(confidence, correct)
    resolution = resolution_of(confidence, resolution)

    def value(outcome: Any) -> float:
        return sweep(values, outcome, resolution=resolution).value

    return with_null(value(verdicts), values, value, groups=asked.groups, generator=asked.generator)


@metric(
    calibration=True,
    definition="Equal-mass ECE at the largest number of bins before the bin accuracies first fail to rise "
    "with confidence (ties kept together).",
    reference="Roelofs et al., AISTATS 2022, arXiv 2012.08668",
    interval="none; floor and test by labels drawn from the confidences",
    infer=_infer,
)
def sweep_ece(confidence: Any, correct: Any, *, resolution: float = 0.0) -> float:
    """ECE_sweep: the number of equal-mass bins grows until the accuracies stop being monotone.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Roelofs et al., "Mitigating bias in calibration error estimation", AISTATS 2022,
    arXiv 2012.08668.

    Example:
        >>> round(sweep_ece([0.5, 0.6, 0.8, 0.9], [False, True, False, True]), 6)
        0.25
    """
    return sweep(confidence, correct, resolution=resolution).value
