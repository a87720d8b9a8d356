"""Expected calibration error (ECE) of the top label, on equal-width or equal-mass bins."""

from typing import Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.kit.absolute_sums import absolute_sum_interval
from vlmcal.metrics.kit.bin_sums import BinSums
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric
from vlmcal.metrics.kit.cell_residuals import judged
from vlmcal.metrics.kit.proportions import widest_gap
from vlmcal.types.estimate import Asked, Estimate

Norm = Literal["l1", "l2", "max"]
INTERVAL = (
    "moment selection for the lower end, least favourable test inversion for the upper end, which is at "
    "least |mean confidence - accuracy| at the ends of the accuracy's Wilson interval"
)


def norm_of(sums: BinSums, norm: Norm = "l1") -> float:
    """Binned calibration error from bin sums: "l1" (ECE), "l2" (root mean square) or "max" (MCE)."""
    filled = sums.count > 0
    gap = np.abs(sums.gaps[filled])
    count = sums.count[filled]
    if norm == "l1":
        return float(gap.sum() / sums.n)
    if norm == "l2":
        return float(np.sqrt((gap**2 / count).sum() / sums.n))
    if norm == "max":
        return float((gap / count).max())
    raise SpecError(f'norm: expected "l1", "l2" or "max", got {norm!r}')


def infer_absolute_sum(
    rows: BinnedRows, value: float, *, asked: Asked, norm: Norm = "l1"
) -> Estimate:
    """A sum of absolute mean residuals with its interval, floor and test; other norms have none."""
    level, groups, generator = asked
    if norm != "l1":
        return Estimate(value, n=rows.n)
    cells = rows.residuals(groups)
    totals = np.abs(rows.null(cells, generator)).sum(axis=1)
    low, high = absolute_sum_interval(cells, float(np.quantile(totals, (1 + level) / 2)), level)
    high = max(high, value, widest_gap(rows.confidence, rows.correct, level, groups))
    method = "moment selection"
    return judged(value, totals, min(low, value), min(high, 1.0), n=rows.n, method=method)


@binned_metric(
    calibration=True,
    definition="Sum over {bins} {width} bins of the share of rows times |mean confidence - accuracy|; "
    "bins {edge_rule}, decided in float64 after snapping to an edge within 1e-6 (coarser for float16).",
    reference="Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017, arXiv 1706.04599",
    interval=INTERVAL,
    infer=infer_absolute_sum,
    counts=True,
    comparable=True,
)
def ece(rows: BinnedRows, *, norm: Norm = "l1") -> float:
    """Expected calibration error sum_b (n_b / N) |mean confidence_b - accuracy_b|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of bins.
        strategy: "uniform" (equal width) or "quantile" (equal mass, ties kept together).
        norm: "l1"; "l2" for the root of the weighted squared gaps; "max" for the largest gap.
        edges: "right" for (lo, hi] with 0 in the first bin, "left" for [lo, hi) with 1 in the last.
        resolution: Rounding unit of the numbers before they became float64, where it is coarser than
            their dtype says.

    Returns:
        A fraction between 0 and 1. It is biased upwards: a calibrated model of this size does not show 0
        (see ``Estimate.floor``).

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].
        SpecError: Unknown strategy, norm or edge rule, or no bins.

    Source: Naeini et al., AAAI 2015; Guo et al., "On calibration of modern neural networks", ICML 2017,
    arXiv 1706.04599.

    Example:
        >>> round(ece([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=10), 6)
        0.1
    """
    return norm_of(rows.sums, norm)
