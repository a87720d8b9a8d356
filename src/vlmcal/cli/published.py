"""``vlmcal published``: the numbers of papers, and what is measured here beside them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.option_groups import arg
from vlmcal.cli.reports import Results
from vlmcal.cli.verb import verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vlmcal.experiment.published.tables import Entry
    from vlmcal.report.tables import Table

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)
_LINES = 60  # of numbers in a terminal; files have all


@dataclass(frozen=True)
class Filters:
    """Which published numbers; an option group."""

    paper: Annotated[
        list[str] | None,
        arguments.several("tcpt, calibprompt, dor, ...; see `vlmcal published list`."),
    ] = None
    learner: Annotated[list[str] | None, arguments.several("Methods by their names here.")] = None
    calibration: Annotated[
        list[str] | None,
        arguments.several("Objectives or calibrators by their names here, or none."),
    ] = None
    dataset: Annotated[list[str] | None, arguments.several("Data sets by their names here.")] = None
    metric: Annotated[list[str] | None, arguments.several("accuracy, ece, ...")] = None
    split: Annotated[list[str] | None, arguments.several("base, new, harmonic or all.")] = None
    table: Annotated[list[str] | None, arguments.several("Tables of a paper, such as logs.")] = None

    def chosen(self) -> "list[Entry]":
        """The numbers, with those marked that are no target."""
        from vlmcal.experiment.published.averages import flagged
        from vlmcal.experiment.published.tables import entries, papers, select

        found = [each for paper in self.paper or papers() for each in entries(paper)]
        return select(flagged(found), **asdict(self))


@verb(app, "list")
def list_papers(*, filters: Filters, results: Results) -> None:
    """The papers whose numbers are here, how many can be targets, how many printed averages are wrong."""
    from vlmcal.report.pages.published import sources_table

    results.require()
    found = filters.chosen()
    table = sources_table(found)
    results.show(table.to_text(width=120))
    _write(table, [], "Published numbers", _plain(found), results)


@verb(app, "show")
def show(*, filters: Filters, results: Results) -> None:
    """Published numbers one by one: value, status (published, log, secondary), source, what to know of it."""
    from vlmcal.report.pages.published import entries_table

    results.require()
    found = filters.chosen()
    few = found[:_LINES]
    more = len(found) - len(few)
    results.show(entries_table(few, brief=True).to_text(width=140))
    if more:
        results.show(f"{more:,} more: choose with --paper, --learner, ... or write all with --csv")
    _write(entries_table(found), [], "Published numbers", _plain(found), results)


@verb(app, "compare")
def compare(
    store: Annotated[Path, arg("Folder of runs, trained here or imported.")],
    *,
    filters: Filters,
    calibrators: Annotated[
        list[str] | None,
        arguments.several("Default: those of the published rows.", "--calibrator", "-c"),
    ] = None,
    results: Results,
) -> None:
    """Measured beside published: the difference in units of the measured spread, and settings that differ.

    The published evaluator's own definitions are used where they are known. A difference counts only where
    no setting is known to differ.
    """
    from vlmcal.experiment.evaluate import calibrator_from
    from vlmcal.experiment.published import comparison, measured
    from vlmcal.experiment.store import Store
    from vlmcal.report.pages.published import comparison_table

    results.require()
    found = filters.chosen()
    fitted = calibrators or measured.calibrators_of(found)
    for name in fitted:
        calibrator_from(name)
    with arguments.notes():
        compared = comparison.compare(found, measured.results(Store(store), fitted))
    lines = comparison.summary(compared, found)
    table = comparison_table(compared)
    if compared:
        results.show(table.to_text(width=140))
    for line in lines:
        results.show(line)
    _write(table, lines, f"{store.name} and published", [c.to_dict() for c in compared], results)


def _plain(found: "Sequence[Entry]") -> list[dict[str, Any]]:
    return [{**asdict(entry), "target": entry.is_target} for entry in found]


def _write(
    table: "Table", lines: list[str], title: str, rows: list[dict[str, Any]], results: Results
) -> None:
    from vlmcal.report.pages.published import published_report

    results.write(
        table,
        lambda: published_report(title, lines, [table], command_line()),
        {"title": title, "summary": lines, "rows": rows},
    )
