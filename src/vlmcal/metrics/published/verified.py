"""Plug-in and debiased calibration errors by the rules of the uncertainty-calibration package."""

from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.published.binning import gaps_of
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.scores import ClassProbabilities

Mode = Literal["top-label", "marginal"]
Estimator = Literal["l1_plugin", "l2_plugin", "l2_debiased", "ece"]


def midpoint_edges(values: FloatArray, bins: int) -> FloatArray:
    """Upper edges of equal-count bins, halfway between neighbouring rows; ties give fewer bins.

    The first n mod B bins hold one row more than the others; with n < B each row has a bin of its own.

    Example:
        >>> midpoint_edges(np.array([0.2, 0.4, 0.5, 0.9, 0.95]), 2).tolist()
        [0.7, 1.0]
    """
    ordered = np.sort(values)
    sizes = len(values) // bins + (np.arange(bins) < len(values) % bins)
    cuts = np.unique(np.cumsum(sizes)[:-1])
    cuts = cuts[(cuts > 0) & (cuts < len(values))]
    return np.unique([*((ordered[cuts - 1] + ordered[cuts]) / 2), 1.0])


def discrete(values: FloatArray) -> bool:
    """Whether a column has fewer distinct values than a quarter of its rows.

    Example:
        >>> discrete(np.array([0.5] * 5)), discrete(np.array([0.5] * 4))
        (True, False)
    """
    return bool(len(np.unique(values)) < len(values) / 4)


def _edges(values: FloatArray, bins: int, estimator: Estimator, by_value: bool) -> FloatArray:
    if estimator == "ece":
        return np.arange(1, bins + 1) / bins
    return (
        midpoint_edges(np.unique(values), len(values)) if by_value else midpoint_edges(values, bins)
    )


def _error(
    values: FloatArray, outcome: BoolArray, bins: int, estimator: Estimator, by_value: bool
) -> float:
    edges = _edges(values, bins, estimator, by_value)
    index = np.searchsorted(edges, values, side="left").astype(np.int64)
    index = np.minimum(index, len(edges) - 1)
    gaps = gaps_of(values, outcome, index)
    if estimator in ("l1_plugin", "ece"):
        return float(gaps.weighted.sum())
    squares = gaps.gap**2
    if estimator == "l2_debiased":
        count = np.bincount(index)
        kept = count > 0
        share = np.bincount(index, outcome)[kept] / count[kept]
        noise = np.divide(
            share * (1 - share), count[kept] - 1, out=squares.copy(), where=count[kept] > 1
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

    When every column of the probabilities has fewer distinct values than a quarter of the rows (saturated or
    rounded scores), each distinct value is a bin. The debiased estimate subtracts a_b (1 - a_b) / (n_b - 1)
    from each squared gap; a bin of one row adds nothing. "marginal" averages over the classes (root mean
    square for the l2 forms).

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
    if mode not in ("top-label", "marginal"):
        raise SpecError(f'mode: expected "top-label" or "marginal", got {mode!r}')
    dense = source.dense()
    by_value = all(discrete(column) for column in dense.T)
    if mode == "top-label":
        summary = source.summary
        hits = summary.predicted == truth
        return _error(summary.confidence, hits, bins, estimator, by_value)
    errors = np.array(
        [_error(column, truth == k, bins, estimator, by_value) for k, column in enumerate(dense.T)]
    )
    if estimator.startswith("l2"):
        return float(np.sqrt(np.mean(errors**2)))
    return float(errors.mean())
