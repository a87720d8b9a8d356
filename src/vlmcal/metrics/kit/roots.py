"""A root of a monotone function between two ends (importing scipy.optimize would take half a second)."""

from collections.abc import Callable


def monotone_root(
    function: Callable[[float], float], low: float, high: float, tolerance: float = 1e-10
) -> float:
    """Where a monotone function crosses 0, by the Illinois form of regula falsi.

    The signs at ``low`` and ``high`` must differ.

    Source: Dowell and Jarratt, "A modified regula falsi method", BIT 1971.

    Example:
        >>> round(monotone_root(lambda x: x**3 - 2, 0.0, 2.0), 8)
        1.25992105
    """
    at_low, at_high = function(low), function(high)
    for _ in range(200):
        if abs(high - low) <= tolerance or at_high == 0:
            break
        middle = high - at_high * (high - low) / (at_high - at_low)
        at_middle = function(middle)
        if at_middle * at_high < 0:
            low, at_low = high, at_high
        else:
            at_low /= 2
        high, at_high = middle, at_middle
    return high
