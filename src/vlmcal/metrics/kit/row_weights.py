"""Weights of rows: what they must be, and how many equal rows they are worth."""

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import FloatArray, Numbers, as_array


def as_weights(values: Numbers, n: int) -> FloatArray:
    """Weights (N,) of rows, at least 0, as float64.

    Raises:
        DataError: Another number of them, NaN, infinite or negative ones, or all zero.

    Example:
        >>> as_weights([2, 0, 1], 3).tolist()
        [2.0, 0.0, 1.0]
    """
    weights = as_array(values)
    if weights.shape != (n,):
        raise DataError(f"weights: expected shape ({n},), one per row, got {weights.shape}")
    if weights.dtype.kind not in "iufb":
        raise DataError(f"weights: expected numbers, got {weights.dtype}")
    weights = weights.astype(np.float64)
    for what, wrong in (("NaN or infinite", ~np.isfinite(weights)), ("negative", weights < 0)):
        if wrong.any():
            raise DataError(
                f"weights: {int(wrong.sum())} of {n} are {what}, first in row {int(wrong.argmax())}; a row "
                "that is not to count has weight 0"
            )
    if not weights.any():
        raise DataError("weights: all are 0, so no row counts")
    return weights


def effective_size(weights: FloatArray) -> float:
    """Number of equal rows whose mean varies as much: (sum w)^2 / sum w^2.

    Source: Kish, Survey Sampling, 1965.

    Example:
        >>> effective_size(np.array([1.0, 1.0, 2.0, 0.0])).__round__(3)
        2.667
    """
    return float(weights.sum() ** 2 / (weights @ weights))
