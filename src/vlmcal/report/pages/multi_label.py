"""Report on findings that do not exclude each other: a line and a small picture for each, and averages."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from vlmcal.metrics import Evaluation, reliability_bins
from vlmcal.metrics.multi_label import AVERAGES, MEASURES
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.figures.grid import are_rare, class_reliability
from vlmcal.report.figures.reliability import describe_bins
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.report.html import Picture, Report, Section, Strip, present
from vlmcal.report.pages.reading import reading_section, without_reading
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.multi_label import MultiLabel

BINS = 15
COLUMNS: Final[Mapping[str, Column]] = {
    "prevalence": Column("prevalence", percent=True),
    "auroc": Column("AUROC", percent=True),
    "average_precision": Column("average precision", percent=True),
    "brier": Column("Brier", digits=4),
    "brier_skill": Column("Brier skill", percent=True),
    "nll": Column("NLL", digits=3),
    "ece": Column("ECE", percent=True),
    "mean_gap": Column("mean p - prevalence", percent=True),
    "oe": Column("O:E", digits=2),
    "intercept": Column("calibration intercept", digits=2),
    "slope": Column("calibration slope", digits=2),
}
DISCRIMINATION: Final = ("prevalence", "auroc", "average_precision", "brier", "brier_skill")
CALIBRATION: Final = ("ece", "mean_gap", "oe", "intercept", "slope")
FLOOR = "ECE that perfectly calibrated probabilities would show on average at this size."


def multi_label_tables(evaluation: Evaluation) -> list[Table]:
    """Two tables, discrimination and calibration, with a line for each finding and each average.

    Args:
        evaluation: What :func:`vlmcal.metrics.multi_label.evaluate_multi_label` found.

    Example:
        >>> from vlmcal.metrics.multi_label import evaluate_multi_label
        >>> rows = MultiLabel(
        ...     probabilities=[[0.9, 0.2], [0.4, 0.7]], labels=[[1, 0], [0, 1]], names=("edema", "mass"))
        >>> print(multi_label_tables(evaluate_multi_label(rows, resamples=0))[0].to_text())
        finding   rows  prevalence %  AUROC %  average precision %   Brier  Brier skill %
        --------  ----  ------------  -------  -------------------  ------  -------------
        edema        2          50.0    100.0                100.0  0.0850           66.0
        mass         2          50.0    100.0                100.0  0.0650           74.0
        macro        2          50.0    100.0                100.0  0.0750           70.0
        weighted     2          50.0    100.0                100.0  0.0750           70.0
        micro        4          50.0    100.0                100.0  0.0750           70.0
    """
    lines = _lines(evaluation)
    floors = any(found["ece"].floor is not None for found in lines.values())
    tables = []
    for names in (DISCRIMINATION, CALIBRATION):
        columns = [words("finding"), Column("rows", digits=0)]
        columns += [COLUMNS[name] for name in names]
        rows: list[list[Cell]] = [
            [line, found["prevalence"].n, *(found[name] for name in names)]
            for line, found in lines.items()
        ]
        if floors and "ece" in names:
            columns.insert(3, Column("if calibrated", percent=True))
            for row, found in zip(rows, lines.values(), strict=True):
                row.insert(3, found["ece"].floor)
        tables.append(Table(columns=columns, rows=rows, level=evaluation.level))
    return tables


def multi_label_csv_table(evaluation: Evaluation) -> Table:
    """All measures of all findings and averages in one table, for a CSV."""
    columns = [words("finding"), Column("rows", digits=0), *COLUMNS.values()]
    rows: list[list[Cell]] = [
        [line, found["prevalence"].n, *(found[name] for name in MEASURES)]
        for line, found in _lines(evaluation).items()
    ]
    return Table(columns=columns, rows=rows, level=evaluation.level)


def _lines(evaluation: Evaluation) -> dict[str, dict[str, Estimate]]:
    averages = {
        average: {name: evaluation[f"{average}_{name}"] for name in MEASURES}
        for average in AVERAGES
    }
    return {**evaluation.groups, **averages}


def multi_label_report(
    data: MultiLabel,
    evaluation: Evaluation,
    *,
    subgroups: Mapping[str, Evaluation] | None = None,
    command: str = "",
    title: str = "Calibration of findings",
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """A page on probabilities of findings.

    Args:
        data: The rows that were measured.
        evaluation: What was found.
        subgroups: What was found in each subgroup, or None.
        command: The command that made it.
        title: Title of the page.
        provenance: Added to what the data carry.
    """
    from vlmcal.report.pages.multi_label_subgroups import subgroup_section

    own = {"rows": len(data), "findings": len(data.names), "split": data.split}
    if data.groups is not None:
        own["groups"] = int(np.unique(data.groups).size)
    notes = [FLOOR] if any(g["ece"].floor is not None for g in evaluation.groups.values()) else []
    return Report(
        title=title,
        sections=present(
            reading_section(data.provenance),
            Section(
                heading="Findings",
                warnings=evaluation.notes,
                tables=multi_label_tables(evaluation),
                notes=notes,
            ),
            subgroup_section(evaluation, subgroups) if subgroups else None,
            _pictures(data, evaluation),
        ),
        summary=multi_label_summary(data, evaluation),
        definitions={
            COLUMNS[name].title if name in COLUMNS else name: text
            for name, text in evaluation.definitions.items()
        },
        provenance={**own, **without_reading(data.provenance), **(provenance or {})},
        command=command,
    )


def multi_label_summary(data: MultiLabel, evaluation: Evaluation) -> list[str]:
    """What the numbers say, in sentences; the first says for how many findings calibration is in doubt."""
    tested = {n: g["ece"].p_value for n, g in evaluation.groups.items()}
    known = {name: p for name, p in tested.items() if p is not None}
    limit = (1 - evaluation.level) / max(len(known), 1)
    doubted = [name for name, p in known.items() if p < limit]
    lines = []
    if known:
        more = f" and {len(doubted) - 6} more" if len(doubted) > 6 else ""
        shown = ", ".join(doubted[:6]) + more
        lines.append(
            f"Probabilities of {len(doubted)} of {plural(len(known), 'finding')} are off beyond chance"
            + (f": {shown}." if doubted else ".")
            + f" (Test of the ECE of each, level {1 - evaluation.level:.2g} shared among them.)"
        )
    else:
        lines.append("No test of calibration was made (no intervals).")
    lines.append(
        f"Macro AUROC {percent_range(evaluation['macro_auroc'])}, macro ECE "
        f"{percent_range(evaluation['macro_ece'])}, macro Brier skill "
        f"{number(evaluation['macro_brier_skill'].value, percent=True, digits=1)} %."
    )
    lines.append(f"{plural(len(data), 'row')}, {plural(len(evaluation.groups), 'finding')}.")
    return lines


def _pictures(data: MultiLabel, evaluation: Evaluation) -> Section:
    panels = []
    for name in evaluation.groups:
        at = data.index(name)
        keep = data.known[:, at]
        p, truth = data.probabilities[keep, at], data.labels[keep, at] == 1
        bins = reliability_bins(
            p, truth, bins=BINS, level=evaluation.level, resolution=data.resolution
        )
        panels.append((name, bins))
    rare = are_rare([bins for _, bins in panels])
    small = [
        Picture(
            partial(class_reliability, "", bins, rare=rare),
            f"Reliability of {name}",
            describe_bins(bins),
            name,
        )
        for name, bins in panels
    ]
    return Section(
        heading="Reliability",
        prose=[
            "For each finding: the share of rows that have it, against the probability it was given."
        ],
        strips=[Strip("All findings", small, wrap=True)],
        notes=["Square-root axes, since each finding is rare."] if rare else [],
    )
