"""What a verb that makes a report writes: the page, its tables and its figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlmcal.cli import arguments

if TYPE_CHECKING:
    from vlmcal.report.html import Report
    from vlmcal.report.tables import Table


@dataclass(frozen=True)
class Exports:
    """Tables and figures as files; an option group of every verb that makes a report."""

    csv: Annotated[
        Path | None, typer.Option("--csv", help="Write the main table as CSV, in full precision.")
    ] = None
    latex: Annotated[
        Path | None, typer.Option("--latex", help="Write the tables for LaTeX (booktabs).")
    ] = None
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write the tables as Markdown.")
    ] = None
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for the figures as PNG, PDF and SVG.")
    ] = None

    def require(self, inputs: Iterable[Path]) -> None:
        """Refuse names that cannot be written, before anything is computed.

        Raises:
            SpecError: An input, another ending than the form has, or a file where a folder is needed.
        """
        from vlmcal.errors import SpecError

        known = list(inputs)
        endings = ((self.csv, ".csv"), (self.latex, ".tex"), (self.markdown, ".md"))
        for path, ending in endings:
            if path is not None:
                arguments.require_output(path, known, (ending,))
        if self.figures is not None and self.figures.is_file():
            raise SpecError(f"--figures: {self.figures} is a file; name a folder")

    def wanted(self) -> tuple[Path, ...]:
        """The files that are asked for."""
        every = (self.csv, self.latex, self.markdown, self.figures)
        return tuple(path for path in every if path is not None)

    def write(
        self, table: "Table", report: "Callable[[], Report]", page: Path | None = None
    ) -> None:
        """Write what is wanted and say so; the report is made only if something needs it.

        Args:
            table: What the verb prints.
            report: Makes the report.
            page: Where the HTML page goes, or None.
        """
        from vlmcal.cli.console import note
        from vlmcal.io.atomic import atomic_write

        if self.csv is not None:
            atomic_write(self.csv, table.to_csv())
            note(f"table: {self.csv}")
        if not any((page, self.latex, self.markdown, self.figures)):
            return
        from vlmcal.report import exports

        made = report()
        for path, form in ((self.latex, exports.to_latex), (self.markdown, exports.to_markdown)):
            if path is not None:
                atomic_write(path, form(made))
                note(f"tables: {path}")
        if page is not None:
            made.write(page)
            note(f"report: {page}")
        if self.figures is not None:
            written = exports.save_figures(made, self.figures)
            note(f"figures: {self.figures} ({len(written)} files)")
