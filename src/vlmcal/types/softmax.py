"""Softmax of rows in blocks that stay in a core's cache; for few classes the blocks lie on their side."""

from collections.abc import Iterator
from typing import Any, Final, Literal

import numpy as np

from vlmcal.types.arrays import FloatArray, IntArray

Order = Literal["C", "F"]
_CHUNK: Final = 1 << 16
# Sums over a last axis that is shorter than this are slow, so blocks are turned, (K, rows).
_FEW_CLASSES: Final = 64
_WIDEST: Final = 300.0


def softmax(scores: FloatArray, dtype: Any = np.float64, order: Order = "C") -> FloatArray:
    """Probabilities (N, K) of logits (N, K), computed in ``dtype``.

    Args:
        scores: (N, K) finite.
        dtype: Of the result.
        order: "F" lays the classes one after the other in memory, for work on one class at a time.

    Example:
        >>> softmax(np.array([[2.0, 0.0]])).round(4).tolist()
        [[0.8808, 0.1192]]
    """
    result = np.empty(scores.shape, dtype=dtype, order=order)
    for rows, axis, block, _ in shifted_blocks(scores, dtype):
        np.exp(block, out=block)
        block /= block.sum(axis=axis, keepdims=True)
        result[rows] = block if axis == 1 else block.T
    return result


def log_softmax(scores: FloatArray) -> FloatArray:
    """Log-probabilities (N, K) in float64 of logits (N, K).

    Example:
        >>> log_softmax(np.array([[2.0, 0.0]])).round(4).tolist()
        [[-0.1269, -2.1269]]
    """
    result = np.empty(scores.shape)
    for rows, axis, block, _ in shifted_blocks(scores, np.float64):
        block -= np.log(np.exp(block).sum(axis=axis, keepdims=True))
        result[rows] = block if axis == 1 else block.T
    return result


def top_softmax(scores: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
    """Largest probability, its class, and the log of the sum of exp(scores), (N,) each, of logits (N, K).

    Example:
        >>> confidence, predicted, normaliser = top_softmax(np.array([[2.0, 0.0]]))
        >>> confidence.round(4).tolist(), predicted.tolist(), normaliser.round(4).tolist()
        ([0.8808], [0], [2.1269])
    """
    predicted = scores.argmax(axis=1)
    confidence, normaliser = np.empty(len(scores)), np.empty(len(scores))
    for rows, axis, block, shift in shifted_blocks(scores, np.float64):
        np.exp(block, out=block)
        total = block.sum(axis=axis)
        np.divide(of_classes(block, axis, predicted[rows]), total, out=confidence[rows])
        np.add(shift, np.log(total), out=normaliser[rows])
    return np.minimum(confidence, 1.0, out=confidence), predicted, normaliser


def log_pair(p: FloatArray) -> FloatArray:
    """Log-probabilities (N, 2) of a binary outcome: log(1 - p) and log p."""
    with np.errstate(divide="ignore"):
        return np.stack([np.log1p(-p), np.log(p)], axis=1)


def log_sums(scores: FloatArray) -> FloatArray:
    """Log of the sum of exp(scores), (N,), of logits (N, K).

    Example:
        >>> log_sums(np.array([[2.0, 0.0]])).round(4).tolist()
        [2.1269]
    """
    result = np.empty(len(scores))
    for rows, axis, block, shift in shifted_blocks(scores, np.float64):
        np.add(shift, np.log(np.exp(block, out=block).sum(axis=axis)), out=result[rows])
    return result


def of_classes(block: FloatArray, axis: int, classes: IntArray) -> FloatArray:
    """The value of one class per row, (rows,), from a block whose classes lie along ``axis``."""
    place = np.arange(len(classes))
    chosen: FloatArray = block[place, classes] if axis == 1 else block[classes, place]
    return chosen


def shifted_blocks(
    scores: FloatArray, dtype: Any, *, always: bool = False
) -> Iterator[tuple[slice, int, FloatArray, FloatArray | float]]:
    """Pieces of logits whose exponentials are safe: (rows, axis of the classes, values, shift (n,)).

    Rows with a number beyond 300 are shifted by their largest; the others need no shift in float64, and so
    lose no digit. What happens to a row does not depend on other rows.

    Args:
        scores: (N, K) finite.
        dtype: Of the blocks; smaller ones are always shifted.
        always: Shift all rows.
    """
    always = always or dtype != np.float64
    for rows, axis, block in blocks(scores, dtype):
        part = scores[rows]  # just read, so it is in the cache, and not yet widened
        if not always and part.max() <= _WIDEST and part.min() >= -_WIDEST:
            yield rows, axis, block, 0.0
            continue
        shift = block.max(axis=axis)
        if not always:
            shift[(shift <= _WIDEST) & (block.min(axis=axis) >= -_WIDEST)] = 0.0
        block -= np.expand_dims(shift, axis)
        yield rows, axis, block, shift


def blocks(values: FloatArray, dtype: Any = np.float64) -> Iterator[tuple[slice, int, FloatArray]]:
    """Copies of pieces of values (N, K): (rows, axis of the classes, values of these rows)."""
    n, k = values.shape
    step = max(1, _CHUNK // k)
    axis = 1 if k > _FEW_CLASSES else 0
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        part = values[rows]
        # astype with order "C" makes the turned copy in one go
        yield rows, axis, (part if axis == 1 else part.T).astype(dtype, order="C")
