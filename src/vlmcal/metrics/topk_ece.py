"""ECE of the k most probable classes taken together."""

from typing import Any

import numpy as np

from vlmcal.metrics.debiased_ece import top_k
from vlmcal.metrics.expected_calibration_error import INTERVAL, infer_absolute_sum, norm_of
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric, top_label
from vlmcal.types.binning import Binning


def _mass(
    probabilities: Any, labels: Any, *, binning: Binning, resolution: float = 0.0, k: int = 3
) -> BinnedRows:
    values, hits = top_k(probabilities, labels, k)
    mass = np.minimum(values.sum(axis=1), 1.0)
    return top_label(mass, hits.sum(axis=1) > 0, binning=binning, resolution=resolution)


@binned_metric(
    _mass,
    calibration=True,
    definition="ECE of the summed probability of the {k} most probable classes against whether the label is "
    "among them; {bins} {width} bins, {edge_rule}.",
    reference="Gupta et al., ICLR 2021, arXiv 2006.12800 (within-top-k calibration)",
    interval=INTERVAL,
    infer=infer_absolute_sum,
    comparable=True,
)
def topk_ece(rows: BinnedRows) -> float:
    """ECE of "the label is among the k most probable classes".

    Args:
        probabilities: (N, K) rows that sum to 1.
        labels: (N,) integers in 0 .. K - 1.
        bins, strategy, edges, resolution: As in :func:`vlmcal.metrics.ece`.
        k: How many classes; 1 gives the usual ECE.

    Raises:
        SpecError: k is not between 1 and K.

    Source: Gupta et al., "Calibration of neural networks using splines", ICLR 2021, arXiv 2006.12800.

    Example:
        >>> round(topk_ece([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [0, 1], k=2), 6)
        0.2
    """
    return norm_of(rows.sums)
