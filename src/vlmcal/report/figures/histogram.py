"""Where right and wrong answers sit on the confidence scale."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.report.figures.style import bars, heading, new_figure, themed, unit_axes
from vlmcal.report.formats import number, plural
from vlmcal.report.theme import BLUE, INK, ORANGE
from vlmcal.types.arrays import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@themed
def confidence_histogram(
    confidence: FloatArray, correct: BoolArray, *, bins: int = 20, title: str = ""
) -> "Figure":
    """Confidence of right answers (upwards) and of wrong ones (downwards, hatched).

    Each half is a share of its own rows, so that five wrong rows among a million still show; the
    numbers of rows are written beside. Confident mistakes are the bars at the lower right.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) whether the answer was right.
        bins: Number of bars from 0 to 1.
        title: First line above the picture.

    Example:
        >>> figure = confidence_histogram(np.array([0.9, 0.8]), np.array([True, False]))
        >>> [round(float(y), 1) for y in figure.axes[0].get_ylim()]
        [-1.3, 1.3]
    """
    figure = new_figure(4.4, 3.4)
    axes = figure.subplots()
    draw_histogram(axes, confidence, correct, bins=bins)
    heading(axes, title)
    return figure


def draw_histogram(
    axes: "Axes", confidence: FloatArray, correct: BoolArray, *, bins: int = 20
) -> None:
    """Draw the two halves into existing axes."""
    right, wrong = confidence[correct], confidence[~correct]
    top = max(
        _half(axes, right, bins, sign=1, colour=BLUE.light, hatch=""),
        _half(axes, wrong, bins, sign=-1, colour=ORANGE.light, hatch="////"),
    )
    for group, sign in ((right, 1), (wrong, -1)):
        if group.size:
            mean = float(group.mean())
            axes.plot([mean, mean], [0, sign * top], color=INK.light, linewidth=1.1, linestyle=":")
    axes.axhline(0, color=INK.light, linewidth=0.8)
    unit_axes(axes, y=False)
    axes.set_ylim(-1.3 * top, 1.3 * top)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(100 * value):g} %")
    axes.set_xlabel("confidence")
    axes.set_ylabel("share of wrong | of right")
    for group, name, y in ((right, "right", 0.97), (wrong, "wrong", 0.03)):
        axes.text(
            0.02,
            y,
            _summary(group, name),
            transform=axes.transAxes,
            va="top" if y > 0.5 else "bottom",
        )


def _half(
    axes: "Axes", values: FloatArray, bins: int, *, sign: int, colour: str, hatch: str
) -> float:
    counts, edges = np.histogram(values, bins=bins, range=(0.0, 1.0))
    share = counts / max(values.size, 1)
    bars(axes, edges[:-1], sign * share, np.diff(edges), colour=colour, hatch=hatch)
    return float(share.max(initial=0.0))


def _summary(values: FloatArray, name: str) -> str:
    if not values.size:
        return f"{name}: no rows"
    mean = number(float(values.mean()), percent=False, digits=2)
    return f"{name}: {plural(values.size, 'row')}, mean confidence {mean}"
