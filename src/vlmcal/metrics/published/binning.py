"""How published evaluators cut confidences into bins: exact edges, kept for reproducing their numbers."""

from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from vlmcal.types.arrays import BoolArray, FloatArray, IntArray

# Quantile rules of scikit-learn's KBinsDiscretizer before and since version 1.9.
QuantileRule = Literal["linear", "averaged_inverted_cdf"]


class Gaps(NamedTuple):
    """Share of all rows and |accuracy - mean confidence| of each non-empty bin."""

    share: FloatArray
    gap: FloatArray

    @property
    def weighted(self) -> FloatArray:
        """Share x gap."""
        return self.share * self.gap


@lru_cache
def torch_edges(bins: int, dtype: Literal["float32", "float64"] = "float64") -> FloatArray:
    """Edges of ``bins`` equal-width bins as a linspace in PyTorch makes them, as float64.

    The first half counts up from 0, the second down from 1, each with one rounding, so that 0.45 of 20 bins
    becomes 0.45000002 in float32; NumPy's linspace has 0.6000000000000001 of 10 bins where this has 0.6.

    Example:
        >>> float(torch_edges(10, "float32")[7]), float(torch_edges(10)[6])
        (0.699999988079071, 0.6)
    """
    number = np.float32 if dtype == "float32" else np.float64
    step = Fraction(float(number(1) / number(bins)))
    exact = [i * step if i < (bins + 1) // 2 else 1 - (bins - i) * step for i in range(bins + 1)]
    edges = np.array([float(edge) for edge in exact]).astype(number).astype(np.float64)
    edges.flags.writeable = False
    return edges


def right_closed_index(confidence: FloatArray, edges: FloatArray) -> IntArray:
    """Bin (lo, hi] of each confidence, -1 at or below the first edge (in no bin)."""
    return np.searchsorted(edges, confidence, side="left").astype(np.int64) - 1


def left_closed_index(confidence: FloatArray, bins: int) -> IntArray:
    """Bin [lo, hi) of each confidence by the inner float64 edges; 1.0 is in the last bin."""
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(inner, confidence, side="right").astype(np.int64)


def quantile_index(values: FloatArray, bins: int, rule: QuantileRule = "linear") -> IntArray:
    """Quantile bin of each value as KBinsDiscretizer assigns it.

    Edges are percentiles by ``rule``; edges closer than 1e-8 to the one before are dropped, so ties give
    fewer bins; a value on an inner edge goes to the upper bin.

    Example:
        >>> quantile_index(np.array([0.1, 0.2, 0.2, 0.2, 0.9]), 2).tolist()
        [0, 1, 1, 1, 1]
    """
    if values.min() == values.max():
        return np.zeros(len(values), dtype=np.int64)
    edges = np.percentile(values, np.linspace(0, 100, bins + 1), method=rule)
    edges = edges[np.ediff1d(edges, to_begin=np.inf) > 1e-8]
    return np.searchsorted(edges[1:-1], values, side="right").astype(np.int64)


def gaps_of(confidence: FloatArray, correct: BoolArray, index: IntArray) -> Gaps:
    """Shares and gaps of the non-empty bins; rows with index -1 count in the total only."""
    kept = index >= 0
    count = np.bincount(index[kept])
    filled = count > 0
    difference = np.bincount(index[kept], confidence[kept] - correct[kept])
    return Gaps(count[filled] / len(confidence), np.abs(difference[filled] / count[filled]))
