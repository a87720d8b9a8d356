"""Tables in files of every common kind, as named columns; what they mean is decided elsewhere."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError, nearest
from vlmcal.extras import naming_extras
from vlmcal.io.delimited_text import parse
from vlmcal.io.json_text import parse_json
from vlmcal.types.arrays import StrArray

_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".tab": "\t", ".dat": "\t"}
# Of a compressed file, once unpacked.
LARGEST_UNPACKED: Final = 8 << 30
_BLANK: Final = ("", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "-nan")
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(inf|infinity)$"
_COMMA: Final = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"


class Numbers(NamedTuple):
    """A column as numbers.

    Attributes:
        values: (N,) numbers; NaN where a cell is empty or no number.
        bad: Rows whose cell is neither empty nor a number.
        form: "decimal comma", "percent sign" or "".
    """

    values: NDArray[Any]
    bad: NDArray[np.intp]
    form: str = ""


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of one length.

    Attributes:
        columns: Chunked pyarrow arrays by name: strings or numbers.
        form: How the file was read, in words.
        notes: What to look at.
        class_lists: Class names of integer columns, where the file carries them.
    """

    columns: Mapping[str, Any]
    form: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    class_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _numbers: dict[str, Numbers] = field(default_factory=dict, repr=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.columns)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def require(self, name: str, parameter: str) -> str:
        """``name``, if there is such a column.

        Raises:
            DataError: Names the nearest column.
        """
        if name not in self.columns:
            hint = nearest(name, self.names)
            raise DataError(f'no column "{name}"; rename a column or pass {parameter}=NAME: {hint}')
        return name

    def numbers(self, name: str) -> Numbers:
        """A column as numbers; decimal commas and percent signs are understood."""
        if name not in self._numbers:
            self._numbers[name] = _as_numbers(self.columns[name])
        return self._numbers[name]

    def texts(self, name: str) -> StrArray:
        """A column as text, (N,); empty cells as "".

        Example:
            >>> import pyarrow as pa
            >>> Table({"label": pa.chunked_array([[" cat", None]])}).texts("label").tolist()
            ['cat', '']
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        if not pa.types.is_string(column.type):
            column = pc.cast(column, pa.string())
        filled = pc.fill_null(pc.utf8_trim_whitespace(column), "")
        return np.asarray(filled.to_numpy(), dtype=np.str_)


def read_table(file: Path, sheet: str | None = None) -> Table:
    r"""Read CSV, TSV, JSONL, JSON, Parquet, XLSX (each also with .gz) or a folder of ``datasets``.

    Args:
        file: The file; its ending says the kind.
        sheet: Of a workbook; default: the first.

    Raises:
        DataError: Not readable, too large once unpacked, or of an unknown kind.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "rows.jsonl")
        >>> _ = file.write_text('{"label": "cat", "probs": {"cat": 0.9, "dog": 0.1}}\n')
        >>> read_table(file).names
        ('label', 'probs.cat', 'probs.dog')
    """
    if file.is_dir():
        return _dataset_folder(file)
    ending = ending_of(file)
    if sheet is not None and ending != ".xlsx":
        raise DataError(f"a sheet ({sheet}) was named, but a {ending} file has none")
    if file.stat().st_size == 0:
        raise DataError("the file is empty (0 bytes)")
    if ending == ".xlsx":
        return _workbook(file, sheet)
    read = READERS.get(ending)
    if read is None:
        raise DataError(f'unknown kind of table "{ending}"; expected one of {", ".join(ENDINGS)}')
    return read(_content(file), ending)


def ending_of(file: Path) -> str:
    """The ending that says the kind: that before ``.gz``, in small letters.

    Example:
        >>> ending_of(Path("Rows.CSV.gz"))
        '.csv'
    """
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix == ".gz" else suffix


def _content(file: Path) -> bytes:
    if file.suffix.lower() != ".gz":
        return file.read_bytes()
    try:
        with gzip.open(file) as stream:
            data = stream.read(LARGEST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"not readable as a gzip file ({error}); fetch or pack it again") from error
    if len(data) > LARGEST_UNPACKED:
        raise DataError(f"unpacks to more than {LARGEST_UNPACKED >> 30} GiB; unpack and split it")
    return data


def _delimited(data: bytes, ending: str) -> Table:
    found = parse(data, _SEPARATORS[ending], ending)
    columns: dict[str, Any] = {}
    for name in found.table.column_names:
        column = found.table.column(name)
        columns |= _arrays_in_cells(name, column) or {name: column}
    return Table(columns, tuple(found.form), tuple(found.notes))


def _arrays_in_cells(name: str, column: Any) -> dict[str, Any]:
    """Columns of a column that holds ``[0.1, 0.9]`` in every cell, as pandas and NumPy print arrays."""
    first = column[0].as_py() if len(column) else None
    if not first or not first.strip().startswith("["):
        return {}
    rows = [cell.strip() for cell in column.to_pylist()]
    if not all(cell.startswith("[") and cell.endswith("]") for cell in rows):
        return {}
    try:
        numbers = [[float(x) for x in cell[1:-1].replace(",", " ").split()] for cell in rows]
    except ValueError:
        return {}
    return _from_records([{name: cells} for cells in numbers])


def _parquet(data: bytes, ending: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not readable as a {ending} table ({error})") from error
    return _from_arrow(table)


def _from_arrow(table: Any, class_lists: Mapping[str, tuple[str, ...]] | None = None) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    twice = sorted({name for name in table.column_names if table.column_names.count(name) > 1})
    if twice:
        raise DataError(f"column names occur twice: {', '.join(twice)}; give each its own name")
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = pc.cast(column, kind.value_type), kind.value_type
        if pa.types.is_large_string(kind):
            column = pc.cast(column, pa.string())
        if pa.types.is_nested(kind):
            columns |= _from_records([{name: cell} for cell in column.to_pylist()])
        elif pa.types.is_boolean(kind):
            columns[name] = pc.cast(column, pa.string())
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_number(kind):
            columns[name] = column
        else:
            columns[name] = _column([None if c is None else str(c) for c in column.to_pylist()])
    return Table(columns, class_lists=class_lists or {})


def _is_number(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_integer(kind) or pt.is_floating(kind))


def _json_lines(data: bytes, ending: str) -> Table:
    records = []
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            raise DataError(f"line {number} is not readable as JSON ({error})") from error
        if not isinstance(record, dict):
            raise DataError(f"line {number}: expected an object with names, got {str(record)[:40]}")
        records.append(record)
    return _of_records(records)


def _json(data: bytes, ending: str) -> Table:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise DataError(f"not readable as JSON ({error})") from error
    if isinstance(value, dict) and value and all(isinstance(v, list) for v in value.values()):
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of different lengths: {lengths}")
        value = [
            dict(zip(value, cells, strict=True)) for cells in zip(*value.values(), strict=True)
        ]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError("expected a list of objects (a row each), or an object of columns")
    return _of_records(value)


def _of_records(records: list[dict[str, Any]]) -> Table:
    if not records:
        raise DataError("the file holds no rows")
    return Table(_from_records(records))


def _from_records(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of nested rows: ``probs.cat`` for objects, ``probs.0`` for lists."""
    rows = [dict(_flat(record)) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, list) and value and all(_is_scored(item) for item in value):
        value = {str(item["label"]): item["score"] for item in value}
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _flat(item, f"{name}.{at}")
    else:
        yield name, value


