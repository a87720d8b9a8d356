"""Smooth ECE with the numerical conventions of its authors' program, found from its outputs alone."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.smooth_ece import SmoothResult
from vlmcal.types.arrays import FloatArray

_REACH = 0.5
_GUARD = 1e-7


class _Grid:
    """Residuals and counts spread linearly over a grid of step ``step`` on [0, 1]."""

    def __init__(self, confidence: FloatArray, residual: FloatArray, step: float) -> None:
        points = round(1 / step) + 1
        position = confidence * (points - 1)
        left = np.minimum(np.floor(position).astype(np.int64), points - 2)
        share = position - left
        where = np.concatenate([left, left + 1])
        weight = np.concatenate([1 - share, share])
        self.points = np.linspace(0, 1, points)
        self.residual = np.bincount(where, weight * np.tile(residual, 2), minlength=points)
        self.count = np.bincount(where, weight, minlength=points)

    def error(self, width: float, mesh: int) -> float:
        """Sum of |smoothed residual| over the sum of smoothed counts, on ``mesh`` points."""
        step = self.points[1]
        reach = round(_REACH / step)
        offset = np.arange(-reach, reach + 1) * step
        kernel = np.exp(-(offset**2) / (2 * width**2)) * step / (width * np.sqrt(2 * np.pi))
        at = np.linspace(0, 1, max(mesh, round(10 / width)))
        smoothed = [
            np.interp(at, self.points, _convolve(np.pad(part, reach, mode="reflect"), kernel))
            for part in (self.residual, self.count)
        ]
        return float(np.abs(smoothed[0]).sum() / (smoothed[1] + _GUARD).sum())


def _convolve(values: FloatArray, kernel: FloatArray) -> FloatArray:
    """The part of the convolution that needs no values beyond the ends."""
    from scipy.fft import irfft, next_fast_len, rfft

    length = len(values) + len(kernel) - 1
    size = next_fast_len(length, real=True)
    product = irfft(rfft(values, size) * rfft(kernel, size), size)
    return np.asarray(product[len(kernel) - 1 : len(values)])


def published_smooth_calibration(
    confidence: Any,
    correct: Any,
    *,
    width: float | None = None,
    step: float = 0.001,
    mesh: int = 200,
    halvings: int = 10,
) -> SmoothResult:
    """Smooth ECE and width as the authors' program prints them.

    Example:
        >>> result = published_smooth_calibration([0.8], [True])
        >>> round(result.value, 8), result.width
        (0.19997977, 0.2001953125)
    """
    values, verdicts = as_confidences(confidence, correct)
    grid = _Grid(values, verdicts - values, step)
    if width is None:
        low, width = 0.0, 1.0
        for _ in range(halvings):
            middle = (low + width) / 2
            if middle >= step and grid.error(middle, mesh) < middle:
                width = middle
            else:
                low = middle
    return SmoothResult(grid.error(width, mesh), width)


@metric(
    higher_is_better=False,
    definition="Smooth ECE as the authors' program computes it: grid of step {step}, kernel cut off at 0.5, "
    "rows at exactly 0 or 1 counted half, {halvings} halvings for the width, sums over {mesh} points.",
    reference="Blasiok and Nakkiran, ICLR 2024, arXiv 2309.12236 (program)",
)
def published_smooth_ece(
    confidence: Any,
    correct: Any,
    *,
    width: float | None = None,
    step: float = 0.001,
    mesh: int = 200,
    halvings: int = 10,
) -> float:
    """Smooth ECE with the conventions of the authors' program, for comparison with printed values.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        width: Kernel width, by default found by halving (0, 1].
        step: Grid step.
        mesh: Fewest points of the final sum (10 / width if that is more).
        halvings: Number of halvings.

    Example:
        >>> round(published_smooth_ece([0.8], [True]), 8)
        0.19997977
    """
    return published_smooth_calibration(
        confidence, correct, width=width, step=step, mesh=mesh, halvings=halvings
    ).value
