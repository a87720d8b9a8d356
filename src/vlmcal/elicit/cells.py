"""Cells of tables that others wrote: by name or by path, joined from a second file, never an object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmcal.data.rows import Row, read_rows
from vlmcal.data.vqa.fields import text
from vlmcal.elicit.xlsx import sheet_rows
from vlmcal.errors import DataError, nearest
from vlmcal.types.question import LETTERS


def table_rows(path: Path) -> Iterator[Row]:
    """Records of a file of answers: what :func:`vlmcal.data.rows.read_rows` reads, or an .xlsx sheet.

    Raises:
        DataError: As there.
    """
    if path.suffix.lower() != ".xlsx":
        yield from read_rows(path)
        return
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    for number, cells in enumerate(sheet_rows(path), 1):
        yield Row(f"{path}: row {number + 1}", number, cells)


def cell(cells: Mapping[str, Any], name: str) -> Any:
    """The cell called ``name``, or at the end of that path through nested objects and lists; None without.

    Example:
        >>> cell({"response": {"choices": [{"text": "no"}]}}, "response.choices.0.text")
        'no'
    """
    if name in cells:
        return cells[name]
    inner: Any = cells
    for part in name.split("."):
        if isinstance(inner, Mapping) and part in inner:
            inner = inner[part]
        elif (
            isinstance(inner, Sequence)
            and not isinstance(inner, str)
            and part.lstrip("-").isdigit()
        ):
            place = int(part)
            if not -len(inner) <= place < len(inner):
                return None
            inner = inner[place]
        else:
            return None
    return inner


def plain_cell(cells: Mapping[str, Any], name: str) -> str:
    """The text of a cell.

    Raises:
        DataError: It holds an object, whose parts have names of their own.
    """
    value = cell(cells, name)
    if isinstance(value, Mapping):
        inside = next(iter(paths({name: value})), f"{name}.text")
        raise DataError(
            f'the cell "{name}" holds an object with {", ".join(map(str, list(value)[:5]))}; name the part '
            f'that is meant, such as "{inside}"'
        )
    return text(value)


def paths(cells: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Paths of all cells, for naming the nearest.

    Example:
        >>> list(paths({"id": 1, "response": {"choices": [{"text": "no"}]}}))
        ['id', 'response.choices.0.text']
    """
    for name, value in cells.items():
        if isinstance(value, Mapping) and value:
            yield from paths(value, f"{above}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield from paths(value[0], f"{above}{name}.0.")
        else:
            yield f"{above}{name}"


def letter_columns(cells: Mapping[str, Any]) -> list[str]:
    """Columns "A", "B", ... that hold the options, as VLMEvalKit writes them; none without A and B.

    Example:
        >>> letter_columns({"A": "cat", "B": "dog", "answer": "A"})
        ['A', 'B']
    """
    found = []
    for letter in LETTERS:
        if letter not in cells:
            break
        found.append(letter)
    return found if len(found) > 1 else []


JOINED = "vlmcal.joined"


def joined(
    rows: Iterable[Row], path: Path, on: tuple[str, str], first: str | None = None
) -> list[Row]:
    """Rows with the cells of the row of another file that has the same id; their own cells go before.

    Args:
        rows: Of the first file.
        path: The other file.
        on: Columns of the ids in the first and in the other file.
        first: Column of which the other file's cell is wanted, whatever the first file calls so; it is put
            into :data:`JOINED`.

    Raises:
        DataError: An id is missing, stands twice in the other file, or has no row there.
    """
    own, other = on
    found: dict[str, Mapping[str, Any]] = {}
    for row in table_rows(path):
        key = _key(row, other)
        if key in found:
            raise DataError(f'{row.where}: the id "{key}" stands twice in "{other}"')
        found[key] = row.cells
    made, absent = [], []
    for row in rows:
        key = _key(row, own)
        if key in found:
            # The names of the other file's id and question do not hide those of this one.
            cells = {**found[key], **row.cells}
            if first is not None and first in found[key]:
                cells[JOINED] = found[key][first]
            made.append(row._replace(cells=cells))
        else:
            absent.append(key)
    if absent:
        raise DataError(
            f'{path}: no row for {len(absent):,} ids of "{own}", such as "{absent[0]}"; '
            f"{nearest(absent[0], found)}"
        )
    return made


def _key(row: Row, column: str) -> str:
    key = text(cell(row.cells, column))
    if not key:
        raise DataError(f'{row.where}: no id in "{column}"; {nearest(column, paths(row.cells))}')
    return key
