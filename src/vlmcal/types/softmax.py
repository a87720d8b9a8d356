"""Softmax of rows in blocks that stay in a core's cache; for few classes the blocks lie on their side."""

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from vlmcal.types.arrays import FloatArray, IntArray

Order = Literal["C", "F"]
_CHUNK: Final = 1 << 16
# Sums over a last axis that is shorter than this are slow, so blocks are turned, (K, rows).
_FEW_CLASSES: Final = 64
_WIDEST: Final = {8: 300.0, 4: 40.0}  # by the bytes of a number


class Divided(NamedTuple):
    """Logits (N, K) divided by a positive number, piece by piece as they are read."""

    logits: FloatArray
    divisor: float

    def whole(self) -> FloatArray:
        """All quotients in float64, (N, K)."""
        result: FloatArray = np.divide(self.logits, self.divisor, dtype=np.float64)
        return result


class RowSums(NamedTuple):
    """Of each row of logits, (N,): the sum of exp(scores - shift), and the shift."""

    shift: FloatArray
    total: FloatArray

    @property
    def log(self) -> FloatArray:
        """Log of the sum of exp(scores), (N,)."""
        result: FloatArray = self.shift + np.log(self.total)
        return result

    def probability(self, scores: FloatArray, classes: IntArray) -> FloatArray:
        """Probability of one class per row, (N,), to the last bit as :func:`softmax` gives it.

        Args:
            scores: (N, K) that were summed.
            classes: (N,) the class of each row.
        """
        own = of_classes(scores, 1, classes).astype(self.total.dtype)
        own -= self.shift
        np.exp(own, out=own)
        own /= self.total
        return own


def softmax(
    scores: FloatArray | Divided, dtype: Any = np.float64, order: Order = "C"
) -> FloatArray:
    """Probabilities (N, K) of logits (N, K), computed in ``dtype``.

    Args:
        scores: (N, K) finite.
        dtype: Of the result.
        order: "F" lays the classes one after the other in memory, for work on one class at a time.

    Example:
        >>> softmax(np.array([[2.0, 0.0]])).round(4).tolist()
        [[0.8808, 0.1192]]
    """
    result = np.empty(_shape(scores), dtype=dtype, order=order)
    for rows, axis, block, _ in exponentials(scores, dtype):
        if axis == 1:
            np.divide(block, summed(block, axis), out=result[rows])
        else:
            block /= summed(block, axis)
            result[rows] = block.T
    return result


def log_softmax(scores: FloatArray | Divided) -> FloatArray:
    """Log-probabilities (N, K) in float64 of logits (N, K).

    Example:
        >>> log_softmax(np.array([[2.0, 0.0]])).round(4).tolist()
        [[-0.1269, -2.1269]]
    """
    result = np.empty(_shape(scores))
    for rows, axis, block, _ in shifted_blocks(scores, np.float64):
        block -= np.log(summed(np.exp(block), axis))
        result[rows] = block if axis == 1 else block.T
    return result


def log_pair(p: FloatArray) -> FloatArray:
    """Log-probabilities (N, 2) of a binary outcome: log(1 - p) and log p."""
    with np.errstate(divide="ignore"):
        return np.stack([np.log1p(-p), np.log(p)], axis=1)


def row_sums(scores: FloatArray | Divided, dtype: Any = np.float64) -> RowSums:
    """What the exponentials of each row of logits (N, K) sum to: all that a probability of it needs.

    Args:
        scores: (N, K) finite.
        dtype: In which it is computed.

    Example:
        >>> row_sums(np.array([[2.0, 0.0]])).log.round(4).tolist()
        [2.1269]
    """
    n = _shape(scores)[0]
    total, shifts = np.empty(n, dtype), np.broadcast_to(np.zeros((), dtype), (n,))
    for rows, axis, block, shift in exponentials(scores, dtype):
        if isinstance(shift, np.ndarray):
            shifts = shifts if shifts.flags.writeable else np.zeros(n, dtype)
            shifts[rows] = shift
        total[rows] = summed(block, axis).ravel()
    return RowSums(shifts, total)


def summed(block: FloatArray, axis: int) -> FloatArray:
    """Sums over the classes of a block, kept as an axis; a row alone has the sum that it has among others."""
    if axis == 1:  # numpy's own sum over a last axis costs twice as much for each row
        result: FloatArray = np.einsum("nk->n", block)[:, None]
    elif block.shape[1] == 1:  # which numpy's own sum would add in another order
        result = np.add.accumulate(block, axis=0)[-1:]
    else:
        result = block.sum(axis=0, keepdims=True)
    return result


def exponentials(
    scores: FloatArray | Divided, dtype: Any
) -> Iterator[tuple[slice, int, FloatArray, FloatArray | float]]:
    """As :func:`shifted_blocks`, with the exponentials of the values."""
    for rows, axis, block, shift in shifted_blocks(scores, dtype, copy=False):
        yield rows, axis, np.exp(block, out=block if block.base is None else None), shift


def of_classes(block: FloatArray, axis: int, classes: IntArray) -> FloatArray:
    """The value of one class per row, (rows,), from a block whose classes lie along ``axis``."""
    place = np.arange(len(classes))
    chosen: FloatArray = block[place, classes] if axis == 1 else block[classes, place]
    return chosen


def shifted_blocks(
    scores: FloatArray | Divided, dtype: Any, *, always: bool = False, copy: bool = True
) -> Iterator[tuple[slice, int, FloatArray, FloatArray | float]]:
    """Pieces of logits whose exponentials are safe: (rows, axis of the classes, values, shift (n,)).

    Rows with a number beyond 300 (in float32: 40) are shifted by their largest; the others need no shift, and
    so lose no digit. What happens to a row does not depend on other rows.

    Args:
        scores: (N, K) finite.
        dtype: Of the blocks: float64 or float32.
        always: Shift all rows.
        copy: Whether the blocks are to be changed; others may be parts of the scores.
    """
    widest = _WIDEST[np.dtype(dtype).itemsize]
    for rows, axis, block in blocks(scores, dtype, copy=copy):
        # just read, so it is in the cache, and not yet widened
        part = block if isinstance(scores, Divided) else scores[rows]
        if not always and part.max() <= widest and part.min() >= -widest:
            yield rows, axis, block, 0.0
            continue
        shift = block.max(axis=axis)
        if not always:
            shift[(shift <= widest) & (block.min(axis=axis) >= -widest)] = 0.0
        yield rows, axis, block - np.expand_dims(shift, axis), shift


def blocks(
    values: FloatArray | Divided, dtype: Any = np.float64, *, copy: bool = True
) -> Iterator[tuple[slice, int, FloatArray]]:
    """Copies of pieces of values (N, K): (rows, axis of the classes, values of these rows).

    Without ``copy``, where nothing else asks for one, the pieces themselves.
    """
    n, k = _shape(values)
    plain, divisor = values if isinstance(values, Divided) else (values, None)
    finer = np.result_type(plain.dtype, dtype)
    step = max(1, _CHUNK // k)
    axis = 1 if k > _FEW_CLASSES else 0
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        part = plain[rows] if axis == 1 else plain[rows].T
        if divisor is not None:
            part = np.divide(part, divisor, dtype=finer)
        # astype with order "C" makes the turned copy in one go
        yield rows, axis, part.astype(dtype, order="C", copy=copy and divisor is None)


def _shape(scores: FloatArray | Divided) -> tuple[int, int]:
    n, k = (scores.logits if isinstance(scores, Divided) else scores).shape
    return n, k
