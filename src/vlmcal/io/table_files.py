"""Tables in files of every common kind, as named columns; what they mean is decided elsewhere."""

import io
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.errors import DataError, nearest
from vlmcal.io.column_names import named_once
from vlmcal.io.delimited_text import parse
from vlmcal.io.json_rows import rows_of_json
from vlmcal.io.json_text import parse_json
from vlmcal.io.nested_rows import cells_column, columns_in_cells, columns_of
from vlmcal.io.number_cells import Numbers, numbers_of
from vlmcal.io.packed import content, ending_of, require_honest
from vlmcal.io.unicode_text import marked, not_utf8, unmarked, unstated
from vlmcal.io.workbooks import read_workbook
from vlmcal.types.arrays import StrArray

_MARKS: Final = {
    b"PK\x03\x04": ("an Excel workbook or a ZIP file", (".xlsx", ".npz")),
    b"PAR1": ("a Parquet table", (".parquet",)),
    b"\x1f\x8b": ("packed by gzip", (".gz",)),
}
_SEPARATORS: Final = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".tab": "\t", ".dat": "\t"}


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

    def require_rows(self) -> None:
        """Refuse a table of column names alone.

        Raises:
            DataError: It is one.
        """
        if not self.rows:
            raise DataError("the file has a header but no rows")

    def role(
        self, asked: str | None, usual: str, parameter: str, exclude: Collection[str]
    ) -> str | None:
        """The column that is asked for, else the one of the usual name unless it is left out, else None.

        Raises:
            DataError: As :meth:`require`.
        """
        if asked is not None:
            return self.require(asked, parameter)
        return usual if usual in self.columns and usual not in exclude else None

    def numbers(self, name: str) -> Numbers:
        """A column as numbers; decimal commas and percent signs are understood."""
        if name not in self._numbers:
            self._numbers[name] = numbers_of(self.columns[name], self.columns.values())
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
        cells = pc.utf8_trim_whitespace(column).to_pylist()  # to_numpy imports pandas
        return np.array([cell or "" for cell in cells], dtype=np.str_)


def read_table(file: Path, sheet: str | None = None) -> Table:
    r"""Read CSV, TSV, JSONL, JSON, Parquet, XLSX (each also with .gz) or a folder of ``datasets``.

    Args:
        file: The file; its ending says the kind.
        sheet: Of a workbook; default: the first with a table.

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
        return _from_arrow(*saved_arrow(file))
    ending = ending_of(file)
    if sheet is not None and ending != ".xlsx":
        raise DataError(f"a sheet ({sheet}) was named, but a {ending} file has none")
    if not file.exists():
        raise DataError("no such file")
    if file.stat().st_size == 0:
        raise DataError("the file is empty (0 bytes)")
    with file.open("rb") as stream:
        _require_kind(stream.read(4), file.suffix.lower())
    if ending == ".xlsx":
        return Table(*read_workbook(content(file), sheet))
    read = READERS.get(ending)
    if read is None:
        raise DataError(f'unknown kind of table "{ending}"; expected one of {", ".join(ENDINGS)}')
    return read(content(file), ending)


def is_table(data: Any) -> bool:
    """Whether ``data`` is a ``datasets.Dataset`` or a data frame of pandas.

    Example:
        >>> is_table([[0.5, 0.5]])
        False
    """
    return is_dataset(data) or (hasattr(data, "columns") and hasattr(data, "to_parquet"))


def is_dataset(data: Any) -> bool:
    """Whether ``data`` is a ``datasets.Dataset`` of Hugging Face; the package need not be installed."""
    return hasattr(data, "column_names") and hasattr(data, "with_format")


def table_of(data: Any) -> Table:
    """The columns of a data frame or a ``datasets.Dataset``, whose class lists are kept.

    Raises:
        DataError: Column names occur twice.
    """
    import pyarrow as pa

    if not is_dataset(data):
        frame = data.set_axis(named_once([str(name) for name in data.columns]), axis=1)
        return _from_arrow(pa.Table.from_pandas(frame, preserve_index=False))
    return _from_arrow(*arrow_of(data))


def arrow_of(data: Any) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """The Arrow table of a ``datasets.Dataset``, and the class lists of its columns."""
    return data.with_format("arrow")[:], class_lists(getattr(data, "features", None) or {})


def _require_kind(start: bytes, suffix: str) -> None:
    """Refuse a file whose first bytes say that it is of another kind than its name."""
    for mark, (what, endings) in _MARKS.items():
        if start.startswith(mark) and suffix not in endings:
            raise DataError(f"is {what} by its first bytes; rename it to end in {endings[0]}")
    if suffix == ".xlsx" and not start.startswith(b"PK"):
        raise DataError(
            "is no Excel workbook by its first bytes; if it is text, rename it to end in .csv"
        )


def _delimited(data: bytes, ending: str) -> Table:
    found = parse(data, _SEPARATORS[ending], ending)
    columns = {name: found.table.column(name) for name in found.table.column_names}
    return Table(columns_in_cells(columns), tuple(found.form), tuple(found.notes))


def _arrow(data: bytes, ending: str) -> Table:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet

    try:
        if ending == ".parquet":
            about = pyarrow.parquet.read_metadata(io.BytesIO(data))
            require_honest(8 * about.num_rows * about.num_columns, len(data))
            table = pyarrow.parquet.read_table(io.BytesIO(data))
        else:
            table = pyarrow.feather.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"not readable as a {ending} table ({error})") from error
    return _from_arrow(table)


def _from_arrow(table: Any, class_lists: Mapping[str, tuple[str, ...]] | None = None) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = table.rename_columns(named_once(table.column_names))
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = pc.cast(column, kind.value_type), kind.value_type
        if pa.types.is_large_string(kind):
            column = pc.cast(column, pa.string())
        if pa.types.is_nested(kind):
            columns |= columns_of([{name: cell} for cell in column.to_pylist()])
        elif pa.types.is_boolean(kind):
            columns[name] = pc.cast(column, pa.string())
        elif any(
            of_kind(column.type)
            for of_kind in (pa.types.is_string, pa.types.is_integer, pa.types.is_floating)
        ):
            columns[name] = column
        else:
            columns[name] = cells_column(_written(column))
    return Table(columns, class_lists=class_lists or {})


def _written(column: Any) -> list[str | None]:
    """Cells of another kind than text and numbers, as Python writes them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        cells = column.to_pylist()
    except ValueError:  # nanoseconds, which only pandas holds
        cells = pc.cast(column, pa.string()).to_pylist()
    return [None if cell is None else str(cell) for cell in cells]


