"""Smooth ECE: calibration error of the kernel-smoothed residual, with the bandwidth chosen by itself."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.absolute_sums import folded_mean
from vlmcal.metrics.kit.cell_residuals import judged, widened
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import (
    critical_value,
    design_effect,
    effective_groups,
    mean_variance,
    widest_gap,
)
from vlmcal.metrics.kit.roots import monotone_root
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Asked, Estimate

CELLS = 1 << 13
_COARSE = 1 << 9
_NODES = np.linspace(0.0, 1.0, _COARSE + 1)
_DRAWS = 200
SMALLEST_WIDTH = 1e-4
_REFERENCE = "Blasiok and Nakkiran, ICLR 2024, arXiv 2309.12236"


@dataclass(frozen=True, eq=False)
class Smoother:
    """Gaussian smoothing on [0, 1] with reflecting ends, of mass given at the nodes 0, 1 / M, ... 1.

    In the cosine basis a reflected Gaussian of width s multiplies the k-th coefficient by
    exp(-(pi k s)^2 / 2); mass is kept, also that on the ends.
    """

    spectrum: FloatArray

    @classmethod
    def of(cls, mass: FloatArray) -> "Smoother":
        """From mass per node, (..., M + 1)."""
        from scipy.fft import dct  # not with every metric

        return cls(dct(_ends(mass, 2.0), type=1, axis=-1))

    def smooth(self, width: Any) -> FloatArray:
        """Smoothed density over M at the nodes; ``width`` broadcasts over leading axes."""
        from scipy.fft import idct

        order = np.arange(self.spectrum.shape[-1])
        decay = np.exp(-((np.pi * order * np.asarray(width)[..., None]) ** 2) / 2)
        return np.asarray(idct(self.spectrum * decay, type=1, axis=-1))

    def total(self, width: Any) -> FloatArray:
        """Integral of the absolute smoothed mass."""
        return np.asarray(_ends(np.abs(self.smooth(width)), 0.5).sum(axis=-1))


def _ends(values: FloatArray, factor: float) -> FloatArray:
    """A copy with the first and last node times ``factor``."""
    scaled = np.array(values, dtype=np.float64)
    scaled[..., [0, -1]] *= factor
    return scaled


def spread(confidence: FloatArray, weights: FloatArray, cells: int = CELLS) -> FloatArray:
    """Sum of weights at the nodes 0, 1 / M, ... 1, each shared by the two nodes next to it, (M + 1,).

    Example:
        >>> spread(np.array([0.125]), np.array([1.0]), cells=2).tolist()
        [0.75, 0.25, 0.0]
    """
    scaled = confidence * cells
    left = np.minimum(scaled.astype(np.int64), cells - 1)
    above = (scaled - left) * weights
    nodes = np.zeros(cells + 1)
    nodes[:] = np.bincount(left, weights - above, minlength=cells + 1)
    nodes[1:] += np.bincount(left, above, minlength=cells)
    return nodes


class SmoothResult(NamedTuple):
    """Smooth ECE and the kernel width it was taken at."""

    value: float
    width: float


def fixed_point(smoother: Smoother) -> SmoothResult:
    """The width s with smooth ECE at s equal to s; the left side falls with s."""

    def excess(width: float) -> float:
        return float(smoother.total(width)) - width

    none = excess(SMALLEST_WIDTH) <= 0
    width = SMALLEST_WIDTH if none else monotone_root(excess, SMALLEST_WIDTH, 1.0)
    return SmoothResult(float(smoother.total(width)), width)


def smooth_calibration(
    confidence: Any, correct: Any, *, width: float | None = None
) -> SmoothResult:
    """Smooth ECE with the kernel width that was used.

    Example:
        >>> result = smooth_calibration([0.8], [True])
        >>> round(result.value, 4), round(result.width, 4)
        (0.2, 0.2)
    """
    values, verdicts = as_confidences(confidence, correct)
    smoother = Smoother.of(spread(values, (verdicts - values) / len(values)))
    if width is None:
        return fixed_point(smoother)
    if not width > 0:
        raise SpecError(f"width: expected a positive number, got {width}")
    return SmoothResult(float(smoother.total(width)), width)


def _infer(confidence: Any, correct: Any, *, width: float | None = None, asked: Asked) -> Estimate:
    level, groups, generator = asked
    values, verdicts = as_confidences(confidence, correct)
    found = smooth_calibration(values, verdicts, width=width)
    n = len(values)
    residual = verdicts - values
    smoother = Smoother.of(spread(values, residual / n, _COARSE))
    smoothed = smoother.smooth(found.width)
    slope = Smoother.of(_ends(np.sign(smoothed), 0.5)).smooth(found.width)
    influence = residual * np.interp(values, _NODES, slope)
    count = None if groups is None else effective_groups(groups, residual)
    z = critical_value(level, count)
    effect = 1.0 if groups is None else design_effect(residual, groups)
    error = float(np.sqrt(mean_variance(influence, groups)))
    variance = spread(values, values * (1 - values), _COARSE) * effect / n**2
    drawn: FloatArray = generator.standard_normal((_DRAWS, _COARSE + 1)) * np.sqrt(variance)
    if count is not None:
        drawn = widened(drawn, count, generator)
    totals = _null_values(drawn, width)
    low = 0.0
    if found.value > np.quantile(totals, (1 + level) / 2):
        # Variance of the smoothed residual: the squared kernel is a kernel of width s / sqrt(2).
        square = Smoother.of(variance).smooth(found.width / np.sqrt(2))
        around = np.sqrt(np.maximum(square, 0) / (2 * np.sqrt(np.pi) * found.width * _COARSE))
        ratio = np.divide(np.abs(smoothed), around, out=np.zeros(_COARSE + 1), where=around > 0)
        shrunk = np.maximum(ratio - 2, 0)
        bias = float(around @ (folded_mean(shrunk) - shrunk))
        low = max(0.0, found.value - bias - z * error)
    high = max(found.value + z * error, widest_gap(values, verdicts, level, groups))
    return judged(found.value, totals, low, high, n=n, method="moment selection")


def _null_values(mass: FloatArray, width: float | None) -> FloatArray:
    """Smooth ECE of many draws at once, by bisection on all widths together."""
    smoother = Smoother.of(mass)
    if width is not None:
        return smoother.total(np.full(len(mass), width))
    low, high = np.full(len(mass), SMALLEST_WIDTH), np.ones(len(mass))
    for _ in range(16):
        middle = (low + high) / 2
        below = smoother.total(middle) <= middle
        high, low = np.where(below, middle, high), np.where(below, low, middle)
    return smoother.total(high)


@metric(
    calibration=True,
    definition="Integral over [0, 1] of the absolute residual (correct - confidence) smoothed by a Gaussian "
    "with reflecting ends, at the width that equals the result (on a grid of 8192; no bins to choose).",
    reference=_REFERENCE,
    interval="moment selection for the lower end, normal upper end",
    infer=_infer,
)
def smooth_ece(confidence: Any, correct: Any, *, width: float | None = None) -> float:
    """Smooth ECE: integral of |(1 / N) sum_i K_s(t, c_i) (y_i - c_i)| over t in [0, 1], at s = the result.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        width: Kernel width; by default the fixed point at which the value equals the width.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: A width that is not positive.

    Source: Blasiok and Nakkiran, "Smooth ECE: Principled reliability diagrams via kernel smoothing",
    ICLR 2024, arXiv 2309.12236. Written from the paper. The authors' program counts rows with a confidence
    of exactly 0 or 1 half and cuts the kernel off; ``published_smooth_ece`` follows its numbers.

    Example:
        >>> round(smooth_ece([0.9, 0.8, 0.3], [True, True, False]), 4)
        0.1737
    """
    return smooth_calibration(confidence, correct, width=width).value


@dataclass(frozen=True, eq=False)
class SmoothCurve:
    """A smooth reliability curve, (M,) each.

    Attributes:
        confidence: Grid on [0, 1].
        accuracy: Smoothed accuracy there.
        density: Smoothed density of the confidences (integrates to 1).
        width: Kernel width.
    """

    confidence: FloatArray
    accuracy: FloatArray
    density: FloatArray
    width: float


def smooth_reliability_curve(
    confidence: Any, correct: Any, *, width: float | None = None, points: int = 201
) -> SmoothCurve:
    """Kernel-smoothed accuracy as a function of confidence, at the smooth ECE's own width.

    Example:
        >>> curve = smooth_reliability_curve([0.2, 0.8], [False, True])
        >>> bool(curve.accuracy[0] < 0.5 < curve.accuracy[-1])
        True
    """
    values, verdicts = as_confidences(confidence, correct)
    found = smooth_calibration(values, verdicts, width=width)
    wide = max(found.width, 4.0 / CELLS)
    hits = Smoother.of(spread(values, verdicts.astype(np.float64))).smooth(wide)
    mass = np.maximum(Smoother.of(spread(values, np.ones(len(values)))).smooth(wide), 1e-12)
    nodes = np.linspace(0.0, 1.0, CELLS + 1)
    grid = np.linspace(0.0, 1.0, points)
    accuracy = np.interp(grid, nodes, np.clip(hits / mass, 0, 1))
    density = np.interp(grid, nodes, mass) * CELLS / len(values)
    return SmoothCurve(grid, accuracy, density, found.width)
