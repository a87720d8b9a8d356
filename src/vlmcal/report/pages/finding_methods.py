"""Pages and tables on calibrated findings and on sets of findings."""

from collections.abc import Sequence
from dataclasses import replace

from vlmcal.metrics import Evaluation
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.html import Report, Section
from vlmcal.report.pages.multi_label import multi_label_report
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.multi_label import MultiLabel

CHANGED = ("ece", "brier", "nll", "auroc")


def before_after_findings(before: Evaluation, after: Evaluation) -> Table:
    """ECE, Brier score, log-loss and AUROC of each finding and average, before and after.

    Example:
        >>> from vlmcal.metrics.multi_label import evaluate_multi_label
        >>> rows = MultiLabel(probabilities=[[0.9], [0.4]], labels=[[1], [0]], names=("edema",))
        >>> found = evaluate_multi_label(rows, resamples=0)
        >>> before_after_findings(found, found).to_text().splitlines()[2].split()[:3]
        ['edema', '25.0', '25.0']
    """
    columns = [words("finding")]
    for name, title in (("ece", "ECE"), ("brier", "Brier"), ("nll", "NLL"), ("auroc", "AUROC")):
        percent = name in ("ece", "auroc")
        columns += [
            Column(f"{title} {when}", percent=percent, digits=1 if percent else 4)
            for when in ("before", "after")
        ]
    rows: list[list[Cell]] = []
    for finding in (*before.groups, "macro", "micro"):
        line: list[Cell] = [finding]
        for name in CHANGED:
            line += [_value(evaluation, finding, name).value for evaluation in (before, after)]
        rows.append(line)
    return Table(columns=columns, rows=rows, level=after.level)


def _value(evaluation: Evaluation, finding: str, name: str) -> Estimate:
    if finding in evaluation.groups:
        return evaluation.groups[finding][name]
    return evaluation[f"{finding}_{name}"]


def before_after_findings_report(
    data: MultiLabel, before: Evaluation, after: Evaluation, *, command: str, title: str
) -> Report:
    """The page of the calibrated rows, with what they were before."""
    page = multi_label_report(data, after, command=command, title=title)
    change = Section(heading="Before and after", tables=[before_after_findings(before, after)])
    return replace(page, sections=[change, *page.sections])


def finding_comparison_table(
    rows: Sequence[tuple[str, float, Evaluation | None]], criterion: str, folds: int
) -> Table:
    """A line for each calibrator: its cross-validated loss, and what it gives on other rows."""
    columns = [
        words("calibrator"),
        Column(
            f"{folds}-fold {criterion.upper() if criterion == 'nll' else 'Brier'}",
            digits=4,
            better="lower",
        ),
        Column("macro ECE", percent=True, better="lower"),
        Column("macro Brier", digits=4, better="lower"),
        Column("macro NLL", digits=4, better="lower"),
        Column("macro AUROC", percent=True, better="higher"),
    ]
    lines: list[list[Cell]] = []
    for name, loss, found in rows:
        values: list[Cell] = [None] * 4
        if found is not None:
            values = [found[f"macro_{key}"].value for key in ("ece", "brier", "nll", "auroc")]
        lines.append([name, loss, *values])
    return Table(columns=columns, rows=lines)


def finding_set_tables(evaluation: Evaluation, alpha: float) -> list[Table]:
    """What the sets deliver over all findings, then a line for each finding."""
    head = [
        words("sets"),
        Column("missed findings", percent=True),
        Column("findings per set", digits=2),
        Column("false ones per set", digits=2),
        Column("empty sets", percent=True),
    ]
    keys = ("false_negative_rate", "set_size", "false_per_row", "empty")
    first: list[Cell] = [f"alpha = {alpha:g}", *(evaluation.estimates.get(key) for key in keys)]
    columns = [
        words("finding"),
        Column("rows with it", digits=0),
        Column("sensitivity", percent=True),
        Column("specificity", percent=True),
    ]
    rows: list[list[Cell]] = [
        [name, found["sensitivity"].n, found["sensitivity"], found["specificity"]]
        for name, found in evaluation.groups.items()
    ]
    return [
        Table(columns=head, rows=[first], level=evaluation.level),
        Table(columns=columns, rows=rows, level=evaluation.level),
    ]


def finding_sets_report(
    evaluation: Evaluation, alpha: float, *, command: str, title: str
) -> Report:
    """A page on sets of findings."""
    missed = evaluation["false_negative_rate"]
    within = missed.low is None or missed.low <= alpha
    verdict = (
        "as promised" if within else "MORE than promised: are these rows like the fitting rows?"
    )
    return Report(
        title=title,
        sections=[
            Section(heading="Sets of findings", tables=finding_set_tables(evaluation, alpha))
        ],
        summary=[
            f"{100 * missed.value:.1f} % of a row's findings are missed on average; at most "
            f"{100 * alpha:g} % were promised: {verdict}."
        ],
        definitions=evaluation.definitions,
        command=command,
    )
