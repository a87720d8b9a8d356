"""Adaptive calibration error (ACE): ECE on bins that hold equally many rows."""

from vlmcal.metrics.expected_calibration_error import INTERVAL, infer_absolute_sum, norm_of
from vlmcal.metrics.kit.binned import BinnedRows, binned_metric
from vlmcal.types.binning import Binning


@binned_metric(
    calibration=True,
    definition="ECE over {bins} equal-mass bins: rows are ranked by confidence, equal confidences share "
    "their mean rank and so stay in one bin.",
    reference="Nguyen and O'Connor, EMNLP 2015; Nixon et al., CVPR workshops 2019, arXiv 1904.01685",
    interval=INTERVAL,
    infer=infer_absolute_sum,
    comparable=True,
    fixed=Binning(strategy="quantile"),
)
def ace(rows: BinnedRows) -> float:
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
    return norm_of(rows.sums)
