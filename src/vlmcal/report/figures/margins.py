"""How far the label's logit lies above or below the largest other one."""

from typing import TYPE_CHECKING

import numpy as np

from vlmcal.report.figures.style import bars, percent_axis
from vlmcal.report.theme import BLUE, INK, ORANGE
from vlmcal.types.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS = 30


def draw_margins(axes: "Axes", margins: FloatArray) -> None:
    """Draw the distribution; wrong rows, left of zero, are hatched.

    Args:
        axes: Where to draw.
        margins: (N,) as :func:`vlmcal.metrics.prompt_analysis.margins` gives them, finite.
    """
    low, high = min(float(margins.min()), 0.0), max(float(margins.max()), 0.0)
    width = max((high - low) / BARS, 1e-9)
    # Zero, which parts right rows from wrong ones, is an edge.
    first, last = int(np.floor(low / width)), max(int(np.ceil(high / width)), 1)
    edges = np.arange(min(first, -1), last + 1) * width
    share = np.histogram(margins, edges)[0] / margins.size
    left = edges[:-1]
    for part, colour, hatch in ((left < -width / 2, ORANGE, "////"), (left > -width / 2, BLUE, "")):
        bars(axes, left[part], share[part], np.full(int(part.sum()), width),
             colour=colour.light, hatch=hatch)  # fmt: skip
    mean = float(margins.mean())
    axes.axvline(mean, color=INK.light, linewidth=1.1, linestyle=":", label=f"mean {mean:.2f}")
    axes.axvline(0, color=INK.light, linewidth=0.8)
    axes.set_xlabel("logit of the label − largest other logit")
    axes.set_ylabel("share of rows")
    percent_axis(axes)
    axes.grid(visible=True)
