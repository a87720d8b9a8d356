"""Error among the rows that are kept when the least confident ones are left to a human."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.metrics.aurc import risk_coverage_curve
from vlmcal.report.figures.style import (
    heading,
    legend_below,
    new_figure,
    percent_axis,
    themed,
    unit_axes,
)
from vlmcal.report.theme import BLUE, GREEN, MUTED
from vlmcal.types.arrays import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 400


@themed
def risk_coverage(
    confidence: FloatArray, correct: BoolArray, *, title: str = "", subtitle: str = ""
) -> "Figure":
    """Error rate of the most confident share of rows, for every share.

    Ties are averaged over their order. The dotted line is the best possible
    order (all right answers first), the dashed one an order that knows nothing.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) whether the answer was right.
        title: First line above the picture.
        subtitle: Second line, such as the area under the curve.

    Example:
        >>> figure = risk_coverage(np.array([0.9, 0.8, 0.1]), np.array([True, True, False]))
        >>> figure.axes[0].get_xlabel()
        'share of rows kept, most confident first'
    """
    figure = new_figure(4.4, 3.4)
    axes = figure.subplots()
    draw_risk_coverage(axes, confidence, correct)
    heading(axes, title, subtitle)
    legend_below(figure, axes)
    return figure


def draw_risk_coverage(axes: "Axes", confidence: FloatArray, correct: BoolArray) -> None:
    """Draw the curve, the best order and no order into existing axes."""
    coverage, risk = risk_coverage_curve(confidence, correct)
    _, best_risk = risk_coverage_curve(correct, correct)
    keep = _thin(coverage)
    steps = "steps-pre" if coverage.size <= 50 else "default"
    axes.plot(coverage[keep], risk[keep], color=BLUE.light, drawstyle=steps, label="this model")
    axes.plot(coverage[keep], best_risk[keep], color=GREEN.light, linestyle=":", label="best order")
    base = float(1 - correct.mean())
    axes.plot(
        [0, 1], [base, base], color=MUTED.light, linestyle="--", linewidth=1, label="no order"
    )
    unit_axes(axes, y=False)
    percent_axis(axes, "x")
    top = max(float(risk[keep].max()), base, 1e-3)
    axes.set_ylim(0, min(1.0, top * 1.08))
    percent_axis(axes)
    axes.set_xlabel("share of rows kept, most confident first")
    axes.set_ylabel("error among kept rows")


def _thin(coverage: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Row numbers of at most ``MAX_POINTS`` points, evenly spread over the coverage."""
    wanted = np.linspace(0, 1, MAX_POINTS)
    rows = np.searchsorted(coverage, wanted).clip(max=coverage.size - 1)
    return np.unique(rows).astype(np.int64)
