"""Treatment, outcome and covariates as numbers, from a table with a row for each person."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.number_cells import as_number
from vlmcal.io.table_files import Table
from vlmcal.types.arrays import FloatArray, StrArray

# Two words of which nobody doubts what they mean.
WORDS = ({"true", "false"}, {"yes", "no"})
_LEVELS = 20  # of a text column that is read as categories
_SHOWN = 5


class Covariates(NamedTuple):
    """Covariates as numbers.

    Attributes:
        names: P names; of a category "sex=M".
        values: (N, P).
    """

    names: list[str]
    values: FloatArray


def numbers(table: Table, column: str, option: str) -> FloatArray:
    """A column (N,) of numbers.

    Args:
        table: The table.
        column: Its name.
        option: What the column was named by, for messages.

    Raises:
        DataError: No such column, or a cell is empty or no number.
    """
    values = np.asarray(table.numbers(table.require(column, option)).values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise DataError(
            f'column "{column}": {bad.size} of {len(values)} cells are no numbers, first in row '
            f"{bad[0] + 1}; fill or remove these rows, and encode categories as 0/1 columns"
        )
    return values


def folds(table: Table, column: str) -> StrArray:
    """The fold of each row, (N,), as text.

    Raises:
        DataError: No such column, or an empty cell.
    """
    found = table.texts(table.require(column, "--fold"))
    _require_filled(found, column)
    return found


def treatment(table: Table, column: str, treated: str | None = None) -> FloatArray:
    """1 for treated rows and 0 for others, (N,).

    Args:
        table: The table.
        column: 0 and 1, true and false, yes and no; or any two values with ``treated``.
        treated: The value of treated rows.

    Raises:
        DataError: No such column, an empty cell, or values of which two arms are not plain.

    Example:
        >>> import pyarrow as pa
        >>> arms = Table({"arm": pa.chunked_array([["drug", "placebo", "drug"]])})
        >>> treatment(arms, "arm", "drug").tolist()
        [1.0, 0.0, 1.0]
    """
    cells = table.texts(table.require(column, "--treatment"))
    _require_filled(cells, column)
    values: FloatArray = np.asarray(table.numbers(column).values, dtype=np.float64)
    held = np.unique(cells).tolist()
    if treated is not None:
        number = as_number(treated)
        same = (cells == treated) | (values == (np.nan if number is None else number))
        if not same.any():
            raise DataError(
                f'column "{column}" has no value "{treated}"; {nearest(treated, held[:_LEVELS])}'
            )
        if len(np.unique(cells[~same])) > 1:
            raise DataError(
                f'column "{column}": {_listed(held)} are more than two arms; keep the rows of two'
            )
        return np.where(same, 1.0, 0.0)
    if np.isin(values, (0, 1)).all():
        return values
    lower = np.char.lower(cells)
    if any(set(np.unique(lower).tolist()) <= pair for pair in WORDS):
        return np.where(np.isin(lower, ("true", "yes")), 1.0, 0.0)
    raise DataError(
        f'column "{column}": expected 0 and 1 (or true and false, yes and no), got {_listed(held)}; name '
        "the value of treated rows (--treated VALUE)"
    )


def covariates(table: Table, columns: Sequence[str]) -> Covariates:
    """Columns of numbers as they are, of text as a 0/1 column for each category but the first.

    Raises:
        DataError: No such column, an empty cell, or text with more than 20 different values.

    Example:
        >>> import pyarrow as pa
        >>> people = {"age": pa.chunked_array([[50, 61]]), "sex": pa.chunked_array([["F", "M"]])}
        >>> covariates(Table(people), ["age", "sex"])
        Covariates(names=['age', 'sex=M'], values=array([[50.,  0.],
               [61.,  1.]]))
    """
    names: list[str] = []
    found: list[FloatArray] = []
    for column in columns:
        table.require(column, "--covariates")
        if np.isfinite(table.numbers(column).values).any():
            names.append(column)
            found.append(numbers(table, column, "--covariates"))
            continue
        cells = table.texts(column)
        _require_filled(cells, column)
        levels = np.unique(cells).tolist()
        if len(levels) > _LEVELS:
            raise DataError(
                f'column "{column}" is text with {len(levels)} different values; expected numbers or at most '
                f"{_LEVELS} categories: leave it out of --covariates"
            )
        for level in levels[1:]:
            names.append(f"{column}={level}")
            found.append((cells == level).astype(np.float64))
    if not found:
        raise DataError("covariates: each has the same text in all rows; name others")
    return Covariates(names, np.column_stack(found))


def check_roles(**roles: Sequence[str] | str | None) -> None:
    """Refuse a column that is named for two things.

    Args:
        **roles: Columns by the option that they are named by.

    Raises:
        SpecError: Names the column and both options.

    Example:
        >>> check_roles(treatment="drug", outcome="died", covariates=["age", "died"])
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: column "died" is named by --outcome and --covariates; name it once
    """
    seen: dict[str, str] = {}
    for role, named in roles.items():
        for column in [named] if isinstance(named, str) else named or ():
            if column in seen:
                raise SpecError(
                    f'column "{column}" is named by --{seen[column]} and --{role}; name it once'
                )
            seen[column] = role


def _require_filled(cells: StrArray, column: str) -> None:
    empty = np.flatnonzero(cells == "")
    if empty.size:
        raise DataError(
            f'column "{column}": {empty.size} of {len(cells)} cells are empty, first in row '
            f"{empty[0] + 1}; fill or remove these rows"
        )


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(f'"{value}"' for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} others"
