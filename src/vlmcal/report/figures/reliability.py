"""Reliability diagram: accuracy against confidence per bin, with counts underneath."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlmcal.metrics import Bins, reliability_bins
from vlmcal.report.figures.style import (
    count_axis,
    diagonal,
    heading,
    legend_below,
    new_figure,
    short_count,
    small_figure,
    themed,
    unit_axes,
)
from vlmcal.report.formats import percent_range, plural
from vlmcal.report.theme import BAND, BLUE, INK, MUTED, ORANGE
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVER, UNDER, WITHIN = "over-confident", "under-confident", "within chance"
_MARKS = {OVER: ("v", ORANGE.light), UNDER: ("^", BLUE.light), WITHIN: ("o", INK.light)}
MAX_COUNT_LABELS = 15


@themed
def reliability_diagram(
    bins: Bins, *, ece: Estimate | None = None, title: str = "", compact: bool = False
) -> "Figure":
    """Accuracy of each confidence bin against its mean confidence, with the counts underneath.

    A calibrated model's points lie on the diagonal. Bars show the accuracy, vertical lines its
    interval, the grey boxes where a calibrated model of this size would lie 95 % of the time. A
    point outside its box is a triangle that points to where it has gone: down is over-confident.

    Args:
        bins: The binned rows.
        ece: Printed above the picture, with its interval and what a calibrated model would show.
        title: First line above the picture.
        compact: Smaller, without legend and axis names, for grids of many.

    Example:
        >>> import numpy as np
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.55, 0.95]), np.array([False, True]), bins=10)
        >>> [axes.get_ylabel() for axes in reliability_diagram(bins).axes]
        ['accuracy', 'rows']
    """
    lines = [line for line in (title, *_ece_lines(ece, short=compact)) if line]
    if compact:
        figure = small_figure(2.5, 3.0, left=0.3, bottom=0.24, top=0.1 + 0.17 * len(lines))
    else:
        figure = new_figure(4.4, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1.1 if compact else 1])
    draw_reliability(upper, bins, marker_size=4 if compact else 5.5)
    draw_counts(lower, bins, labels=not compact)
    heading(upper, *lines)
    if compact:
        upper.tick_params(labelsize=7.5)
        lower.set_yticks([])
        lower.tick_params(labelsize=7.5)
        unit_axes(upper, step=0.5)
    else:
        upper.set_ylabel("accuracy")
        lower.set_xlabel("confidence")
        legend_below(figure, upper)
    return figure


def top_bins(
    rows: Confidences,
    *,
    bins: int = 15,
    strategy: Literal["uniform", "quantile"] = "uniform",
    level: float = 0.95,
) -> Bins:
    """The rows in bins of their confidence, as :func:`vlmcal.metrics.reliability_bins` makes them."""
    options: dict[str, Any] = {"bins": bins, "strategy": strategy, "level": level}
    return reliability_bins(rows.confidence, rows.correct, resolution=rows.resolution, **options)


def draw_reliability(axes: "Axes", bins: Bins, *, marker_size: float = 5.5) -> None:
    """Draw one reliability diagram, without counts, into existing axes."""
    unit_axes(axes)
    rows = np.flatnonzero(bins.count > 0)
    left, width = bins.lower[rows], (bins.upper - bins.lower)[rows]
    confidence, accuracy = bins.confidence[rows], bins.accuracy[rows]
    axes.bar(left, accuracy, width, align="edge", color=BLUE.light, alpha=0.16, linewidth=0)
    axes.hlines(accuracy, left, left + width, color=BLUE.light, linewidth=1.0, label="accuracy")
    axes.bar(
        left,
        (bins.band_high - bins.band_low)[rows],
        width,
        bottom=bins.band_low[rows],
        align="edge",
        color=BAND.light,
        alpha=0.75,
        linewidth=0,
        label="if calibrated (95 %)",
    )
    diagonal(axes, "confidence = accuracy")
    axes.vlines(confidence, bins.low[rows], bins.high[rows], color=MUTED.light, linewidth=1.1)
    verdicts = np.array(bin_verdicts(bins))[rows]
    for verdict, (marker, colour) in _MARKS.items():
        here = verdicts == verdict
        if here.any():
            axes.plot(
                confidence[here],
                accuracy[here],
                marker,
                color=colour,
                markersize=marker_size,
                clip_on=False,
                zorder=3,
                label=verdict,
            )


def draw_counts(axes: "Axes", bins: Bins, *, labels: bool = True) -> None:
    """Draw how many rows each bin holds, with the number above each bar, or the highest one only."""
    axes.bar(
        bins.lower,
        bins.count,
        bins.upper - bins.lower,
        align="edge",
        color=MUTED.light,
        alpha=0.55,
        edgecolor=MUTED.light,
        linewidth=0.5,
    )
    top = max(float(bins.count.max()), 1.0)
    axes.set_ylim(0, top * 1.35)
    unit_axes(axes, y=False)
    count_axis(axes)
    axes.set_ylabel("rows", fontsize=8.5 if labels else 7.5)
    if labels and len(bins.count) <= MAX_COUNT_LABELS:
        marked = np.flatnonzero(bins.count)
    else:
        marked = np.array([int(np.argmax(bins.count))])
    size = 8.5 if labels else 7.5
    # Width of a digit as a share of the axes, which are 3.6 inches wide at the least where all are labelled.
    digit, end = 0.62 * size / (3.6 * 72), -1.0
    for i in marked:
        text = short_count(bins.count[i])
        half = digit * len(text) / 2
        middle = min((bins.lower[i] + bins.upper[i]) / 2, 1 - half)
        if labels and middle - half < end:
            continue
        end = middle + half
        axes.annotate(
            text,
            (middle, bins.count[i]),
            xytext=(0, 1.5),
            textcoords="offset points",
            ha="center",
            fontsize=size,
            color=INK.light,
        )


def bin_verdicts(bins: Bins) -> list[str]:
    """For each bin whether its accuracy leaves the consistency band, and to which side."""
    over = bins.accuracy < bins.band_low
    under = bins.accuracy > bins.band_high
    return [OVER if o else UNDER if u else WITHIN for o, u in zip(over, under, strict=True)]


def describe_bins(bins: Bins) -> str:
    """The picture in words, for those who do not see it.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> describe_bins(reliability_bins([0.55, 0.95], [False, True], bins=10))
        '2 of 10 bins hold rows (2 rows): 0 over-confident, 0 under-confident, 2 within chance.'
    """
    verdicts = [v for v, n in zip(bin_verdicts(bins), bins.count, strict=True) if n]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in (OVER, UNDER, WITHIN))
    rows = plural(int(bins.count.sum()), "row")
    return f"{len(verdicts)} of {len(bins.count)} bins hold rows ({rows}): {counts}."


def _ece_lines(ece: Estimate | None, *, short: bool) -> tuple[str, ...]:
    if ece is None:
        return ()
    line = f"ECE {percent_range(ece)}"
    floor = "" if ece.floor is None else f"calibrated model of this size: {100 * ece.floor:.1f} %"
    return (line,) if short else (line, floor)
