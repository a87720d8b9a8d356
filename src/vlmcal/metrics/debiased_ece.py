"""Debiased squared l2 calibration error of the top k probabilities, its interval and a test."""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.kit.pairs import PairedResiduals, pair_sum
from vlmcal.metrics.kit.proportions import critical_value, widest_gap
from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, as_array, as_strings
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.scores import ClassProbabilities

_REFERENCE = "Sun et al., arXiv 2408.08998"


class SquaredEce(NamedTuple):
    """Debiased squared l2-ECE.

    Attributes:
        value: The debiased estimate T; its expectation is 0 for a calibrated model, so it may be negative.
        variance: sigma_1^2, n times the variance of T for a miscalibrated model.
        low: Lower end of the interval for the squared ECE.
        high: Upper end of the interval for the squared ECE.
        p_value: p-value of the test of perfect calibration.
    """

    value: float
    variance: float
    low: float
    high: float
    p_value: float


def top_k(probabilities: Any, labels: Any, k: int) -> tuple[FloatArray, FloatArray]:
    """The k largest probabilities of each row, falling, and which of them is the label, (N, k) each.

    Example:
        >>> z, y = top_k([[0.2, 0.7, 0.1]], [0], 2)
        >>> z.tolist(), y.tolist()
        ([[0.7, 0.2]], [[0.0, 1.0]])
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    n, classes = source.shape
    if not 1 <= k <= classes:
        raise SpecError(f"k: expected 1 to {classes} (the number of classes), got {k}")
    values, hits = np.empty((n, k)), np.empty((n, k))
    for rows, chunk in source.chunks():
        order = np.argsort(-chunk, axis=1, kind="stable")[:, :k]
        values[rows] = np.take_along_axis(chunk, order, axis=1)
        hits[rows] = order == truth[rows, None]
    return values, hits


def squared_ece(
    values: Any,
    hits: Any,
    *,
    bins: int = 15,
    level: float = 0.95,
    close_last: bool = True,
    groups: Any = None,
) -> SquaredEce:
    """Debiased squared l2-ECE of k-dimensional forecasts with its adjusted interval and test.

    With residuals U = hits - values, cells b (a grid of ``bins`` per dimension) and n_b rows each,

        T = (1 / n) sum_b 1 / (n_b - 1) sum_{i != j in b} U_i . U_j.

    With groups only pairs of rows from different groups count, n_b - 1 becomes n_b - sum_g n_gb^2 / n_b, and
    variance and test treat the groups as the units. Without groups the p-value standardises T by its variance
    under perfect calibration with the cells held fixed, 2 / n^2 sum_b n_b / (n_b - 1) ||C_b||_F^2 where C_b
    is the mean covariance of the outcomes in the cell.

    Args:
        values: (N, k) or (N,) forecasts in [0, 1].
        hits: (N, k) or (N,) outcomes, 0 or 1.
        bins: Cells per dimension, [lo, hi).
        level: Confidence level.
        close_last: Put a forecast of exactly 1 into the last cell; False leaves it out of every cell but
            counts it in n, as the authors' program does.
        groups: (N,) cluster of each row, or None.

    Raises:
        DataError: Shapes differ, no rows, or forecasts outside [0, 1].

    Source: Sun, Chaudhari, Barnett and Dobriban, "A confidence interval for the l2 expected calibration
    error", arXiv 2408.08998; interval as in their program.

    Example:
        >>> result = squared_ece([0.9, 0.9, 0.9], [1, 0, 0], bins=10)
        >>> round(result.value, 6)
        0.21
    """
    z, y = _checked(values, hits)
    n = len(z)
    cell, inside = _cells(z, bins, close_last)
    u = (y - z)[inside]
    _, slot, count = np.unique(cell[inside], return_inverse=True, return_counts=True)
    if groups is not None:
        names = as_strings(groups, n, "groups")[inside]
        return _between_groups(u, slot, count, names, n, level)
    sums = _sum_by(slot, u)
    mean = sums / count[:, None]
    length = np.square(mean).sum(axis=1)
    several = count > 1
    pairs = np.square(sums).sum(axis=1) - np.bincount(slot, np.square(u).sum(axis=1))
    value = float((pairs[several] / (count[several] - 1)).sum() / n)
    along = np.bincount(slot, np.einsum("nk,nk->n", u, mean[slot]) ** 2)
    first = float((4 * along - 3 * count * length**2).sum() / n)
    variance = first - float(count @ length / n) ** 2
    low, high = _interval(value, variance, n, level)
    error = np.sqrt(_null_variance(z[inside], slot, count)) / n
    p = float(special.ndtr(-value / error)) if error > 0 else float(value <= 0)
    return SquaredEce(value, variance, low, high, p)


def _between_groups(
    u: FloatArray, slot: IntArray, count: IntArray, groups: StrArray, n: int, level: float
) -> SquaredEce:
    """The estimate from pairs of rows of different groups, with groups as units of variance and test."""
    from scipy.sparse import csr_array

    cells = len(count)
    ones = csr_array((np.ones(len(slot)), (np.arange(len(slot)), slot)), shape=(len(slot), cells))
    parts = [
        PairedResiduals.of(csr_array(ones.multiply(column[:, None])), count, groups)
        for column in u.T
    ]
    found = pair_sum([(part, 1.0) for part in parts], n)
    value = found.value
    # To first order nT moves by 2 H_g; where the linear part is small the second order rules.
    linear = max(found.error**2 - found.null_error**2, 0.0) * n
    z = critical_value(level, parts[0].units)
    spread = float(np.sqrt(linear / n))
    high = max(value, 0.0) + z * max(spread, found.null_error)
    low = max(0.0, value - z * found.error)
    return SquaredEce(value, linear, low, high, found.one_sided)


def _checked(values: Any, hits: Any) -> tuple[FloatArray, FloatArray]:
    z, y = as_array(values).astype(np.float64), as_array(hits).astype(np.float64)
    z, y = (a[:, None] if a.ndim == 1 else a for a in (z, y))
    if z.ndim != 2 or z.shape != y.shape or z.size == 0:
        raise DataError(
            f"expected forecasts and outcomes of one shape (N, k), N >= 1, got {np.shape(values)} and "
            f"{np.shape(hits)}"
        )
    if not ((z >= 0) & (z <= 1)).all():
        raise DataError("forecasts: NaN or values outside [0, 1]")
    return z, y


def _cells(z: FloatArray, bins: int, close_last: bool) -> tuple[IntArray, BoolArray]:
    edges = np.arange(bins + 1) / bins
    index = np.searchsorted(edges, z, side="right") - 1
    inside = np.asarray((index < bins).all(axis=1) | close_last)
    index = np.minimum(index, bins - 1).astype(np.int64)
    return np.asarray(index @ (bins ** np.arange(z.shape[1]))), inside


def _sum_by(slot: IntArray, rows: FloatArray) -> FloatArray:
    return np.stack([np.bincount(slot, column) for column in rows.T], axis=1)


def _null_variance(z: FloatArray, slot: IntArray, count: IntArray) -> float:
    """Variance of n T under calibration: top-k outcomes are multinomial with probabilities z."""
    k = z.shape[1]
    total = 0.0
    several = count > 1
    factor = 2 * count[several] / (count[several] - 1)
    for i in range(k):
        for j in range(k):
            entry = -z[:, i] * z[:, j] + (z[:, i] if i == j else 0.0)
            mean = np.bincount(slot, entry) / count
            total += float(factor @ mean[several] ** 2)
    return total


def _interval(value: float, variance: float, n: int, level: float) -> tuple[float, float]:
    spread = float(np.sqrt(max(variance, 0.0) / n))
    two_sided, one_sided = float(special.ndtri((1 + level) / 2)), float(special.ndtri(level))
    positive = max(value, 0.0)
    if positive >= 2 * two_sided * spread:
        low = positive - two_sided * spread
    elif positive >= 2 * one_sided * spread:
        low = positive / 2
    else:
        low = max(0.0, positive - one_sided * spread)
    return low, positive + two_sided * spread


def _infer(confidence: Any, correct: Any, *, bins: int = 15, asked: Asked) -> Estimate:
    level, groups, _ = asked
    values, verdicts = as_confidences(confidence, correct)
    found = squared_ece(values, verdicts, bins=bins, level=level, groups=groups)
    value, low = float(np.sqrt(max(found.value, 0.0))), found.low
    if found.p_value >= (1 - level) / 2:
        low = 0.0
    elif low == 0:
        # The test sees what the interval, made for larger errors, does not.
        low = found.value / 4
    high = max(float(np.sqrt(found.high)), widest_gap(values, verdicts, level, groups))
    return Estimate(
        value,
        float(np.sqrt(low)),
        min(high, 1.0),
        n=len(values),
        method="debiased, adjusted normal",
        floor=0.0,
        p_value=found.p_value,
    )


@metric(
    calibration=True,
    definition="Root of the debiased squared l2 calibration error over {bins} equal-width bins [lo, hi), 1 "
    "in the last, at least 0; bins of one row add nothing.",
    reference=_REFERENCE,
    interval="adjusted normal interval of the squared error, whose lower end is 0 unless the test rejects; "
    "pairs between groups where rows are grouped",
    infer=_infer,
)
def debiased_ece(confidence: Any, correct: Any, *, bins: int = 15) -> float:
    """Root of the debiased squared l2-ECE of the top label, sqrt(max(T, 0)); see :func:`squared_ece`.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of equal-width bins.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Sun et al., arXiv 2408.08998; Kumar, Liang and Ma, NeurIPS 2019, arXiv 1909.10155.

    Example:
        >>> round(debiased_ece([0.9, 0.9, 0.9], [True, False, False], bins=10), 6)
        0.458258
    """
    values, verdicts = as_confidences(confidence, correct)
    return float(np.sqrt(max(0.0, squared_ece(values, verdicts, bins=bins).value)))


@metric(
    higher_is_better=False,
    bounds=(0.0, 2.0),
    definition="Root of the debiased squared l2 calibration error of the {k} largest probabilities jointly, "
    "over {bins} cells per dimension.",
    reference=_REFERENCE,
)
def topk_debiased_ece(probabilities: Any, labels: Any, *, k: int = 2, bins: int = 5) -> float:
    """Root of the debiased squared l2-ECE of the k largest probabilities jointly.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        k: How many of the largest probabilities.
        bins: Cells per dimension.

    Source: Sun et al., arXiv 2408.08998.

    Example:
        >>> p = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]
        >>> round(topk_debiased_ece(p, [1, 1, 0], k=2), 6)
        0.360555
    """
    values, hits = top_k(probabilities, labels, k)
    return float(np.sqrt(max(0.0, squared_ece(values, hits, bins=bins).value)))
