"""Reading a manifest file into columns of text, the way it was written."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from vlmcal.data.problems import shown
from vlmcal.errors import DataError, nearest

Table: TypeAlias = dict[str, list[str | None]]


def read_table(path: Path) -> Table:
    """Columns of a CSV, TSV, Parquet or JSONL file; cells become text, empty cells None.

    Numbers keep their own spelling: a CSV cell "01" stays "01", a Parquet or JSON integer 1 becomes
    "1" and a decimal 1.0 becomes "1.0".

    Raises:
        DataError: The file is missing, empty, not of a known kind, or damaged; says which and where.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f'{path}: unknown kind of manifest "{path.suffix}"; expected one of {", ".join(_READERS)}'
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    table = reader(path)
    if not table or not len(next(iter(table.values()))):
        raise DataError(f"{path}: the file has a header but no rows")
    return table


def table_suffixes() -> tuple[str, ...]:
    """File name endings that :func:`read_table` understands."""
    return tuple(_READERS)


def _delimited(path: Path, separator: str) -> Table:
    lines: list[tuple[int, list[str]]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=separator, strict=True)
            lines.extend((reader.line_num, cells) for cells in reader if cells)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from error
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


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path).to_pydict()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error
    return {name: [_cell(value) for value in values] for name, values in columns.items()}


def _json_lines(path: Path) -> Table:
    table: Table = {}
    with path.open(encoding="utf-8-sig") as stream:
        filled = [(number, line) for number, line in enumerate(stream, 1) if line.strip()]
    for count, (number, line) in enumerate(filled):
        record = _json_record(path, number, line)
        for name in record:
            table.setdefault(name, [None] * count)
        for name, column in table.items():
            column.append(_cell(record.get(name)))
    return table


def _json_record(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {number} is not JSON ({error.msg})") from error
    if not isinstance(record, dict):
        raise DataError(
            f'{path}: line {number}: expected an object such as {{"image": ..., "label": ...}}, got '
            f"{line.strip()[:60]}"
        )
    return record


def _cell(value: Any) -> str | None:
    text = "" if value is None else str(value)
    return text or None


_READERS: Final[dict[str, Callable[[Path], Table]]] = {
    ".csv": lambda path: _delimited(path, ","),
    ".tsv": lambda path: _delimited(path, "\t"),
    ".parquet": _parquet,
    ".jsonl": _json_lines,
}


def missing_column(name: str, parameter: str, table: Table) -> str:
    """Why a column cannot be found, with the nearest one there is."""
    return f'no column "{name}"; rename a column or pass {parameter}=NAME: {nearest(name, table)}'
