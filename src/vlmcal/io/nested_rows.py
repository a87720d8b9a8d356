"""Rows with lists and objects in them as flat columns: ``probs.cat`` for objects, ``probs.0`` for lists."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vlmcal.errors import DataError
from vlmcal.io.column_names import CLASS_LIST_NAMES, joined
from vlmcal.io.json_text import is_whole

# What NumPy, PyTorch and pandas print around numbers.
_WRAPPED: Final = re.compile(r"\b(?:np\.|numpy\.|torch\.)?(?:float|int)\d+\(([^()]*)\)")
_ARRAY: Final = re.compile(
    r"^(?:np\.|numpy\.|torch\.)?(?:array|tensor)\((.*?)(?:,\s*\w+=[^\[\]]*)*\)$", re.DOTALL
)
_SPACED: Final = re.compile(r"^\[[^\[\],]*\]$")


def columns_of(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns (pyarrow) of nested rows.

    A list of numbers beside a list of as many names, called ``classes`` or the like, is one column per name.

    Example:
        >>> rows = [{"classes": ["cat", "dog"], "probs": [0.9, 0.1]}, {"probs": [0.2, 0.8], "label": "dog"}]
        >>> {name: column.to_pylist() for name, column in columns_of(rows[:1]).items()}
        {'probs.cat': [0.9], 'probs.dog': [0.1]}
        >>> list(columns_of(rows[1:]))
        ['probs.0', 'probs.1', 'label']
    """
    rows = [dict(_flat(_with_names(record))) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: cells_column([row.get(name) for row in rows]) for name in names}


def _with_names(record: Mapping[str, Any]) -> Mapping[str, Any]:
    key = next((k for k in record if joined(str(k)) in CLASS_LIST_NAMES), None)
    names = None if key is None else record[key]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return record
    if len(set(names)) < len(names) or len(names) < 2:
        return record
    return {
        k: dict(zip(names, value, strict=True)) if _fits(value, len(names)) else value
        for k, value in record.items()
        if k != key
    }


def _fits(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(item, int | float) for item in value)
    )


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


def cells_column(cells: list[Any]) -> Any:
    """A column (pyarrow) of plain Python values: numbers if all are, else texts."""
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
    try:
        return pa.chunked_array([pa.array(texts, pa.string())])
    except UnicodeEncodeError as error:
        row = next(i for i, c in enumerate(texts, 1) if c and not is_whole(c))
        raise DataError(
            f"data row {row} holds half a character ({ascii(texts[row - 1])[:40]}), which is no text; write "
            "the file again with whole characters (UTF-8)"
        ) from error


def columns_in_cells(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Text columns, those that hold a list or an object of numbers in every cell parted into columns.

    JSON and what Python, NumPy and PyTorch print are understood: ``[0.1 0.9]``, ``{'cat': 0.1}``,
    ``tensor([0.1, 0.9])``.

    Example:
        >>> import pyarrow as pa
        >>> list(columns_in_cells({"p": pa.chunked_array([["[0.1 0.9]", "[1.  0. ]"]])}))
        ['p.0', 'p.1']
    """
    parsed = {name: values for name, column in columns.items() if (values := _parsed(column))}
    if not parsed:
        return dict(columns)
    out: dict[str, Any] = {}
    lists = {name: values for name, values in parsed.items() if joined(name) in CLASS_LIST_NAMES}
    for name, column in columns.items():
        if name not in parsed:
            out[name] = column
        elif isinstance(parsed[name][0], list) and len(parsed[name][0]) == 1:
            out[name] = cells_column([cell[0] for cell in parsed[name]])
        elif name not in lists:
            beside = next(iter(lists.items()), None)
            rows: list[dict[str, Any]] = [{name: cell} for cell in parsed[name]]
            if beside is not None:
                rows = [{beside[0]: n, **row} for n, row in zip(beside[1], rows, strict=True)]
            out |= columns_of(rows)
    return out


def _parsed(column: Any) -> list[Any]:
    """The lists or objects in the cells of a column, or nothing if some cell holds none."""
    first = column[0].as_py() if len(column) else None
    if not isinstance(first, str) or not first.strip().startswith(
        ("[", "{", "array(", "tensor(", "np.", "(")
    ):
        return []
    if not isinstance(_value(first), list | dict):
        return []
    values = [_value(cell or "") for cell in column.to_pylist()]
    alike = all(isinstance(value, type(values[0])) and value for value in values)
    if not alike or (isinstance(values[0], list) and len({len(value) for value in values}) > 1):
        return []
    return values


def _value(cell: str) -> Any:
    """What a cell holds: a list or an object, else None."""
    text = cell.strip()
    inside = _ARRAY.match(text)
    text = _WRAPPED.sub(r"\1", inside[1].strip() if inside else text)
    if _SPACED.match(text):
        text = f"[{','.join(text[1:-1].split())}]"
        text = re.sub(r"(?<=\d)\.(?=[,\]])", ".0", text)
    value: Any = None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    value = list(value) if isinstance(value, tuple) else value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # a batch of one
    return value if isinstance(value, list | dict) else None
