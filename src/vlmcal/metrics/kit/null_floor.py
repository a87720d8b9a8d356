"""What a calibrated model with the same confidences would show: floor and test of any calibration error."""

from collections.abc import Callable

import numpy as np

from vlmcal.metrics.kit.cell_residuals import judged
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.estimate import Estimate

DRAWS = 200


def with_null(
    value: float,
    confidence: FloatArray,
    statistic: Callable[[BoolArray], float],
    *,
    groups: StrArray | None,
    generator: np.random.Generator,
    draws: int = DRAWS,
) -> Estimate:
    """The value with the floor and p-value from labels drawn by the confidences themselves, without interval.

    Rows of groups are not independent, so with groups there is no such draw and the value stands alone.

    Args:
        value: The measured value.
        confidence: (N,) in [0, 1].
        statistic: Value for other correctness (N,) of the same rows.
        groups: (N,) cluster of each row, or None.
        generator: Source of the draws.
        draws: Number of draws.

    Source: Broecker and Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting
    2007 (consistency resampling).

    Example:
        >>> half = np.full(100, 0.5)
        >>> found = with_null(
        ...     0.3, half, lambda y: abs(float(y.mean()) - 0.5), groups=None,
        ...     generator=np.random.default_rng(0))
        >>> 0.02 < found.floor < 0.06, found.p_value < 0.01
        (True, True)
    """
    n = len(confidence)
    if groups is not None:
        return Estimate(value, n=n)
    null = np.array([statistic(generator.random(n) < confidence) for _ in range(draws)])
    return judged(value, null, n=n)
