"""Reliability diagrams of several runs: one small picture per run, pooled over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.errors import DataError
from vlmcal.metrics import Bins, reliability_bins
from vlmcal.metrics.kit.proportions import wilson
from vlmcal.metrics.kit.reliability import binomial_band
from vlmcal.report.cells import Spread
from vlmcal.report.figures.grid import Cell, reliability_grid
from vlmcal.report.figures.overlay import base_new_overlay
from vlmcal.report.figures.reliability import describe_bins, reliability_diagram
from vlmcal.report.formats import percent_range, plural
from vlmcal.report.html import Picture, Section, Strip
from vlmcal.report.pages.run_rows import (
    AnyRow,
    RunRow,
    as_run_rows,
    grouped,
    ordered_classes,
    variant_names,
)
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15
MAX_OVERLAYS = 8
HOW_TO_READ = (
    "Each picture shows accuracy (upwards) against confidence (to the right), with the number of rows "
    "per bin underneath. On the dashed line the two agree. A triangle pointing down marks a bin that is "
    "over-confident beyond chance, one pointing up an under-confident bin, a dot a bin that a calibrated "
    "model could show; grey boxes are where a calibrated model's bins lie in 95 % of samples."
)
POOLED = (
    "Rows of all seeds are drawn together. Seeds that share their test rows do not make them more "
    "numerous, so intervals and grey boxes are those of one seed."
)


def reliability_section(rows: Sequence[RunRow]) -> Section | None:
    """One strip per method: class sets from left to right, each without and with calibrators."""
    drawn = [row for row in rows if row.confidences is not None]
    if not drawn:
        return None
    names = variant_names(rows)
    strips: dict[str, list[Picture]] = {}
    for classes in ordered_classes(drawn):
        for (variant, calibrator), members in grouped(drawn).items():
            chosen = [row for row in members if row.classes == classes]
            if chosen:
                strips.setdefault(names[variant], []).append(
                    _cell_picture(chosen, names[variant], classes, calibrator)
                )
    several = len({row.seed for row in drawn} - {None}) > 1
    return Section(
        heading="Reliability diagrams",
        prose=[HOW_TO_READ],
        strips=[Strip(label, pictures) for label, pictures in strips.items()],
        notes=[POOLED] if several else [],
    )


def overlay_section(rows: Sequence[RunRow]) -> Section | None:
    """Base against new classes in one picture per method, without calibrator."""
    drawn = [row for row in rows if row.confidences is not None and row.calibrator == UNCALIBRATED]
    names = variant_names(rows)
    pictures = []
    for (variant, _), members in grouped(drawn).items():
        base, new = ([r for r in members if r.classes == c] for c in ("base", "new"))
        if base and new:
            bins = tuple(
                pooled_bins([r.confidences for r in part if r.confidences]) for part in (base, new)
            )
            figure = partial(base_new_overlay, *bins, eces=(mean_ece(base), mean_ece(new)))
            desc = f"Base classes: {describe_bins(bins[0])} New classes: {describe_bins(bins[1])}"
            title = f"{names[variant]}: base against new classes"
            pictures.append(Picture(figure, title, desc, names[variant]))
    if not pictures:
        return None
    left_out = len(pictures) - MAX_OVERLAYS
    return Section(
        heading="Base against new classes",
        prose=["The same model on the classes it was tuned on and on classes it has never seen."],
        pictures=pictures[:MAX_OVERLAYS],
        notes=[f"{left_out} more methods are left out here; they are in the diagrams above."]
        if left_out > 0
        else [],
    )


def runs_figure(rows: Iterable[AnyRow], *, title: str = "") -> "Figure":
    """All reliability diagrams in one figure, for a README or a paper: methods by class sets.

    Args:
        rows: Results with predictions or confidences; see :func:`as_run_rows`.
        title: Line above the picture.

    Raises:
        DataError: No row carries confidences.

    Example:
        >>> one = Confidences(confidence=[0.9, 0.9, 0.4], correct=[True, False, False])
        >>> rows = [{"method": "coop", "classes": c, "confidences": one} for c in ("base", "new")]
        >>> len(runs_figure(rows).axes)
        4
    """
    drawn = [row for row in as_run_rows(rows) if row.confidences is not None]
    if not drawn:
        raise DataError("a picture of runs needs confidences or predictions, got none")
    names = variant_names(drawn)
    cells: dict[tuple[str, str], Cell] = {}
    for classes in ordered_classes(drawn):
        for (variant, calibrator), members in grouped(drawn).items():
            chosen = [row for row in members if row.classes == classes]
            if chosen:
                bins = pooled_bins([r.confidences for r in chosen if r.confidences is not None])
                cells[names[variant], _condition(classes, calibrator)] = bins, mean_ece(chosen)
    columns = dict.fromkeys(column for _, column in cells)
    return reliability_grid(
        cells, rows=list(dict.fromkeys(row for row, _ in cells)), columns=list(columns), title=title
    )


def pooled_bins(parts: Sequence[Confidences], bins: int = BINS) -> Bins:
    """Bins of the rows of several seeds together.

    Where all seeds were tested on the same rows, intervals and band are computed for the rows of one
    seed: repeating a test set does not make it larger.

    Args:
        parts: Rows of each seed.
        bins: Number of equal-width bins.

    Example:
        >>> one = Confidences(confidence=[0.9, 0.9, 0.4], correct=[True, False, False])
        >>> both = pooled_bins([one, one])
        >>> both.count.sum(), bool(np.nanmax(both.high - pooled_bins([one]).high) < 1e-12)
        (np.int64(6), True)
    """
    pooled = reliability_bins(
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.correct for part in parts]),
        bins=bins,
        resolution=max(part.resolution for part in parts),
    )
    same_rows = all(np.array_equal(part.ids, parts[0].ids) for part in parts)
    if len(parts) == 1 or not same_rows:
        return pooled
    full = pooled.count > 0
    size = np.where(full, pooled.count / len(parts), np.nan)
    whole = np.maximum(np.rint(size), 1.0)
    ends = wilson(pooled.accuracy * size, size, pooled.level)
    band = np.full((2, bins), np.nan)
    band[:, full] = binomial_band(pooled.confidence[full], whole[full], pooled.level)
    return replace(pooled, low=ends.low, high=ends.high, band_low=band[0], band_high=band[1])


def mean_ece(rows: Sequence[RunRow]) -> Estimate | None:
    """ECE averaged over seeds, with the average ends of its interval."""
    values = [row.estimates["ece"] for row in rows if "ece" in row.estimates]
    if not values:
        return None
    spread = Spread.of(values)
    return Estimate(spread.mean, spread.low, spread.high, n=values[0].n, method="mean over seeds")


def _cell_picture(rows: Sequence[RunRow], name: str, classes: str, calibrator: str) -> Picture:
    bins = pooled_bins([row.confidences for row in rows if row.confidences is not None])
    ece = mean_ece(rows)
    what = _condition(classes, calibrator)
    measured = "" if ece is None else f" ECE {percent_range(ece)}."
    return Picture(
        partial(reliability_diagram, bins, ece=ece, compact=True),
        title=f"Reliability diagram: {name}, {what}",
        desc=describe_bins(bins) + measured,
        caption=f"{what} ({plural(int(bins.count.sum()), 'row')})",
    )


def _condition(classes: str, calibrator: str) -> str:
    return f"{classes} classes" + ("" if calibrator == UNCALIBRATED else f", {calibrator}")
