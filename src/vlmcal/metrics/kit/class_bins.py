"""Bin sums of every class at once, in chunks of rows: no one-hot matrix, no (N, K) copy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.binning import Edges, check_bins, tolerance_for, uniform_index
from vlmcal.types.scores import ClassProbabilities

_FLUSH = 1 << 18


@dataclass(frozen=True, eq=False)
class ClassBins:
    """Counts and sums per class and bin, (K, B) each.

    Attributes:
        count: Entries p_ik in the bin.
        confidence: Their sum.
        squares: The sum of their squares.
        hits: How many of them belong to the label of their row.
        hit_confidence: The sum of those.
    """

    count: IntArray
    confidence: FloatArray
    squares: FloatArray
    hits: IntArray
    hit_confidence: FloatArray
    n: int

    @property
    def gaps(self) -> FloatArray:
        """Sum of (probability - indicator of the label) per class and bin."""
        return self.confidence - self.hits


class _Sparse:
    """Sums of the few entries above the first bin, added up in large pieces."""

    def __init__(self, cells: int) -> None:
        self.count = np.zeros(cells, dtype=np.int64)
        self.total = np.zeros(cells)
        self.squares = np.zeros(cells)
        self._cells: list[IntArray] = []
        self._values: list[FloatArray] = []
        self._held = 0

    def add(self, cells: IntArray, values: FloatArray) -> None:
        self._cells.append(cells)
        self._values.append(values)
        self._held += len(cells)
        if self._held >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        if not self._held:
            return
        cells, values = np.concatenate(self._cells), np.concatenate(self._values)
        size = len(self.count)
        self.count += np.bincount(cells, minlength=size)
        self.total += np.bincount(cells, values, minlength=size)
        self.squares += np.bincount(cells, values**2, minlength=size)
        self._cells, self._values, self._held = [], [], 0


def class_bins(
    probabilities: Any,
    labels: Any,
    *,
    bins: int = 15,
    edges: Edges = "right",
    threshold: float = 0.0,
) -> ClassBins:
    """Bin sums of all classes on equal-width bins.

    The first bin holds almost everything when K is large, so it is found as column sums minus the rest.

    Args:
        probabilities: (N, K) rows that sum to 1, or Predictions.
        labels: (N,) integers in 0 .. K - 1.
        bins: Number of bins.
        edges: "right" or "left".
        threshold: Entries at or below it are left out altogether (0 keeps all).

    Example:
        >>> class_bins([[0.8, 0.2], [0.3, 0.7]], [0, 0], bins=2).gaps.round(3).tolist()
        [[-0.7, -0.2], [0.2, 0.7]]
    """
    check_bins(bins, edges)
    source = ClassProbabilities.of(probabilities)
    n, k = source.shape
    truth = source.labels(labels)
    first_edge = first_bin_limit(bins, edges, source.resolution)
    limit = max(threshold, first_edge) if threshold > 0 else first_edge
    sparse = _Sparse(k * bins)
    columns, squares = np.zeros(k), np.zeros(k)
    for _, axis, block in source.blocks():
        add_class_sums(block, axis, columns, squares)
        _, of, values = entries_above(block, axis, threshold if threshold > 0 else limit)
        cells = of * bins
        cells += uniform_index(values, bins, edges, source.resolution)
        sparse.add(cells, values)
    sparse.flush()
    count = sparse.count.reshape(k, bins)
    total = sparse.total.reshape(k, bins)
    square = sparse.squares.reshape(k, bins)
    if threshold <= 0:
        count[:, 0] += n - count.sum(axis=1)
        total[:, 0] += columns - total.sum(axis=1)
        square[:, 0] += squares - square.sum(axis=1)
    chosen = source.label_probability(truth)
    kept = chosen > threshold if threshold > 0 else np.ones(n, dtype=np.bool_)
    cell = truth * bins + uniform_index(chosen, bins, edges, source.resolution)
    hits = np.bincount(cell[kept], minlength=k * bins).reshape(k, bins)
    hit_total = np.bincount(cell[kept], chosen[kept], minlength=k * bins).reshape(k, bins) + 0.0
    return ClassBins(count, total, square, hits, hit_total, n)


def add_class_sums(block: FloatArray, axis: int, columns: FloatArray, squares: FloatArray) -> None:
    """Add the probabilities of a block over its rows, and their squares, to sums by class (K,).

    Args:
        block: Probabilities, with the classes along ``axis``.
        axis: 0 or 1.
        columns: Sums, changed in place.
        squares: Sums of squares, changed in place.

    Example:
        >>> columns, squares = np.zeros(2), np.zeros(2)
        >>> add_class_sums(np.array([[0.5, 0.5], [1.0, 0.0]]), 1, columns, squares)
        >>> columns.tolist(), squares.tolist()
        ([1.5, 0.5], [1.25, 0.25])
    """
    columns += block.sum(axis=1 - axis)
    squares += np.einsum("kn,kn->k" if axis == 0 else "nk,nk->k", block, block)


def entries_above(
    block: FloatArray, axis: int, limit: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, classes and values of the entries of a block above a limit.

    Args:
        block: Probabilities, with the classes along ``axis``.
        axis: 0 or 1.
        limit: Where "above" begins.

    Example:
        >>> rows, of, values = entries_above(np.array([[0.1, 0.8], [0.9, 0.2]]), 0, 0.5)
        >>> rows.tolist(), of.tolist(), values.tolist()
        ([1, 0], [0, 1], [0.8, 0.9])
    """
    above = block > limit
    flat, inner = np.flatnonzero(above), block.shape[1]
    if axis == 0:
        # Few long lines, of which many entries are found: counting costs less than dividing.
        of = np.repeat(np.arange(len(block)), np.count_nonzero(above, axis=1))
        return flat - of * inner, of, block.ravel()[flat]
    rows = flat // inner
    return rows, flat - rows * inner, block.ravel()[flat]


def first_bin_limit(bins: int, edges: Edges, resolution: float) -> float:
    """A probability below which every value is certainly in the first bin."""
    return 1.0 / bins - 2 * tolerance_for(resolution)
