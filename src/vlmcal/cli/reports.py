"""Where a verb tells what it measured: the page, its numbers, its tables and its figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import result, written
from vlmcal.errors import DataError, SpecError

if TYPE_CHECKING:
    from vlmcal.report.html import Report
    from vlmcal.report.tables import Table

PAGE, NUMBERS = (".html", ".htm"), (".json",)


@dataclass(frozen=True)
class Reports:
    """Page, numbers, tables and figures as files; an option group of every verb that measures."""

    report: arguments.Page = None
    json: Annotated[Path | None, result("Numbers as JSON; - is standard output.")] = None
    csv: Annotated[Path | None, result("The main table as CSV, in full precision.")] = None
    latex: Annotated[Path | None, result("The tables for LaTeX (booktabs).")] = None
    markdown: Annotated[Path | None, result("The tables as Markdown.")] = None
    figures: Annotated[Path | None, result("Folder for the figures as PNG, PDF and SVG.")] = None

    @property
    def page(self) -> Path | None:
        """File of the HTML report, if one is wanted."""
        return self.report

    @property
    def numbers(self) -> Path | None:
        """File of the numbers, if they are wanted."""
        return self.json

    _rows: ClassVar[Path | None] = None

    def beside(self, rows: Path | None, endings: tuple[str, ...]) -> Self:
        """The same for a verb that makes rows, too, once all names can be written.

        Args:
            rows: Where the rows go, if anywhere.
            endings: Of files of such rows.

        Raises:
            SpecError: As :func:`vlmcal.cli.arguments.require_output` and :meth:`require`.
        """
        made = replace(self)
        object.__setattr__(made, "_rows", rows)
        if rows is not None:
            arguments.require_output(rows, endings)
        made.require()
        return made

    def require(self) -> None:
        """Refuse names that cannot be written, before anything is computed.

        Raises:
            SpecError: An input, another ending than the form has, or a file where a folder is needed.
        """
        from vlmcal.io.atomic import is_output, is_stream

        endings = ((self.csv, ".csv"), (self.latex, ".tex"), (self.markdown, ".md"))
        for path, allowed in ((self.page, PAGE), *((path, (end,)) for path, end in endings)):
            if path is not None:
                arguments.require_output(path, allowed)
        if self.numbers is not None:  # of any name, as it has always been
            arguments.require_no_input(self.numbers)
            named = is_output(self.numbers) or self.numbers.suffix.lower() in NUMBERS
            if not named and self.numbers.is_file():
                raise SpecError(
                    f"{self.numbers}: there is such a file, and its name does not end in .json; give the "
                    "numbers another name, one that ends in .json"
                )
        streams = [p for p in (*self._files(), self._rows) if p is not None and is_output(p)]
        if len(streams) > 1:
            raise SpecError("only one of the results can go to standard output")
        written = [p for p in (*self._files(), self._rows) if p is not None and not is_stream(p)]
        twice = [p for n, p in enumerate(written) if realpath(p) in map(realpath, written[:n])]
        if twice:
            raise SpecError(f"{twice[0]}: two results have this name; give each its own")
        if self.figures is not None and (is_stream(self.figures) or self.figures.is_file()):
            what = "standard output" if is_output(self.figures) else "a file"
            raise SpecError(f"--figures: {self.figures} is {what}; name a folder")

    def require_none(self) -> None:
        """Say that rows without labels are not measured, and refuse what would hold the measurements.

        Raises:
            DataError: A report, numbers or tables were asked for.
        """
        files = [str(path) for path in (*self._files(), self.figures) if path is not None]
        if files:
            raise DataError(f"{files[0]}: nothing can be measured, because the rows have no labels")
        note("note: the rows have no labels, so nothing is measured")

    def show(self, text: str) -> None:
        """Print what a person reads; on standard error where standard output holds a result."""
        from vlmcal.io.atomic import is_output

        files = (*self._files(), self._rows)
        typer.echo(text, err=any(path is not None and is_output(path) for path in files))

    def tell_none(self, why: str) -> None:
        """Say of each result that was asked for that it is not written, and why."""
        for path in (*self._files(), self.figures):
            if path is not None:
                note(f"note: {path} is not written: {why}")

    def _files(self) -> tuple[Path | None, ...]:
        return (self.page, self.numbers, self.csv, self.latex, self.markdown)

    def write(
        self, table: "Table", report: "Callable[[], Report]", numbers: Mapping[str, Any]
    ) -> None:
        """Write what is wanted and say so; the report is made only if something needs it.

        Args:
            table: What the verb prints.
            report: Makes the report.
            numbers: All that was measured.
        """
        from vlmcal.io.atomic import atomic_write

        self.write_numbers(numbers)
        if self.csv is not None:
            atomic_write(self.csv, table.to_csv())
            note(f"table: {self.csv}")
        if not any((self.page, self.latex, self.markdown, self.figures)):
            return
        from vlmcal.report import exports

        made = report()
        for path, form in ((self.latex, exports.to_latex), (self.markdown, exports.to_markdown)):
            if path is not None:
                atomic_write(path, form(made))
                note(f"tables: {path}")
        if self.page is not None:
            made.write(self.page)
            note(f"report: {self.page}")
        if self.figures is not None:
            written = exports.save_figures(made, self.figures)
            note(f"figures: {self.figures} ({len(written)} files)")

    def write_numbers(self, numbers: Mapping[str, Any]) -> None:
        """Write the numbers where they are wanted, and say so."""
        from vlmcal.io.json_files import finite, write_json

        if self.numbers is not None:
            write_json(self.numbers, finite(numbers))
            note(f"numbers: {self.numbers}")


@dataclass(frozen=True)
class Results(Reports):
    """The same for a verb whose only result is what it measured: ``-o`` names it, too."""

    output: Annotated[Path | None, written("The report (.html) or the numbers (.json).")] = None

    @property
    def page(self) -> Path | None:
        """File of the HTML report, if one is wanted."""
        return self.report or self._named(PAGE)

    @property
    def numbers(self) -> Path | None:
        """File of the numbers, if they are wanted."""
        return self.json or self._named(NUMBERS)

    def require(self) -> None:
        """As :meth:`Reports.require`.

        Raises:
            SpecError: Likewise, or the same thing is named twice.
        """
        from vlmcal.io.atomic import is_stream

        if self.output is not None:
            if is_stream(self.output):
                raise SpecError(
                    f"{self.output}: the ending of -o says what is wanted, and this has none; pass --report "
                    f"{self.output} for the page or --json {self.output} for the numbers"
                )
            arguments.require_output(self.output, (*PAGE, *NUMBERS))
            if self.output not in (self.page, self.numbers):
                raise SpecError(f"{self.output}: --output names what --report or --json names, too")
        super().require()

    def _named(self, endings: tuple[str, ...]) -> Path | None:
        given = self.output
        return given if given is not None and given.suffix.lower() in endings else None
