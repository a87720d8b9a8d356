"""Many small reliability diagrams side by side: per class, per method, per split."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlmcal.metrics import Bins
from vlmcal.report.figures.reliability import draw_counts, draw_reliability
from vlmcal.report.figures.style import (
    legend_below,
    new_figure,
    short_count,
    small_figure,
    themed,
    unit_axes,
)
from vlmcal.report.formats import number, percent_range
from vlmcal.types.arrays import FloatArray
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = tuple[Bins, Estimate | None]
RARE = 0.05


@themed
def classwise_reliability(
    panels: Sequence[tuple[str, Bins]], *, columns: int = 4, max_panels: int = 12, title: str = ""
) -> "Figure":
    """One small reliability diagram per class: its probability against its frequency.

    With more classes than ``max_panels`` the ones with the largest share-weighted gap are shown,
    worst first, and the picture says so.

    Args:
        panels: Class name and the bins of (probability of the class, label is the class).
        columns: Panels per row.
        max_panels: Largest number of panels.
        title: Line above the picture.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> len(classwise_reliability([("cat", bins), ("dog", bins)]).axes)
        2
    """
    shown = list(panels)
    lines = [title] if title else []
    if len(shown) > max_panels:
        shown = sorted(shown, key=lambda panel: -weighted_gap(panel[1]))[:max_panels]
        lines.append(f"{max_panels} of {len(panels)} classes, largest gaps first")
    rare = are_rare([bins for _, bins in shown])
    if rare:
        lines.append("square-root axes, since each class is rare")
    columns = min(columns, max(len(shown), 1))
    rows = -(-len(shown) // columns)
    figure = new_figure(1.75 * columns + 0.4, 1.95 * rows + 0.6)
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for ax, (name, bins) in zip(axes, shown, strict=False):
        _draw_class(ax, name, bins, rare=rare)
    for ax in axes[len(shown) :]:
        ax.remove()
    if lines:
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=8.5)
    figure.supxlabel("probability given to the class", fontsize=8)
    figure.supylabel("share of rows that are of the class", fontsize=8)
    return figure


@themed
def class_reliability(name: str, bins: Bins, *, rare: bool = False) -> "Figure":
    r"""One class alone, in the size of a small multiple.

    Args:
        name: Class name, or "" to leave it to the caption.
        bins: Bins of (probability of the class, label is the class).
        rare: Square-root axes, for classes that are a small share of the rows.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> class_reliability("cat", bins).axes[0].get_title(loc="left")
        'cat\ngap 15.0 %, 1 of 2 rows'
    """
    figure = small_figure(2.3, 2.55, left=0.42, bottom=0.4, top=0.38)
    axes = figure.subplots()
    _draw_class(axes, name, bins, rare=rare)
    axes.set_xlabel("probability", fontsize=7.5)
    axes.set_ylabel("share", fontsize=7.5)
    return figure


@themed
def reliability_grid(
    cells: Mapping[tuple[str, str], Cell],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
) -> "Figure":
    """Reliability diagrams in a table: one row per method, one column per condition.

    Args:
        cells: Bins and ECE by (row name, column name); a missing pair stays empty.
        rows: Row names, top to bottom.
        columns: Column names, left to right.
        title: Line above the picture.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> bins = reliability_bins(np.array([0.2, 0.9]), np.array([False, True]), bins=10)
        >>> cells = {("CoOp", "base"): (bins, None), ("CoOp", "new"): (bins, None)}
        >>> len(reliability_grid(cells, rows=["CoOp"], columns=["base", "new"]).axes)
        4
    """
    figure = new_figure(1.95 * len(columns) + 0.5, 2.65 * len(rows) + 0.6)
    heights = [4, 1.1] * len(rows)
    axes = figure.subplots(2 * len(rows), len(columns), squeeze=False, height_ratios=heights)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            upper, lower = axes[2 * i, j], axes[2 * i + 1, j]
            cell = cells.get((row, column))
            if cell is None:
                upper.remove()
                lower.remove()
                continue
            _draw_cell(upper, lower, cell)
            if i == len(rows) - 1:
                lower.set_xlabel("confidence", fontsize=7.5)
            first = f"{_short(column, 26)}\n" if i == 0 else ""
            ece = "" if cell[1] is None else f"ECE {percent_range(cell[1])}"
            upper.set_title(first + ece, loc="left", fontsize=7.5)
            if j == 0:
                upper.set_ylabel(_short(row, 26), fontsize=8)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    legend_below(figure, *axes[::2].ravel(), columns=len(columns) + 1)
    return figure


def weighted_gap(bins: Bins) -> float:
    """Mean absolute gap between accuracy and confidence, weighted by the rows of each bin.

    Example:
        >>> from vlmcal.metrics import reliability_bins
        >>> round(weighted_gap(reliability_bins(np.array([0.75]), np.array([True]), bins=10)), 4)
        0.25
    """
    gaps = np.abs(bins.accuracy - bins.confidence)
    weights = bins.count / max(float(bins.count.sum()), 1.0)
    return float(np.nansum(np.where(bins.count > 0, gaps, 0.0) * weights))


def are_rare(classes: Sequence[Bins]) -> bool:
    """Whether the typical class makes up less than 5 % of the rows."""
    shares = [
        float(np.nansum(bins.accuracy * bins.count) / max(float(bins.count.sum()), 1.0))
        for bins in classes
    ]
    return bool(shares) and float(np.median(shares)) < RARE


def _draw_class(axes: "Axes", name: str, bins: Bins, *, rare: bool) -> None:
    draw_reliability(axes, bins, marker_size=4)
    _small(axes)
    if rare:
        _root_scale(axes)
    gap = number(weighted_gap(bins), percent=True, digits=1)
    hits = short_count(float(np.nansum(bins.accuracy * bins.count)))
    lines = [_short(name), f"gap {gap} %, {hits} of {short_count(float(bins.count.sum()))} rows"]
    axes.set_title("\n".join(line for line in lines if line), loc="left", fontsize=7.5)


def _root_scale(axes: "Axes") -> None:
    """Square-root axes: the diagonal stays straight and small probabilities get room."""
    ticks = [0, 0.1, 0.25, 0.5, 1]
    labels = [f"{tick:g}" for tick in ticks]
    axes.set_xscale("function", functions=(_signed_root, np.square))
    axes.set_yscale("function", functions=(_signed_root, np.square))
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def _signed_root(value: FloatArray) -> FloatArray:
    return np.sqrt(np.maximum(value, 0.0))


def _draw_cell(upper: "Axes", lower: "Axes", cell: Cell) -> None:
    draw_reliability(upper, cell[0], marker_size=4)
    draw_counts(lower, cell[0], labels=False)
    _small(upper)
    upper.tick_params(labelbottom=False)
    unit_axes(lower, y=False, step=0.5)
    lower.set_yticks([])
    lower.set_ylabel("")
    lower.tick_params(labelsize=7.5)


def _small(axes: "Axes") -> None:
    unit_axes(axes, step=0.5)
    axes.tick_params(labelsize=7.5)


def _short(name: str, limit: int = 22) -> str:
    """Long names keep both ends: classes often differ only in the last word."""
    half = (limit - 1) // 2
    return name if len(name) <= limit else f"{name[: limit - 1 - half]}…{name[-half:]}"
