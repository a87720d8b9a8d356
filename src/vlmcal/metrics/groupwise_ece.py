"""ECE within kinds of rows (question types, sites, classes), so that errors cannot cancel between them."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.base import metric
from vlmcal.metrics.expected_calibration_error import INTERVAL, ece
from vlmcal.metrics.kit.absolute_sums import absolute_sum_interval
from vlmcal.metrics.kit.binning import Edges, bin_index, resolution_of
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, as_array
from vlmcal.types.estimate import Estimate

Reduce = Literal["mean", "max", "spread"]


def _kind_index(kinds: Any, n: int) -> tuple[IntArray, int]:
    names = as_array(kinds)
    if names.shape != (n,):
        raise DataError(f"kinds: expected shape ({n},), got {names.shape}")
    _, index = np.unique(names, return_inverse=True)
    return index.astype(np.int64), int(index.max()) + 1


def _cells(
    confidence: Any, correct: Any, kinds: Any, bins: int, edges: Edges, resolution: float
) -> tuple[FloatArray, BoolArray, IntArray, int]:
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    kind, count = _kind_index(kinds, len(values))
    index = kind * bins + bin_index(values, bins, "uniform", edges, resolution)
    return values, verdicts, index, count * bins


def _infer(
    confidence: Any,
    correct: Any,
    kinds: Any,
    *,
    bins: int = 15,
    reduce: Reduce = "mean",
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    value = groupwise_ece(
        confidence,
        correct,
        kinds,
        bins=bins,
        reduce=reduce,
        edges=edges,
        resolution=resolution,
    )
    n = len(np.asarray(confidence))
    if reduce != "mean":
        return Estimate(value, n=n)
    values, verdicts, index, size = _cells(confidence, correct, kinds, bins, edges, resolution)
    cells = CellResiduals.of(values, verdicts, index, size, groups)
    null = null_residuals(cells, values, index, generator, grouped=groups is not None)
    totals = np.abs(null).sum(axis=1)
    low, high = absolute_sum_interval(cells, float(np.quantile(totals, (1 + level) / 2)), level)
    return Estimate(
        value,
        min(low, value),
        max(high, value),
        n=n,
        method="moment selection",
        floor=float(totals.mean()),
    )


@metric(
    name="groupwise_ece",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="ECE within each kind of row ({bins} equal-width bins, {edge_rule}); {reduce} over kinds, "
    "where the mean weights each kind by its share of rows.",
    reference="Hebert-Johnson et al., ICML 2018, arXiv 1711.08513 (multicalibration)",
    interval=f"{INTERVAL} (mean only)",
    infer=_infer,
)
def groupwise_ece(
    confidence: Any,
    correct: Any,
    kinds: Any,
    *,
    bins: int = 15,
    reduce: Reduce = "mean",
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """ECE of each kind of row, reduced over kinds; never below the ECE of all rows together for "mean".

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        kinds: (N,) name of the kind of each row.
        bins: Number of equal-width bins.
        reduce: "mean" (weighted by rows), "max", or "spread" (largest minus smallest).
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        DataError: Kinds of another length.
        SpecError: Unknown reduction.

    Example:
        >>> groupwise_ece([0.5, 0.5], [True, False], ["open", "yes/no"])
        0.5
    """
    values, verdicts, index, size = _cells(confidence, correct, kinds, bins, edges, resolution)
    if reduce == "mean":
        residual = np.bincount(index, values - verdicts, minlength=size)
        return float(np.abs(residual).sum() / len(values))
    if reduce not in ("max", "spread"):
        raise SpecError(f'reduce: expected "mean", "max" or "spread", got {reduce!r}')
    resolution = resolution_of(confidence, resolution)
    errors = [
        ece(values[rows], verdicts[rows], bins=bins, edges=edges, resolution=resolution)
        for rows in (index // bins == kind for kind in range(size // bins))
    ]
    return max(errors) - (min(errors) if reduce == "spread" else 0.0)
