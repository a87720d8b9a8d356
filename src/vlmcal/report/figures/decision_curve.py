"""Net benefit of acting on a risk above each threshold, beside treating everybody and nobody."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.metrics.clinical.decisions import NetBenefit
from vlmcal.report.figures.style import heading, legend_below, new_figure, percent_axis, themed
from vlmcal.report.theme import BLUE, GREEN, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@themed
def decision_curve_figure(curve: NetBenefit, *, title: str = "", subtitle: str = "") -> "Figure":
    """Net benefit against the threshold.

    Args:
        curve: As :func:`vlmcal.metrics.clinical.decisions.clinical_decision_curve` gives it.
        title: First line above the picture.
        subtitle: Second line.

    Example:
        >>> from vlmcal.metrics.clinical.decisions import clinical_decision_curve
        >>> from vlmcal.metrics.clinical.risks import Risks
        >>> figure = decision_curve_figure(clinical_decision_curve(Risks.of([0.9, 0.2], [1, 0])))
        >>> figure.axes[0].get_ylabel()
        'net benefit'
    """
    figure = new_figure(4.4, 3.4)
    axes = figure.subplots()
    draw_decision_curve(axes, curve)
    heading(axes, title, subtitle)
    legend_below(figure, axes)
    return figure


def draw_decision_curve(axes: "Axes", curve: NetBenefit) -> None:
    """Draw the three curves into existing axes."""
    at = curve.threshold
    axes.plot(at, curve.model, color=BLUE.light, label="by this risk")
    axes.plot(at, curve.treat_all, color=GREEN.light, linestyle=":", label="treat all")
    axes.plot(
        at, curve.treat_none, color=MUTED.light, linestyle="--", linewidth=1, label="treat none"
    )
    top = max(float(np.max(curve.model)), float(curve.treat_all[0]), 1e-3)
    axes.set_ylim(-0.3 * top, 1.08 * top)
    axes.set_xlim(0, 1)
    percent_axis(axes, "x")
    axes.set_xlabel("threshold of the risk")
    axes.set_ylabel("net benefit")
