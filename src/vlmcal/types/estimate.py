"""A measured number with the interval that belongs to it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A point value, its confidence interval and the number of rows behind it.

    Attributes:
        value: The measured value, in the metric's own units (fractions, not percent).
        low: Lower end of the interval, or None when no interval that covers is known.
        high: Upper end of the interval, or None.
        n: Number of rows.
        method: How the interval was made ("bootstrap", "debiased", ...), or "" for none.
        floor: What a perfectly calibrated model would show at this n, where that is meaningful.
        p_value: Probability that a perfectly calibrated model shows at least this value, where there is such
            a test; whether a value is within chance is decided by it.

    Example:
        >>> str(Estimate(0.1234, 0.101, 0.15, n=500))
        '0.1234 [0.1010, 0.1500]'
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""
    floor: float | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f}"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"
