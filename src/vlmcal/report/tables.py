"""Tables of measured numbers, for terminals, papers, spreadsheets and web pages."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmcal.errors import DataError
from vlmcal.report import table_html, table_latex, table_text
from vlmcal.report.cells import Cell, Column, Spread, numeric, plain, show

ONE_SEED = "One seed only: the spread between seeds is unknown, so small differences mean nothing."
SEEDS = "Mean ± standard deviation over {n} seeds."
INTERVALS = "Brackets: {level:g} % interval."
SEED_INTERVALS = "Brackets: mean of the seeds' {level:g} % intervals."


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under described columns; the first column names the row.

    Attributes:
        columns: What each column holds.
        rows: One cell per column: text, number, :class:`Estimate`, :class:`Spread`, or None.
        caption: One line above the table.
        notes: Lines under it; what brackets and ± mean is added by itself.
        level: Confidence level of the intervals in the cells.

    Raises:
        DataError: A row has more or fewer cells than there are columns.

    Example:
        >>> table = Table(
        ...     columns=[Column("method", align="left"), Column("ECE", percent=True, better="lower")],
        ...     rows=[["CoOp", 0.081], ["TCPT", 0.032]],
        ... )
        >>> print(table.to_text())
        method  ECE % ↓
        ------  --------
        CoOp        8.1
        TCPT        3.2*
        <BLANKLINE>
        * best in its column
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[str] = ()
    level: float = 0.95

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise DataError(
                    f"table row {i}: expected {len(self.columns)} cells, one per column, "
                    f"got {len(row)}: {list(row)[:8]}"
                )

    def best(self) -> frozenset[tuple[int, int]]:
        """Positions (row, column) of the best value of each column that has a direction.

        Values that look the same when printed share the mark; a column with one value has none.
        """
        marks = set()
        for j, column in enumerate(self.columns):
            values = {i: v for i, row in enumerate(self.rows) if (v := numeric(row[j])) is not None}
            if column.better is None or len(values) < 2:
                continue
            top = max(values.values()) if column.better == "higher" else min(values.values())
            printed = show(top, column).main
            equal = {i for i, value in values.items() if show(value, column).main == printed}
            if len(equal) < len(values):
                marks |= {(i, j) for i in equal}
        return frozenset(marks)

    def all_notes(self) -> list[str]:
        """The notes, and what brackets and ± stand for in this table."""
        cells = [plain(cell) for row in self.rows for cell in row]
        seeds = sorted({cell.n for cell in cells if isinstance(cell, Spread)})
        notes = list(self.notes)
        if seeds == [1]:
            notes.append(ONE_SEED)
        elif seeds:
            counts = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
            notes.append(SEEDS.format(n=counts))
        if any(getattr(cell, "low", None) is not None for cell in cells):
            several = bool(seeds) and seeds[-1] > 1
            text = SEED_INTERVALS if several else INTERVALS
            notes.append(text.format(level=100 * self.level))
        return notes

    def to_text(self, width: int = 100) -> str:
        """Monospace text; columns that do not fit ``width`` go into further blocks below."""
        return table_text.to_text(self, width)

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table; the best values are bold."""
        return table_text.to_markdown(self)

    def to_csv(self) -> str:
        """Comma-separated values in full precision, as fractions; intervals in own columns."""
        return table_text.to_csv(self)

    def to_latex(self) -> str:
        """A LaTeX tabular for the package booktabs; the best values are bold."""
        return table_latex.to_latex(self)

    def to_html(self) -> str:
        """A ``<figure>`` with the table, for the report's style sheet."""
        return table_html.to_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()
