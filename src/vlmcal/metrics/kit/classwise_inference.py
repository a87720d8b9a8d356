"""Interval and floor of the class-wise ECE, from bin sums and one more pass over the probabilities."""

from dataclasses import replace
from typing import Any

import numpy as np

from vlmcal.metrics.base import Linearised
from vlmcal.metrics.kit.absolute_sums import absolute_sum_interval, plausible_bias
from vlmcal.metrics.kit.cell_residuals import CellResiduals, steadied
from vlmcal.metrics.kit.class_bins import ClassBins, class_bins, entries_above, first_bin_limit
from vlmcal.metrics.kit.proportions import (
    critical_value,
    effective_groups,
    infer_proportion,
    mean_variance,
    survival,
)
from vlmcal.types import special
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.binning import Edges, uniform_index
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.scores import ClassProbabilities

# With fewer wrong rows the spread of the bins says nothing about the error rate.
FEW_ERRORS = 10
# With fewer groups (by their effective number) the interval covered .88 where .95 is meant.
FEWEST_GROUPS = 20
_GAUSSIAN = float(np.sqrt(2 / np.pi))


def binomial_deviation(n: FloatArray, p: FloatArray) -> FloatArray:
    """Mean absolute deviation of Binomial(n, p), 2 v C(n, v) p^v (1 - p)^(n - v + 1), v = floor(n p) + 1.

    Source: De Moivre 1730; Diaconis and Zabell, Statistical Science 1991.

    Example:
        >>> round(float(binomial_deviation(np.array(2.0), np.array(0.5))), 6)
        0.5
    """
    p = np.clip(p, 0.0, 1.0)
    v = np.minimum(np.floor(n * p) + 1, np.maximum(n, 1))
    log = (
        special.gammaln(n + 1) - special.gammaln(v + 1) - special.gammaln(np.maximum(n - v, 0) + 1)
    )
    log = log + special.xlogy(v, p) + special.xlog1py(n - v + 1, -p)
    return np.where((n > 0) & (p > 0) & (p < 1), 2 * v * np.exp(log), 0.0)


def class_residuals(sums: ClassBins) -> tuple[CellResiduals, float, float]:
    """Cells of all classes, with the mean and the spread of the value of a calibrated model."""
    n, (k, _) = sums.n, sums.count.shape
    mean = sums.gaps / n
    square = sums.squares - 2 * sums.hit_confidence + sums.hits
    variance = np.maximum(square / n - mean**2, 0) / max(n - 1, 1)
    null = np.maximum(sums.confidence - sums.squares, 0)
    size = sums.count.astype(np.float64)
    share = np.divide(sums.confidence, size, out=np.zeros_like(mean), where=size > 0)
    pooled = size * share * (1 - share)
    # The binomial at the mean probability is a little wider than the sum of unequal Bernoullis.
    narrower = np.sqrt(np.divide(null, pooled, out=np.zeros_like(null), where=pooled > 0))
    deviation = binomial_deviation(size, share) * np.minimum(narrower, 1.0)
    gaussian = _GAUSSIAN * np.sqrt(null)
    folding = np.divide(deviation, gaussian, out=np.ones_like(null), where=gaussian > 0)
    cells = CellResiduals(
        mean.ravel() / k,
        steadied(variance, null / n**2, sums.count).ravel() / k,
        np.sqrt(null).ravel() / (n * k),
        sums.count.ravel(),
        folding=np.minimum(folding, 1.0).ravel(),
    )
    # The cells of two classes mirror each other, so their sum varies as twice the one half does.
    mirrored = 2.0 if k == 2 else 1.0
    spread = float(np.sqrt(mirrored * np.maximum(null - deviation**2, 0).sum())) / (n * k)
    return cells, float(deviation.sum()) / (n * k), spread


def influence_rows(
    source: ClassProbabilities, labels: IntArray, sums: ClassBins, edges: Edges
) -> FloatArray:
    """Contribution of each row, (1 / K) sum_k sign_kb (p_k - 1[k = label]); their mean is the value."""
    n, k = source.shape
    bins = sums.count.shape[1]
    sign = np.sign(sums.gaps)
    limit = first_bin_limit(bins, edges, source.resolution)
    change = (sign - sign[:, :1]).ravel()
    rows = np.empty(n)
    for part, axis, block in source.blocks():
        places, of, values = entries_above(block, axis, limit)
        cells = of * bins
        cells += uniform_index(values, bins, edges, source.resolution)
        extra = np.bincount(places, values * change[cells], minlength=block.shape[1 - axis])
        rows[part] = (sign[:, 0] @ block if axis == 0 else block @ sign[:, 0]) + extra
    chosen = source.label_probability(labels)
    own = uniform_index(chosen, bins, edges, source.resolution)
    return (rows - sign[labels, own]) / k


