"""ECE of the k most probable classes taken together."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import metric
from vlmcal.metrics.debiased_ece import top_k
from vlmcal.metrics.expected_calibration_error import INTERVAL, ece, infer_absolute_sum
from vlmcal.metrics.kit.binning import Edges
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.estimate import Estimate


def _mass(probabilities: Any, labels: Any, k: int) -> tuple[FloatArray, BoolArray]:
    values, hits = top_k(probabilities, labels, k)
    return np.minimum(values.sum(axis=1), 1.0), hits.sum(axis=1) > 0


def _infer(
    probabilities: Any,
    labels: Any,
    *,
    k: int = 3,
    bins: int = 15,
    edges: Edges = "right",
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    return infer_absolute_sum(
        *_mass(probabilities, labels, k),
        bins=bins,
        strategy="uniform",
        edges=edges,
        resolution=resolution,
        level=level,
        groups=groups,
        generator=generator,
    )


@metric(
    name="topk_ece",
    consumes="probabilities",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="ECE of the summed probability of the {k} most probable classes against whether the label is "
    "among them; {bins} equal-width bins, {edge_rule}.",
    reference="Gupta et al., ICLR 2021, arXiv 2006.12800 (within-top-k calibration)",
    interval=INTERVAL,
    infer=_infer,
)
def topk_ece(
    probabilities: Any,
    labels: Any,
    *,
    k: int = 3,
    bins: int = 15,
    edges: Edges = "right",
    resolution: float = 0.0,
) -> float:
    """ECE of "the label is among the k most probable classes".

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        k: How many classes; 1 gives the usual ECE.
        bins: Number of equal-width bins.
        edges: "right" or "left".
        resolution: Rounding unit of the numbers before they became float64.

    Raises:
        SpecError: k is not between 1 and K.

    Source: Gupta et al., "Calibration of neural networks using splines", ICLR 2021, arXiv 2006.12800.

    Example:
        >>> round(topk_ece([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [0, 1], k=2), 6)
        0.2
    """
    return ece(*_mass(probabilities, labels, k), bins=bins, edges=edges, resolution=resolution)
