"""What one cell of a table holds and how it is written."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from vlmcal.errors import DataError
from vlmcal.report.formats import MISSING, number
from vlmcal.types.estimate import Estimate

ONE_SEED = "One seed only: the spread between seeds is unknown, so small differences mean nothing."
SEEDS = "Mean ± standard deviation over {n} seeds."
INTERVALS = "Brackets: {level:g} % interval."
SEED_INTERVALS = "Brackets: mean of the seeds' {level:g} % intervals."

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Column:
    """Heading and number format of one column.

    Attributes:
        title: Heading.
        group: Heading shared with the neighbours of the same group ("base classes"), or "".
        percent: Values are fractions, to be shown in percent.
        digits: Digits after the point.
        better: Which direction is better; None when neither is, or for text.
        align: "left" for text, "right" for numbers.
    """

    title: str
    group: str = ""
    percent: bool = False
    digits: int = 1
    better: Better | None = None
    align: Literal["left", "right"] = "right"

    @property
    def label(self) -> str:
        """Heading with unit and direction, such as "ECE % ↓"."""
        arrow = {"higher": "↑", "lower": "↓", None: ""}[self.better]
        return " ".join(part for part in (self.title, "%" if self.percent else "", arrow) if part)


def words(title: str) -> Column:
    """A column of text."""
    return Column(title, align="left")


@dataclass(frozen=True)
class Spread:
    """The same number measured with several seeds.

    Attributes:
        mean: Mean over the seeds.
        std: Sample standard deviation over the seeds (divisor n - 1), or None for one seed.
        n: Number of seeds.
        low: Mean over the seeds of the lower ends of the single intervals, or None.
        high: Mean of the upper ends, or None.
    """

    mean: float
    std: float | None
    n: int
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float | Estimate]) -> "Spread":
        """Mean and spread of one value per seed.

        Raises:
            DataError: No value at all.

        Example:
            >>> s = Spread.of([0.1, 0.2, 0.3])
            >>> round(s.mean, 6), round(s.std, 6), s.n
            (0.2, 0.1, 3)
        """
        if not values:
            raise DataError("a mean over seeds needs at least one value, got none")
        plain = [v.value if isinstance(v, Estimate) else float(v) for v in values]
        ends = [
            (v.low, v.high)
            for v in values
            if isinstance(v, Estimate) and v.low is not None and v.high is not None
        ]
        known = len(ends) == len(values)
        return cls(
            mean=float(np.mean(plain)),
            std=float(np.std(plain, ddof=1)) if len(plain) > 1 else None,
            n=len(plain),
            low=float(np.mean([low for low, _ in ends])) if known else None,
            high=float(np.mean([high for _, high in ends])) if known else None,
        )


@dataclass(frozen=True)
class Formatted:
    """A cell with a number format of its own, for tables with one metric per row.

    Attributes:
        cell: What the cell holds.
        like: Column whose format it takes.
    """

    cell: "str | float | Estimate | Spread | None"
    like: Column


Plain: TypeAlias = str | float | Estimate | Spread | None
Cell: TypeAlias = Plain | Formatted


def plain(cell: Cell) -> Plain:
    """The cell without its own format."""
    return cell.cell if isinstance(cell, Formatted) else cell


class Shown(NamedTuple):
    """A cell as text: the value, and what stands smaller beside it."""

    main: str
    small: str


def numeric(cell: Cell) -> float | None:
    """The number a cell stands for, or None for text, gaps and NaN.

    Example:
        >>> numeric(Estimate(0.5)), numeric("CoOp"), numeric(float("nan"))
        (0.5, None, None)
    """
    cell = plain(cell)
    if isinstance(cell, Estimate):
        value = cell.value
    elif isinstance(cell, Spread):
        value = cell.mean
    elif isinstance(cell, str) or cell is None:
        return None
    else:
        value = float(cell)
    return None if math.isnan(value) else value


def show(cell: Cell, column: Column) -> Shown:
    """A cell as text, in the format of its column.

    Example:
        >>> show(Estimate(0.0421, 0.031, 0.056), Column("ECE", percent=True))
        Shown(main='4.2', small='[3.1, 5.6]')
        >>> show(Spread.of([0.1, 0.2, 0.3]), Column("ECE", percent=True))
        Shown(main='20.0', small='± 10.0')
    """
    if isinstance(cell, Formatted):
        return show(cell.cell, cell.like)
    if cell is None:
        return Shown(MISSING, "")
    if isinstance(cell, str):
        return Shown(cell, "")
    if isinstance(cell, int) and not column.percent:
        return Shown(f"{cell:,}", "")
    value = numeric(cell)
    if value is None:
        return Shown(MISSING, "")
    return Shown(_text(value, column), _small(cell, column))


def _text(value: float, column: Column) -> str:
    return number(value, percent=column.percent, digits=column.digits)


def _small(cell: Plain, column: Column) -> str:
    parts = []
    if isinstance(cell, Spread):
        parts.append("1 seed" if cell.std is None else f"± {_text(cell.std, column)}")
    if isinstance(cell, Estimate | Spread) and cell.low is not None and cell.high is not None:
        parts.append(f"[{_text(cell.low, column)}, {_text(cell.high, column)}]")
    return " ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows of cells under described columns; the first column names the row.

    Attributes:
        columns: What each column holds.
        rows: One cell per column: text, number, :class:`Estimate`, :class:`Spread`, or None.
        caption: One line above the table.
        notes: Lines under it; what brackets and ± mean is added by itself.
        level: Confidence level of the intervals in the cells.

    Raises:
        DataError: A row has more or fewer cells than there are columns.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[str] = ()
    level: float = 0.95
    blocks: Sequence[str | None] = ()

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise DataError(
                    f"table row {i}: expected {len(self.columns)} cells, one per column, "
                    f"got {len(row)}: {list(row)[:8]}"
                )

    def best(self) -> frozenset[tuple[int, int]]:
        """Positions (row, column) of the best value of each column that has a direction.

        Values that look the same when printed share the mark; a column with one value has none. With
        ``blocks``, each block has its own best.
        """
        marks: set[tuple[int, int]] = set()
        blocks = self.blocks or [""] * len(self.rows)
        for block in dict.fromkeys(blocks):
            rows = [i for i, each in enumerate(blocks) if each == block and block is not None]
            for j, column in enumerate(self.columns):
                marks |= {(i, j) for i in self._best(rows, j, column)}
        return frozenset(marks)

    def _best(self, rows: Sequence[int], j: int, column: Column) -> set[int]:
        values = {i: v for i in rows if (v := numeric(self.rows[i][j])) is not None}
        if column.better is None or len(values) < 2:
            return set()
        top = max(values.values()) if column.better == "higher" else min(values.values())
        printed = show(top, column).main
        equal = {i for i, value in values.items() if show(value, column).main == printed}
        return equal if len(equal) < len(values) else set()

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
