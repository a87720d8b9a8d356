"""Class-wise (static) ECE: the binned calibration error of every class probability, averaged."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.expected_calibration_error import INTERVAL
from vlmcal.metrics.kit.class_bins import class_bins
from vlmcal.metrics.kit.classwise_inference import (
    FEWEST_GROUPS,
    infer_classwise,
    linearise_classwise,
)
from vlmcal.types.binning import Edges


@metric(
    calibration=True,
    definition="Mean over all K classes of the ECE of p_k against 1[label = k] over {bins} equal-width "
    "bins, {edge_rule}; every row counts for every class.",
    reference="Kull et al., NeurIPS 2019, arXiv 1910.12656; Nixon et al., CVPR workshops 2019, "
    "arXiv 1904.01685",
    interval=f"{INTERVAL}; from {FEWEST_GROUPS} groups on",
    infer=infer_classwise,
    linearise=linearise_classwise,
)
def classwise_ece(
    probabilities: Any, labels: Any, *, bins: int = 15, edges: Edges = "right"
) -> float:
    """Class-wise ECE (1 / K) sum_k sum_b (n_kb / N) |mean p_kb - frequency_kb|.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1; classes without rows count as well.
        bins: Number of equal-width bins per class.
        edges: "right" or "left".

    Raises:
        DataError: Rows that are not distributions, or labels out of range.

    Source: Kull et al., "Beyond temperature scaling", NeurIPS 2019, arXiv 1910.12656.

    Example:
        >>> round(classwise_ece([[0.8, 0.2], [0.3, 0.7]], [0, 0], bins=2), 6)
        0.45
    """
    sums = class_bins(probabilities, labels, bins=bins, edges=edges)
    return float(np.abs(sums.gaps).sum() / sums.n / len(sums.gaps))


@metric(
    calibration=True,
    definition="Class-wise ECE over the entries with p_k above {threshold}: for each class the gaps of its "
    "{bins} equal-width bins ({edge_rule}) weighted by the share of its remaining entries, mean over the "
    "classes that have any.",
    reference="Nixon et al., CVPR workshops 2019, arXiv 1904.01685",
)
def thresholded_classwise_ece(
    probabilities: Any,
    labels: Any,
    *,
    threshold: float = 0.01,
    bins: int = 15,
    edges: Edges = "right",
) -> float:
    """Class-wise ECE that leaves out probabilities at or below ``threshold``.

    With many classes nearly all entries are close to 0 and trivially calibrated; leaving them out shows the
    rest.

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        threshold: Entries at or below it are left out.
        bins: Number of equal-width bins per class.
        edges: "right" or "left".

    Returns:
        A fraction; NaN when no entry is above the threshold.

    Source: Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019, arXiv 1904.01685.

    Example:
        >>> p = [[0.99, 0.01, 0.0], [0.3, 0.7, 0.0]]
        >>> round(thresholded_classwise_ece(p, [0, 1], threshold=0.02, bins=2), 6)
        0.2275
    """
    sums = class_bins(probabilities, labels, bins=bins, edges=edges, threshold=threshold)
    entries = sums.count.sum(axis=1)
    present = entries > 0
    if not present.any():
        return float("nan")
    return float((np.abs(sums.gaps).sum(axis=1)[present] / entries[present]).mean())
