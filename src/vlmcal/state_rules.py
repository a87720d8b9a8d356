"""Rules that learned values obey; a saved value that breaks one is refused, not applied."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

StateRule = Callable[[Any, int], str]


def number(
    low: float = -np.inf, high: float = np.inf, *, above: float = -np.inf, infinite: bool = False
) -> StateRule:
    """A learned number from ``low`` to ``high`` (and larger than ``above``); finite unless said.

    Example:
        >>> number(above=0)(-2.0, 3), number(above=0)(True, 3), number(infinite=True)(float("inf"), 3)
        ('expected a number above 0, got -2.0', 'expected a number, got True', '')
    """

    def check(value: Any, k: int) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected a number, got {value!r}"
        if np.isnan(value) or (np.isinf(value) and not infinite):
            return f"expected a finite number, got {value}"
        if value <= above != -np.inf:
            return f"expected a number above {above:g}, got {value}"
        if not low <= value <= high:
            return f"expected a number from {low:g} to {high:g}, got {value}"
        return ""

    return check


def array(
    *shape: int | str, low: float = -np.inf, high: float = np.inf, infinite: bool = False
) -> StateRule:
    """A learned array; "K" in its shape is the number of classes, "*" any number of at least 1.

    Example:
        >>> array("K")(np.zeros(2), 3)
        'expected an array of shape (K = 3), got (2,)'
        >>> array("*", infinite=True)(np.array([np.nan]), 3)
        'expected no NaN in an array of shape (*)'
    """

    def check(value: Any, k: int) -> str:
        text = ", ".join(f"K = {k}" if size == "K" else str(size) for size in shape)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            return f"expected an array of shape ({text}), got {type(value).__name__}"
        wanted = [k if size == "K" else size for size in shape]
        if len(wanted) != value.ndim or any(
            got != want if want != "*" else got < 1
            for want, got in zip(wanted, value.shape, strict=True)
        ):
            return f"expected an array of shape ({text}), got {value.shape}"
        if np.isnan(value).any():
            return f"expected no NaN in an array of shape ({text})"
        if not infinite and not np.isfinite(value).all():
            return f"expected finite numbers in an array of shape ({text})"
        if (value < low).any() or (value > high).any():
            return f"expected numbers from {low:g} to {high:g}"
        return ""

    return check


def text(*choices: str) -> StateRule:
    """A learned word, one of ``choices`` where there are any.

    Example:
        >>> print(text("", "lowest")("lowst", 2))
        expected one of "", "lowest", got 'lowst'
    """

    def check(value: Any, k: int) -> str:
        if not isinstance(value, str):
            return f"expected text, got {value!r}"
        if choices and value not in choices:
            shown = ", ".join(f'"{choice}"' for choice in choices)
            return f"expected one of {shown}, got {value!r}"
        return ""

    return check


def optional(rule: StateRule) -> StateRule:
    """What obeys ``rule``, or None.

    Example:
        >>> optional(number())(None, 2), optional(number())("1", 2)
        ('', "expected a number, got '1'")
    """
    return lambda value, k: "" if value is None else rule(value, k)


def curve(value: Any, k: int) -> str:
    """The learned values of one curve by their names: finite numbers, and lists of them; {} is no curve.

    Example:
        >>> curve({"slope": 1.0, "intercept": True}, 2), curve({}, 2)
        ('intercept: expected a number, got True', '')
    """
    if not isinstance(value, Mapping):
        return f"expected a curve, got {type(value).__name__}"
    for name, item in value.items():
        rule = number() if isinstance(item, bool | int | float) else array("*")
        for part in item if isinstance(item, list) and item else [item]:
            if found := rule(part, k):
                return f"{name}: {found}"
    return ""


def sane(value: Any, k: int) -> str:
    """Anything without a NaN, whatever its form: the rule of a learned value that declares none.

    Example:
        >>> sane({"x": [1.0, float("nan")]}, 2)
        'expected no NaN'
    """
    if isinstance(value, Mapping):
        return next((found for item in value.values() if (found := sane(item, k))), "")
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := sane(item, k))), "")
    numeric = isinstance(value, float) or (
        isinstance(value, np.ndarray) and value.dtype.kind == "f"
    )
    return "expected no NaN" if numeric and np.isnan(value).any() else ""
