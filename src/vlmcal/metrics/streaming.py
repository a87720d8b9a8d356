"""Calibration error of rows that arrive in pieces or on several workers."""

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.expected_calibration_error import Norm, norm_of
from vlmcal.metrics.kit.bin_sums import BinSums, join_parts, uniform_parts
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import FloatArray, IntArray, as_array
from vlmcal.types.binning import Edges, check_bins, resolution_of


@dataclass(eq=False)
class StreamingBins:
    """Bin sums with ``update`` and ``merge``: constant memory, exact in any order.

    All state is integer, so the order of the rows, their batching and the order of merging change nothing,
    and every metric is bit-equal to its one-shot form.

    Attributes:
        bins: Number of equal-width bins.
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64; the coarsest dtype seen so far
            must be given here when batches differ in dtype.

    Example:
        >>> stream = StreamingBins(bins=10)
        >>> stream.update([0.9, 0.9], [True, True]).update([0.6, 0.6], [True, False]).n
        4
        >>> round(stream.ece(), 6), stream.accuracy()
        (0.1, 0.75)
    """

    bins: int = 15
    edges: Edges = "right"
    resolution: float = 0.0
    count: IntArray = field(init=False)
    correct: IntArray = field(init=False)
    _parts: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_bins(self.bins, self.edges)
        self.count = np.zeros(self.bins, dtype=np.int64)
        self.correct = np.zeros(self.bins, dtype=np.int64)
        self._parts = np.zeros((2, self.bins), dtype=np.int64)

    def update(self, confidence: Any, correct: Any) -> Self:
        """Add rows; an empty batch changes nothing.

        Raises:
            DataError: Shapes differ, NaN, or confidences outside [0, 1].
        """
        if as_array(confidence).size == 0 and as_array(correct).size == 0:
            return self
        resolution = resolution_of(confidence, self.resolution)
        values, verdicts = as_confidences(confidence, correct)
        found = uniform_parts(values, verdicts, self.bins, self.edges, resolution)
        self.count += found.count
        self.correct += found.correct
        self._add(found.parts)
        return self

    def merge(self, other: "StreamingBins") -> Self:
        """Add what another worker has seen.

        Raises:
            SpecError: The other one uses other bins or another edge rule.
        """
        mine = (self.bins, self.edges, self.resolution)
        theirs = (other.bins, other.edges, other.resolution)
        if mine != theirs:
            raise SpecError(f"merge: bins, edges and resolution differ: {mine} and {theirs}")
        self.count += other.count
        self.correct += other.correct
        self._add(other._parts)
        return self

    @property
    def n(self) -> int:
        """Rows seen."""
        return int(self.count.sum())

    def sums(self) -> BinSums:
        """Bin sums of all rows seen.

        Raises:
            DataError: No rows yet.
        """
        if not self.n:
            raise DataError("StreamingBins: there are no rows to measure; call update first")
        return BinSums(self.count.copy(), self.correct.copy(), self.confidence())

    def confidence(self) -> FloatArray:
        """Sum of confidence per bin, (B,)."""
        return join_parts(self._parts)

    def ece(self, norm: Norm = "l1") -> float:
        """Calibration error with norm "l1", "l2" or "max"."""
        return norm_of(self.sums(), norm)

    def mce(self) -> float:
        """Largest gap of a non-empty bin."""
        return self.ece("max")

    def accuracy(self) -> float:
        """Share of correct rows."""
        sums = self.sums()
        return int(sums.correct.sum()) / sums.n

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; :meth:`from_dict` reads it back without loss."""
        return {
            "bins": self.bins,
            "edges": self.edges,
            "resolution": self.resolution,
            "count": self.count.tolist(),
            "correct": self.correct.tolist(),
            "parts": self._parts.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        stream = cls(int(data["bins"]), data["edges"], float(data["resolution"]))
        stream.count = np.array(data["count"], dtype=np.int64)
        stream.correct = np.array(data["correct"], dtype=np.int64)
        stream._parts = np.array(data["parts"], dtype=np.int64)
        return stream

    def _add(self, parts: IntArray) -> None:
        self._parts += parts
        self._parts[0] += self._parts[1] >> 50
        self._parts[1] &= (1 << 50) - 1
