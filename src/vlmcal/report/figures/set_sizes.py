"""How many labels the sets hold, and how often sets of that size hold the right one."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vlmcal.metrics.kit.proportions import wilson
from vlmcal.report.figures.style import bars, percent_axis
from vlmcal.report.theme import BLUE, MUTED, ORANGE
from vlmcal.types.prediction_sets import PredictionSets


def draw_set_sizes(axes: Axes, sets: PredictionSets) -> None:
    """Draw the share of each size as bars and, where labels are known, its coverage as points.

    The points have Wilson intervals at 95 %; sets without a label, which cover nothing, have none.

    Args:
        axes: Where to draw.
        sets: At least one row.
    """
    sizes = sets.sizes()
    present, counts = np.unique(sizes, return_counts=True)
    share = counts / sizes.size
    bars(axes, present - 0.4, share, np.full(present.size, 0.8), colour=BLUE.light)
    axes.set_xlabel("labels in the set")
    axes.set_ylabel("share of rows (bars)")
    if sets.labelled:
        some = present > 0
        present, counts = present[some], counts[some]
        hits = np.array([sets.covered()[sizes == size].sum() for size in present], dtype=float)
        value = hits / counts
        low, high = wilson(hits, counts.astype(float))
        error = np.maximum(np.stack([value - low, high - value]), 0.0)
        axes.errorbar(present, value, error, fmt="o", color=ORANGE.light, elinewidth=1,
                      label=f"coverage; {100 * sets.covered().mean():.1f} % in all")  # fmt: skip
        axes.axhline(1 - sets.alpha, color=MUTED.light, linewidth=1, linestyle=(0, (4, 3)),
                     label=f"target {100 * (1 - sets.alpha):g} %")  # fmt: skip
        axes.set_ylabel("share of rows (bars), coverage (points)")
    axes.set_ylim(0, 1.02 if sets.labelled else 1.08 * float(share.max()))
    percent_axis(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True)
