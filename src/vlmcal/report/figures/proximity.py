"""Confidence and accuracy from rows near the known data to rows far from it."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.metrics import Bins
from vlmcal.report.figures.style import (
    count_axis,
    heading,
    legend_below,
    new_figure,
    percent_axis,
    themed,
)
from vlmcal.report.formats import percent_range
from vlmcal.report.theme import BLUE, GRID, MUTED, ORANGE
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@themed
def proximity_reliability(
    bins: Bins,
    *,
    piece: Estimate | None = None,
    axis_label: str = "distance to the nearest known images",
    title: str = "",
) -> "Figure":
    """Mean confidence and accuracy in bins of distance, nearest first.

    The line between the two points of a bin is its gap. Bins stand side by side whatever their
    width; the distance at each edge is written underneath.

    Args:
        bins: Bins over a distance: ``lower`` and ``upper`` are distances, the rest as usual.
        piece: Proximity-informed calibration error, printed above the picture.
        axis_label: What the distance is.
        title: First line above the picture.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> proximity_reliability(bins).axes[0].get_ylabel()
        'confidence and accuracy'
    """
    figure = new_figure(4.4, 4.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    rows = np.flatnonzero(bins.count > 0)
    x = np.arange(rows.size) + 0.5
    confidence, accuracy = bins.confidence[rows], bins.accuracy[rows]
    upper.vlines(x, confidence, accuracy, color=MUTED.light, linewidth=1.2, linestyle=":")
    upper.plot(
        x, confidence, "_", color=ORANGE.light, markersize=15, mew=2, label="mean confidence"
    )
    errors = np.abs(np.stack([accuracy - bins.low[rows], bins.high[rows] - accuracy]))
    upper.errorbar(x, accuracy, errors, fmt="o", color=BLUE.light, elinewidth=1, label="accuracy")
    upper.set_ylim(0, 1.02)
    percent_axis(upper)
    upper.yaxis.grid(visible=True, color=GRID.light)
    upper.set_ylabel("confidence and accuracy")
    lower.bar(x, bins.count[rows], 0.9, color=MUTED.light, alpha=0.55)
    count_axis(lower)
    lower.set_ylabel("rows")
    edges = np.append(bins.lower[rows], bins.upper[rows[-1:]])
    step = max(1, -(-edges.size // 8))
    lower.set_xticks(np.arange(edges.size)[::step], [f"{edge:.3g}" for edge in edges[::step]])
    lower.set_xlim(0, max(rows.size, 1))
    lower.set_xlabel(f"{axis_label}: near → far")
    heading(upper, title, "" if piece is None else f"PIECE {percent_range(piece)}")
    legend_below(figure, upper)
    return figure
