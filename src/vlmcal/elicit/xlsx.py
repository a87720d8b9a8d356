"""Rows of the first sheet of an Excel file (.xlsx), read with the standard library."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from vlmcal.errors import DataError

_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
# A sheet that unpacks to more than this is no table of answers.
_LARGEST: Final = 1 << 30


def sheet_rows(path: Path) -> Iterator[dict[str, str]]:
    """Cells of each row by the names in the first row, as text; formulas are their stored values.

    Raises:
        DataError: No .xlsx file, or two columns have the same name.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            shared = _shared(packed)
            names = sorted(
                n for n in packed.namelist() if re.fullmatch(r"xl/worksheets/\w+\.xml", n)
            )
            first = "xl/worksheets/sheet1.xml" if "xl/worksheets/sheet1.xml" in names else names[0]
            rows = _rows(_parsed(packed, first), shared)
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, IndexError, ValueError) as error:
        raise DataError(f"{path}: not a readable .xlsx file ({error}); save it as CSV") from error
    if not rows:
        raise DataError(f"{path}: the first sheet is empty")
    header = {column: name.strip() for column, name in rows[0].items() if name.strip()}
    names_ = list(header.values())
    repeated = [name for name in names_ if names_.count(name) > 1]
    if repeated:
        raise DataError(f'{path}: two columns are called "{repeated[0]}"; rename one')
    for row in rows[1:]:
        if any(row.values()):
            yield {name: row.get(column, "") for column, name in header.items()}


def _parsed(packed: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if packed.getinfo(name).file_size > _LARGEST:
        raise ValueError(f"{name} is larger than {_LARGEST:,} bytes")
    content = packed.read(name)
    if b"<!DOCTYPE" in content[:2000]:
        raise ValueError("a document type is not allowed in a sheet")
    return ElementTree.fromstring(content)


def _shared(packed: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in packed.namelist():
        return []
    root = _parsed(packed, "xl/sharedStrings.xml")
    return [
        "".join(t.text or "" for t in item.iter(f"{_MAIN}t")) for item in root.iter(f"{_MAIN}si")
    ]


def _rows(sheet: ElementTree.Element, shared: list[str]) -> list[dict[str, str]]:
    found = []
    for row in sheet.iter(f"{_MAIN}row"):
        cells: dict[str, str] = {}
        for number, cell in enumerate(row.iter(f"{_MAIN}c")):
            column = re.sub(r"\d", "", cell.get("r") or "") or str(number)
            cells[column] = _text(cell, shared)
        found.append(cells)
    return found


def _text(cell: ElementTree.Element, shared: list[str]) -> str:
    kind, value = cell.get("t"), cell.find(f"{_MAIN}v")
    if kind == "inlineStr":
        return "".join(t.text or "" for t in cell.iter(f"{_MAIN}t"))
    written = "" if value is None else value.text or ""
    if kind == "s" and written:
        return shared[int(written)]
    if kind == "b":
        return {"1": "true", "0": "false"}.get(written, written)
    return written