def infer_classwise(
    probabilities: Any, labels: Any, *, bins: int = 15, edges: Edges = "right", asked: Asked
) -> Estimate:
    """Class-wise ECE with its interval and floor."""
    level, groups, _ = asked
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    sums = class_bins(source, truth, bins=bins, edges=edges)
    cells, floor, spread = class_residuals(sums)
    rows = influence_rows(source, truth, sums, edges)
    variance, effect = _variance(rows, groups)
    total = float((cells.error**2).sum())
    count = None if groups is None else effective_groups(groups, rows)
    z = critical_value(level, count)
    grown = float(np.sqrt(effect))
    cells = replace(
        cells,
        groups=count,
        error=cells.error * grown,
        inflation=max(1.0, variance / max(total * effect, 1e-300)),
    )
    floor, spread = floor * grown, spread * grown
    low, high = absolute_sum_interval(cells, floor + z * spread, level)
    value = float(np.abs(cells.mean).sum())
    if groups is not None:
        # One design effect for all cells overstates their bias, which must not pull the upper end down.
        high = max(high, value + z * max(float(np.sqrt(variance)), spread))
    above = survival((value - floor) / spread, count) if spread > 0 else float(value <= floor)
    shown = count is None or count >= FEWEST_GROUPS
    wrong = source.summary.predicted != truth
    most = min(max(high, value + _unseen(wrong, source.shape[1], level, groups)), 2.0)
    return Estimate(
        value,
        min(low, value) if shown else None,
        most if shown else None,
        n=sums.n,
        method="moment selection",
        floor=floor,
        # One wrong row among many sure ones rejected a calibrated model in 11 % of samples.
        p_value=float(above) if wrong.sum() > 1 else None,
    )


def _unseen(wrong: BoolArray, n_classes: int, level: float, groups: StrArray | None) -> float:
    """What errors that did not happen to occur may add where there were few.

    A share e of rows whose label changes moves the sum over classes by at most 2 e; where hardly any row is
    wrong the bins show no spread, but the error rate has a Wilson interval.
    """
    if int(wrong.sum()) >= FEW_ERRORS:
        return 0.0
    share = infer_proportion(wrong, level=level, groups=groups)
    return 2 * ((share.high or 0.0) - share.value) / n_classes


def _variance(rows: FloatArray, groups: StrArray | None) -> tuple[float, float]:
    """Variance of the mean of ``rows`` between units, and its ratio to that of single rows."""
    variance = mean_variance(rows, groups)
    return variance, max(1.0, variance / max(mean_variance(rows, None), 1e-300))


def linearise_classwise(
    probabilities: Any, labels: Any, *, bins: int = 15, edges: Edges = "right"
) -> Linearised:
    """First-order form of the class-wise ECE for paired comparisons."""
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    sums = class_bins(source, truth, bins=bins, edges=edges)
    cells, _, _ = class_residuals(sums)
    return Linearised(
        influence_rows(source, truth, sums, edges),
        plausible_bias(cells),
        _residuals(source, truth, bins, edges),
        sums.count.ravel(),
    )


def _residuals(source: ClassProbabilities, labels: IntArray, bins: int, edges: Edges) -> Any:
    """Sparse residuals (N, K * B) of each row by class and bin."""
    from scipy.sparse import csr_array, vstack

    k = source.shape[1]
    parts = []
    for rows, chunk in source.chunks():
        cells = np.arange(k) * bins + uniform_index(chunk, bins, edges, source.resolution)
        residual = chunk.copy()
        residual[np.arange(len(chunk)), labels[rows]] -= 1.0
        ends = np.arange(0, chunk.size + 1, k)
        parts.append(
            csr_array((residual.ravel(), cells.ravel(), ends), shape=(len(chunk), k * bins))
        )
    return vstack(parts, format="csr")
