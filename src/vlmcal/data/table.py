"""Reading a manifest file into columns of text, the way it was written."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from vlmcal.data.problems import shown
from vlmcal.data.rows import Row, read_rows, suffix_of, text_of
from vlmcal.errors import DataError, nearest

Table: TypeAlias = dict[str, list[str | None]]
_SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}
_SUFFIXES: Final = (*_SEPARATORS, ".parquet", ".jsonl")


def read_table(path: Path) -> Table:
    """Columns of a CSV, TSV, JSONL (each also as .gz) or Parquet file; cells become text, empty ones None.

    Numbers keep their own spelling: a CSV cell "01" stays "01", a Parquet or JSON integer 1 becomes
    "1" and a decimal 1.0 becomes "1.0".

    Raises:
        DataError: The file is missing, empty, not of a known kind, or damaged; says which and where.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    suffix = suffix_of(path)
    if suffix not in _SUFFIXES:
        raise DataError(
            f'{path}: unknown kind of manifest "{suffix}"; expected one of {", ".join(_SUFFIXES)}'
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    separator = _SEPARATORS.get(suffix)
    table = _columns(read_rows(path)) if separator is None else _delimited(path, separator)
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{path}: the file has a header but no rows")
    return table


def _delimited(path: Path, separator: str) -> Table:
    lines: list[tuple[int, list[str]]] = []
    with text_of(path) as stream:
        reader = csv.reader(stream, delimiter=separator, strict=True)
        try:
            lines.extend((reader.line_num, cells) for cells in reader if cells)
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num} cannot be read ({error})") from error
    header = lines[0][1] if lines else []
    wrong = [
        f"line {number} has {len(cells)}" for number, cells in lines if len(cells) != len(header)
    ]
    if wrong:
        raise DataError(
            f"{path}: the header has {len(header)} columns, but {shown(wrong)}; put cells that contain "
            "the separator in double quotes"
        )
    if len(set(header)) != len(header):
        raise DataError(f"{path}: column names repeat: {shown(header)}; give each its own name")
    return {
        name: [cells[place] or None for _, cells in lines[1:]] for place, name in enumerate(header)
    }


def _columns(rows: Iterable[Row]) -> Table:
    table: Table = {}
    for count, row in enumerate(rows):
        for name in row.cells:
            table.setdefault(name, [None] * count)
        for name, column in table.items():
            cell = row.cells.get(name)
            column.append(None if cell is None else str(cell) or None)
    return table


def missing_column(name: str, parameter: str, table: Table) -> str:
    """Why a column cannot be found, with the nearest one there is."""
    return f'no column "{name}"; rename a column or pass {parameter}=NAME: {nearest(name, table)}'
