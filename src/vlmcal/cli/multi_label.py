"""Findings that do not exclude each other: what ``--multi-label`` does in each verb."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli.console import command_line
from vlmcal.cli.held_out import Reading, Role, split_of, standard_input
from vlmcal.cli.option_groups import opt
from vlmcal.cli.reports import Reports
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.io.multi_label import MultiLabelRows
    from vlmcal.io.predictions import ReadingOptions
    from vlmcal.metrics import Evaluation
    from vlmcal.types.multi_label import MultiLabel


@dataclass(frozen=True)
class MultiLabelOptions:
    """How tables of several findings are read; an option group."""

    multi_label: Annotated[
        bool, opt("Findings that do not exclude each other, a probability each.")
    ] = False
    uncertain: Annotated[str | None, opt("What -1 means: ignore, positive or negative.")] = None
    blank: Annotated[str | None, opt("What an empty truth means: ignore or negative.")] = None

    def __post_init__(self) -> None:
        for name in ("uncertain", "blank"):
            if getattr(self, name) is not None and not self.multi_label:
                raise SpecError(f"--{name} belongs to --multi-label")

    def command_options(self) -> str:
        """These options as they are typed, for commands to be pasted.

        Example:
            >>> MultiLabelOptions(multi_label=True, uncertain="ignore").command_options()
            '--multi-label --uncertain ignore'
        """
        words = ["--multi-label"] if self.multi_label else []
        for name in ("uncertain", "blank"):
            if getattr(self, name) is not None:
                words += [f"--{name}", getattr(self, name)]
        return " ".join(words)

    def read(
        self,
        reading: Reading,
        path: Path,
        role: Role,
        asked: str | None = None,
        *,
        last: bool = True,
        options: "ReadingOptions | None" = None,
        show: Callable[[str], None] = typer.echo,
    ) -> "MultiLabelRows":
        """Rows of a file, tagged by their role; says how it is read.

        Args:
            reading: What the user says about the file.
            path: The file.
            role: Which split its rows belong to; those of any role but "test" are to be fitted on.
            asked: What the user says the split is.
            last: Whether a dry run ends after it.
            options: Of :func:`vlmcal.io.multi_label.read_multi_label` beyond those of ``reading``.
            show: Prints the plan.

        Raises:
            SplitError: Test data, to be fitted on.
            SpecError: An option that has no meaning here.
            DataError: As :func:`vlmcal.io.multi_label.read_multi_label`.
        """
        from vlmcal.io.multi_label import read_multi_label

        _refuse_classes(reading)
        given = reading.options(reading.scale(path), split_of(path, role, asked))
        given.update(options or {})
        with standard_input(path) as (file, told):
            rows = read_multi_label(file, uncertain=self.uncertain, blank=self.blank, **given)
            reading.tell(told(f"{rows.plan}"), last, show)
        return rows


def _refuse_classes(reading: Reading) -> None:
    """Refuse options that speak of classes that exclude each other."""
    for option in ("positive", "positive_label", "first_label"):
        if getattr(reading, option) is not None:
            name = option.replace("_", "-")
            raise SpecError(f"--{name} is for classes that exclude each other, not --multi-label")
    if reading.renormalise:
        raise SpecError("--renormalise: probabilities of findings do not sum to 1")


def evaluate_findings(
    path: Path,
    options: MultiLabelOptions,
    reading: Reading,
    reports: Reports,
    weighting: "ReadingOptions",
    by: Sequence[str] = (),
    *,
    level: float,
    resamples: int,
    seed: int,
) -> "Evaluation":
    """What ``vlmcal evaluate --multi-label`` shows and writes."""
    from vlmcal.metrics.multi_label import evaluate_multi_label
    from vlmcal.metrics.multi_label_subgroups import evaluate_subgroups

    if weighting["sampling"]:
        raise SpecError("--sampling-fraction is of classes that exclude each other; pass --weight")
    told: ReadingOptions = {"by": by, "weight": weighting["weight"]}
    rows = options.read(reading, path, "test", options=told, show=reports.show)
    drawing: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    drawing["weights"] = rows.weights
    result = evaluate_multi_label(rows.data, **drawing)
    parts = evaluate_subgroups(rows.data, rows.strata, **drawing)
    read = {"file": str(path), "reading": rows.plan.to_dict()}
    tell_findings(rows.data, result, reports, f"Calibration of {path.name}", read, parts)
    return result


def tell_findings(
    rows: "MultiLabel",
    result: "Evaluation",
    reports: Reports,
    title: str,
    about: Mapping[str, object],
    subgroups: "Mapping[str, Evaluation] | None" = None,
) -> None:
    """Show and write what was measured of findings.

    Args:
        rows: What was measured.
        result: What was found.
        reports: Where it goes.
        title: Of the page.
        about: What stands beside the numbers.
        subgroups: What was found in each subgroup.
    """
    from vlmcal.metrics.multi_label_subgroups import small_subgroups
    from vlmcal.report.pages.multi_label import (
        multi_label_csv_table,
        multi_label_report,
        multi_label_summary,
        multi_label_tables,
    )
    from vlmcal.report.pages.multi_label_subgroups import subgroup_findings_table, subgroup_table

    parts = subgroups or {}
    by_subgroup = [subgroup_table(result, parts)] if parts else []
    for line in multi_label_summary(rows, result):
        reports.show(line)
    for table in (*multi_label_tables(result), *by_subgroup):
        reports.show(f"\n{table.to_text()}")
    for note in filter(None, (*result.notes, small_subgroups(parts))):
        reports.show(f"note: {note}")
    numbers = {**about, **result.to_dict()}
    if parts:
        numbers["subgroups"] = {name: each.to_dict() for name, each in parts.items()}
    reports.write(
        subgroup_findings_table(result, parts) if parts else multi_label_csv_table(result),
        lambda: multi_label_report(
            rows, result, subgroups=parts, command=command_line(), title=title
        ),
        numbers,
    )
