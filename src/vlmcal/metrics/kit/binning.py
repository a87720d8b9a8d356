"""One binning for every metric: the edge rule, equal-width and equal-mass bins, reliability bins.

The edge rule in one sentence: bins are (lo, hi] with 0 in the first bin, decided in float64 after a
confidence within the tolerance of an edge has been moved onto that edge. The tolerance is 1e-6, or half the
rounding unit of the numbers as they came in where that is coarser (float16, bfloat16), so that 0.7 read from
text, 0.7 in float32 and 1 - 0.3 fall into the same bin everywhere.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import bdtrik

from vlmcal.errors import SpecError
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import clopper_pearson, wilson
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, rounding_unit

Edges = Literal["right", "left"]
Strategy = Literal["uniform", "quantile"]
TOLERANCE = 1e-6
EDGE_RULE = {
    "right": "(lo, hi] with 0 in the first bin",
    "left": "[lo, hi) with 1 in the last bin",
}


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


def equal_mass_index(confidence: FloatArray, bins: int, resolution: float = 0.0) -> IntArray:
    """Index (N,) of the equal-mass bin of each confidence; ties stay together.

    Rows are ranked, equal confidences (after rounding to the tolerance) share the mean of their ranks r in
    0 .. N - 1, and the bin is floor(B (r + 1/2) / N).

    Example:
        >>> equal_mass_index(np.array([0.9, 0.5, 0.9, 0.6]), 2).tolist()
        [1, 0, 1, 0]
    """
    ticks = np.rint(confidence / tolerance_for(resolution))
    order = np.argsort(ticks)
    ordered = ticks[order]
    n = len(ordered)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    lengths = np.diff(starts, append=n)
    # starts + (length - 1) / 2 + 1 / 2, doubled to stay with whole numbers
    of_run = np.minimum((bins * (2 * starts + lengths)) // (2 * n), bins - 1)
    index = np.empty(n, dtype=np.int64)
    index[order] = np.repeat(of_run, lengths)
    return index


def bin_index(
    confidence: FloatArray,
    bins: int,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> IntArray:
    """Index (N,) of the bin of each confidence, equal-width ("uniform") or equal-mass ("quantile").

    Raises:
        SpecError: An unknown strategy or edge rule, or fewer than one bin.
    """
    check_bins(bins, edges)
    if strategy == "uniform":
        return uniform_index(confidence, bins, edges, resolution)
    if strategy == "quantile":
        return equal_mass_index(confidence, bins, resolution)
    raise SpecError(f'strategy: expected "uniform" or "quantile", got {strategy!r}')


@dataclass(frozen=True, eq=False)
class Bins:
    """A reliability diagram as numbers, (B,) each; bins without rows hold NaN.

    Attributes:
        lower: Lower edge.
        upper: Upper edge.
        count: Rows in the bin.
        confidence: Mean confidence.
        accuracy: Share of correct rows.
        low: Lower end of the interval of the accuracy.
        high: Upper end of the interval of the accuracy.
        band_low: Lower end of where the accuracy of a calibrated model lies.
        band_high: Upper end of where the accuracy of a calibrated model lies.
        level: Confidence level of intervals and band.
    """

    lower: FloatArray
    upper: FloatArray
    count: IntArray
    confidence: FloatArray
    accuracy: FloatArray
    low: FloatArray
    high: FloatArray
    band_low: FloatArray
    band_high: FloatArray
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Plain lists by attribute name."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
        }


def reliability_bins(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    edges: Edges = "right",
    level: float = 0.95,
    interval: Literal["wilson", "clopper-pearson"] = "wilson",
    resolution: float = 0.0,
) -> Bins:
    """Counts, mean confidence and accuracy per bin, with an interval and a consistency band.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of bins.
        strategy: "uniform" or "quantile" (edges halfway between the outermost rows of neighbours).
        edges: "right" or "left".
        level: Level of the intervals and of the band.
        interval: "wilson" or "clopper-pearson".
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Broecker and Smith, "Increasing the reliability of reliability diagrams", Weather and
    Forecasting 2007 (consistency band, here the binomial one at the bin's mean confidence).

    Example:
        >>> b = reliability_bins([0.55, 0.6, 0.95], [False, True, True], bins=2)
        >>> b.count.tolist(), b.accuracy.round(3).tolist()[1:]
        ([0, 3], [0.667])
    """
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    count = np.bincount(index, minlength=bins)
    hits = np.bincount(index[verdicts], minlength=bins)
    total = np.bincount(index, values, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, accuracy = total / count, hits / count
    shares = np.full((4, bins), np.nan)
    full = count > 0
    rule = wilson if interval == "wilson" else clopper_pearson
    size = count[full].astype(np.float64)
    shares[:2, full] = rule(hits[full].astype(np.float64), size, level)
    shares[2:, full] = _binomial_band(mean[full], size, level)
    borders = (
        _borders_between(values, index, bins)
        if strategy == "quantile"
        else np.linspace(0.0, 1.0, bins + 1)
    )
    low, high, band_low, band_high = shares
    return Bins(
        lower=borders[:-1],
        upper=borders[1:],
        count=count,
        confidence=mean,
        accuracy=accuracy,
        low=low,
        high=high,
        band_low=band_low,
        band_high=band_high,
        level=level,
    )


def _binomial_band(share: FloatArray, size: FloatArray, level: float) -> FloatArray:
    """Central interval of Binomial(size, share) / size, both ends inclusive, (2, B)."""
    tail = (1 - level) / 2
    middle = np.clip(share, 1e-12, 1 - 1e-12)
    with np.errstate(invalid="ignore"):
        low = np.ceil(np.nan_to_num(bdtrik(tail, size, middle)))
        high = np.ceil(np.nan_to_num(bdtrik(1 - tail, size, middle)))
    return np.stack([np.minimum(low, size), np.minimum(high, size)]) / size


def _borders_between(values: FloatArray, index: IntArray, bins: int) -> Any:
    """Edges (B + 1,) halfway between neighbouring equal-mass bins; an empty bin has no width."""
    least, most = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(least, index, values)
    np.maximum.at(most, index, values)
    below = np.maximum.accumulate(np.concatenate(([0.0], most[:-1])))
    above = np.minimum.accumulate(np.concatenate((least[1:], [1.0]))[::-1])[::-1]
    inner = (below[1:] + above[:-1]) / 2
    return np.concatenate(([0.0], inner, [1.0]))
