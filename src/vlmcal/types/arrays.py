"""Array aliases and the checks that every type makes once, at construction."""

from collections.abc import Sequence
from numbers import Number
from typing import Any, Protocol, TypeAlias, TypeGuard
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlmcal.errors import DataError
from vlmcal.types.row_hashes import repeats, string_hashes

FloatArray: TypeAlias = NDArray[np.floating[Any]]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
StrArray: TypeAlias = NDArray[np.str_]


class Tensorlike(Protocol):
    """A tensor of a library that keeps gradients and devices, known by its method ``detach``."""

    def detach(self) -> Any:
        """The same numbers without their history."""


Numbers: TypeAlias = ArrayLike | Tensorlike

# Distance between 1 and the next number, for the types that are coarser than float64.
_UNITS = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}
# In the place of a label that nobody knows: out of bounds as an index, whatever the array.
UNLABELLED = int(np.iinfo(np.int64).min)

# Read-only ids that were found distinct, by identity while they live: rows often hand theirs on as they are.
_DISTINCT: WeakValueDictionary[int, StrArray] = WeakValueDictionary()


def as_array(values: Numbers) -> NDArray[Any]:
    """A NumPy array of what comes as lists, data frames, arrays or tensors on any device, or lists of these.

    Tensors are detached and brought to the CPU; bfloat16, which NumPy lacks, becomes float32. Numbers that
    NumPy holds as objects (nullable columns of pandas, decimals) become its own.

    Raises:
        DataError: No array can be made of these, or some of its values are masked.

    Example:
        >>> as_array([[1, 2]]).shape
        (1, 2)
    """
    if type(values) is np.ndarray and values.dtype.kind in "fiubU":
        return values
    try:
        return _made_array(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"expected an array, or what one can be made of; got {type(values).__name__}: {error}"
        ) from None


def _made_array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        values = tensor.float() if _type_name(tensor) == "bfloat16" else tensor
    elif isinstance(values, list | tuple) and hasattr(_first(values), "detach"):
        values = [_made_array(value) for value in values]
    elif np.ma.is_masked(values):
        raise DataError(
            f"{int(np.ma.getmaskarray(values).sum())} of {np.size(values)} values are masked; fill them in "
            "or leave these rows out"
        )
    array = np.asarray(values)
    if array.dtype.kind == "O" and array.size:
        array = _numbers_of(array)
    return array.astype(np.float32) if _type_name(array) == "bfloat16" else array


def _numbers_of(objects: NDArray[Any]) -> NDArray[Any]:
    """Objects that are all numbers as an array of these, missing ones as NaN; anything else as it is."""
    cells = objects.ravel().tolist()
    numbers = (isinstance(cell, Number) or is_missing(cell) for cell in cells)
    if not all(numbers) or not any(isinstance(cell, Number) for cell in cells):
        return objects
    plain = np.asarray([np.nan if is_missing(cell) else cell for cell in cells])
    typed = plain if plain.dtype.kind in "fiubc" else plain.astype(np.float64)
    return typed.reshape(objects.shape)


def is_missing(cell: Any) -> bool:
    """Whether this stands for no value: None, NaN, or the NA of pandas.

    Example:
        >>> is_missing(None), is_missing(float("nan")), is_missing("")
        (True, True, False)
    """
    # pandas' NA answers every comparison with itself
    return cell is None or type(cell).__name__ == "NAType" or bool(cell != cell)