def _is_scored(item: Any) -> bool:
    return isinstance(item, Mapping) and {"label", "score"} <= set(item)


def _column(cells: list[Any]) -> Any:
    import pyarrow as pa

    known = [cell for cell in cells if cell is not None]
    numeric = all(isinstance(c, int | float) and not isinstance(c, bool) for c in known)
    if known and numeric:
        whole = all(isinstance(c, int) for c in known)
        try:
            return pa.chunked_array([pa.array(cells, pa.int64() if whole else pa.float64())])
        except (pa.ArrowInvalid, OverflowError):
            pass
    texts = [
        c if isinstance(c, str) or c is None else json.dumps(c) if isinstance(c, bool) else str(c)
        for c in cells
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _workbook(file: Path, sheet: str | None) -> Table:
    with naming_extras():
        from openpyxl import load_workbook
    try:
        book = load_workbook(io.BytesIO(_content(file)), read_only=True, data_only=True)
    except Exception as error:  # openpyxl lets errors of zipfile, xml and its own through
        raise DataError(f"not readable as a workbook ({error})") from error
    names = book.sheetnames
    if sheet is not None and sheet not in names:
        raise DataError(f'no sheet "{sheet}"; {nearest(sheet, names)}')
    chosen = sheet or names[0]
    lines = [list(line) for line in book[chosen].iter_rows(values_only=True)]
    lines = [line for line in lines if any(cell is not None for cell in line)]
    if len(lines) < 2:
        raise DataError(f'sheet "{chosen}" has no rows below its header')
    header = ["" if cell is None else str(cell).strip() for cell in lines[0]]
    keep = [
        at for at, name in enumerate(header) if name or any(line[at] is not None for line in lines)
    ]
    twice = sorted({header[at] for at in keep if [header[i] for i in keep].count(header[at]) > 1})
    if twice:
        raise DataError(f"column names occur twice: {', '.join(twice)}; give each its own name")
    columns = {header[at]: _column([_cell(line[at]) for line in lines[1:]]) for at in keep}
    notes = (
        () if len(names) == 1 or sheet else (f"sheets: {', '.join(names)}; name one with --sheet",)
    )
    return Table(columns, (f'sheet "{chosen}"',), notes)


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | str | bool) else str(value)


