"""Expected calibration error (ECE) of the top label, on equal-width or equal-mass bins."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Linearised, metric
from vlmcal.metrics.kit.absolute_sums import absolute_sum_interval, plausible_bias
from vlmcal.metrics.kit.bin_sums import BinSums, sums_by_index, uniform_sums
from vlmcal.metrics.kit.binning import Edges, Strategy, bin_index, resolution_of
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.estimate import Estimate

Norm = Literal["l1", "l2", "max"]
INTERVAL = "moment selection for the lower end, least favourable test inversion for the upper end"
_REFERENCE = "Naeini, Cooper and Hauskrecht, AAAI 2015; Guo et al., ICML 2017, arXiv 1706.04599"


def norm_of(sums: BinSums, norm: Norm) -> float:
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
    confidence: Any,
    correct: Any,
    *,
    bins: int,
    strategy: Strategy,
    edges: Edges,
    resolution: float,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    """ECE over the bins of one strategy with its interval and floor."""
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    cells = CellResiduals.of(values, verdicts, index, bins, groups)
    null = null_residuals(cells, values, index, generator, grouped=groups is not None)
    totals = np.abs(null).sum(axis=1)
    low, high = absolute_sum_interval(cells, float(np.quantile(totals, (1 + level) / 2)), level)
    value = norm_of(sums_by_index(values, verdicts, index, bins), "l1")
    return Estimate(
        value,
        min(low, value),
        min(max(high, value), 1.0),
        n=len(values),
        method="moment selection",
        floor=float(totals.mean()),
    )


def _infer(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    norm: Norm = "l1",
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    if norm != "l1":
        value = ece(
            confidence,
            correct,
            bins=bins,
            strategy=strategy,
            norm=norm,
            edges=edges,
            resolution=resolution,
        )
        return Estimate(value, n=len(np.asarray(confidence)))
    return infer_absolute_sum(
        confidence,
        correct,
        bins=bins,
        strategy=strategy,
        edges=edges,
        resolution=resolution,
        level=level,
        groups=groups,
        generator=generator,
    )


def linearise_absolute_sum(
    values: FloatArray, verdicts: BoolArray, index: IntArray, cells: int
) -> Linearised:
    """First-order form of sum_c |mean residual of cell c| for paired comparisons."""
    residuals = CellResiduals.of(values, verdicts, index, cells)
    rows = (values - verdicts) * np.sign(residuals.mean)[index]
    return Linearised(rows, plausible_bias(residuals))


def _linearise(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    norm: Norm = "l1",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> Linearised:
    if norm != "l1":
        raise SpecError(f'comparing models needs norm "l1", got "{norm}"')
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    return linearise_absolute_sum(values, verdicts, index, bins)


@metric(
    name="ece",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="Sum over {bins} equal-width bins of the share of rows times |mean confidence - accuracy|; "
    "bins {edge_rule}, decided in float64 after snapping to an edge within 1e-6 (coarser for float16).",
    reference=_REFERENCE,
    interval=INTERVAL,
    infer=_infer,
    linearise=_linearise,
)
def ece(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    strategy: Strategy = "uniform",
    norm: Norm = "l1",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
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
    if strategy == "uniform":
        return norm_of(uniform_sums(confidence, correct, bins, edges, resolution), norm)
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = bin_index(values, bins, strategy, edges, resolution)
    return norm_of(sums_by_index(values, verdicts, index, bins), norm)
