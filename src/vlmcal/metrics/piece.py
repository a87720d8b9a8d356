"""PIECE: calibration error seen separately for images with near and with far neighbours."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.base import Linearised, metric
from vlmcal.metrics.expected_calibration_error import INTERVAL, linearise_absolute_sum
from vlmcal.metrics.kit.absolute_sums import absolute_sum_interval, debiased_sum
from vlmcal.metrics.kit.binning import Edges, equal_mass_index, resolution_of, uniform_index
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, as_array
from vlmcal.types.estimate import Estimate

_REFERENCE = "Xiong et al., NeurIPS 2023, arXiv 2306.04590"
_CELLS = (
    "{proximity_bins} equal-mass bins of the mean distance to the 10 nearest images (unit-length features) "
    "x {bins} equal-width confidence bins, {edge_rule}"
)


def _cells(
    confidence: Any,
    correct: Any,
    proximity: Any,
    bins: int,
    proximity_bins: int,
    edges: Edges,
    resolution: float,
) -> tuple[FloatArray, BoolArray, IntArray, int]:
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    distance = as_array(proximity).astype(np.float64)
    if distance.shape != values.shape or not np.isfinite(distance).all():
        raise DataError(
            f"proximity: expected {len(values)} finite numbers, one per row, got shape {distance.shape}"
        )
    near = ranked_index(distance, proximity_bins)
    index = near * bins + uniform_index(values, bins, edges, resolution)
    return values, verdicts, index, bins * proximity_bins


def ranked_index(distance: FloatArray, bins: int) -> IntArray:
    """Equal-mass bin of each value of any range; equal values stay together.

    Example:
        >>> ranked_index(np.array([5.0, 2.0, 2.0, 9.0]), 2).tolist()
        [1, 0, 0, 1]
    """
    distinct, index = np.unique(distance, return_inverse=True)
    # Ranks of distinct values, spread over [0, 1] so that the tie rule of confidences applies.
    return equal_mass_index(index / max(len(distinct), 1), bins, resolution=1e-12)


def _infer(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 15,
    proximity_bins: int = 10,
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    values, verdicts, index, size = _cells(
        confidence, correct, proximity, bins, proximity_bins, edges, resolution
    )
    cells = CellResiduals.of(values, verdicts, index, size, groups)
    null = null_residuals(cells, values, index, generator, grouped=groups is not None)
    totals = np.abs(null).sum(axis=1)
    low, high = absolute_sum_interval(cells, float(np.quantile(totals, (1 + level) / 2)), level)
    value = float(np.abs(cells.mean).sum())
    return Estimate(
        value,
        min(low, value),
        max(high, value),
        n=len(values),
        method="moment selection",
        floor=float(totals.mean()),
    )


def _linearise(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 15,
    proximity_bins: int = 10,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> Linearised:
    return linearise_absolute_sum(
        *_cells(confidence, correct, proximity, bins, proximity_bins, edges, resolution)
    )


@metric(
    name="piece",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition=f"Share-weighted |mean confidence - accuracy| over {_CELLS}. Mostly noise at usual test-set "
    "sizes: read it beside its floor.",
    reference=_REFERENCE,
    interval=INTERVAL,
    infer=_infer,
    linearise=_linearise,
)
def piece(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 15,
    proximity_bins: int = 10,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """Proximity-informed ECE sum_h sum_b (n_hb / N) |mean confidence_hb - accuracy_hb|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        proximity: (N,) neighbour distance or any monotone function of it (see ``knn_distance``);
            Predictions with ``image_features`` compute it.
        bins: Equal-width confidence bins.
        proximity_bins: Equal-mass proximity bins.
        edges: "right" or "left".
        resolution: Rounding unit of the confidences before they became float64.

    Raises:
        DataError: Proximity of another length or not finite.

    Source: Xiong et al., "Proximity-informed calibration for deep neural networks", NeurIPS 2023,
    arXiv 2306.04590.

    Example:
        >>> round(piece([0.9, 0.9], [True, False], [0.1, 0.2], proximity_bins=2), 6)
        0.5
    """
    values, verdicts, index, size = _cells(
        confidence, correct, proximity, bins, proximity_bins, edges, resolution
    )
    residual = np.bincount(index, values - verdicts, minlength=size)
    return float(np.abs(residual).sum() / len(values))


def piece_null_band(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 15,
    proximity_bins: int = 10,
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Where the PIECE of a perfectly calibrated model with these confidences lies at ``level``.

    Example:
        >>> rows = np.random.default_rng(0).random((2, 300))
        >>> low, high = piece_null_band(rows[0], rows[0] > 0.5, rows[1])
        >>> 0.1 < low < high < 0.3
        True
    """
    values, verdicts, index, size = _cells(
        confidence, correct, proximity, bins, proximity_bins, edges, resolution
    )
    cells = CellResiduals.of(values, verdicts, index, size)
    null = null_residuals(cells, values, index, numpy_generator(seed, "piece", "null"))
    low, high = np.quantile(np.abs(null).sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@metric(
    name="piece_debiased",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition=f"PIECE minus its estimated upward bias, at least 0; {_CELLS}.",
    reference=_REFERENCE,
)
def piece_debiased(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    bins: int = 15,
    proximity_bins: int = 10,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """PIECE less the bias of its absolute values, for comparing models at one test-set size.

    It is the sum of absolute gaps whose expected PIECE is the PIECE found, when all cells are equally many
    standard errors from 0. Standard errors are at least those of a calibrated model, because a cell of one
    row has none of its own.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        proximity: (N,) neighbour distance or any monotone function of it.
        bins: Equal-width confidence bins.
        proximity_bins: Equal-mass proximity bins.
        edges: "right" or "left".
        resolution: Rounding unit of the confidences before they became float64.

    Example:
        >>> piece_debiased([0.5, 0.5], [True, False], [0.1, 0.2], proximity_bins=2) < 0.5
        True
    """
    values, verdicts, index, size = _cells(
        confidence, correct, proximity, bins, proximity_bins, edges, resolution
    )
    return debiased_sum(CellResiduals.of(values, verdicts, index, size).with_null_errors())
