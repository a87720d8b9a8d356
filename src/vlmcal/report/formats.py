"""How numbers are written: few digits, one unit, the same everywhere."""

import math

from vlmcal.types.estimate import Estimate
from vlmcal.types.shown import plural as plural

MISSING = "–"


def number(value: float, *, percent: bool, digits: int) -> str:
    """A number as text; percent values are given as fractions and multiplied by 100.

    Example:
        >>> number(0.12345, percent=True, digits=1), number(0.12345, percent=False, digits=3)
        ('12.3', '0.123')
        >>> number(float("nan"), percent=True, digits=1)
        '–'
    """
    if math.isnan(value):
        return MISSING
    text = f"{100 * value if percent else value:.{digits}f}"
    negative_zero = text.startswith("-") and float(text) == 0
    return text[1:] if negative_zero else text.replace("-", "−")


def percent_range(estimate: Estimate, digits: int = 1) -> str:
    """A fraction in percent with its interval.

    Example:
        >>> percent_range(Estimate(0.042, 0.031, 0.0561, n=900))
        '4.2 % [3.1, 5.6]'
    """
    value = number(estimate.value, percent=True, digits=digits)
    if estimate.low is None or estimate.high is None:
        return f"{value} %"
    low, high = (number(end, percent=True, digits=digits) for end in (estimate.low, estimate.high))
    return f"{value} % [{low}, {high}]"
