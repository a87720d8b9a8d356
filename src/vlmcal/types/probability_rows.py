"""Whether rows of numbers are probabilities: range, sums, and the rounding they were printed with."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, as_array, require_finite, rounding_unit, sum_tolerance

# However few decimals: beyond this a row lacks a class, it was not rounded.
LARGEST = 0.1
# Percentages are recognised by sums this close to 100.
_PERCENT = 1.0
_LISTED = 5
_DECIMALS = range(2, 7)
_DIGITS = range(2, 6)
# With so few digits, all numbers are half precision, too.
_COARSE = 3
_CHUNK = 1 << 16


class UnitRows(NamedTuple):
    """Probabilities that sum to 1.

    Attributes:
        values: (N, K) in [0, 1]; float64, or float32 as they came.
        note: What was renormalised and by how much at most, or "".
        unit: Unit of the last printed decimal, where rounding is why rows were renormalised; else 0.
    """

    values: FloatArray
    note: str
    unit: float = 0.0


def printed_decimals(values: Any) -> int | None:
    """With how many decimals, 2 to 6, all numbers were printed; None for more or fewer.

    Example:
        >>> printed_decimals([0.333, 0.667]), printed_decimals([1 / 3]), printed_decimals([0.5])
        (3, None, None)
    """
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return None
    # Rounded single precision is as far off as its own unit.
    slack = 1e-9 if array.dtype.itemsize == 8 else 2e-7
    flat = array.astype(np.float64).ravel()
    if np.abs(flat * 10 - np.round(flat * 10)).max(initial=0.0) <= slack * 10:
        return None
    # A few numbers decide for almost every array; all of them confirm.
    for part in (flat[:256], flat):
        found = next(
            (d for d in _DECIMALS if np.abs(part - np.round(part, d)).max(initial=0.0) <= slack),
            None,
        )
        if found is None:
            return None
    return found


def significant_digits(values: Any) -> int | None:
    """With how many significant digits, 2 to 5, all numbers were printed; None for more.

    Example:
        >>> significant_digits([0.03121, 9.688e-05]), significant_digits([1 / 3])
        (4, None)
    """
    array = np.asarray(values)
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        return None
    flat = np.abs(array.astype(np.float64).ravel())
    flat = flat[flat > 0]
    slack = 1e-9 if array.dtype.itemsize == 8 else 2e-7
    for part in (flat[:256], flat):
        size = 10.0 ** np.floor(np.log10(part))
        found = next(
            (
                d
                for d in _DIGITS
                if np.abs((scaled := part / size * 10.0 ** (d - 1)) - np.round(scaled)).max(
                    initial=0.0
                )
                <= slack * 10**d
            ),
            None,
        )
        if found is None:
            return None
    return found


def is_half_precision(values: Any) -> bool:
    """Whether all numbers are float16 or bfloat16 ones, stored or printed as others.

    Example:
        >>> is_half_precision(np.float16([0.1, 0.7]).tolist()), is_half_precision([0.1, 1 / 3])
        (True, False)
    """
    flat = np.asarray(values).ravel()
    if flat.dtype.kind != "f":
        return False
    for part in (flat[:256], flat):
        single = part.astype(np.float32)
        brain = not (single.view(np.uint32) & 0xFFFF).any()
        half = single.astype(np.float16)
        shown = np.array_equal(half, single) or np.array_equal(
            half.astype(np.str_).astype(np.float32), single
        )
        if not brain and not shown:
            return False
    return True


class Precision(NamedTuple):
    """How exact numbers are by their looks.

    Attributes:
        text: In words.
        unit: Largest unit of the last place of a number below 1.
        tolerance: How far from 1 a row may sum.
    """

    text: str
    unit: float
    tolerance: float


def precision(values: Any) -> Precision | None:
    """The rounding that (N, K) probabilities show, or None if they are as exact as their dtype.

    Example:
        >>> precision([[0.312, 0.688]]).text, precision([[1.0, 0.000324], [0.988, 0.0117]]).text
        ('3 decimals', '3 significant digits')
    """
    array = as_array(values)
    decimals, digits = printed_decimals(array), significant_digits(array)
    if min(decimals or 9, digits or 9) > _COARSE and is_half_precision(array):
        return Precision("half precision", 2.0**-10, sum_tolerance(2.0**-10))
    seen = []
    if decimals is not None:
        unit = 10.0**-decimals
        seen.append(Precision(f"{decimals} decimals", unit, array.shape[1] / 2 * unit))
    if digits is not None:
        first = np.floor(
            np.log10(array.astype(np.float64), where=array > 0, out=np.full(array.shape, -np.inf))
        )
        units = 10.0 ** (np.minimum(first, -1) - digits + 1)
        widest = float(units.sum(axis=1).max()) / 2
        seen.append(Precision(f"{digits} significant digits", 10.0**-digits, widest))
    if not seen:
        return None
    found = max(seen, key=lambda p: p.tolerance * (1 - 1e-9 * seen.index(p)))
    return found._replace(tolerance=min(LARGEST, found.tolerance))


def row_tolerance(values: Any) -> float:
    """How far from 1 a row of K probabilities may sum: that of the dtype, or K/2 units of the last place.

    K numbers below 1, each off by at most half a unit of the last printed decimal or significant digit d, sum
    to 1 within K/2 10^-d (at most 0.1: a larger deviation is a missing class). Otherwise 5e-3 (float16 and
    bfloat16, also where they were stored as other types), 1e-4 (float32) or 1e-5.

    Args:
        values: (N, K).

    Example:
        >>> row_tolerance(np.array([[0.333, 0.333, 0.333]]))
        0.0015
        >>> row_tolerance(np.array([[1 / 3, 2 / 3]]))
        1e-05
    """
    exact, seen = sum_tolerance(rounding_unit(values)), precision(values)
    return exact if seen is None else float(max(exact, seen.tolerance))


def unit_rows(probabilities: Any, *, renormalise: bool = False) -> UnitRows:
    """Check probabilities (N, K); rows off by no more than rounding are divided by their sum.

    Rows within the tolerance of their dtype stay as they are, to the bit.

    Args:
        probabilities: (N, K) in [0, 1].
        renormalise: Divide all rows within 1e-2 of 1 by their sum, whatever their decimals.

    Raises:
        DataError: NaN, values outside [0, 1], or rows that do not sum to 1, with the worst of them; the
            message says whether the numbers look like percentages or could be logits.

    Example:
        >>> rows = unit_rows([[0.333, 0.333, 0.333], [0.2, 0.3, 0.5]])
        >>> rows.values.sum(axis=1).round(12).tolist()
        [1.0, 1.0]
        >>> rows.note
        '1 of 2 rows renormalised: they sum to 1 only within 0.001 (3 decimals; tolerance 0.0015)'
    """
    raw = as_array(probabilities)
    if raw.ndim != 2 or raw.size == 0:
        raise DataError(f"probs: expected shape (N, K) with N, K >= 1, got {raw.shape}")
    if raw.dtype.kind not in "fiub":
        raise DataError(f"probs: expected numbers, got {raw.dtype}")
    values = raw if raw.dtype in (np.float32, np.float64) else raw.astype(np.float64)
    low, high, sums = _extent(values)
    if not np.isfinite(sums).all():
        require_finite(values, "probs")
    if low < 0 or high > 1 + 1e-3:
        outside = np.flatnonzero(((values < 0) | (values > 1 + 1e-3)).any(axis=1))
        row = outside[0]
        raise DataError(
            f"probs: {outside.size} of {len(values)} rows have values outside [0, 1], first row {row}: "
            f"{np.array2string(raw[row][:5], precision=4)}. {what_they_look_like(values)}"
        )
    exact = sum_tolerance(rounding_unit(probabilities))
    off = np.abs(sums - 1)
    again = np.ones(len(values), np.bool_) if renormalise else off > exact
    if not again.any():
        return UnitRows(values if high <= 1 else np.minimum(values, 1.0), "")
    tolerance, seen = row_tolerance(probabilities), precision(raw)
    allowed = max(tolerance, 1e-2) if renormalise else tolerance
    wrong = np.flatnonzero(off > allowed)
    if wrong.size:
        raise DataError(_wrong_sums(sums, wrong, allowed, seen))
    values = values.astype(np.float64)
    values[again] /= sums[again, None]
    np.minimum(values, 1.0, out=values)
    how = "as asked" if seen is None else seen.text
    note = (
        f"{int(again.sum())} of {len(values)} rows renormalised: they sum to 1 only within "
        f"{off.max():.2g} ({how}; tolerance {allowed:g})"
    )
    return UnitRows(values, note, 0.0 if seen is None else seen.unit)


def _extent(values: FloatArray) -> tuple[float, float, FloatArray]:
    """Smallest and largest number, and the sum of each row (N,) in float64, from one pass."""
    sums, ones = np.empty(len(values)), np.ones(values.shape[1])
    low, high = np.inf, -np.inf
    step = max(1, _CHUNK // values.shape[1])
    for start in range(0, len(values), step):
        block = values[start : start + step].astype(np.float64, copy=False)
        low, high = min(low, block.min()), max(high, block.max())
        with np.errstate(invalid="ignore", over="ignore"):
            np.matmul(block, ones, out=sums[start : start + step])
    return low, high, sums


def _wrong_sums(
    sums: FloatArray, wrong: NDArray[np.intp], allowed: float, precision: Precision | None
) -> str:
    worst = wrong[np.argsort(-np.abs(sums[wrong] - 1), kind="stable")]
    row = worst[0]
    seen = "" if precision is None else f" for {precision.text}"
    shown = ", ".join(str(int(i)) for i in worst[1:_LISTED])
    more = f"; then rows {shown}" + (", ..." if len(worst) > _LISTED else "") if shown else ""
    text = (
        f"probs: {wrong.size} of {len(sums)} rows do not sum to 1 (worst: row {row} sums to "
        f"{sums[row]:.6g}, tolerance {allowed:g}{seen}{more}). "
    )
    if np.abs(100 * sums - 1).max() < LARGEST:
        return text + "100 times as large, they do: pass --probs instead of --percent"
    middle = float(np.median(np.abs(sums - 1)))
    if middle > LARGEST:
        return text + (
            "Either a class column is missing or one too many is taken, or these are scores of findings "
            "that do not exclude each other: pass --multi-label (vlmcal evaluate, or multi_label=True)"
        )
    if float(np.abs(sums - 1).max()) <= 1e-2:
        return text + "If they are rounded, pass renormalise=True (--renormalise)"
    return text + "Repair or leave out these rows; a class column may be missing"


def look_like_percentages(values: Any) -> bool:
    """Whether numbers are non-negative, exceed 1, and every row sums to about 100.

    Example:
        >>> look_like_percentages([[30.0, 70.0], [99.0, 1.0]]), look_like_percentages([[3.0, 9.0]])
        (True, False)
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        array = array.astype(np.float64)
    if array.ndim != 2 or array.shape[1] < 2 or not len(array):
        return False
    # The smallest first: it settles the matter for nearly all logits.
    if not array.min() >= 0 or not np.isfinite(array).all():
        return False
    return bool((np.abs(array.sum(axis=1, dtype=np.float64) - 100) <= _PERCENT).all())


def what_they_look_like(values: FloatArray) -> str:
    """What numbers outside [0, 1] could be, for messages; logits only where they can be.

    Example:
        >>> what_they_look_like(np.array([[3.5, -1.0]]))
        'These look like logits; pass them as logits (--logits)'
    """
    if look_like_percentages(values):
        return "These look like percentages (rows sum to 100): pass --percent, or divide by 100"
    if values.min() < 0:
        return "These look like logits; pass them as logits (--logits)"
    return "They are no probabilities; check which columns are taken as classes and what their numbers are"
