"""Binned calibration errors by the rules of other code bases, for comparison with their numbers.

CLIPCalib (ECCV 2024 study of CLIP calibration), netcal, torchmetrics, MDCA. The metrics without a prefix are
the ones to use.
"""

from typing import Any, NamedTuple

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.metrics.published.binning import (
    Gaps,
    gaps_of,
    left_closed_index,
    right_closed_index,
    torch_edges,
)
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.scores import ClassProbabilities

_CLIPCALIB = "CLIPCalib utils.py, ECCV 2024, arXiv 2407.13588"


class BinnedErrors(NamedTuple):
    """The usual summaries of one set of bins.

    Attributes:
        ece: Share-weighted mean gap.
        mce: Largest gap.
        average: Unweighted mean gap of the non-empty bins.
        l2: Root of the share-weighted squared gaps.
    """

    ece: float
    mce: float
    average: float
    l2: float


def _summary(gaps: Gaps) -> BinnedErrors:
    return BinnedErrors(
        float(gaps.weighted.sum()),
        float(gaps.gap.max(initial=0.0)),
        float(gaps.gap.mean()) if gaps.gap.size else 0.0,
        float(np.sqrt(gaps.share @ gaps.gap**2)),
    )


def clipcalib_errors(confidence: Any, correct: Any, *, bins: int = 10) -> BinnedErrors:
    """Errors over bins ceil(B c - 1), that is (lo, hi] in float64 without snapping; 0 in the first bin.

    (The original stops with an error at a confidence of exactly 0.)

    Example:
        >>> round(clipcalib_errors([0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0]).ece, 6)
        0.1
    """
    values, verdicts = as_confidences(confidence, correct)
    index = np.maximum(np.ceil(bins * values - 1), 0).astype(np.int64)
    return _summary(gaps_of(values, verdicts, index))


def netcal_errors(confidence: Any, correct: Any, *, bins: int = 10) -> BinnedErrors:
    """Errors over bins [lo, hi) with the last one closed, of confidences clipped inside (0, 1), as netcal.

    Example:
        >>> round(netcal_errors([0.95, 0.95, 0.65, 0.65], [1, 1, 1, 0]).average, 6)
        0.1
    """
    values, verdicts = as_confidences(confidence, correct)
    tiny = float(np.finfo(np.float64).eps)
    values = np.clip(values, tiny, 1 - tiny)
    index = np.searchsorted(np.linspace(0, 1, bins + 1), values, side="right") - 1
    return _summary(gaps_of(values, verdicts, index.astype(np.int64)))


