"""Bins on [0, 1]: edges, and which bin a probability falls into."""

from typing import Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.types.arrays import FloatArray, IntArray

Strategy = Literal["equal_width", "equal_mass"]
_SNAP = 1e-9  # relative; 0.7 and 0.1 * 7 belong on the same side of an edge


def bin_edges(
    scores: FloatArray, bins: int, strategy: Strategy, *, ordered: bool = False
) -> FloatArray:
    """Edges (bins + 1,) from 0 to 1; equal-mass edges that coincide are merged.

    Args:
        scores: (N,).
        bins: Number of bins.
        strategy: "equal_width", or "equal_mass" for quantiles of the scores.
        ordered: The scores are sorted already.

    Raises:
        SpecError: Unknown strategy or no bins.

    Example:
        >>> bin_edges(np.array([0.1, 0.2, 0.3, 0.9]), 2, "equal_mass").tolist()
        [0.0, 0.25, 1.0]
    """
    if bins < 1:
        raise SpecError(f"bins: expected at least 1, got {bins}")
    edges = np.linspace(0.0, 1.0, bins + 1)
    if strategy == "equal_width":
        return edges
    if strategy != "equal_mass":
        raise SpecError(f'bin strategy: expected "equal_width" or "equal_mass", got "{strategy}"')
    inner = np.unique(_quantiles(scores if ordered else np.sort(scores), edges[1:-1]))
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])


def _quantiles(ordered: FloatArray, shares: FloatArray) -> FloatArray:
    place = shares * (ordered.size - 1)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, ordered.size - 1)
    result: FloatArray = ordered[low] + (place - low) * (ordered[high] - ordered[low])
    return result


def bin_index(scores: FloatArray, edges: FloatArray) -> IntArray:
    """Index of the bin (lo, hi] of each score; 0 belongs to the first bin.

    Example:
        >>> bin_index(np.array([0.0, 0.5, 0.51, 1.0]), np.array([0.0, 0.5, 1.0])).tolist()
        [0, 0, 1, 1]
    """
    found = np.searchsorted(edges[1:-1], scores * (1.0 - _SNAP), side="left")
    return np.asarray(found, dtype=np.int64)
