"""How a file was read, on a page: before the first number."""

from collections.abc import Mapping
from typing import Any

from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.report.cells import words
from vlmcal.report.html import Section
from vlmcal.report.tables import Table


def reading_section(provenance: Mapping[str, Any]) -> Section | None:
    """The plan in a data set's provenance as a section, or nothing if there is none.

    Example:
        >>> plan = ReadingPlan(file="a.csv", form="CSV", rows=2, scores="logits", label='column "y"')
        >>> reading_section({"reading": plan.to_dict()}).prose
        ['a.csv: CSV, 2 rows.']
    """
    stored = provenance.get("reading")
    if not stored:
        return None
    plan = ReadingPlan.from_dict(stored)
    lines = [(part, text) for part, text in plan.lines() if part != "note"]
    columns = [words("part"), words("read as")]
    return Section(
        heading="How the file was read",
        prose=[f"{plan.file}: {plan.form}, {plan.rows:,} rows."],
        tables=[Table(columns=columns, rows=[[part, text] for part, text in lines])],
        notes=list(plan.notes),
    )


def without_reading(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance less the plan, which has its own section."""
    return {name: value for name, value in provenance.items() if name != "reading"}
