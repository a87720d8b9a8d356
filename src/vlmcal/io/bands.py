"""Subgroups by a number, such as an age: its column cut into bands."""

import re
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.number_cells import as_number
from vlmcal.types.arrays import StrArray

_CUT: Final = re.compile(r"(.+?)((?::[+-]?\d+(?:\.\d*)?)+)")


class Banded(NamedTuple):
    """A column that parts the rows, as the user says it.

    Attributes:
        column: Its name.
        cuts: Where its numbers are cut, ascending; empty if its values are the subgroups.
    """

    column: str
    cuts: tuple[float, ...] = ()

    def text(self) -> str:
        """For the plan.

        Example:
            >>> Banded("age", (45.0, 65.0)).text()
            'age cut at 45, 65'
        """
        shown = ", ".join(f"{cut:g}" for cut in self.cuts)
        return f"{self.column} cut at {shown}" if shown else self.column


def parse_band(text: str) -> Banded:
    """``COLUMN`` or ``COLUMN:CUT:CUT...``.

    Raises:
        DataError: The cuts do not ascend.

    Example:
        >>> parse_band("sex"), parse_band("age:45:65")
        (Banded(column='sex', cuts=()), Banded(column='age', cuts=(45.0, 65.0)))
    """
    found = _CUT.fullmatch(text)
    if found is None:
        return Banded(text)
    cuts = tuple(float(cut) for cut in found[2].split(":")[1:])
    if any(later <= cut for cut, later in pairwise(cuts)):
        raise DataError(f'by: the cuts of "{text}" do not ascend; write COLUMN:LOW:HIGH')
    return Banded(found[1], cuts)


def bands(values: StrArray, by: Banded) -> StrArray:
    """The band of each row; a number at a cut belongs to the band above it.

    Args:
        values: (N,) cells; empty ones stay empty.
        by: The column and its cuts.

    Raises:
        DataError: A cell is no number.

    Example:
        >>> bands(np.array(["30", "45", "80", ""]), Banded("age", (45.0, 65.0))).tolist()
        ['below 45', '45 to below 65', 'from 65', '']
    """
    if not by.cuts:
        return values
    shown = [f"{cut:g}" for cut in by.cuts]
    middle = [f"{low} to below {high}" for low, high in pairwise(shown)]
    names = [f"below {shown[0]}", *middle, f"from {shown[-1]}"]
    found = []
    for row, value in enumerate(values.tolist()):
        if value == "":
            found.append("")
            continue
        number = as_number(value)
        if number is None or np.isnan(number):
            raise DataError(
                f'by: column "{by.column}" is to be cut into bands, but data row {row + 1} holds '
                f'"{value}", no number'
            )
        found.append(names[int(np.searchsorted(by.cuts, number, side="right"))])
    return np.asarray(found, dtype=np.str_)
