"""A reliability diagram as numbers: counts, confidence and accuracy per bin, interval and band."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.proportions import clopper_pearson, wilson
from vlmcal.types import special
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.binning import Binning, Edges, Strategy, resolution_of


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
    index = Binning(bins, strategy, edges).index(values, resolution)
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
    shares[2:, full] = binomial_band(mean[full], size, level)
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


def binomial_band(share: FloatArray, size: FloatArray, level: float) -> FloatArray:
    """Central interval of Binomial(size, share) / size, both ends inclusive, (2, B)."""
    tail = (1 - level) / 2
    middle = np.clip(share, 1e-12, 1 - 1e-12)
    with np.errstate(invalid="ignore"):
        low = np.ceil(np.nan_to_num(special.bdtrik(tail, size, middle)))
        high = np.ceil(np.nan_to_num(special.bdtrik(1 - tail, size, middle)))
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
