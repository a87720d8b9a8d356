"""``vlmcal compare``: two models on the same rows."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results

if TYPE_CHECKING:
    from vlmcal.report.tables import Table
    from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "classwise_ece", "brier", "nll", "auroc")


@with_option_groups
def compare(
    first: Annotated[Path, typer.Argument(help="Rows of one model, labelled.")],
    second: Annotated[Path, typer.Argument(help="The same rows by another model.")],
    *,
    reading: Reading,
    metrics: arguments.Metrics = None,
    level: arguments.Level = 0.95,
    resamples: Annotated[int, typer.Option(help="Paired bootstrap resamples.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    results: Results,
) -> None:
    """Paired differences of two models on the same rows, with intervals and p-values.

    Rows are matched by --ids, or by their order where neither file has ids. Units (--unit) are resampled as
    a whole. Two classes also get DeLong's test of the diagnostic AUROC, rows without units McNemar's test.
    """
    from vlmcal.cli.console import command_line
    from vlmcal.errors import SpecError
    from vlmcal.metrics import compare as difference
    from vlmcal.metrics.clinical.discrimination import compare_auroc
    from vlmcal.metrics.clinical.paired import mcnemar
    from vlmcal.metrics.clinical.risks import Risks, positive_class
    from vlmcal.metrics.presets import metric_names
    from vlmcal.report.html import Report, Section

    if not 0 < level < 1 or not 0 < resamples <= 1_000_000:
        raise SpecError("--level lies between 0 and 1, --resamples between 1 and 1,000,000")
    results.require([first, second])
    chosen = arguments.chosen_metrics(metrics)
    names = list(METRICS) if metrics is None else metric_names(chosen)[0]
    show, named = results.show, reading.ids is not None
    a = reading.load(first, "test", last=False, show=show, keep_ids=named)
    known = a.class_names
    b = reading.load(second, "test", known_classes=known, show=show, keep_ids=named)
    a, b = _same_rows(a, b, first, second)
    numbers: dict[str, Any] = {"first": str(first), "second": str(second), "rows": len(a)}
    lines: list[tuple[Any, ...]] = []
    notes: list[str] = []
    found = {}
    for name in names:
        result = difference(a, b, name, level=level, resamples=resamples, seed=seed)
        found[name] = asdict(result)
        values = (result.first, result.second, result.difference, result.p_value)
        lines.append((name, *values, result.test))
    numbers["metrics"] = found
    if a.n_classes == 2:
        at = positive_class(a)
        own, other = Risks.of_class(a, at), Risks.of_class(b, at)
        if own.both:
            area = compare_auroc(own, other, level)
            from vlmcal.metrics.clinical.discrimination import diagnostic_auroc

            pair = (diagnostic_auroc(own).value, diagnostic_auroc(other).value)
            lines.append(("AUROC (diagnostic)", *pair, area, area.p_value, "DeLong"))
            numbers["diagnostic_auroc"] = {"first": pair[0], "second": pair[1], **asdict(area)}
    table = _table(lines, level)
    results.show(table.to_text())
    if a.groups is None:
        odd = mcnemar(a.top_label().correct, b.top_label().correct)
        notes.append(
            f"Right only by the first: {odd.only_first:,} rows, only by the second: {odd.only_second:,} "
            f"(McNemar, mid-p = {odd.p_value:.3g})."
        )
        results.show(notes[-1])
        numbers["mcnemar"] = odd._asdict()
    title = f"{first.name} and {second.name}"
    section = Section(heading="Paired differences", tables=[table], notes=notes)
    results.write(
        table, lambda: Report(title=title, sections=[section], command=command_line()), numbers
    )


def _table(lines: list[tuple[Any, ...]], level: float) -> "Table":
    from vlmcal.report.cells import Cell, Column, Formatted
    from vlmcal.report.display import metric_column
    from vlmcal.report.pages.clinical import p_text
    from vlmcal.report.tables import Table

    columns = [Column("metric", align="left"), Column("first"), Column("second")]
    columns += [Column("difference"), Column("p"), Column("test", align="left")]
    rows: list[list[Cell]] = []
    for name, one, two, gap, p, test in lines:
        like = Column(name, percent=True) if " " in name else metric_column(name)
        like = replace(like, digits=2 if like.percent else 4)
        values = [Formatted(value, like) for value in (one, two, gap)]
        rows.append([like.label, *values, "" if p is None else p_text(p), test])
    return Table(columns=columns, rows=rows, level=level)


def _same_rows(
    a: "Predictions", b: "Predictions", first: Path, second: Path
) -> "tuple[Predictions, Predictions]":
    """Both in one order; rows that nobody named are matched by their order.

    Raises:
        DataError: Other rows, or other labels.
    """
    import numpy as np

    from vlmcal.errors import DataError

    named = np.isin(a.ids, b.ids).any()
    if not named:
        if len(a) != len(b) or not np.array_equal(a.labels, b.labels):
            raise DataError(
                f"{first} and {second}: other rows ({len(a):,} and {len(b):,}), or the same in another "
                "order; name their ids with --ids COLUMN"
            )
        ids = np.arange(len(a)).astype(np.str_)
        return replace(a, ids=ids), replace(b, ids=ids)
    if set(a.ids.tolist()) != set(b.ids.tolist()):
        shared = int(np.isin(a.ids, b.ids).sum())
        raise DataError(
            f"{first} and {second}: only {shared:,} rows are in both; leave the others out"
        )
    place = {name: at for at, name in enumerate(b.ids.tolist())}
    return a, b.subset(np.asarray([place[name] for name in a.ids.tolist()]))
