"""Excel workbooks: which sheet holds the table, and where on it the table begins."""

import io
import zipfile
from typing import Any, NamedTuple

from vlmcal.errors import DataError, require_known
from vlmcal.extras import naming_extras
from vlmcal.io.column_names import named_once
from vlmcal.io.nested_rows import cells_column, columns_in_cells
from vlmcal.io.packed import require_honest
from vlmcal.io.table_layout import SAMPLE, header_place, is_number


class Sheet(NamedTuple):
    """A table on a sheet.

    Attributes:
        columns: Columns (pyarrow) by name.
        form: Where it is, in words.
        notes: Which other sheets hold tables.
    """

    columns: dict[str, Any]
    form: tuple[str, ...]
    notes: tuple[str, ...]


def read_workbook(data: bytes, asked: str | None) -> Sheet:
    """The table of a workbook: on the sheet that is asked for, else on the first with numbers below names.

    Raises:
        DataError: No workbook, no such sheet, no table, or a column name twice.
    """
    with naming_extras():
        from openpyxl import load_workbook
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        require_honest(unpacked, len(data))
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except DataError:
        raise
    except Exception as error:  # openpyxl lets errors of zipfile, xml and its own through
        raise DataError(f"not readable as a workbook ({error})") from error
    names = [sheet.title for sheet in book.worksheets]
    if asked is not None:
        require_known(asked, names, "no sheet", DataError)
    sheets = {name: _lines(book[name]) for name in ([asked] if asked else names)}
    tables = [name for name, lines in sheets.items() if _is_table(lines)] or names[:1]
    chosen = asked or tables[0]
    lines = sheets[chosen]
    if len(lines) < 2:
        raise DataError(f'sheet "{chosen}" has no rows below its header')
    columns, above = _columns(lines)
    form = [f'sheet "{chosen}"', *([f"title above the header: {above}"] if above else [])]
    notes = []
    if asked is None and len(tables) > 1:
        notes = [f"other sheets with tables: {', '.join(tables[1:])}; name one with --sheet"]
    return Sheet(columns_in_cells(columns), tuple(form), tuple(notes))


def _lines(sheet: Any) -> list[list[Any]]:
    """Rows of a sheet in which some cell is filled."""
    lines = (list(line) for line in sheet.iter_rows(values_only=True))
    kept = [line for line in lines if any(cell not in (None, "") for cell in line)]
    width = max(map(len, kept), default=0)
    return [line + [None] * (width - len(line)) for line in kept]


def _texts(line: list[Any], kept: list[int]) -> list[str]:
    return ["" if line[at] is None else str(line[at]).strip() for at in kept]


def _filled(lines: list[list[Any]]) -> list[int]:
    width = len(lines[0]) if lines else 0
    return [at for at in range(width) if any(line[at] is not None for line in lines)]


def _is_table(lines: list[list[Any]]) -> bool:
    """Whether there are names, and numbers below them."""
    kept = _filled(lines[:SAMPLE])
    records = [_texts(line, kept) for line in lines[:SAMPLE]]
    if len(records) < 2 or len(kept) < 2:
        return False
    below = records[header_place(records) + 1 :]
    return any(is_number(cell) for record in below for cell in record)


def _columns(lines: list[list[Any]]) -> tuple[dict[str, Any], str]:
    kept = _filled(lines)
    records = [_texts(line, kept) for line in lines[:SAMPLE]]
    at = header_place(records)
    above = " ".join(cell for record in records[:at] for cell in record if cell)
    header = named_once(records[at])
    rows = lines[at + 1 :]
    columns = {
        name: cells_column([_cell(line[place]) for line in rows])
        for name, place in zip(header, kept, strict=True)
    }
    return columns, above[:60]


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str | bool) else str(value)
