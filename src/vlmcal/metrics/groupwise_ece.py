"""ECE within kinds of rows (question types, sites, classes), so that errors cannot cancel between them."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.expected_calibration_error import INTERVAL, infer_absolute_sum, norm_of
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric, check_choice, top_label
from vlmcal.types.arrays import as_array
from vlmcal.types.binning import Binning
from vlmcal.types.estimate import Asked, Estimate

Reduce = Literal["mean", "max", "spread"]


def _by_kind(
    confidence: Any, correct: Any, kinds: Any, *, binning: Binning, resolution: float = 0.0
) -> BinnedRows:
    rows = top_label(confidence, correct, binning=binning, resolution=resolution)
    names = as_array(kinds)
    if names.shape != (rows.n,):
        raise DataError(f"kinds: expected shape ({rows.n},), got {names.shape}")
    distinct, index = np.unique(names, return_inverse=True)
    kind = index.astype(np.int64)
    return BinnedRows(rows.confidence, rows.correct, binning, rows.resolution, kind, len(distinct))


def _infer(rows: BinnedRows, value: float, *, reduce: Reduce = "mean", asked: Asked) -> Estimate:
    norm: Literal["l1", "max"] = "l1" if reduce == "mean" else "max"
    return infer_absolute_sum(rows, value, norm=norm, asked=asked)


@binned_metric(
    _by_kind,
    calibration=True,
    definition="ECE within each kind of row ({bins} {width} bins, {edge_rule}); {reduce} over kinds, "
    "where the mean weights each kind by its share of rows.",
    reference="Hebert-Johnson et al., ICML 2018, arXiv 1711.08513 (multicalibration)",
    interval=f"{INTERVAL} (mean only)",
    infer=_infer,
    comparable=True,
)
def groupwise_ece(rows: BinnedRows, *, reduce: Reduce = "mean") -> float:
    """ECE of each kind of row, reduced over kinds; never below the ECE of all rows together for "mean".

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        kinds: (N,) name of the kind of each row.
        bins, strategy, edges, resolution: As in :func:`vlmcal.metrics.ece`.
        reduce: "mean" (weighted by rows), "max", or "spread" (largest minus smallest).

    Raises:
        DataError: Kinds of another length.
        SpecError: Unknown reduction.

    Example:
        >>> groupwise_ece([0.5, 0.5], [True, False], ["open", "yes/no"])
        0.5
    """
    check_choice("reduce", reduce, ("mean", "max", "spread"))
    if reduce == "mean":
        return norm_of(rows.sums)
    shape = (rows.strata, rows.binning.bins)
    gaps = np.abs(rows.sums.gaps).reshape(shape).sum(axis=1)
    errors = gaps / rows.sums.count.reshape(shape).sum(axis=1)
    return float(errors.max() - (errors.min() if reduce == "spread" else 0.0))
