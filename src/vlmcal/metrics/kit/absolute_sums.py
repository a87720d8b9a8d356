"""Intervals for sums of absolute mean residuals (ECE, ACE, PIECE ...), which a bootstrap cannot give.

With cell means d_c and standard errors s_c, the plug-in T = sum |d_c| estimates theta = sum |E d_c| and is
biased upwards by sum s_c (f(t_c) - |t_c|), f(t) = E|N(t, 1)|, most of all for a calibrated model.

* Lower end: 0 unless T exceeds the 1 - alpha/2 quantile of a perfectly calibrated model with the same
  confidences; otherwise T minus the bias and z standard errors that belong to cell means moved two standard
  errors towards 0, so that the bias is never understated where it matters.
* Upper end: the largest theta that is not rejected by "T is too small", for the cell means with that sum
  that make T smallest (all |t_c| equal, because the bias is convex in t); never below T itself.

The moment selection follows Andrews and Soares, Econometrica 2010, and Fang and Santos, "Inference on
directionally differentiable functions", Review of Economic Studies 2019. Simulated coverage is in
docs/results/intervals.md.
"""

import numpy as np

from vlmcal.metrics.kit.cell_residuals import CellResiduals
from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.metrics.kit.roots import monotone_root
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray

_SHRINK = 2.0
_ROOT = float(np.sqrt(2 / np.pi))


def folded_mean(t: FloatArray) -> FloatArray:
    """E|N(t, 1)|.

    Example:
        >>> round(float(folded_mean(np.array(0.0))), 4)
        0.7979
    """
    return np.asarray(_ROOT * np.exp(-(t**2) / 2) + t * (1 - 2 * special.ndtr(-t)))


def absolute_sum_interval(
    cells: CellResiduals, threshold: float, level: float = 0.95
) -> tuple[float, float]:
    """Lower and upper end for sum_c |E d_c|.

    Args:
        cells: Cell means and standard errors.
        threshold: The 1 - alpha/2 quantile of sum |d_c| of a perfectly calibrated model.
        level: Confidence level.

    Example:
        >>> cells = CellResiduals(np.array([0.2]), np.array([0.01]), np.array([0.01]), np.array([90]))
        >>> low, high = absolute_sum_interval(cells, threshold=0.02)
        >>> round(low, 3), round(high, 3)
        (0.18, 0.22)
    """
    z = critical_value(level, cells.groups)
    total = float(np.abs(cells.mean).sum())
    low = 0.0
    if total > threshold:
        shrunk = shrunken(cells, _SHRINK)
        low = max(0.0, total - _bias(cells, shrunk) - z * _spread(cells, shrunk))
    return low, max(total, largest_not_rejected(cells, total, z))


def plausible_bias(cells: CellResiduals) -> float:
    """Upward bias of sum |d_c| when every cell mean lies two standard errors nearer to 0."""
    return _bias(cells, shrunken(cells, _SHRINK))


def debiased_sum(cells: CellResiduals) -> float:
    """The theta whose T is expected to be the T found, when all cells are equally many errors from 0.

    0 where T is not above what a calibrated model shows.
    """
    return largest_not_rejected(cells, float(np.abs(cells.mean).sum()), 0.0)


def shrunken(cells: CellResiduals, by: float) -> FloatArray:
    """|d_c| / s_c moved ``by`` towards 0; cells without uncertainty stay where they are."""
    ratio = np.divide(
        np.abs(cells.mean), cells.error, out=np.zeros_like(cells.mean), where=cells.error > 0
    )
    return np.maximum(ratio - by, 0.0)


def _bias(cells: CellResiduals, t: FloatArray) -> float:
    return float(np.sum(cells.error * cells.folding * (folded_mean(t) - t)))


def _spread(cells: CellResiduals, t: FloatArray) -> float:
    variance = cells.error**2 @ (1 + t**2 - folded_mean(t) ** 2)
    return float(np.sqrt(variance * cells.inflation))


def largest_not_rejected(cells: CellResiduals, total: float, z: float) -> float:
    """Upper end: the sum under the least favourable cell means, all |t_c| equal to one c."""
    errors = cells.error
    scale = float(errors.sum())
    if scale == 0:
        return total

    def excess(c: float) -> float:
        t = np.full(len(errors), c)
        return c * scale + _bias(cells, t) - z * _spread(cells, t) - total

    if excess(0.0) >= 0:
        return 0.0
    top = 2.0
    while excess(top) < 0:
        top *= 2
    return monotone_root(excess, 0.0, top) * scale
