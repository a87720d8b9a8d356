"""Smooth reliability curve: accuracy against confidence without bins."""

import numpy as np
from matplotlib.figure import Figure

from vlmcal.report.figures.style import (
    diagonal,
    heading,
    legend_below,
    new_figure,
    themed,
    unit_axes,
)
from vlmcal.report.formats import percent_range
from vlmcal.report.theme import BLUE, MUTED
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate

FAINT = 0.05


@themed
def smooth_reliability(
    confidence: FloatArray,
    accuracy: FloatArray,
    density: FloatArray,
    *,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    smooth_ece: Estimate | None = None,
    bandwidth: float | None = None,
    title: str = "",
) -> Figure:
    """A kernel-smoothed accuracy on a grid of confidences, with the density of rows underneath.

    The curve is drawn thin and dashed where the density is below 5 % of its largest value: few rows
    speak there.

    Args:
        confidence: (G,) increasing grid in [0, 1].
        accuracy: (G,) smoothed accuracy at each grid point.
        density: (G,) density of the rows at each grid point, any scale.
        low: (G,) lower end of the interval of the curve.
        high: (G,) upper end.
        smooth_ece: Printed above the picture.
        bandwidth: Width of the kernel in units of confidence, printed above the picture.
        title: First line above the picture.

    Example:
        >>> grid = np.linspace(0, 1, 101)
        >>> figure = smooth_reliability(grid, grid**2, np.ones(101), bandwidth=0.05)
        >>> figure.axes[0].get_title(loc="left")
        'kernel width 0.05'
    """
    figure = new_figure(4.4, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    diagonal(upper, "confidence = accuracy")
    if low is not None and high is not None:
        upper.fill_between(
            confidence, low, high, color=BLUE.light, alpha=0.2, linewidth=0, label="95 % interval"
        )
    sparse = density < FAINT * float(np.max(density, initial=0.0))
    style = {"color": BLUE.light}
    upper.plot(confidence, np.where(sparse, np.nan, accuracy), label="smoothed accuracy", **style)
    if sparse.any():
        thin = np.where(sparse, accuracy, np.nan)
        upper.plot(confidence, thin, linewidth=0.9, linestyle=":", label="few rows", **style)
    unit_axes(upper)
    lower.fill_between(confidence, 0, density, color=MUTED.light, alpha=0.55, linewidth=0)
    lower.set_ylim(0, max(float(np.max(density, initial=0.0)), 1e-12) * 1.1)
    unit_axes(lower, y=False)
    lower.set_yticks([])
    upper.set_ylabel("accuracy")
    lower.set_ylabel("rows")
    lower.set_xlabel("confidence")
    heading(
        upper,
        title,
        "" if smooth_ece is None else f"smooth ECE {percent_range(smooth_ece)}",
        "" if bandwidth is None else f"kernel width {bandwidth:.2g}",
    )
    legend_below(figure, upper)
    return figure
