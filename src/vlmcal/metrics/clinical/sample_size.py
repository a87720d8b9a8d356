"""How many rows give an interval of a stated width."""

import math

from vlmcal.errors import SpecError
from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.types.estimate import Estimate


def rows_for_width(estimate: Estimate, width: float) -> int | None:
    """Rows that an interval of this width would need: n (w / width)^2, since widths shrink as 1 / sqrt(n).

    Returns:
        The number of rows, or None for an estimate without an interval.

    Raises:
        SpecError: A width that is not positive.

    Example:
        >>> rows_for_width(Estimate(0.1, 0.05, 0.15, n=400), 0.05)
        1600
    """
    if not width > 0:
        raise SpecError(f"width: expected a positive number, got {width}")
    if estimate.low is None or estimate.high is None or not estimate.n:
        return None
    return math.ceil(estimate.n * ((estimate.high - estimate.low) / width) ** 2 - 1e-6)


def rows_for_observed_to_expected(prevalence: float, width: float, level: float = 0.95) -> int:
    """Rows for an interval of O:E of this width, if O:E is 1: (1 - share) / (share SE(ln O:E)^2).

    Source: Riley et al., "Minimum sample size for external validation of a clinical prediction model with a
    binary outcome", Statistics in Medicine 2021, criterion 1; its example rounds the standard error of ln O:E
    to 0.102 and has 5,244 for the width 0.4 below.

    Example:
        >>> rows_for_observed_to_expected(0.018, 0.4)
        5309
    """
    if not 0 < prevalence < 1 or not width > 0:
        raise SpecError("expected a prevalence in (0, 1) and a positive width")
    # exp(z s) - exp(-z s) = width
    error = math.asinh(width / 2) / critical_value(level)
    return math.ceil((1 - prevalence) / (prevalence * error**2))
