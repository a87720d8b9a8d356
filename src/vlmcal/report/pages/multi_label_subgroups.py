"""Findings in subgroups: a line for each subgroup, and one for each of its findings."""

from collections.abc import Mapping
from typing import Final

from vlmcal.metrics import Evaluation
from vlmcal.metrics.multi_label_subgroups import small_subgroups
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.html import Section
from vlmcal.report.pages.multi_label import multi_label_csv_table
from vlmcal.report.tables import Table

ALL: Final = "all rows"
_SHOWN: Final = {
    "macro_auroc": Column("macro AUROC", percent=True),
    "macro_brier_skill": Column("macro Brier skill", percent=True),
    "macro_ece": Column("macro ECE", percent=True),
    "macro_mean_gap": Column("macro mean p - prevalence", percent=True),
    "macro_oe": Column("macro O:E", digits=2),
}


def subgroup_table(whole: Evaluation, found: Mapping[str, Evaluation]) -> Table:
    """The averages over the findings, a line for each subgroup after that of all rows.

    Args:
        whole: What all rows gave.
        found: What :func:`vlmcal.metrics.multi_label_subgroups.evaluate_subgroups` found.
    """
    columns = [words("subgroup"), Column("rows", digits=0), *_SHOWN.values()]
    rows: list[list[Cell]] = [
        [name, each.n, *(each[key] for key in _SHOWN)]
        for name, each in {ALL: whole, **found}.items()
    ]
    return Table(columns=columns, rows=rows, level=whole.level)


def subgroup_findings_table(whole: Evaluation, found: Mapping[str, Evaluation]) -> Table:
    """All measures of all findings and averages, of all rows and of each subgroup, in one table."""
    parts = {name: multi_label_csv_table(each) for name, each in {ALL: whole, **found}.items()}
    columns = [words("subgroup"), *parts[ALL].columns]
    rows = [[name, *row] for name, part in parts.items() for row in part.rows]
    return Table(columns=columns, rows=rows, level=whole.level)


def subgroup_section(whole: Evaluation, found: Mapping[str, Evaluation]) -> Section:
    """The section of the page."""
    small = small_subgroups(found)
    return Section(
        heading="Subgroups",
        prose=["The same measures for each subgroup; compare intervals before values."],
        warnings=[small] if small else [],
        tables=[subgroup_table(whole, found), subgroup_findings_table(whole, found)],
    )
