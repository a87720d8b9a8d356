"""Residuals (confidence - correct) per cell, their uncertainty, and their law for a calibrated model.

Every binned calibration error is a function of the mean residuals of its cells. Absolute values make it
biased upwards, so an interval must know how uncertain each cell is; this module collects that.
"""

from dataclasses import dataclass, replace

import numpy as np

from vlmcal.metrics.kit.proportions import effective_groups, leverage
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.estimate import Estimate

DRAWS = 400
# Rows x draws up to which outcomes are drawn row by row; beyond it cell sums are drawn as Gaussians.
_EXACT_DRAWS = 4_000_000


@dataclass(frozen=True, eq=False)
class CellResiduals:
    """Mean residual of each cell and its standard errors, (C,) each.

    Attributes:
        mean: (1 / N) sum over the cell's rows of (confidence - correct).
        error: Standard error of ``mean``; between groups where rows are grouped.
        null_error: Standard error if the model were calibrated: sqrt(sum p (1 - p)) / N, times the design
            effect of the groups.
        count: Rows in the cell.
        inflation: Variance of the signed total over the sum of the cells' variances (1 when cells are
            independent; larger when groups span several cells).
        groups: Effective number of groups that the errors are between; None where rows are independent.
        folding: (C,) mean absolute deviation of a calibrated cell over that of a Gaussian with the same
            variance; below 1 for cells that expect less than a few hits.
    """

    mean: FloatArray
    error: FloatArray
    null_error: FloatArray
    count: IntArray
    inflation: float = 1.0
    folding: FloatArray | float = 1.0
    groups: float | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.count.sum())

    @classmethod
    def of(
        cls,
        confidence: FloatArray,
        correct: BoolArray,
        index: IntArray,
        cells: int,
        groups: StrArray | None = None,
    ) -> "CellResiduals":
        """Residuals of rows that each belong to one cell."""
        n = len(confidence)
        residual = confidence - correct
        count = np.bincount(index, minlength=cells)
        mean = np.bincount(index, residual, minlength=cells) / n
        null = np.bincount(index, confidence * (1 - confidence), minlength=cells)
        if groups is None:
            square = np.bincount(index, residual**2, minlength=cells)
            spread = np.maximum(square / n - mean**2, 0) / max(n - 1, 1)
            error = steadied(spread, null / n**2, count)
            return cls(mean, error, np.sqrt(null) / n, count)
        variance, total = _clustered(residual, index, mean, groups)
        plain = np.bincount(index, residual**2, minlength=cells) / n**2
        effect = max(1.0, float(variance.sum() / max(plain.sum(), 1e-300)))
        inflation = max(1.0, total / max(float(variance.sum()), 1e-300))
        error = steadied(variance, null * effect / n**2, count)
        units = effective_groups(groups, residual)
        return cls(mean, error, np.sqrt(null * effect) / n, count, inflation, groups=units)

    def with_null_errors(self) -> "CellResiduals":
        """The same means with the standard errors of a calibrated model, for cells of very few rows."""
        return replace(self, error=np.maximum(self.error, self.null_error))


def steadied(variance: FloatArray, null: FloatArray, count: IntArray) -> FloatArray:
    """Standard error from an estimated variance and two rows' worth of the calibrated one.

    A cell in which every row happens to be right has no spread to estimate an error from.

    Example:
        >>> float(steadied(np.array([0.0]), np.array([0.04]), np.array([2]))[0] ** 2)
        0.02
    """
    return np.asarray(np.sqrt((count * variance + 2 * null) / (count + 2)))


def _clustered(
    residual: FloatArray, index: IntArray, mean: FloatArray, groups: StrArray
) -> tuple[FloatArray, float]:
    """Between-group variance of each cell mean, and of the sum signed like the cell means."""
    n, cells = len(residual), len(mean)
    _, group = np.unique(groups, return_inverse=True)
    size = np.bincount(group).astype(np.float64)
    clusters, weight = len(size), leverage(size) ** 2
    pair, slot = np.unique(group * cells + index, return_inverse=True)
    sums = np.bincount(slot, residual)
    cell, owner = pair % cells, pair // cells
    square = np.bincount(cell, weight[owner] * sums**2, minlength=cells)
    cross = np.bincount(cell, (weight * size)[owner] * sums, minlength=cells)
    variance = np.maximum(square - 2 * mean * cross + mean**2 * (weight @ size**2), 0) / n**2
    signed = np.bincount(group, residual * np.sign(mean)[index], minlength=clusters)
    total = float(weight @ (signed - size * np.abs(mean).sum()) ** 2) / n**2
    return variance, total


def null_residuals(
    cells: CellResiduals,
    confidence: FloatArray,
    index: IntArray,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> FloatArray:
    """Cell means (draws, C) of a perfectly calibrated model with the same confidences.

    Outcomes are drawn from the confidences themselves (consistency resampling, Broecker and Smith, Weather
    and Forecasting 2007). Many or grouped rows are drawn as Gaussian cell sums with the same variance.
    """
    n, size = len(confidence), len(cells.mean)
    if cells.groups is not None or n * draws > _EXACT_DRAWS:
        normal = generator.standard_normal((draws, size)) * cells.null_error
        return normal if cells.groups is None else widened(normal, cells.groups, generator)
    expected = np.bincount(index, confidence, minlength=size)
    result = np.empty((draws, size))
    for draw in range(draws):
        hits = index[generator.random(n) < confidence]
        result[draw] = expected - np.bincount(hits, minlength=size)
    result /= n
    return result


def widened(normal: FloatArray, groups: float, generator: np.random.Generator) -> FloatArray:
    """Normal draws (draws, C) with the tails of Student's t: few groups estimate their spread badly."""
    df = max(groups - 1, 1)
    return np.asarray(normal / np.sqrt(generator.chisquare(df, (len(normal), 1)) / df))


def judged(
    value: float,
    null: FloatArray,
    low: float | None = None,
    high: float | None = None,
    *,
    n: int,
    method: str = "",
) -> Estimate:
    """A value beside what a calibrated model of this size shows (draws,): floor and p-value of the test.

    Example:
        >>> found = judged(0.25, np.array([0.1, 0.2, 0.3]), n=40)
        >>> round(found.floor, 6), found.p_value
        (0.2, 0.5)
    """
    p_value = null_p_value(null, value)
    return Estimate(value, low, high, n=n, method=method, floor=float(null.mean()), p_value=p_value)


def null_p_value(draws: FloatArray, value: float) -> float:
    """Share of a calibrated model's values that are at least ``value``, which counts as one of them.

    Example:
        >>> null_p_value(np.array([0.1, 0.2, 0.3]), 0.25)
        0.5
    """
    return (1 + int(np.sum(draws >= value - 1e-12))) / (len(draws) + 1)
