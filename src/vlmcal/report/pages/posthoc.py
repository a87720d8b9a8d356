"""Pages on post-hoc calibration: one calibrator before and after, and many calibrators side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.metrics import Evaluation
from vlmcal.posthoc.before_after import METRICS
from vlmcal.posthoc.compare import Comparison, ComparisonRow
from vlmcal.posthoc.label_sets import SetRow
from vlmcal.report.cells import Cell, Column, Formatted, words
from vlmcal.report.display import metric_column, named_definitions
from vlmcal.report.figures.overlay import before_after
from vlmcal.report.figures.reliability import describe_bins, top_bins
from vlmcal.report.formats import number, plural
from vlmcal.report.html import Picture, Report, Section, present
from vlmcal.report.pages.evaluation import FLOOR
from vlmcal.report.pages.verdict import calibration_verdict
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

INFINITE = "∞"
CHOICE = (
    "The choice looks at the validation rows alone ({folds}-fold cross-validation): of all within one "
    "standard error (SE, of the difference to the smallest loss, paired by row or group) it takes the one "
    "that learned fewest numbers. The test rows are measured, never chosen by: the smallest number in a test "
    "column may be so by chance."
)
INFINITE_NOTE = (
    f"{INFINITE}: some label was given the probability 0 by a fit that had not seen it. The calibrator "
    "“mixture” around it keeps the loss finite; the NLL on the test rows is clipped at 1e-12."
)


def comparison_table(comparison: Comparison) -> Table:
    """One line per calibrator, best cross-validated loss first; the chosen one is marked.

    Args:
        comparison: All calibrators, each with its evaluation; those that were left out are not shown.

    Example:
        >>> measured = Evaluation({"accuracy": Estimate(0.8), "ece": Estimate(0.1)}, {}, n=9)
        >>> found = Comparison((ComparisonRow("platt", 0.5, evaluation=measured),), "nll", 5)
        >>> print(comparison_table(found).to_text())
        calibrator      5-fold NLL on VAL  SE  accuracy %  ECE %  if calibrated %  class changed %
        --------------  -----------------  --  ----------  -----  ---------------  ---------------
        platt (chosen)             0.5000   –       80.00  10.00                –             0.00
    """
    fitted = [row for row in comparison.rows if row.evaluation is not None]
    names = [n for n in METRICS if any(n in o.evaluation.estimates for o in fitted if o.evaluation)]
    loss = metric_column(comparison.criterion, better=False)
    columns = [
        words("calibrator"),
        Column(f"{comparison.folds}-fold {loss.title} on VAL", digits=4),
        Column("SE", digits=4),
    ]
    for name in names:
        like = metric_column(name, better=False)
        columns.append(replace(like, digits=2 if like.percent else 4))
        if name == "ece":
            columns.append(Column("if calibrated", percent=True, digits=2))
    columns.append(Column("class changed", percent=True, digits=2))
    lines = [_line(row, names, row is comparison.chosen) for row in fitted]
    infinite = any(line[1] == INFINITE for line in lines)
    level = next((o.evaluation.level for o in fitted if o.evaluation), 0.95)
    return Table(
        columns=columns, rows=lines, level=level, notes=[INFINITE_NOTE] if infinite else []
    )


def _line(outcome: ComparisonRow, names: Sequence[str], chosen: bool) -> list[Cell]:
    assert outcome.evaluation is not None
    loss = outcome.cross_validated
    line: list[Cell] = [f"{outcome.name} (chosen)" if chosen else outcome.name]
    line.append(INFINITE if loss is not None and loss == float("inf") else loss)
    error = outcome.error
    line.append(None if error is None or error == float("inf") else error)
    for name in names:
        estimate = outcome.evaluation.estimates.get(name)
        if estimate is None:
            line.append(None)
        else:
            line.append(estimate if name == "ece" else estimate.value)
        if name == "ece":
            line.append(None if estimate is None else estimate.floor)
    return [*line, outcome.changed]


def comparison_report(
    comparison: Comparison,
    before: Predictions,
    after: Predictions,
    *,
    changes: Mapping[str, Estimate] | None = None,
    command: str = "",
    title: str = "Comparison of calibrators",
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """A page on all calibrators that fit the data, with the chosen one before and after.

    Args:
        comparison: All calibrators, each with its evaluation; "none" is among them.
        before: The test rows as they were.
        after: The test rows, calibrated by the chosen one.
        changes: Paired difference after - before by metric, from :func:`vlmcal.metrics.compare`.
        command: The command that made it.
        title: Title of the page.
        provenance: How the numbers came about.
    """
    measured = {o.name: o.evaluation for o in comparison.rows if o.evaluation is not None}
    chosen = comparison.chosen.name
    first, last = measured[UNCALIBRATED], measured[chosen]
    remarks = [f"{o.name}: {o.notes}" for o in comparison.rows if o.evaluation and o.notes]
    everything = Section(
        heading="All calibrators",
        prose=[CHOICE.format(folds=comparison.folds)],
        tables=[comparison_table(comparison)],
        notes=remarks,
    )
    return Report(
        title=title,
        sections=present(
            everything,
            _pair_section(before, after, first, last, chosen, changes),
            left_out_section("calibrator", comparison.left_out),
        ),
        summary=_chosen_summary(comparison, before),
        definitions={**named_definitions(last.definitions), "if calibrated": FLOOR},
        provenance=provenance or {},
        command=command,
    )


def left_out_section(what: str, rows: Sequence[ComparisonRow | SetRow]) -> Section | None:
    """Methods of one kind that were left out, each with the reason; None where there are none."""
    if not rows:
        return None
    reasons = Table(
        columns=[words(what), words("reason")], rows=[[row.name, row.notes] for row in rows]
    )
    return Section(heading="Left out", tables=[reasons])


def _chosen_summary(comparison: Comparison, before: Predictions) -> list[str]:
    losses = {row.name: row.cross_validated for row in comparison.rows}
    name, chosen = metric_column(comparison.criterion).title, comparison.chosen.name
    shown = {
        who: number(loss, percent=False, digits=4)
        for who in (chosen, UNCALIBRATED)
        if (loss := losses.get(who)) is not None
    }
    if chosen == UNCALIBRATED:
        headline = (
            "No calibrator did better than none by over one standard error on the validation rows."
        )
    else:
        headline = (
            f"“{chosen}” is the simplest within one standard error of the best: "
            f"{comparison.folds}-fold {name} {shown[chosen]}, uncalibrated {shown[UNCALIBRATED]}."
        )
    out = len(comparison.left_out)
    return [
        headline,
        f"{plural(len(comparison.rows) - out, 'calibrator')} compared, {out} left out.",
        f"Measured on {plural(len(before), 'row')} of the split “{before.split}”.",
    ]


def before_after_table(
    before: Evaluation, after: Evaluation, changes: Mapping[str, Estimate] | None = None
) -> Table:
    """One line per metric: before, after, and the paired difference with its interval.

    Example:
        >>> one, two = (Evaluation({"ece": Estimate(v)}, {}, n=9) for v in (0.2, 0.05))
        >>> print(before_after_table(one, two, {"ece": Estimate(-0.15, -0.2, -0.1)}).to_text())
        metric   before  after                   change
        -------  ------  -----  -----------------------
        ECE % ↓   20.00   5.00  −15.00 [−20.00, −10.00]
        <BLANKLINE>
        Brackets: 95 % interval.
    """
    columns = [words("metric"), Column("before"), Column("after"), Column("change")]
    rows: list[list[Cell]] = []
    for name, first in before.estimates.items():
        like = metric_column(name)
        like = replace(like, digits=2 if like.percent else 4)
        last = after.estimates[name]
        change = (changes or {}).get(name, Estimate(last.value - first.value))
        rows.append([like.label, *(Formatted(value, like) for value in (first, last, change))])
    return Table(columns=columns, rows=rows, level=before.level)


def before_after_report(
    before: Predictions,
    after: Predictions,
    measured: tuple[Evaluation, Evaluation],
    name: str,
    *,
    changes: Mapping[str, Estimate] | None = None,
    command: str = "",
    title: str = "Before and after calibration",
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """A page on one calibrator: numbers before and after, and the pair of reliability diagrams.

    Args:
        before: The rows as they were.
        after: The same rows, calibrated.
        measured: Evaluations of the two.
        name: Name of the calibrator.
        changes: Paired difference after - before by metric.
        command: The command that made it.
        title: Title of the page.
        provenance: Added to what the calibrated rows carry.
    """
    first, last = measured
    verdicts = [
        calibration_verdict(rows.top_label(), evaluation.estimates.get("ece"))
        for rows, evaluation in ((before, first), (after, last))
    ]
    return Report(
        title=title,
        sections=[_pair_section(before, after, first, last, name, changes)],
        summary=[
            f"Before: {verdicts[0].sentences[0]}",
            f"After “{name}”: {verdicts[1].sentences[0]}",
            f"Measured on {plural(len(before), 'row')} of the split “{before.split}”.",
        ],
        definitions=named_definitions(last.definitions),
        provenance={**after.provenance, **(provenance or {})},
        command=command,
    )


def _pair_section(
    before: Predictions,
    after: Predictions,
    first: Evaluation,
    last: Evaluation,
    name: str,
    changes: Mapping[str, Estimate] | None,
) -> Section:
    bins = [top_bins(rows.top_label(), level=first.level) for rows in (before, after)]
    figure = partial(
        before_after,
        bins[0],
        bins[1],
        names=("before", f"after {name}"),
        eces=(first.estimates.get("ece"), last.estimates.get("ece")),
    )
    told = f"Before: {describe_bins(bins[0])} After: {describe_bins(bins[1])}"
    caption = "Accuracy against confidence. Below the dashed line the model is too sure of itself."
    return Section(
        heading="Before and after",
        warnings=list(dict.fromkeys([*first.notes, *last.notes])),
        tables=[before_after_table(first, last, changes)],
        pictures=[Picture(figure, "Reliability before and after", told, caption)],
    )