def _utf8(data: bytes) -> bytes:
    """JSON in UTF-8, also of UTF-16 and UTF-32, which show by their first bytes."""
    stated = marked(data) or unstated(data)
    try:
        text = data.decode(stated or "utf-8")
        return data if not stated and unmarked(text) is text else unmarked(text).encode()
    except UnicodeDecodeError as error:
        raise DataError(not_utf8(error)) from error


def _json_lines(data: bytes, ending: str) -> Table:
    data, records = _utf8(data), []
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
        except ValueError as error:
            if number == 1 and data.lstrip()[:1] in (b"[", b"{"):
                return _json(data, ending)  # a document on several lines
            raise DataError(f"line {number} is not readable as JSON ({error})") from error
        if isinstance(record, list) and number == 1:
            return _json(data, ending)
        if not isinstance(record, dict):
            raise DataError(f"line {number}: expected an object with names, got {str(record)[:40]}")
        records.append(record)
    return _of_records(records)


def _json(data: bytes, ending: str) -> Table:
    data = _utf8(data)
    try:
        value = parse_json(data)
    except ValueError as error:
        if data.lstrip()[:1] == b"{" and _is_json(data.lstrip().partition(b"\n")[0]):
            return _json_lines(data, ending)
        raise DataError(f"not readable as JSON ({error})") from error
    rows, form = rows_of_json(value)
    return _of_records(rows, form)


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(parse_json(line), dict)
    except ValueError:
        return False


def _of_records(records: list[dict[str, Any]], form: Iterable[str] = ()) -> Table:
    if not records:
        raise DataError("the file holds no rows")
    return Table(columns_of(records), tuple(form))


def saved_arrow(folder: Path) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """What ``datasets.Dataset.save_to_disk`` wrote: Arrow streams, and a JSON of the features.

    Raises:
        DataError: Several splits, none at all, or a damaged file.
    """
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
    return pa.concat_tables(tables), class_lists(features)


def class_lists(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Class lists of columns, from the features of ``datasets``, as they are or as JSON has them."""
    lists = {
        name: kind.get("names") if isinstance(kind, dict) else getattr(kind, "names", None)
        for name, kind in features.items()
    }
    return {n: tuple(map(str, names)) for n, names in lists.items() if isinstance(names, list)}


READERS: Final[dict[str, Callable[[bytes, str], Table]]] = {
    **dict.fromkeys(_SEPARATORS, _delimited),
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    **dict.fromkeys((".parquet", ".feather", ".arrow"), _arrow),
}
ENDINGS: Final = (*READERS, ".xlsx")
