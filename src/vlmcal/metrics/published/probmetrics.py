"""Calibration metrics by the rules of the probmetrics package, to reproduce its numbers."""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.metrics.published.libraries import torchmetrics_errors
from vlmcal.metrics.published.smooth_ece import published_smooth_ece
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.scores import ClassProbabilities

_CLAMP = 1e-7


class ProbmetricsErrors(NamedTuple):
    """ECE, root mean squared and maximum calibration error with 15 bins, and smooth ECE."""

    ece: float
    rmsce: float
    mce: float
    smooth_ece: float


def _pair(source: ClassProbabilities, labels: Any) -> tuple[FloatArray, BoolArray]:
    truth = source.labels(labels)
    dense = source.dense()
    if source.shape[1] == 2:
        return dense[:, 1], truth == 1
    return dense.max(axis=1), dense.argmax(axis=1) == truth


def _binned_pair(source: ClassProbabilities, labels: Any) -> tuple[FloatArray, BoolArray]:
    """Absent classes are removed, the rest clamped and renormalised, before anything is binned."""
    truth = source.labels(labels)
    dense = np.clip(source.dense(), _CLAMP, 1 - _CLAMP)
    if source.shape[1] == 2:
        dense = dense / dense.sum(axis=1, keepdims=True)
        return dense[:, 1], truth == 1
    present, truth = np.unique(truth, return_inverse=True)
    dense = dense[:, present]
    dense = dense / dense.sum(axis=1, keepdims=True)
    return dense.max(axis=1), dense.argmax(axis=1) == truth


def probmetrics_errors(probabilities: Any, labels: Any, *, bins: int = 15) -> ProbmetricsErrors:
    """Calibration errors as probmetrics computes them.

    Classes that no label names are removed and the rows renormalised, which can turn a model that is
    always wrong into a calibrated one; with two classes the probability of class 1 is judged instead of
    the top label.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        bins: Number of bins, as in torchmetrics.

    Source: probmetrics 1.3 (Holzmueller), Metrics ``ece-15``, ``rmsce-15``, ``mce-15``, ``smece``.

    Example:
        >>> round(probmetrics_errors([[0.95, 0.05], [0.35, 0.65]], [0, 1]).ece, 4)
        0.2
    """
    source = ClassProbabilities.of(probabilities)
    errors = torchmetrics_errors(*_binned_pair(source, labels), bins=bins)
    smooth = published_smooth_ece(*_pair(source, labels))
    return ProbmetricsErrors(errors.ece, errors.l2, errors.mce, smooth)
