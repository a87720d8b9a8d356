"""Subgroups of rows by the values of a column, such as sex or hospital."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import BoolArray

MOST = 50
# Fewer rows in a subgroup carry no conclusion.
FEWEST = 30


def subgroups(columns: Mapping[str, Any], n: int) -> Iterator[tuple[str, BoolArray]]:
    """Each value of each column with the rows (N,) that have it.

    Args:
        columns: (N,) values by name of the column.
        n: Number of rows.

    Raises:
        DataError: A column of another length, or of more than 50 values.

    Example:
        >>> for name, inside in subgroups({"sex": ["f", "m", "f", ""]}, 4):
        ...     print(name, int(inside.sum()))
        sex = (empty) 1
        sex = f 2
        sex = m 1
    """
    for column, values in columns.items():
        array = np.asarray(values)
        if array.shape != (n,):
            raise DataError(
                f'by: expected {n} values of "{column}", one for each row, got {array.shape}'
            )
        distinct = np.unique(array).tolist()
        if len(distinct) > MOST:
            raise DataError(
                f'by: column "{column}" has {len(distinct)} values, more than {MOST} subgroups; '
                f"numbers are cut into bands with --by {column}:LOW:HIGH, units such as patients are "
                "named with --unit"
            )
        for value in distinct:
            yield f"{column} = {'(empty)' if value == '' else value}", array == value
