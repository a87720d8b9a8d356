"""Reading files of questions row by row: JSON, JSONL, CSV, TSV (each also as .gz) and Parquet."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from vlmcal.errors import DataError, located
from vlmcal.io.json_text import parse_json
from vlmcal.io.packed import content
from vlmcal.io.unicode_text import not_utf8, require_narrow, unmarked

_ARCHIVES: Final = (".zip", ".tar", ".tgz", ".tar.gz", ".rar", ".7z")


class WholeFileError(DataError):
    """Something about a whole file, not about one of its rows: there is nothing to skip."""


class Row(NamedTuple):
    """One record of a file.

    Attributes:
        where: File and place in it, for messages.
        number: Its number in the file, from 1.
        cells: By column.
        split: That the name of the file speaks of.
    """

    where: str
    number: int
    cells: Mapping[str, Any]
    split: str = "unknown"


def read_rows(path: Path) -> Iterator[Row]:
    r"""Records of a file in their order; CSV cells are text, the others what the format holds.

    Raises:
        DataError: The file is missing, empty, packed, not UTF-8, not of a known kind, or damaged; says
            which and where.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "q.csv")
        >>> _ = file.write_text("question,answer\nIs it large?,no\n")
        >>> next(read_rows(file)).cells
        {'question': 'Is it large?', 'answer': 'no'}
    """
    reader = _READERS.get(suffix_of(path))
    if path.name.lower().endswith(_ARCHIVES):
        raise DataError(f"{path}: a packed archive is not read; unpack it and give the file inside")
    if reader is None:
        raise DataError(
            f'{path}: unknown kind of file "{path.suffix}"; expected one of {", ".join(suffixes())}, or '
            ".gz after one of them"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    yield from reader(path)


def suffix_of(path: Path) -> str:
    """The ending that says what is inside, in lower case and without ".gz".

    Example:
        >>> suffix_of(Path("a/train.JSON.gz"))
        '.json'
    """
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def suffixes() -> tuple[str, ...]:
    """File name endings that :func:`read_rows` understands."""
    return tuple(_READERS)


@contextmanager
def text_of(path: Path) -> Iterator[io.TextIOWrapper]:
    """A file as UTF-8 text, unpacked where its name ends in .gz; byte order marks are dropped.

    Raises:
        DataError: Not UTF-8, or a damaged .gz.
    """
    with _opened(path) as stream, _explained(path):
        require_narrow(stream.read(4096), path)
        stream.seek(0)
        yield _Unmarked(stream, encoding="utf-8", newline="")


class _Unmarked(io.TextIOWrapper):
    """Text without byte order marks, also within, where files were joined."""

    def __next__(self) -> str:  # type: ignore[override]  # typeshed has the bytes of its base
        return unmarked(super().__next__())

    def read(self, size: int | None = -1, /) -> str:
        return unmarked(super().read(size))


def _opened(path: Path) -> BinaryIO:
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    with located(path):
        return io.BytesIO(content(path))


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {not_utf8(error)}") from error


def _json(path: Path) -> Iterator[Row]:
    with text_of(path) as stream:
        try:
            records = parse_json(stream.read())
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {error.lineno} is not JSON ({error.msg})") from error
        except (ValueError, RecursionError) as error:
            # A number of thousands of digits, or lists in lists in lists.
            raise DataError(f"{path}: the JSON cannot be read ({error})") from error
    if not isinstance(records, list):
        raise DataError(
            f"{path}: expected a JSON list of objects, one per question, got "
            f"{'an object' if isinstance(records, dict) else type(records).__name__}"
        )
    for number, record in enumerate(records, 1):
        yield _record(f"{path}: item {number}", number, record)


def _json_lines(path: Path) -> Iterator[Row]:
    with text_of(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path}: line {number}"
            try:
                record = parse_json(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{where} is not JSON ({error.msg})") from error
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} cannot be read ({error})") from error
            yield _record(where, number, record)


def _record(where: str, number: int, record: object) -> Row:
    if not isinstance(record, dict):
        shown = json.dumps(record)[:60]
        raise DataError(f'{where}: expected an object such as {{"image": ...}}, got {shown}')
    return Row(where, number, record)


def _delimited(path: Path, separator: str) -> Iterator[Row]:
    with text_of(path) as stream:
        reader = csv.reader(stream, delimiter=separator, strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if len(header) == 1 and (other := _separator(header[0])):
                raise DataError(
                    f"{path}: the header is one cell, {header[0][:60]!r}; the columns seem to be separated "
                    f"by {other}, as some spreadsheets save them. Save the table with commas"
                )
            repeated = [name for name in header if header.count(name) > 1]
            if repeated:
                raise DataError(f'{path}: two columns are called "{repeated[0]}"; rename one')
            number = 0
            for cells in reader:
                if not cells:
                    continue
                number += 1
                where = f"{path}: line {reader.line_num}"
                if len(cells) != len(header):
                    raise DataError(
                        f"{where} has {len(cells)} cells, the header has {len(header)}; put cells that "
                        "contain the separator in double quotes"
                    )
                yield Row(where, number, dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            raise DataError(f"{path}: line {reader.line_num} cannot be read ({error})") from error


def _separator(header: str) -> str | None:
    names = {";": "semicolons", "\t": "tabs (or rename the file to .tsv)", "|": "vertical bars"}
    return next((name for mark, name in names.items() if mark in header), None)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            # Small batches: a row can carry images of several megabytes.
            for batch in file.iter_batches(batch_size=64):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}: row {number}", number, record)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error})") from error


_READERS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": lambda path: _delimited(path, ","),
    ".tsv": lambda path: _delimited(path, "\t"),
    ".parquet": _parquet,
}
# Cells may hold encoded images, longer than the 131,072 characters that the module allows by itself.
csv.field_size_limit(1 << 30)