def _dataset_folder(folder: Path) -> Table:
    """What ``datasets.Dataset.save_to_disk`` writes: Arrow streams and a JSON of the features."""
    import pyarrow as pa

    if (folder / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in folder.iterdir() if (p / "state.json").is_file())
        raise DataError(f"holds several splits; name one of them: {', '.join(splits)}")
    parts = sorted(folder.glob("*.arrow"))
    if not parts:
        raise DataError(
            "a folder, but none that datasets.Dataset.save_to_disk wrote (no .arrow file)"
        )
    tables = []
    for part in parts:
        try:
            with pa.memory_map(str(part)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{part.name} is not readable ({error})") from error
    try:
        described = parse_json((folder / "dataset_info.json").read_text(encoding="utf-8"))
        features = described.get("features") or {}
    except (OSError, ValueError, AttributeError):
        features = {}
    lists = {
        name: tuple(map(str, kind["names"]))
        for name, kind in features.items()
        if isinstance(kind, dict) and isinstance(kind.get("names"), list)
    }
    return _from_arrow(pa.concat_tables(tables), lists)


def _as_numbers(column: Any) -> Numbers:
    import pyarrow as pa
    import pyarrow.compute as pc

    none = np.empty(0, dtype=np.intp)
    if _is_number(column.type):
        return Numbers(column.to_numpy(), none)  # empty cells become NaN
    if not pa.types.is_string(column.type):
        return Numbers(np.full(len(column), np.nan), np.arange(len(column)))
    text = pc.utf8_trim_whitespace(column)
    blank = pc.is_in(pc.utf8_lower(text), value_set=pa.array(_BLANK))
    text = pc.if_else(blank, None, text)
    try:
        return Numbers(pc.cast(text, pa.float64()).to_numpy(), none)
    except pa.ArrowInvalid:
        pass
    form = ""
    signs = pc.ends_with(text, "%")
    if pc.any(signs).as_py():
        form, text = "percent sign", pc.utf8_rtrim(text, "% ")
    commas = pc.match_substring_regex(text, _COMMA)
    if pc.any(commas).as_py() and not pc.any(pc.match_substring(text, ".")).as_py():
        form = form or "decimal comma"
        text = pc.replace_substring(text, ",", ".")
    right = pc.match_substring_regex(text, _NUMBER, ignore_case=True)
    values = pc.cast(pc.if_else(right, text, None), pa.float64()).to_numpy()
    bad = np.flatnonzero(pc.fill_null(pc.invert(right), False).to_numpy())
    return Numbers(values, bad, form)


READERS: Final[dict[str, Callable[[bytes, str], Table]]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".txt": _delimited,
    ".tab": _delimited,
    ".dat": _delimited,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".parquet": _parquet,
}
ENDINGS: Final = (*READERS, ".xlsx")
