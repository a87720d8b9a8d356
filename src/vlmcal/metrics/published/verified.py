"""Plug-in and debiased calibration errors by the rules of the uncertainty-calibration package."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.published.binning import gaps_of, right_closed_index
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.scores import ClassProbabilities

Mode = Literal["top-label", "marginal"]
Estimator = Literal["l1_plugin", "l2_plugin", "l2_debiased", "ece"]


def midpoint_edges(values: FloatArray, bins: int) -> FloatArray:
    """Upper edges of equal-count bins, halfway between neighbouring rows; ties give fewer bins.

    Example:
        >>> midpoint_edges(np.array([0.2, 0.4, 0.5, 0.9]), 2).tolist()
        [0.45, 1.0]
    """
    ordered = np.sort(values)
    cuts = [len(values) * part // bins for part in range(1, bins)]
    inner = [(ordered[cut - 1] + ordered[cut]) / 2 for cut in cuts if 0 < cut < len(values)]
    return np.unique([*inner, 1.0])


def _error(values: FloatArray, outcome: BoolArray, bins: int, estimator: Estimator) -> float:
    if estimator == "ece":
        index = right_closed_index(values, np.linspace(0, 1, bins + 1))
        return float(gaps_of(values, outcome, np.maximum(index, 0)).weighted.sum())
    edges = midpoint_edges(values, bins)
    index = np.searchsorted(edges, values, side="left").astype(np.int64)
    index = np.minimum(index, len(edges) - 1)
    gaps = gaps_of(values, outcome, index)
    if estimator == "l1_plugin":
        return float(gaps.weighted.sum())
    squares = gaps.gap**2
    if estimator == "l2_debiased":
        count = np.bincount(index)
        kept = count > 0
        share = np.bincount(index, outcome)[kept] / count[kept]
        noise = np.divide(
            share * (1 - share),
            count[kept] - 1,
            out=squares.copy(),
            where=count[kept] > 1,
        )
        squares = squares - noise
    return float(np.sqrt(max(0.0, float(gaps.share @ squares))))


def verified_calibration_error(
    probabilities: Any,
    labels: Any,
    *,
    mode: Mode = "top-label",
    estimator: Estimator = "l2_debiased",
    bins: int = 15,
) -> float:
    """Calibration error on equal-count bins with midpoint edges, plug-in or debiased.

    The debiased estimate subtracts a_b (1 - a_b) / (n_b - 1) from each squared gap; a bin of one row adds
    nothing. "marginal" averages over the classes (root mean square for the l2 forms).

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        mode: "top-label" or "marginal".
        estimator: "l1_plugin", "l2_plugin", "l2_debiased", or "ece" (equal-width bins).
        bins: Number of bins.

    Source: Kumar, Liang and Ma, "Verified uncertainty calibration", NeurIPS 2019, arXiv 1909.10155.

    Example:
        >>> p = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.3, 0.7]]
        >>> round(verified_calibration_error(p, [0, 0, 1, 1], estimator="l1_plugin", bins=2), 6)
        0.15
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    if mode == "top-label":
        summary = source.summary
        return _error(summary.confidence, summary.predicted == truth, bins, estimator)
    if mode != "marginal":
        raise SpecError(f'mode: expected "top-label" or "marginal", got {mode!r}')
    dense = source.dense()
    errors = np.array(
        [_error(dense[:, k], truth == k, bins, estimator) for k in range(source.shape[1])]
    )
    if estimator.startswith("l2"):
        return float(np.sqrt(np.mean(errors**2)))
    return float(errors.mean())
