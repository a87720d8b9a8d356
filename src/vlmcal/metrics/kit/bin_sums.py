"""Count, correct rows and sum of confidence per bin, exact and independent of the order of the rows."""

from dataclasses import dataclass

import numpy as np

from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.binning import Edges, tolerance_for

# Sums of 2**13 numbers on a grid of 2**-40 are exact in float64, in any order.
_BLOCK = 1 << 13
_CACHE = 1 << 15
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
        """Number of rows; of weighted sums their weight, which need not be whole."""
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


def weighted_sums(
    confidence: FloatArray, correct: BoolArray, index: IntArray, cells: int, weights: FloatArray
) -> BinSums:
    """Weight, right weight and weighted sum of confidence of each cell; counts are no whole numbers then."""
    count, right, total = (
        np.bincount(index, values, minlength=cells)
        for values in (weights, weights * correct, weights * confidence)
    )
    return BinSums(count, right, total)  # type: ignore[arg-type]


def exact_sums(values: FloatArray, index: IntArray, cells: int) -> FloatArray:
    """Sum of values in [0, 1] per cell, the same for every order and batching of the rows."""
    return join_parts(exact_parts(values, index, cells))


def exact_parts(values: FloatArray, index: IntArray, cells: int) -> IntArray:
    """Sums of values in [0, 1] as whole numbers (2, C): parts[0] * 2**50 + parts[1], times 2**-40."""
    parts = np.zeros((2, cells), dtype=np.int64)
    for start in range(0, len(values), _CACHE):
        rounded = values[start : start + _CACHE] + _GRID
        rounded -= _GRID
        _add_exact(parts, rounded, index[start : start + _CACHE])
    return parts


def _add_exact(parts: IntArray, rounded: FloatArray, index: IntArray) -> None:
    """Add values that already lie on the grid to their cells."""
    cells = parts.shape[1]
    for start in range(0, len(rounded), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = np.bincount(index[rows], rounded[rows], minlength=cells)
        parts[1] += (block * 2.0**40).astype(np.int64)
    parts[0] += parts[1] >> 50
    parts[1] &= (1 << 50) - 1


def join_parts(parts: IntArray) -> FloatArray:
    """The sums of :func:`exact_parts` as float64, (C,)."""
    return np.asarray(parts[0] * 2.0**10 + parts[1] * 2.0**-40, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class UniformParts:
    """Sums over equal-width bins as whole numbers: counts, correct rows, and parts of the confidence."""

    count: IntArray
    correct: IntArray
    parts: IntArray

    def sums(self) -> BinSums:
        """The sums as numbers."""
        return BinSums(self.count, self.correct, join_parts(self.parts))


def uniform_parts(
    values: FloatArray, verdicts: BoolArray, bins: int, edges: Edges, resolution: float
) -> UniformParts:
    """Sums over equal-width bins in blocks that stay in a core's cache; bins as ``uniform_index``.

    For the right-closed rule the blocks count down from the last bin, which saves rounding up; the extra
    cell at the end holds what ``uniform_index`` moves into the outermost bin.
    """
    cells = bins + 1
    slack = bins * tolerance_for(resolution)
    factor, shift = (bins, slack) if edges == "left" else (-bins, bins + slack)
    scaled = np.empty(_CACHE)
    index, both = np.empty(_CACHE, dtype=np.int64), np.empty(_CACHE, dtype=np.int64)
    counts = np.zeros(2 * cells, dtype=np.int64)
    parts = np.zeros((2, cells), dtype=np.int64)
    for start in range(0, len(values), _CACHE):
        block = values[start : start + _CACHE]
        size = len(block)
        work, cell, pair = scaled[:size], index[:size], both[:size]
        np.multiply(block, factor, out=work)
        work += shift
        np.copyto(cell, work, casting="unsafe")
        np.add(block, _GRID, out=work)
        work -= _GRID
        _add_exact(parts, work, cell)
        np.multiply(verdicts[start : start + _CACHE], cells, out=pair, dtype=np.int64)
        pair += cell
        counts += np.bincount(pair, minlength=2 * cells)
    table = np.concatenate([counts.reshape(2, cells), parts])
    table[:, bins - 1] += table[:, bins]
    table = table[:, :bins] if edges == "left" else table[:, bins - 1 :: -1]
    return UniformParts(table[0] + table[1], table[1].copy(), table[2:].copy())
