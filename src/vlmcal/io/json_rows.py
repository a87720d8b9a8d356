"""The rows of a table in a JSON document, whatever stands around them."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmcal.errors import DataError
from vlmcal.io.column_names import CLASS_LIST_NAMES, joined

_EXPECTED = (
    "expected a list of objects (a row each), an object of columns, or one of these under a name"
)


def rows_of_json(value: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows in a JSON document, and where they are if not at its top.

    A list of objects, an object of columns, an object of rows by their ids, what pandas writes, or an object
    that holds one of these beside what describes it. Lists of class names belong to every row.

    Raises:
        DataError: None of these, several of them, or columns of different lengths.

    Example:
        >>> rows_of_json({"model": "a", "predictions": [{"label": "cat"}]})
        ([{'label': 'cat'}], ['rows under "predictions"'])
        >>> rows_of_json({"classes": ["cat", "dog"], "label": ["dog"], "probs": [[0.2, 0.8]]})[0]
        [{'classes': ['cat', 'dog'], 'label': 'dog', 'probs': [0.2, 0.8]}]
    """
    rows = _rows(value)
    if rows is not None:
        return rows, []
    inside = {}
    if isinstance(value, dict):
        parts = ((name, _rows(part)) for name, part in value.items() if not _named(name, part))
        inside = {name: part for name, part in parts if part}
    if len(inside) > 1:
        raise DataError(
            f"holds several tables: {', '.join(inside)}; save the one to be read as a file of its own"
        )
    if not inside:
        lengths = {} if not isinstance(value, dict) else _lengths(value)
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of different lengths: {lengths}")
        raise DataError(f"{_EXPECTED}; got {str(value)[:40]}")
    name, rows = next(iter(inside.items()))
    return _with_lists(value, rows), [f'rows under "{name}"']


def _rows(value: Any) -> list[dict[str, Any]] | None:
    if isinstance(value, list):
        return value if value and all(isinstance(row, dict) for row in value) else None
    if not isinstance(value, dict) or not value:
        return None
    if {"columns", "data"} <= set(value) <= {"columns", "data", "index"}:  # pandas' "split"
        return [dict(zip(value["columns"], row, strict=False)) for row in value["data"]]
    if len(value) > 1 and all(isinstance(part, dict) and part for part in value.values()):
        return _by_key(value)
    return _columns(value)


def _by_key(value: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """Rows by their ids, or columns of cells by their row, as pandas writes them."""
    inner = list(value.values())
    if len({frozenset(part) for part in inner}) > 1:
        return None
    if list(inner[0]) == [str(at) for at in range(len(inner[0]))]:
        rows = zip(*(part.values() for part in inner), strict=True)
        return [dict(zip(value, cells, strict=True)) for cells in rows]
    if all(isinstance(cell, list) for cell in inner[0].values()):
        return None  # several tables
    return [{"id": name, **row} for name, row in value.items()]


def _columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    lengths = _lengths(value)
    if len(set(lengths.values())) != 1 or (len(lengths) == 1 and len(value) > 1):
        return None
    lists = {name: value[name] for name in lengths}
    if all(isinstance(cell, dict) for column in lists.values() for cell in column):
        return None  # rows under names
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    return _with_lists(value, rows)


def _lengths(value: Mapping[str, Any]) -> dict[str, int]:
    lists = {n: v for n, v in value.items() if isinstance(v, list) and not _named(n, v)}
    return {name: len(column) for name, column in lists.items() if column}


def _named(name: str, value: Any) -> bool:
    """Whether this is a list of class names."""
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return texts and joined(name) in CLASS_LIST_NAMES


def _with_lists(
    value: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    lists = {name: part for name, part in value.items() if _named(name, part)}
    return [{**lists, **row} for row in rows]
