"""A measured number with the interval that belongs to it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vlmcal.types.arrays import FloatArray, StrArray


@dataclass(frozen=True)
class Estimate:
    """A point value, its confidence interval and the number of rows behind it.

    Attributes:
        value: The measured value, in the metric's own units (fractions, not percent).
        low: Lower end of the interval, or None when no interval that covers is known.
        high: Upper end of the interval, or None.
        n: Number of rows.
        method: How the interval was made ("bootstrap", "debiased", ...), or "" for none.
        floor: What a perfectly calibrated model would show at this n, where that is meaningful.
        p_value: Probability that a perfectly calibrated model shows at least this value, where there is such
            a test; whether a value is within chance is decided by it.

    Example:
        >>> str(Estimate(0.1234, 0.101, 0.15, n=500))
        '0.1234 [0.1010, 0.1500]'
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""
    floor: float | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Asked(NamedTuple):
    """What an interval is made from, beside the rows.

    Attributes:
        level: Confidence level.
        groups: (N,) cluster of each row, or None where rows are independent.
        generator: Of whatever is drawn.
    """

    level: float
    groups: StrArray | None
    generator: np.random.Generator


def standard_error(values: FloatArray, groups: StrArray | None = None) -> float:
    """Standard error of a mean (N,), of rows that are independent or of groups that are.

    Example:
        >>> round(standard_error(np.array([1.0, -1.0, 1.0, -1.0])), 4)
        0.5774
        >>> round(standard_error(np.array([1.0, 1.0, -1.0, -1.0]), np.array(["a", "a", "b", "b"])), 4)
        1.0
    """
    if not np.isfinite(values).all():
        return float("inf")
    centred = values - values.mean()
    if groups is not None:
        centred = np.bincount(np.unique(groups, return_inverse=True)[1], weights=centred)
    units = centred.size
    if units < 2:
        return float("inf")
    return float(np.sqrt((centred**2).sum() * units / (units - 1)) / values.size)
