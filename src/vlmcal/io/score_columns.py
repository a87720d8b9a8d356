"""Which columns of a table can hold class scores, and why the others cannot."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.column_names import counts_rows_by_name, other_meaning, stated_scale
from vlmcal.io.number_cells import UNCLEAR
from vlmcal.io.table_files import Table
from vlmcal.types.arrays import FloatArray

Scores = Literal["logits", "probs", "percent"]
# Fewer rows say nothing about whether a column holds whole numbers by nature.
_FEW = 5
_TOP = {"probs": 1.0, "percent": 100.0}


@dataclass(frozen=True)
class ScoreColumns:
    """Columns sorted by what they can be.

    Attributes:
        sound: Numeric columns that nothing speaks against, in order.
        doubtful: Numeric columns that hold something else by their name or their numbers: the reason.
        broken: Columns with numbers and some cells that are none: the first such cell.
        other: Columns without numbers: why.
    """

    sound: tuple[str, ...]
    doubtful: dict[str, str]
    broken: dict[str, str]
    other: dict[str, str]

    @property
    def numeric(self) -> tuple[str, ...]:
        """All that hold numbers only."""
        return (*self.sound, *self.doubtful)


def sort_columns(table: Table, left: Collection[str], scores: Scores) -> ScoreColumns:
    """Sort the columns that have no other role.

    A numeric column is doubtful if it counts the rows, is named like an age, a confidence, a verdict or the
    like, holds only whole numbers (0 and 1, say) beside columns with decimals, is named as another scale, or
    lies outside the range of probabilities beside columns inside it.

    Example:
        >>> import pyarrow as pa
        >>> table = Table({"index": pa.chunked_array([[0, 1, 2]]), "cat": pa.chunked_array([[0.5, 1.5, 2]])})
        >>> found = sort_columns(table, table.names, "logits")
        >>> found.sound, found.doubtful
        (('cat',), {'index': 'counts the rows'})
    """
    numeric: list[str] = []
    broken: dict[str, str] = {}
    other: dict[str, str] = {}
    for name in left:
        numbers = table.numbers(name)
        known = np.isfinite(numbers.values) if numbers.values.dtype.kind == "f" else None
        filled = table.rows if known is None else int(known.sum())
        if numbers.bad.size:
            cell = table.texts(name)[numbers.bad[0]]
            place = f'first "{cell}" in data row {int(numbers.bad[0]) + 1}'
            unclear = numbers.form == UNCLEAR
            place += f": {UNCLEAR}; write 1.234 or 1234" if unclear else ""
            most = (unclear or filled >= numbers.bad.size) and not other_meaning(name)
            (broken if most else other)[name] = place if most else "text"
        elif not filled:
            other[name] = "it is empty"
        else:
            numeric.append(name)
    whole = {name for name in numeric if _whole(table.numbers(name).values)}
    decimals = len(whole) < len(numeric) and table.rows >= _FEW
    inside = {name for name in numeric if name not in whole and _inside(table, name, scores)}
    doubtful = {}
    for name in numeric:
        reason = _doubt(table, name, scores, name in whole, decimals)
        if not reason and inside and scores in _TOP and not _inside(table, name, scores):
            reason = f"outside 0 to {_TOP[scores]:g}"
        if reason:
            doubtful[name] = reason
    sound = tuple(name for name in numeric if name not in doubtful)
    return ScoreColumns(sound, doubtful, broken, other)


def _doubt(table: Table, name: str, scores: Scores, whole: bool, decimals: bool) -> str:
    values = table.numbers(name).values
    if name.isdecimal():  # a class called by its number, whatever it holds
        return ""
    if whole and _counts_rows(values, counts_rows_by_name(name)):
        return "counts the rows"
    meaning = other_meaning(name)
    if meaning and (whole or meaning != "a prediction"):
        return f"named like {meaning}"
    if whole and decimals and not (scores != "logits" and not values.any()):
        return "only 0 and 1" if np.isin(values, (0, 1)).all() else "whole numbers only"
    scale = stated_scale(name)
    if scale is not None and scale != ("logits" if scores == "logits" else "probs"):
        return f"named as {scale}"
    return ""


def _whole(values: FloatArray) -> bool:
    if values.dtype.kind != "f":
        return True
    known = values[np.isfinite(values)]
    return bool((known == np.round(known)).all())


def _counts_rows(values: FloatArray, named_so: bool) -> bool:
    if named_so:
        return len(np.unique(values)) == len(values)
    if len(values) < 3:
        return False
    steps = np.arange(len(values))
    return bool(np.array_equal(values, steps) or np.array_equal(values, steps + 1))


def _inside(table: Table, name: str, scores: Scores) -> bool:
    values = table.numbers(name).values
    top = _TOP.get(scores, np.inf)
    with np.errstate(invalid="ignore"):
        return not bool(((values < 0) | (values > top * (1 + 1e-3))).any())


def refuse_broken(name: str, cell: str) -> NoReturn:
    """Refuse a column of numbers in which some cells are none.

    Raises:
        DataError: Always.
    """
    raise DataError(
        f'column "{name}" is not numeric ({cell}), so it is no class column. Repair it, pass '
        f'exclude=["{name}"] (--exclude {name}) to leave it out, or name it as labels, group or ids'
    )


def score_matrix(table: Table, columns: Collection[str]) -> FloatArray:
    """(N, K) scores of the columns, in their common dtype.

    Raises:
        DataError: A cell is no number.
    """
    for name in columns:
        bad = table.numbers(name).bad
        if bad.size:
            cell = table.texts(name)[bad[0]]
            refuse_broken(name, f'first "{cell}" in data row {int(bad[0]) + 1}')
    return np.stack([table.numbers(name).values for name in columns], axis=1)


def rows_sum_to(table: Table, columns: Collection[str], scores: Scores) -> bool:
    """Whether the rows of these columns sum to 1 (100 for percent), within what rounding explains."""
    from vlmcal.types.probability_rows import row_tolerance

    values = score_matrix(table, columns).astype(np.float64)
    if scores == "percent":
        values = values / 100
    if not np.isfinite(values).all():
        return False
    off = np.abs(values.sum(axis=1) - 1)
    return bool((off <= max(2 * row_tolerance(values), 1e-2)).mean() > 0.9)