def netcal_multiclass_errors(probabilities: Any, labels: Any, *, bins: int = 10) -> BinnedErrors:
    """Netcal's errors of class probabilities: top label, but the probability of class 1 when K = 2.

    Example:
        >>> round(netcal_multiclass_errors([[0.8, 0.2], [0.7, 0.3]], [0, 0], bins=2).ece, 6)
        0.25
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    if source.shape[1] == 2:
        return netcal_errors(source.dense()[:, 1], truth == 1, bins=bins)
    summary = source.summary
    return netcal_errors(summary.confidence, summary.predicted == truth, bins=bins)


def torchmetrics_errors(confidence: Any, correct: Any, *, bins: int = 15) -> BinnedErrors:
    """Errors over bins [lo, hi) and one bin more for confidences of exactly 1, as torchmetrics.

    Example:
        >>> round(torchmetrics_errors([0.95, 1.0], [1, 0], bins=10).ece, 6)
        0.525
    """
    values, verdicts = as_confidences(confidence, correct)
    index = np.searchsorted(torch_edges(bins), values, side="right") - 1
    return _summary(gaps_of(values, verdicts, index.astype(np.int64)))


def clipcalib_adaptive_ece(confidence: Any, correct: Any, *, bins: int = 15) -> float:
    """ECE over edges interpolated between the sorted confidences, (lo, hi]: the smallest is in no bin.

    Example:
        >>> round(clipcalib_adaptive_ece([0.5, 0.6, 0.8, 0.9], [1, 0, 1, 1], bins=2), 6)
        0.125
    """
    values, verdicts = as_confidences(confidence, correct)
    n = len(values)
    edges = np.interp(np.linspace(0, n, bins + 1), np.arange(n), np.sort(values))
    index = np.searchsorted(edges, values, side="left").astype(np.int64) - 1
    return float(gaps_of(values, verdicts, index).weighted.sum())


def edge_ece(confidence: FloatArray, correct: BoolArray, edges: FloatArray) -> float:
    """ECE over the bins (lo, hi] between ``edges``, 0 in no bin."""
    index = right_closed_index(confidence, edges)
    return float(gaps_of(confidence, correct, index).weighted.sum())


@metric(
    higher_is_better=False,
    definition="Static calibration error of MDCA: mean over all K classes of the ECE of p_k over {bins} "
    "bins (lo, hi], probabilities of exactly 0 in no bin.",
    reference="MDCA, CVPR 2022, arXiv 2203.13834 (SCELoss)",
)
def mdca_classwise_ece(probabilities: Any, labels: Any, *, bins: int = 15) -> float:
    """Class-wise ECE over all K classes with float64 linspace edges and no snapping.

    Example:
        >>> round(mdca_classwise_ece([[0.8, 0.2], [0.3, 0.7]], [0, 0], bins=2), 6)
        0.45
    """
    source = ClassProbabilities.of(probabilities)
    edges = np.linspace(0, 1, bins + 1)
    return _mean_over_classes(source, source.labels(labels), source.shape[1], edges)


@metric(
    higher_is_better=False,
    definition="Class-wise ECE of CLIPCalib: as MDCA's, but over the classes 0 .. largest label only, "
    "{bins} bins (lo, hi].",
    reference=_CLIPCALIB,
)
def clipcalib_classwise_ece(probabilities: Any, labels: Any, *, bins: int = 15) -> float:
    """Class-wise ECE that infers the number of classes from the largest label.

    Example:
        >>> round(clipcalib_classwise_ece([[0.6, 0.4], [0.7, 0.3]], [0, 0], bins=2), 6)
        0.35
    """
    source = ClassProbabilities.of(probabilities)
    truth = source.labels(labels)
    return _mean_over_classes(source, truth, int(truth.max()) + 1, torch_edges(bins))


def _mean_over_classes(
    source: ClassProbabilities, truth: IntArray, classes: int, edges: FloatArray
) -> float:
    dense = source.dense()
    errors = [edge_ece(dense[:, k], truth == k, edges) for k in range(classes)]
    return float(np.mean(errors))


@metric(
    higher_is_better=False,
    definition="ECE of CLIPCalib: {bins} bins (lo, hi] by ceil(B c - 1) in float64, no snapping.",
    reference=_CLIPCALIB,
)
def clipcalib_ece(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """ECE of CLIPCalib.

    Example:
        >>> round(clipcalib_ece([0.9, 0.9, 0.6, 0.6], [1, 1, 1, 0]), 6)
        0.1
    """
    return clipcalib_errors(confidence, correct, bins=bins).ece


@metric(
    higher_is_better=False,
    definition="ECE of netcal: {bins} bins [lo, hi), the last one closed, no snapping.",
    reference="Kueppers et al., CVPR workshops 2020 (netcal)",
)
def netcal_ece(confidence: Any, correct: Any, *, bins: int = 10) -> float:
    """ECE of netcal.

    Example:
        >>> round(netcal_ece([0.95, 0.95, 0.65, 0.65], [1, 1, 1, 0]), 6)
        0.1
    """
    return netcal_errors(confidence, correct, bins=bins).ece


@metric(
    higher_is_better=False,
    definition="ECE of torchmetrics: {bins} bins [lo, hi) and an extra bin for confidences of exactly 1.",
    reference="torchmetrics 1.9, calibration_error",
)
def torchmetrics_ece(confidence: Any, correct: Any, *, bins: int = 15) -> float:
    """ECE of torchmetrics (computed in float64).

    Example:
        >>> round(torchmetrics_ece([0.95, 1.0], [1, 0], bins=10), 6)
        0.525
    """
    return torchmetrics_errors(confidence, correct, bins=bins).ece


def left_closed_errors(confidence: Any, correct: Any, *, bins: int = 15) -> BinnedErrors:
    """Errors over bins [lo, hi) with the last one closed, float64 edges, no snapping.

    Example:
        >>> round(left_closed_errors([0.95, 1.0], [1, 0], bins=10).ece, 6)
        0.475
    """
    values, verdicts = as_confidences(confidence, correct)
    return _summary(gaps_of(values, verdicts, left_closed_index(values, bins)))
