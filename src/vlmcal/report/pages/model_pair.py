"""The page on two models on the same rows."""

from collections.abc import Sequence
from dataclasses import replace

from vlmcal.metrics.model_pair import ModelPair
from vlmcal.report.cells import Cell, Column, Formatted, words
from vlmcal.report.display import metric_column
from vlmcal.report.figures.overlay import base_new_overlay
from vlmcal.report.figures.reliability import describe_bins, top_bins
from vlmcal.report.html import Picture, Report, Section
from vlmcal.report.pages.clinical import p_text
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions


def model_pair_table(pair: ModelPair) -> Table:
    """One line per metric: both values, their difference and its test."""
    lines: list[tuple[Column, float, float, Estimate, float | None, str]] = [
        (metric_column(name), each.first, each.second, each.difference, each.p_value, each.test)
        for name, each in pair.differences.items()
    ]
    if pair.areas is not None:
        like, gap = Column("AUROC (diagnostic)", percent=True), pair.areas.difference
        lines.append((like, pair.areas.first, pair.areas.second, gap, gap.p_value, "DeLong"))
    columns = [words("metric"), Column("first"), Column("second")]
    columns += [Column("difference"), Column("p"), words("test")]
    rows: list[list[Cell]] = []
    for column, first, second, gap, p, test in lines:
        like = replace(column, digits=2 if column.percent else 4)
        values = [Formatted(value, like) for value in (first, second, gap)]
        rows.append([like.label, *values, "" if p is None else p_text(p), test])
    return Table(columns=columns, rows=rows, level=pair.level)


def model_pair_notes(pair: ModelPair) -> list[str]:
    """Which rows one model alone has right, where that was tested."""
    odd = pair.mcnemar
    if odd is None:
        return []
    return [
        f"Right only by the first: {odd.only_first:,} rows, only by the second: {odd.only_second:,} "
        f"(McNemar, mid-p = {odd.p_value:.3g})."
    ]


def model_pair_report(
    pair: ModelPair,
    rows: Sequence[Predictions] = (),
    *,
    command: str = "",
    title: str = "Two models on the same rows",
) -> Report:
    """A page on two models.

    Args:
        pair: Of :func:`vlmcal.metrics.model_pair.compare_models`.
        rows: Of both models, for a picture; none without.
        command: The command that made it.
        title: Title of the page.
    """
    section = Section(
        heading="Paired differences",
        tables=[model_pair_table(pair)],
        notes=model_pair_notes(pair),
        pictures=_picture(rows[0], rows[1], pair.level) if len(rows) == 2 else [],
    )
    return Report(title=title, sections=[section], command=command)


def _picture(first: Predictions, second: Predictions, level: float) -> list[Picture]:
    """Accuracy against confidence of both models."""
    bins = [top_bins(data.top_label(), level=level) for data in (first, second)]
    figure = base_new_overlay(bins[0], bins[1], names=("first", "second"))
    told = f"First: {describe_bins(bins[0])} Second: {describe_bins(bins[1])}"
    return [Picture(figure, "Reliability of both models", told)]
