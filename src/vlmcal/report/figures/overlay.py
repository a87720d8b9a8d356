"""Two reliability curves in one picture, or two pictures side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmcal.metrics import Bins
from vlmcal.report.figures.reliability import draw_counts, draw_reliability
from vlmcal.report.figures.style import (
    bars,
    count_axis,
    diagonal,
    heading,
    legend_below,
    new_figure,
    themed,
    unit_axes,
)
from vlmcal.report.formats import percent_range, plural
from vlmcal.report.theme import BLUE, ORANGE
from vlmcal.types.arrays import BoolArray
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = (
    {"color": BLUE.light, "marker": "o", "linestyle": "-"},
    {"color": ORANGE.light, "marker": "s", "linestyle": "--"},
)
_HATCHES = ("", "////")
_SPARSE = {"linestyle": "none", "markersize": 3, "elinewidth": 0.6, "alpha": 0.5}
FEW = 10


@themed
def base_new_overlay(
    base: Bins,
    new: Bins,
    *,
    names: tuple[str, str] = ("base classes", "new classes"),
    eces: tuple[Estimate | None, Estimate | None] = (None, None),
    title: str = "",
) -> "Figure":
    """Accuracy against confidence of two groups of rows, such as base and new classes.

    Bins with fewer than 10 rows are small and pale, and no line leads to them, unless all are so small.

    Args:
        base: Bins of the first group.
        new: Bins of the second group, with the same edges or not.
        names: What the groups are called.
        eces: Their ECE, printed above the picture.
        title: First line above the picture.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> len(base_new_overlay(bins, bins).axes)
        3
    """
    figure = new_figure(4.4, 5.2)
    upper, *strips = figure.subplots(3, 1, sharex=True, height_ratios=[4, 0.8, 0.8])
    diagonal(upper)
    for bins, look, hatch, name, strip in zip(
        (base, new), _LOOKS, _HATCHES, names, strips, strict=True
    ):
        draw_points(upper, bins, name, look)
        widths = bins.upper - bins.lower
        bars(
            strip,
            bins.lower,
            bins.count.astype(np.float64),
            widths,
            colour=look["color"],
            hatch=hatch,
        )
        unit_axes(strip, y=False)
        count_axis(strip)
        strip.set_ylabel("rows")
    unit_axes(upper)
    upper.set_ylabel("accuracy")
    strips[-1].set_xlabel("confidence")
    known = [f"{name}: ECE {percent_range(e)}" for name, e in zip(names, eces, strict=True) if e]
    heading(upper, title, *known)
    legend_below(figure, upper, columns=2)
    return figure


def draw_points(axes: "Axes", bins: Bins, name: str, look: Mapping[str, Any]) -> None:
    """Draw one group's accuracy per bin with intervals, few rows pale, into existing axes."""
    label = f"{name} ({plural(int(bins.count.sum()), 'row')})"
    few = FEW if (bins.count >= FEW).any() else 1
    _points(axes, bins, bins.count >= few, {**look, "label": label})
    _points(axes, bins, (bins.count > 0) & (bins.count < few), {**look, **_SPARSE})


def _points(axes: "Axes", bins: Bins, chosen: BoolArray, look: Mapping[str, Any]) -> None:
    if not chosen.any():
        return
    x, y = bins.confidence[chosen], bins.accuracy[chosen]
    errors = np.abs(np.stack([y - bins.low[chosen], bins.high[chosen] - y]))
    axes.errorbar(
        x,
        y,
        errors,
        **{"elinewidth": 1, "markersize": 5, "linewidth": 1.2, "clip_on": False, **look},
    )


@themed
def before_after(
    before: Bins,
    after: Bins,
    *,
    names: tuple[str, str] = ("before", "after"),
    eces: tuple[Estimate | None, Estimate | None] = (None, None),
    title: str = "",
) -> "Figure":
    """Two reliability diagrams with counts, side by side on the same axes.

    Args:
        before: Bins on the left.
        after: Bins on the right.
        names: What the two are called.
        eces: Their ECE, printed above each.
        title: Line above the picture.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> len(before_after(bins, bins).axes)
        4
    """
    figure = new_figure(6.6, 4.3)
    axes = figure.subplots(2, 2, sharex=True, height_ratios=[4, 1])
    sides: Sequence[tuple[Bins, str, Estimate | None]] = tuple(
        zip((before, after), names, eces, strict=True)
    )
    for column, (bins, name, ece) in enumerate(sides):
        upper, lower = axes[:, column]
        draw_reliability(upper, bins)
        draw_counts(lower, bins)
        heading(upper, name, "" if ece is None else f"ECE {percent_range(ece)}")
        lower.set_xlabel("confidence")
        if column:
            lower.set_ylabel("")
    axes[0, 0].set_ylabel("accuracy")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    legend_below(figure, *axes[0], columns=5)
    return figure
