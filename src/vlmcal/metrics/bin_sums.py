"""Count, correct rows and sum of confidence per bin, exact and independent of the order of the rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.metrics.binning import Edges, check_bins, resolution_of, uniform_index
from vlmcal.metrics.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray

# Sums of 2**13 numbers on a grid of 2**-40 are exact in float64, in any order.
_BLOCK = 1 << 13
_GRID = 3 * 2.0 ** (52 - 40 - 1)


@dataclass(frozen=True, eq=False)
class BinSums:
    """Counts and sums per bin, (B,) each; every metric on bins follows from them.

    The confidence sums are exact for confidences rounded to 2**-40 (an error below 5e-13 each), so they do
    not depend on the order of the rows or on how the rows were split into batches.
    """

    count: IntArray
    correct: IntArray
    confidence: FloatArray

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.count.sum())

    @property
    def gaps(self) -> FloatArray:
        """Sum of (confidence - correct) per bin, (B,)."""
        return self.confidence - self.correct


def sums_by_index(
    confidence: FloatArray, correct: BoolArray, index: IntArray, cells: int
) -> BinSums:
    """Count, correct rows and sum of confidence of each cell."""
    both = np.bincount(index + cells * correct, minlength=2 * cells)
    total = exact_sums(confidence, index, cells)
    return BinSums(both[:cells] + both[cells:], both[cells:], total)


def exact_sums(values: FloatArray, index: IntArray, cells: int) -> FloatArray:
    """Sum of values in [0, 1] per cell, the same for every order and batching of the rows."""
    return join_parts(exact_parts(values, index, cells))


def exact_parts(values: FloatArray, index: IntArray, cells: int) -> IntArray:
    """Sums of values in [0, 1] as whole numbers (2, C): parts[0] * 2**50 + parts[1], times 2**-40."""
    parts = np.zeros((2, cells), dtype=np.int64)
    for start in range(0, len(values), _BLOCK):
        rounded = values[start : start + _BLOCK] + _GRID
        rounded -= _GRID
        block = np.bincount(index[start : start + _BLOCK], rounded, minlength=cells)
        parts[1] += (block * 2.0**40).astype(np.int64)
        parts[0] += parts[1] >> 50
        parts[1] &= (1 << 50) - 1
    return parts


def join_parts(parts: IntArray) -> FloatArray:
    """The sums of :func:`exact_parts` as float64, (C,)."""
    return np.asarray(parts[0] * 2.0**10 + parts[1] * 2.0**-40, dtype=np.float64)


def uniform_sums(
    confidence: Any,
    correct: Any,
    bins: int = 15,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> BinSums:
    """Bin sums over equal-width bins, checked and in one pass.

    Example:
        >>> uniform_sums([0.2, 0.9, 1.0], [False, True, True], bins=2).count.tolist()
        [1, 2]
    """
    check_bins(bins, edges)
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = uniform_index(values, bins, edges, resolution)
    return sums_by_index(values, verdicts, index, bins)
