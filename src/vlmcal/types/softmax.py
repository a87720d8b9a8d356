"""Softmax of rows in blocks that stay in a core's cache; for few classes the blocks lie on their side."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from vlmcal.types.arrays import FloatArray, IntArray

_CHUNK: Final = 1 << 16
# Sums over a last axis that is shorter than this are slow, so blocks are turned, (K, rows).
_FEW_CLASSES: Final = 64


def softmax(scores: FloatArray, dtype: Any = np.float64) -> FloatArray:
    """Probabilities (N, K) of logits (N, K), computed in ``dtype``.

    Example:
        >>> softmax(np.array([[2.0, 0.0]])).round(4).tolist()
        [[0.8808, 0.1192]]
    """
    result = np.empty(scores.shape, dtype=dtype)
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


def top_softmax(scores: FloatArray) -> tuple[FloatArray, IntArray]:
    """Largest probability in float64 and its class, (N,) each, of logits (N, K).

    Example:
        >>> confidence, predicted = top_softmax(np.array([[2.0, 0.0]]))
        >>> confidence.round(4).tolist(), predicted.tolist()
        ([0.8808], [0])
    """
    confidence = np.empty(len(scores))
    for rows, axis, block, _ in shifted_blocks(scores, np.float64):
        confidence[rows] = 1.0 / np.exp(block, out=block).sum(axis=axis)
    return confidence, scores.argmax(axis=1)


def shifted_blocks(
    scores: FloatArray, dtype: Any
) -> Iterator[tuple[slice, int, FloatArray, FloatArray]]:
    """Pieces of logits less the largest of each row: (rows, axis of the classes, values, largest (n,))."""
    n, k = scores.shape
    step = max(1, _CHUNK // k)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        values = scores[rows]
        axis = 1 if k > _FEW_CLASSES else 0
        # astype with order "C" makes the turned copy in one go
        block = (values if axis == 1 else values.T).astype(dtype, order="C")
        largest = block.max(axis=axis, keepdims=True)
        block -= largest
        yield rows, axis, block, largest.ravel()
