"""Is one model's squared calibration error larger than another's on the same rows? A paired test.

The debiased squared error of a model is a sum over pairs of units (rows or groups) g != g',

    T = (1 / n) sum_{g != g'} sum_c w_c S_gc S_g'c,    S_gc = sum of the unit's residuals in cell c,

with w_c = 1 / (n_c - sum_g n_gc^2 / n_c), whose expectation is 0 for a calibrated model, whatever its
sharpness. The difference D of two models' T is such a sum, too, with the cells of both models side by side.
Its variance has a part of first order (0 when both are calibrated) and one of second order, both estimated
from H_g = sum_{g'} h_gg': Var(D) is about 4 sum_g (H_g - mean)^2 - 2 sum_{g != g'} h_gg'^2, and at least
2 sum h_gg'^2. (A plain bootstrap of pairs counts the second order three times.)

Source: Kumar, Liang and Ma, NeurIPS 2019, arXiv 1909.10155 (debiasing); Sun et al., arXiv 2408.08998.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, stdtr

from vlmcal.metrics.base import Linearised
from vlmcal.metrics.kit.bootstrap import unit_index
from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.types.arrays import FloatArray, StrArray

# Units among which the second order is looked for; it is scaled up from these when there are more.
_UNITS = 4000


class SquaredDifference(NamedTuple):
    """Difference of two debiased squared calibration errors.

    Attributes:
        value: D, the first model's minus the second's.
        error: Its standard error.
        p_value: Two-sided p-value of "no difference in calibration".
        groups: Number of groups, None for independent rows.
    """

    value: float
    error: float
    p_value: float
    groups: int | None

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of the difference, which holds 0 exactly when the test does not reject."""
        reach = critical_value(level, self.groups) * self.error
        return self.value - reach, self.value + reach


def squared_difference(
    first: Linearised, second: Linearised, groups: StrArray | None
) -> SquaredDifference:
    """Test of "the two models have the same squared calibration error" on the same rows.

    Args:
        first: Residuals of one model by its cells.
        second: Those of the other, on the same rows.
        groups: (N,) cluster of each row, or None.
    """
    n = first.residuals.shape[0]
    units, count = unit_index(n, groups)
    sides = [
        (_by_unit(model.residuals, units, count), sign * _weights(model, units, count))
        for model, sign in ((first, 1.0), (second, -1.0))
    ]
    total = np.zeros(count)
    for sums, weight in sides:
        whole = np.asarray(sums.sum(axis=0)).ravel()
        total += sums @ (weight * whole) - sums.power(2) @ weight
    second_order = _second_order(sides, count)
    value = float(total.sum()) / n
    spread = total - total.mean()
    variance = max(4 * float(spread @ spread) - 2 * second_order, 2 * second_order)
    error = float(np.sqrt(max(variance, 0.0))) / n
    clusters = None if groups is None else count
    if error <= 1e-12:
        return SquaredDifference(value, 0.0, 1.0 if abs(value) < 1e-12 else 0.0, clusters)
    ratio = -abs(value) / error
    below = ndtr(ratio) if clusters is None else stdtr(max(clusters - 1, 1), ratio)
    return SquaredDifference(value, error, float(2 * below), clusters)


def _by_unit(residuals: Any, units: Any, count: int) -> Any:
    """Residual sums (G, C) of each unit by cell, sparse."""
    if units is None:
        return residuals
    from scipy.sparse import csr_array

    member = csr_array(
        (np.ones(len(units)), (units, np.arange(len(units)))), shape=(count, len(units))
    )
    return (member @ residuals).tocsr()


def _weights(model: Linearised, units: Any, count: int) -> FloatArray:
    """1 / (n_c - sum_g n_gc^2 / n_c), which is 1 / (n_c - 1) for single rows; 0 where nothing is paired."""
    size = np.asarray(model.count, dtype=np.float64)
    if units is None:
        own = size
    else:
        ones = model.residuals.copy()
        ones.data = np.ones_like(ones.data)
        own = np.asarray(_by_unit(ones, units, count).power(2).sum(axis=0)).ravel()
    free = size - np.divide(own, size, out=np.zeros_like(size), where=size > 0)
    return np.divide(1.0, free, out=np.zeros_like(free), where=free > 1e-9)


def _second_order(sides: list[tuple[Any, FloatArray]], count: int) -> float:
    """Sum over pairs of units of the squared contribution h_gg'."""
    step = max(1, count // _UNITS)
    chosen = np.arange(0, count, step)
    total = 0.0
    block = max(1, (1 << 22) // len(chosen))
    picked = [(sums[chosen], weight) for sums, weight in sides]
    for start in range(0, len(chosen), block):
        pairs = np.zeros((min(block, len(chosen) - start), len(chosen)))
        for sums, weight in picked:
            scaled = sums[start : start + block].multiply(weight).tocsr()
            pairs += (scaled @ sums.T).toarray()
        pairs[np.arange(len(pairs)), np.arange(start, start + len(pairs))] = 0.0
        total += float(np.square(pairs).sum())
    return total * (count * (count - 1)) / max(len(chosen) * (len(chosen) - 1), 1)
