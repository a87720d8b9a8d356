"""What a label cell means: a class name or an index, decided by rule and never by guess."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vlmcal.errors import DataError, nearest
from vlmcal.types.arrays import IntArray

_INTEGER = re.compile(r"[+-]?\d+")


def is_integer(text: str) -> bool:
    """Whether a cell is written as an integer; one of more than 18 digits is a name.

    Example:
        >>> is_integer("12"), is_integer("1.0"), is_integer("cat"), is_integer("9" * 19)
        (True, False, False, False)
    """
    return len(text) < 19 and _INTEGER.fullmatch(text) is not None


def is_seen(name: str) -> bool:
    r"""Whether a name has a sign that can be seen.

    Example:
        >>> is_seen("cat"), is_seen(" "), is_seen("\u200b")
        (True, False, False)
    """
    return any(sign.isprintable() and not sign.isspace() for sign in name)


def misleading_names(class_names: Sequence[str]) -> list[str]:
    """Class names that are integers other than their own position: with them, a label 1 has two meanings.

    Example:
        >>> misleading_names(["0", "1"]), misleading_names(["1", "2"])
        ([], ['1', '2'])
    """
    return [
        name
        for index, name in enumerate(class_names)
        if is_integer(str(name)) and int(name) != index
    ]


def label_index(values: Any, class_names: Sequence[str], where: str = "labels") -> IntArray:
    """Index of each label's class, (N,) int64.

    Labels that all are integers, also written as 0.0 and 1.0, are indices from 0; truth values of two
    classes are 0 and 1; otherwise labels are class names.

    Args:
        values: (N,) integers or strings.
        class_names: K names.
        where: What to call the labels in messages.

    Raises:
        DataError: Not one label per row, an unknown name, decimals, or integers while class names are
            other integers. Range is checked by the type that takes the labels.

    Example:
        >>> label_index(["dog", "cat"], ["cat", "dog"]).tolist()
        [1, 0]
        >>> label_index(np.array([True, False]), ["well", "ill"]).tolist()
        [1, 0]
    """
    cells = np.asarray(values)
    if cells.ndim == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    if cells.ndim != 1:
        raise DataError(
            f"{where}: expected one label per row, shape (N,), got {cells.shape}; for one-hot rows use "
            "argmax(axis=1)"
        )
    if cells.dtype.kind in "iu":
        _refuse_misleading(class_names, where)
        return cells.astype(np.int64)
    if cells.dtype.kind == "b" and len(class_names) == 2:
        return cells.astype(np.int64)
    if cells.dtype.kind == "f" and np.isfinite(cells).all() and (cells == np.floor(cells)).all():
        _refuse_misleading(class_names, where)
        return cells.astype(np.int64)
    if cells.dtype.kind == "f":
        raise DataError(
            f"{where}: expected integers or class names, got decimals such as {cells[:3].tolist()}; "
            "empty cells turn integers into decimals"
        )
    unique, inverse = np.unique(cells.astype(np.str_), return_inverse=True)
    present = [str(name) for name in unique]
    if all(is_integer(name) for name in present):
        _refuse_misleading(class_names, where)
        codes = np.asarray([int(name) for name in present], dtype=np.int64)
    else:
        codes = _codes(present, class_names, where)
    return codes[inverse]


def _codes(present: list[str], class_names: Sequence[str], where: str) -> IntArray:
    index = {str(name): code for code, name in enumerate(class_names)}
    unknown = [name for name in present if name not in index]
    if unknown:
        raise DataError(
            f'{where}: {len(unknown)} labels are not in the class list, first "{unknown[0]}"; '
            f"{nearest(unknown[0], index)}"
        )
    return np.asarray([index[name] for name in present], dtype=np.int64)


def _refuse_misleading(class_names: Sequence[str], where: str) -> None:
    names = misleading_names(class_names)
    if names:
        raise DataError(
            f'{where}: labels are integers and so are class names, but class "{names[0]}" is number '
            f"{list(class_names).index(names[0])}: index or name is not guessed; write the labels as names "
            'that are not numbers, such as "grade 1"'
        )
