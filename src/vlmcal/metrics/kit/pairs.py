"""Sums over pairs of units: debiased squared calibration errors, and the difference of two models'.

The debiased squared error of a model is a sum over pairs of units (rows or groups) g != g',

    T = (1 / n) sum_{g != g'} sum_c w_c S_gc S_g'c,    S_gc = sum of the unit's residuals in cell c,

with w_c = 1 / (n_c - sum_g n_gc^2 / n_c), whose expectation is 0 for a calibrated model, whatever its
sharpness. The difference D of two models' T is such a sum, too, with the cells of both models side by side.
Its variance has a part of first order (0 when both are calibrated) and one of second order, both estimated
from H_g = sum_{g'} h_gg': Var(D) is about 4 sum_g (H_g - mean)^2 - 2 sum_{g != g'} h_gg'^2, and at least
2 sum h_gg'^2. (A plain bootstrap of pairs counts the second order three times.)

Source: Kumar, Liang and Ma, NeurIPS 2019, arXiv 1909.10155 (debiasing); Sun et al., arXiv 2408.08998.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from vlmcal.metrics.kit.bootstrap import unit_index
from vlmcal.metrics.kit.proportions import critical_value, effective_groups, survival
from vlmcal.types.arrays import FloatArray, IntArray, StrArray

# Units among which the second order is looked for; it is scaled up from these when there are more.
_UNITS = 4000


@dataclass(frozen=True, eq=False)
class PairedResiduals:
    """Residual sums of each unit by cell, and the weight of the pairs of each cell.

    Attributes:
        sums: (G, C) sparse residual sums of each unit by cell.
        weight: (C,) 1 / (n_c - sum_g n_gc^2 / n_c), which is 1 / (n_c - 1) for single rows; 0 without pairs.
        units: Effective number of groups; None where rows are the units.
    """

    sums: Any
    weight: FloatArray
    units: float | None

    @classmethod
    def of(cls, residuals: Any, count: IntArray, groups: StrArray | None) -> Self:
        """From residuals (N, C) sparse, rows per cell (C,), and the cluster of each row or None."""
        from scipy.sparse import csr_array

        size = np.asarray(count, dtype=np.float64)
        index, units = unit_index(residuals.shape[0], groups)
        sums, own = residuals.tocsr(), size
        if index is not None:
            rows = np.arange(len(index))
            member = csr_array((np.ones(len(index)), (index, rows)), shape=(units, len(index)))
            ones = sums.copy()
            ones.data = np.ones_like(ones.data)
            sums = (member @ sums).tocsr()
            own = np.asarray((member @ ones).power(2).sum(axis=0)).ravel()
        free = size - np.divide(own, size, out=np.zeros_like(size), where=size > 0)
        weight = np.divide(1.0, free, out=np.zeros_like(free), where=free > 1e-9)
        return cls(sums, weight, None if groups is None else effective_groups(groups))


@dataclass(frozen=True)
class PairSum:
    """A sum over pairs of units with its standard error.

    Attributes:
        value: The sum, divided by n.
        error: Its standard error.
        null_error: The part of second order alone, which is left when every model is calibrated.
        units: Effective number of groups, None for independent rows.
    """

    value: float
    error: float
    null_error: float
    units: float | None

    @property
    def p_value(self) -> float:
        """Two-sided p-value of an expectation of 0."""
        return min(1.0, 2 * self._below(-abs(self.value), self.error))

    @property
    def one_sided(self) -> float:
        """p-value of "the model is calibrated" against an expectation above 0."""
        return self._below(-self.value, self.null_error)

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of the expectation, which holds 0 exactly when the two-sided test does not reject."""
        reach = critical_value(level, self.units) * self.error
        return self.value - reach, self.value + reach

    def _below(self, gap: float, error: float) -> float:
        if error <= 1e-12:
            return 1.0 if gap >= -1e-12 else 0.0
        return survival(-gap / error, self.units)


def pair_sum(parts: Sequence[tuple[PairedResiduals, float]], n: int) -> PairSum:
    """Signed sum of the parts' debiased squared errors, on the same n rows.

    Args:
        parts: Residuals with the sign (1 or -1) they enter with, all by the same units.
        n: Number of rows.

    Example:
        >>> from scipy.sparse import csr_array
        >>> residuals = csr_array(np.array([[0.1], [-0.9], [0.1], [0.1]]))
        >>> one = PairedResiduals.of(residuals, np.array([4]), None)
        >>> round(pair_sum([(one, 1.0)], 4).value, 4), pair_sum([(one, 1.0), (one, -1.0)], 4).p_value
        (-0.04, 1.0)
    """
    sides = [(part.sums, sign * part.weight) for part, sign in parts]
    count, units = sides[0][0].shape[0], parts[0][0].units
    total = np.zeros(count)
    for sums, weight in sides:
        whole = np.asarray(sums.sum(axis=0)).ravel()
        total += sums @ (weight * whole) - sums.power(2) @ weight
    second = 2 * _second_order(sides, count)
    spread = total - total.mean()
    variance = max(4 * float(spread @ spread) - second, second)
    errors = np.sqrt([max(variance, 0.0), max(second, 0.0)]) / n
    return PairSum(float(total.sum()) / n, float(errors[0]), float(errors[1]), units)


def _second_order(sides: list[tuple[Any, FloatArray]], count: int) -> float:
    """Sum over pairs of units of the squared contribution h_gg'."""
    chosen = np.arange(0, count, max(1, count // _UNITS))
    picked = [(sums[chosen], weight) for sums, weight in sides]
    block = max(1, (1 << 22) // len(chosen))
    total = 0.0
    for start in range(0, len(chosen), block):
        pairs = np.zeros((min(block, len(chosen) - start), len(chosen)))
        for sums, weight in picked:
            scaled = sums[start : start + block].multiply(weight).tocsr()
            pairs += (scaled @ sums.T).toarray()
        pairs[np.arange(len(pairs)), np.arange(start, start + len(pairs))] = 0.0
        total += float(np.square(pairs).sum())
    return total * (count * (count - 1)) / max(len(chosen) * (len(chosen) - 1), 1)
