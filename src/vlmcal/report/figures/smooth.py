"""Smooth reliability curve: accuracy against confidence without bins."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.metrics.smooth_ece import SmoothCurve
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 25


@themed
def smooth_reliability(
    curve: SmoothCurve,
    rows: int,
    *,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    smooth_ece: Estimate | None = None,
    title: str = "",
) -> "Figure":
    """A kernel-smoothed accuracy over the confidence, with the density of rows underneath.

    The curve is dotted where fewer than 25 rows lie within one kernel width, and ends where there is less
    than one: it would show nothing but the kernel's tail.

    Args:
        curve: The smoothed accuracy and density on a grid.
        rows: Number of rows behind it.
        low: (M,) lower end of an interval of the curve.
        high: (M,) upper end.
        smooth_ece: Printed above the picture.
        title: First line above the picture.

    Example:
        >>> grid = np.linspace(0, 1, 101)
        >>> figure = smooth_reliability(SmoothCurve(grid, grid**2, np.ones(101), 0.05), rows=900)
        >>> figure.axes[0].get_title(loc="left")
        'curve drawn with kernel width 0.05'
    """
    figure = new_figure(4.4, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    draw_smooth(upper, curve, rows, low=low, high=high)
    top = max(float(np.max(curve.density)), 1e-12)
    lower.fill_between(
        curve.confidence, 0, curve.density, color=MUTED.light, alpha=0.55, linewidth=0
    )
    lower.set_ylim(0, top * 1.1)
    unit_axes(lower, y=False)
    lower.set_yticks([])
    upper.set_ylabel("accuracy")
    lower.set_ylabel("rows")
    lower.set_xlabel("confidence")
    measured = "" if smooth_ece is None else f"smooth ECE {percent_range(smooth_ece)}"
    heading(upper, title, measured, f"curve drawn with kernel width {curve.width:.2g}")
    legend_below(figure, upper)
    return figure


def draw_smooth(
    axes: "Axes",
    curve: SmoothCurve,
    rows: int,
    *,
    low: FloatArray | None = None,
    high: FloatArray | None = None,
) -> None:
    """Draw the curve, without the density of rows, into existing axes."""
    diagonal(axes, "confidence = accuracy")
    if low is not None and high is not None:
        axes.fill_between(
            curve.confidence,
            low,
            high,
            color=BLUE.light,
            alpha=0.2,
            linewidth=0,
            label="95 % interval",
        )
    near = curve.density * rows * 2 * curve.width
    sparse, empty = near < FEW, near < 1
    solid, dotted = (np.where(mask, np.nan, curve.accuracy) for mask in (sparse, ~sparse | empty))
    axes.plot(curve.confidence, solid, color=BLUE.light, label="smoothed accuracy")
    if sparse.any():
        axes.plot(
            curve.confidence,
            dotted,
            color=BLUE.light,
            linewidth=0.9,
            linestyle=":",
            label="few rows",
        )
    unit_axes(axes)


def picture_width(confidence: FloatArray) -> float:
    """Kernel width for the picture: Silverman's rule 1.06 s N^(-1/5), between 0.01 and 0.1.

    The width at which the smooth ECE is taken grows with the error itself, and then hides in the picture
    what it measures: many rows near 1 are smeared over the few in the middle.

    Example:
        >>> round(picture_width(np.linspace(0, 1, 1000)), 4)
        0.0769
    """
    silverman = 1.06 * float(confidence.std()) * confidence.size**-0.2
    return float(np.clip(silverman, 0.01, 0.1))
