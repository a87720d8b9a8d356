"""Adaptive calibration error (ACE): ECE on bins that hold equally many rows."""

from typing import Any

import numpy as np

from vlmcal.metrics.base import Linearised, metric
from vlmcal.metrics.expected_calibration_error import (
    INTERVAL,
    ece,
    infer_absolute_sum,
    linearise_absolute_sum,
)
from vlmcal.metrics.kit.binning import equal_mass_index, resolution_of
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import StrArray
from vlmcal.types.estimate import Estimate


def _infer(
    confidence: Any,
    correct: Any,
    *,
    bins: int = 15,
    resolution: float = 0.0,
    level: float,
    groups: StrArray | None,
    generator: np.random.Generator,
) -> Estimate:
    return infer_absolute_sum(
        confidence,
        correct,
        bins=bins,
        strategy="quantile",
        edges="right",
        resolution=resolution,
        level=level,
        groups=groups,
        generator=generator,
    )


def _linearise(
    confidence: Any, correct: Any, *, bins: int = 15, resolution: float = 0.0
) -> Linearised:
    resolution = resolution_of(confidence, resolution)
    values, verdicts = as_confidences(confidence, correct)
    index = equal_mass_index(values, bins, resolution)
    return linearise_absolute_sum(values, verdicts, index, bins)


@metric(
    name="ace",
    consumes="confidences",
    higher_is_better=False,
    bounds=(0.0, 1.0),
    definition="ECE over {bins} equal-mass bins: rows are ranked by confidence, equal confidences share "
    "their mean rank and so stay in one bin.",
    reference="Nguyen and O'Connor, EMNLP 2015; Nixon et al., CVPR workshops 2019, arXiv 1904.01685",
    interval=INTERVAL,
    infer=_infer,
    linearise=_linearise,
)
def ace(confidence: Any, correct: Any, *, bins: int = 15, resolution: float = 0.0) -> float:
    """ECE on equal-mass bins, sum_b (n_b / N) |mean confidence_b - accuracy_b|.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool.
        bins: Number of bins; with fewer rows (or fewer distinct confidences) some stay empty.
        resolution: Rounding unit of the numbers before they became float64; confidences closer than
            half of it (at least 1e-6) count as equal.

    Raises:
        DataError: No rows, NaN, or confidences outside [0, 1].

    Source: Nguyen and O'Connor, EMNLP 2015; Nixon et al., CVPR workshops 2019, arXiv 1904.01685 (whose
    class-wise form is ``classwise_ece(..., strategy="quantile")``).

    Example:
        >>> round(ace([0.5, 0.6, 0.8, 0.9], [True, False, True, True], bins=2), 6)
        0.1
    """
    return ece(confidence, correct, bins=bins, strategy="quantile", resolution=resolution)
