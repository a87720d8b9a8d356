"""The one rule by which a number in [0, 1] falls into a bin, for metrics and calibrators alike.

In one sentence: bins are (lo, hi] with 0 in the first bin, decided in float64 after a number within the
tolerance of an edge has been moved onto that edge. The tolerance is 1e-6, or half the rounding unit of the
numbers as they came in where that is coarser (float16, bfloat16), so that 0.7 read from text, 0.7 in float32
and 1 - 0.3 fall into the same bin everywhere.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, rounding_unit

Edges = Literal["right", "left"]
Strategy = Literal["uniform", "quantile"]
# As calibrators called them before there was one vocabulary.
OldStrategy = Literal["equal_width", "equal_mass"]
_OLD_NAMES = {"equal_width": "uniform", "equal_mass": "quantile"}
_MOST = 1_000_000
_BLOCK = 1 << 15
_SPARSE = 8
TOLERANCE = 1e-6
EDGE_RULE = {"right": "(lo, hi] with 0 in the first bin", "left": "[lo, hi) with 1 in the last bin"}


def tolerance_for(resolution: float) -> float:
    """Distance within which a confidence counts as lying on an edge.

    Example:
        >>> tolerance_for(0.0), tolerance_for(2.0**-10)
        (1e-06, 0.00048828125)
    """
    return max(TOLERANCE, resolution / 2)


def resolution_of(confidence: Any, resolution: float = 0.0) -> float:
    """The rounding unit of an array as it came in, or ``resolution`` where that is coarser."""
    return max(resolution, rounding_unit(confidence))


def check_bins(bins: int, edges: str = "right") -> None:
    """Refuse bin counts below 1 and unknown edge rules.

    Raises:
        SpecError: Says what is allowed.
    """
    if isinstance(bins, bool) or not isinstance(bins, (int, np.integer)) or bins < 1:
        raise SpecError(f"bins: expected a whole number of at least 1, got {bins!r}")
    if bins > _MOST:
        raise SpecError(f"bins: expected at most {_MOST:,}, got {bins:,}; more hold no rows")
    if edges not in EDGE_RULE:
        raise SpecError(
            f'edges: expected "right" or "left", got {edges!r}; evaluators with other rules have '
            "metrics of their own (tcpt_ece, dac_ece, ...)"
        )


def uniform_index(
    confidence: FloatArray, bins: int, edges: Edges = "right", resolution: float = 0.0
) -> IntArray:
    """Index (N,) of the equal-width bin of each confidence, by the edge rule.

    Example:
        >>> uniform_index(np.array([0.0, 0.1, 1 - 0.9, 0.100002, 1.0]), 10).tolist()
        [0, 0, 0, 1, 9]
        >>> uniform_index(np.array([0.0, 0.1, 1 - 0.9, 0.100002, 1.0]), 10, "left").tolist()
        [0, 1, 1, 1, 9]
    """
    slack = bins * tolerance_for(resolution)
    if edges == "left":
        index = (confidence * bins + slack).astype(np.int64)
        return np.minimum(index, bins - 1, out=index)
    # trunc(B - x + slack) = B - ceil(x - slack) for non-negative numbers: one rounding, no snapping pass.
    index = (bins + slack - confidence * bins).astype(np.int64)
    np.subtract(bins - 1, index, out=index)
    return np.maximum(index, 0, out=index)


def on_edge(confidence: FloatArray, bins: int, resolution: float = 0.0) -> BoolArray:
    """Whether each confidence lies on an inner edge of equal-width bins, within the tolerance."""
    scaled = confidence * bins
    nearest = np.rint(scaled)
    near: BoolArray = np.abs(scaled - nearest) <= bins * tolerance_for(resolution)
    return near & (nearest > 0) & (nearest < bins)


def edge_share(confidence: FloatArray, bins: int, resolution: float = 0.0) -> float:
    """Share of the confidences that lie on an inner edge, as :func:`on_edge` tells.

    Example:
        >>> edge_share(np.array([0.5, 0.55, 1.0, 0.0]), 10)
        0.25
    """
    parts = range(0, len(confidence), _BLOCK)
    found = [np.count_nonzero(on_edge(confidence[i : i + _BLOCK], bins, resolution)) for i in parts]
    return int(sum(found)) / len(confidence)


def equal_mass_index(confidence: FloatArray, bins: int, resolution: float = 0.0) -> IntArray:
    """Index (N,) of the equal-mass bin of each confidence; ties stay together.

    Rows are ranked, equal confidences (after rounding to the tolerance) share the mean of their ranks r in
    0 .. N - 1, and the bin is floor(B (r + 1/2) / N).

    Example:
        >>> equal_mass_index(np.array([0.9, 0.5, 0.9, 0.6]), 2).tolist()
        [1, 0, 1, 0]
    """
    unit = tolerance_for(resolution)
    ticks = np.rint(confidence / unit)
    if (
        len(ticks) * _SPARSE > 1 / unit
        and ticks.size
        and ticks.min() >= 0
        and ticks.max() <= 2 / unit
    ):
        # Many rows on few ticks: counting them takes no sort.
        place = ticks.astype(np.int64)
        del ticks
        lengths = np.bincount(place)
        starts = np.cumsum(lengths)
        starts -= lengths
        return np.asarray(_bins_of_runs(starts, lengths, bins, len(place))[place])
    order = np.argsort(ticks)
    ordered = ticks[order]
    n = len(ordered)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(starts, append=n)
    of_run = _bins_of_runs(starts, lengths, bins, n)
    index = np.empty(n, dtype=np.int64)
    index[order] = np.repeat(of_run, lengths)
    return index


def _bins_of_runs(starts: IntArray, lengths: IntArray, bins: int, n: int) -> IntArray:
    # starts + (length - 1) / 2 + 1 / 2, doubled to stay with whole numbers
    middle: IntArray = 2 * starts
    middle += lengths
    middle *= bins
    middle //= 2 * n
    return np.minimum(middle, bins - 1, out=middle)


@dataclass(frozen=True)
class Binning:
    """How numbers in [0, 1] are cut into bins.

    Attributes:
        bins: Number of bins.
        strategy: "uniform" (equal width) or "quantile" (equal mass, ties kept together).
        edges: "right" for (lo, hi] with 0 in the first bin, "left" for [lo, hi) with 1 in the last.

    Raises:
        SpecError: An unknown strategy or edge rule, or fewer than one bin.

    Example:
        >>> Binning(10).index(np.array([0.3, np.float32(0.3), 1 - 0.7, 0.31])).tolist()
        [2, 2, 2, 3]
    """

    bins: int = 15
    strategy: Strategy = "uniform"
    edges: Edges = "right"

    def __post_init__(self) -> None:
        check_bins(self.bins, self.edges)
        if self.strategy not in ("uniform", "quantile"):
            raise SpecError(f'strategy: expected "uniform" or "quantile", got {self.strategy!r}')

    def index(self, values: FloatArray, resolution: float = 0.0) -> IntArray:
        """Bin (N,) of each value; ``resolution`` is the rounding unit of the values as they came in."""
        if self.strategy == "quantile":
            return equal_mass_index(values, self.bins, resolution)
        return uniform_index(values, self.bins, self.edges, resolution)


def strategy_named(name: str) -> Strategy:
    """The strategy of this name, also by its old names "equal_width" and "equal_mass".

    Raises:
        SpecError: An unknown name.

    Example:
        >>> strategy_named("equal_mass")
        'quantile'
    """
    return Binning(1, _OLD_NAMES.get(name, name)).strategy  # type: ignore[arg-type]


# Relative: edges that are taken from the data can lie closer together than any fixed tolerance.
_SNAP = 1e-9


def fitted_edges(
    scores: FloatArray, bins: int, strategy: Strategy, *, ordered: bool = False
) -> FloatArray:
    """Edges (bins + 1,) from 0 to 1 by which other numbers can be binned, too; equal quantiles are merged.

    Args:
        scores: (N,).
        bins: Number of bins.
        strategy: "uniform", or "quantile" for quantiles of the scores.
        ordered: The scores are sorted already.

    Raises:
        SpecError: Unknown strategy or no bins.

    Example:
        >>> fitted_edges(np.array([0.1, 0.2, 0.3, 0.9]), 2, "quantile").tolist()
        [0.0, 0.25, 1.0]
    """
    edges = np.linspace(0.0, 1.0, Binning(bins, strategy).bins + 1)
    if strategy == "uniform":
        return edges
    ranked = scores if ordered else np.sort(scores)
    place = edges[1:-1] * (ranked.size - 1)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, ranked.size - 1)
    inner = np.unique(ranked[low] + (place - low) * (ranked[high] - ranked[low]))
    return np.concatenate([[0.0], inner[(inner > 0) & (inner < 1)], [1.0]])


def snapped(scores: FloatArray, strategy: Strategy) -> FloatArray:
    """Scores moved down by the tolerance, so that those on an edge are at or below it."""
    return scores - TOLERANCE if strategy == "uniform" else scores * (1.0 - _SNAP)


def index_between(scores: FloatArray, edges: FloatArray, strategy: Strategy) -> IntArray:
    """Index (N,) of the bin (lo, hi] of each score between :func:`fitted_edges`; 0 is in the first bin.

    Example:
        >>> edges = np.array([0.0, 0.5, 1.0])
        >>> index_between(np.array([0.0, 0.5, 0.51, 1.0]), edges, "uniform").tolist()
        [0, 0, 1, 1]
    """
    found = np.searchsorted(edges[1:-1], snapped(scores, strategy), side="left")
    return np.asarray(found, dtype=np.int64)
