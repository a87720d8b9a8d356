"""PIECE: calibration error seen separately for images with near and with far neighbours."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.expected_calibration_error import INTERVAL, infer_absolute_sum, norm_of
from vlmcal.metrics.kit.absolute_sums import debiased_sum
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric, top_label
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray, IntArray, as_array
from vlmcal.types.binning import Binning, Edges, equal_mass_index

_REFERENCE = "Xiong et al., NeurIPS 2023, arXiv 2306.04590"
_CELLS = (
    "{proximity_bins} equal-mass bins of the mean distance to the 10 nearest images (unit-length features) "
    "x {bins} {width} confidence bins, {edge_rule}"
)


def _by_proximity(
    confidence: Any,
    correct: Any,
    proximity: Any,
    *,
    binning: Binning,
    proximity_bins: int = 10,
    resolution: float = 0.0,
) -> BinnedRows:
    rows = top_label(confidence, correct, binning=binning, resolution=resolution)
    distance = as_array(proximity).astype(np.float64)
    if distance.shape != (rows.n,) or not np.isfinite(distance).all():
        raise DataError(
            f"proximity: expected {rows.n} finite numbers, one per row, got shape {distance.shape}"
        )
    near = ranked_index(distance, proximity_bins)
    return BinnedRows(rows.confidence, rows.correct, binning, rows.resolution, near, proximity_bins)


def ranked_index(distance: FloatArray, bins: int) -> IntArray:
    """Equal-mass bin of each value of any range; equal values stay together.

    Example:
        >>> ranked_index(np.array([5.0, 2.0, 2.0, 9.0]), 2).tolist()
        [1, 0, 0, 1]
    """
    distinct, index = np.unique(distance, return_inverse=True)
    # Ranks of distinct values, spread over [0, 1] so that the tie rule of confidences applies.
    return equal_mass_index(index / max(len(distinct), 1), bins, resolution=1e-12)


@binned_metric(
    _by_proximity,
    calibration=True,
    definition=f"Share-weighted |mean confidence - accuracy| over {_CELLS}. Mostly noise at usual test-set "
    "sizes: read it beside its floor.",
    reference=_REFERENCE,
    interval=INTERVAL,
    infer=infer_absolute_sum,
    comparable=True,
)
def piece(rows: BinnedRows) -> float:
    """Proximity-informed ECE sum_h sum_b (n_hb / N) |mean confidence_hb - accuracy_hb|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        proximity: (N,) neighbour distance or any monotone function of it (see ``knn_distance``);
            Predictions with ``image_features`` compute it.
        bins, strategy, edges, resolution: Confidence bins, as in :func:`vlmcal.metrics.ece`.
        proximity_bins: Equal-mass proximity bins.

    Raises:
        DataError: Proximity of another length or not finite.

    Source: Xiong et al., "Proximity-informed calibration for deep neural networks", NeurIPS 2023,
    arXiv 2306.04590.

    Example:
        >>> round(piece([0.9, 0.9], [True, False], [0.1, 0.2], proximity_bins=2), 6)
        0.5
    """
    return norm_of(rows.sums)


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
    rows = _by_proximity(
        confidence,
        correct,
        proximity,
        binning=Binning(bins, edges=edges),
        proximity_bins=proximity_bins,
        resolution=resolution,
    )
    null = rows.null(rows.residuals(), numpy_generator(seed, "piece", "null"))
    low, high = np.quantile(np.abs(null).sum(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@binned_metric(
    _by_proximity,
    higher_is_better=False,
    definition=f"PIECE minus its estimated upward bias, at least 0; {_CELLS}.",
    reference=_REFERENCE,
)
def piece_debiased(rows: BinnedRows) -> float:
    """PIECE less the bias of its absolute values, for comparing models at one test-set size.

    It is the sum of absolute gaps whose expected PIECE is the PIECE found, when all cells are equally many
    standard errors from 0. Standard errors are at least those of a calibrated model, because a cell of one
    row has none of its own.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        proximity: (N,) neighbour distance or any monotone function of it.
        bins, strategy, edges, resolution: Confidence bins, as in :func:`vlmcal.metrics.ece`.
        proximity_bins: Equal-mass proximity bins.

    Example:
        >>> piece_debiased([0.5, 0.5], [True, False], [0.1, 0.2], proximity_bins=2) < 0.5
        True
    """
    return debiased_sum(rows.residuals().with_null_errors())