def _first(values: Any) -> Any:
    """The first of what is in lists, or in lists of lists."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return values


def rounding_unit(values: Numbers) -> float:
    """Distance between 1 and the next number in the type of ``values`` as they came; 0 for float64 and lists.

    Example:
        >>> rounding_unit(np.zeros(1, dtype=np.float16)), rounding_unit([0.5])
        (0.0009765625, 0.0)
    """
    typed = values if hasattr(values, "dtype") else _first(values)
    typed = typed if hasattr(typed, "dtype") else as_array(values)
    return _UNITS.get(_type_name(typed), 0.0)


def _type_name(values: Any) -> str:
    return str(getattr(values, "dtype", "")).rpartition(".")[2]


def sum_tolerance(unit: float) -> float:
    """How far rows of probabilities in numbers of this rounding unit may be from a sum of 1.

    Example:
        >>> sum_tolerance(2.0**-10), sum_tolerance(2.0**-23), sum_tolerance(0.0)
        (0.005, 0.0001, 1e-05)
    """
    if unit >= _UNITS["float16"]:
        return 5e-3
    return 1e-4 if unit > 0 else 1e-5


def as_labels(values: Numbers, n_classes: int) -> IntArray:
    """Integer labels in ``0 .. n_classes - 1``, shape (N,), as int64.

    Raises:
        DataError: Not one-dimensional, not integers, or out of range.
    """
    labels = as_array(values)
    if labels.ndim != 1:
        raise DataError(f"labels: expected shape (N,), got {labels.shape}")
    if labels.dtype.kind not in "iub":
        whole = labels.dtype.kind == "f" and bool(np.all(labels == np.floor(labels)))
        if not whole:
            raise DataError(
                f"labels: expected integers 0 to {n_classes - 1}, got {labels.dtype} values such "
                f"as {labels[:3].tolist()}; map class names to their index first"
            )
    labels = labels.astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise DataError(
            f"labels: {wrong.size} of {labels.size} are outside 0 to {n_classes - 1} "
            f"({n_classes} classes); first: {labels[wrong[0]]} in row {wrong[0]}. Labels count from 0"
        )
    return labels


def no_labels(n: int) -> IntArray:
    """Labels of ``n`` rows whose right class nobody knows."""
    return np.full(n, UNLABELLED, dtype=np.int64)


def is_unlabelled(labels: Any) -> bool:
    """Whether these stand for labels that nobody knows: None, or what :func:`no_labels` made.

    Example:
        >>> is_unlabelled(None), is_unlabelled(no_labels(2)), is_unlabelled([0, 1])
        (True, True, False)
    """
    if labels is None:
        return True
    values = np.asarray(labels)
    return values.dtype == np.int64 and values.size > 0 and bool((values == UNLABELLED).all())


def as_strings(values: Sequence[Any] | Numbers, n: int, where: str) -> StrArray:
    """One string per row, shape (N,).

    Raises:
        DataError: The number of values is not ``n``.
    """
    given = as_array(values).ravel()
    if given.dtype.kind == "U":
        strings = given
    elif given.dtype.kind in "iu":
        strings = given.astype(np.str_)
    else:
        strings = np.asarray([str(value) for value in given.tolist()], dtype=np.str_)
    if strings.shape != (n,):
        raise DataError(f"{where}: expected {n} values, one per row, got {strings.size}")
    return strings


def as_ids(values: Sequence[Any] | Numbers | None, n: int) -> StrArray:
    """One distinct string per row, shape (N,), read-only; the row numbers for None.

    Raises:
        DataError: The number of values is not ``n``, or ids repeat.

    Example:
        >>> as_ids(None, 3).tolist()
        ['0', '1', '2']
    """
    if values is None:
        # As wide as the last number: numpy's own choice has room for 21 letters, most of the memory of a row.
        return _known_distinct(np.arange(n).astype(f"<U{len(str(max(n - 1, 0)))}"))
    if _is_known_distinct(values) and values.shape == (n,):
        return values
    ids = as_strings(values, n, "ids")
    require_unique(ids)
    return _known_distinct(ids)


class NumberedIds:
    """Default of the field ``ids`` of rows: their numbers, as strings, made when they are asked for."""

    def __get__(self, rows: Any, owner: Any = None) -> StrArray | None:
        if rows is None:
            return None
        vars(rows)["ids"] = made = as_ids(None, len(rows))
        return made


NUMBERED = NumberedIds()


def given_ids(rows: Any) -> Any:
    """The ids of rows, or None where nobody gave or asked for any: hand them on by this.

    Args:
        rows: Predictions, Confidences or PredictionSets.
    """
    return vars(rows).get("ids")


def set_ids(rows: Any, n: int) -> None:
    """Check the ids of rows that are being made, or leave them to :class:`NumberedIds`.

    Raises:
        DataError: As :func:`as_ids`.
    """
    given = vars(rows).pop("ids", None)
    if given is not None:
        vars(rows)["ids"] = as_ids(given, n)


def pick_ids(ids: StrArray, rows: Any) -> StrArray:
    """``ids[rows]``, which :func:`as_ids` need not check again where no row is picked twice.

    Args:
        ids: (N,) as :func:`as_ids` returned them; others are picked from, too.
        rows: Slice, index or boolean array.
    """
    picked = ids[rows]
    once = _is_known_distinct(ids) and picked.ndim == 1 and _picks_once(rows)
    return _known_distinct(picked) if once else picked


def _picks_once(rows: Any) -> bool:
    if isinstance(rows, slice):
        return True
    index = np.asarray(rows)
    if index.ndim != 1 or index.dtype.kind not in "biu":
        return False
    if index.dtype.kind == "b" or index.size == 0:
        return True
    return bool(index.min() >= 0 and np.bincount(index).max() == 1)


def _is_known_distinct(values: Any) -> TypeGuard[StrArray]:
    return _DISTINCT.get(id(values)) is values


def _known_distinct(ids: StrArray) -> StrArray:
    own = ids.view()
    own.flags.writeable = False
    _DISTINCT[id(own)] = own
    return own


def require_unique(ids: StrArray) -> None:
    """Check that no id occurs twice.

    Raises:
        DataError: Names the first repeated ids.
    """
    if repeats(string_hashes(ids)) is None:  # many times quicker than strings are sorted
        return
    unique, counts = np.unique(ids, return_counts=True)
    if unique.size != ids.size:
        repeated = unique[counts > 1]
        shown = ", ".join(map(repr, repeated[:5].tolist()))
        raise DataError(
            f"ids: {repeated.size} occur more than once ({shown}); give each row its own id"
        )


def require_finite(values: FloatArray, where: str) -> None:
    """Check that there is no NaN or infinity.

    Raises:
        DataError: Counts the offending rows and names the first.
    """
    # A sum is finite only where all numbers are, and takes no array of verdicts.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.einsum("abcdef"[: values.ndim] + "->", values)):
            return
    finite = np.isfinite(values)
    if not finite.all():
        rows = np.flatnonzero(~finite.reshape(len(values), -1).all(axis=1))
        raise DataError(
            f"{where}: NaN or infinite values in {rows.size} of {len(values)} rows, first in row "
            f"{rows[0]}; remove or repair these rows"
        )
