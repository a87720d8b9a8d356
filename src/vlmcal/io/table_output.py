"""Tables to files: CSV, TSV, JSON lines, Parquet and Excel, each also packed, by the ending of the name."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.errors import DataError
from vlmcal.extras import naming_extras
from vlmcal.io.atomic import atomic_write, is_stream
from vlmcal.io.packed import ending_of

_EXCEL_ROWS: Final = 1_048_576


def write_table(columns: Mapping[str, Any], file: Path) -> None:
    r"""Write columns of one length; the file appears in one step, or not at all.

    Args:
        columns: Arrays or lists (N,) by name.
        file: Its name ends in one of :data:`TABLES`; standard output ("-"), devices and pipes take CSV.

    Raises:
        DataError: Another ending, or too many rows for Excel.
        StoreError: The folder cannot be written to, or the disk is full.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.jsonl")
        >>> write_table({"id": ["scan 1"], "p": np.array([0.25])}, file)
        >>> file.read_text()
        '{"id": "scan 1", "p": 0.25}\n'
    """
    ending = ".csv" if is_stream(file) else ending_of(file)
    if ending not in _WRITERS:
        raise DataError(f"{file}: expected a name that ends in {', '.join(_WRITERS)}, also .gz")
    content = _WRITERS[ending](columns)
    if file.suffix.lower() == ".gz":
        content = gzip.compress(content, mtime=0)
    atomic_write(file, content)


def _delimited(separator: str) -> Callable[[Mapping[str, Any]], bytes]:
    def write(columns: Mapping[str, Any]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, delimiter=separator, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(_plain(cells) for cells in columns.values()), strict=True))
        return text.getvalue().encode()

    return write


def _json_lines(columns: Mapping[str, Any]) -> bytes:
    rows = zip(*(_plain(cells) for cells in columns.values()), strict=True)
    names = list(columns)
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def _plain(cells: Any) -> list[Any]:
    array = np.asarray(cells)
    if array.dtype.kind == "f":
        return [value if np.isfinite(value) else None for value in array.tolist()]
    return list(array.tolist())


def _parquet(columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue().to_pybytes())


def _workbook(columns: Mapping[str, Any]) -> bytes:
    with naming_extras():
        from openpyxl import Workbook
    cells = [_plain(column) for column in columns.values()]
    if cells and len(cells[0]) >= _EXCEL_ROWS:
        raise DataError(
            f"a sheet of Excel holds {_EXCEL_ROWS - 1:,} rows below its header, these are {len(cells[0]):,}; "
            "write .csv or .parquet"
        )
    book = Workbook(write_only=True)
    sheet = book.create_sheet("rows")
    sheet.append(list(columns))
    for row in zip(*cells, strict=True):
        sheet.append(row)
    sink = io.BytesIO()
    book.save(sink)
    return sink.getvalue()


_WRITERS: Final[dict[str, Callable[[Mapping[str, Any]], bytes]]] = {
    ".csv": _delimited(","),
    ".tsv": _delimited("\t"),
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".xlsx": _workbook,
}
TABLES: Final = (*_WRITERS, *(f"{ending}.gz" for ending in _WRITERS))


def full_ending(file: Path, known: Collection[str]) -> str:
    """The ending of a name in small letters, with that before ``.gz``; of what is no file, that of a CSV.

    Raises:
        DataError: None of the ``known`` ones.

    Example:
        >>> full_ending(Path("Rows.CSV.gz"), TABLES), full_ending(Path("v1.2.npz"), [".npz"])
        ('.csv.gz', '.npz')
    """
    suffix = file.suffix.lower()
    ending = f"{ending_of(file)}.gz" if suffix == ".gz" else suffix
    ending = ".csv" if is_stream(file) else ending
    if ending not in known:
        raise DataError(
            f'{file}: unknown kind of file "{file.suffix}"; expected one of {", ".join(known)}'
        )
    return ending
