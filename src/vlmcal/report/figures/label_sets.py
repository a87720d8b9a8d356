"""Coverage and size of label sets, one line per method."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlmcal.report.figures.style import new_figure, percent_axis, themed
from vlmcal.report.theme import BLUE, GREEN, MUTED
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@themed
def coverage_and_size(
    names: Sequence[str], coverage: Sequence[Estimate], size: Sequence[Estimate], *, target: float
) -> "Figure":
    """Coverage with its interval against the target, beside the mean number of labels.

    Args:
        names: Methods, top to bottom.
        coverage: Share of rows whose set holds the true label.
        size: Mean number of labels per set.
        target: Coverage that was asked for.

    Example:
        >>> found = [Estimate(0.92, 0.88, 0.95)], [Estimate(1.8, 1.6, 2.0)]
        >>> figure = coverage_and_size(["aps"], *found, target=0.9)
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['coverage', 'labels per set']
    """
    figure = new_figure(4.4, 0.9 + 0.24 * len(names))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    rows = np.arange(len(names))
    for axes, estimates, marker, colour, label in (
        (left, coverage, "o", BLUE.light, "coverage"),
        (right, size, "s", GREEN.light, "labels per set"),
    ):
        values = np.array([e.value for e in estimates])
        ends = np.array(
            [[e.value - (e.value if e.low is None else e.low) for e in estimates],
             [(e.value if e.high is None else e.high) - e.value for e in estimates]]
        )  # fmt: skip
        axes.errorbar(
            values, rows, xerr=np.maximum(ends, 0.0), fmt=marker, color=colour, elinewidth=1
        )
        axes.set_xlabel(label)
        axes.grid(visible=True)
    left.axvline(target, color=MUTED.light, linewidth=1.0, linestyle=(0, (4, 3)))
    left.set_title(f"dashed: target {100 * target:g} %", loc="left")
    percent_axis(left, "x")
    right.set_xlim(left=0)
    left.set_yticks(rows, names)
    left.set_ylim(len(names) - 0.4, -0.6)
    return figure
