"""Types and bounds of an objective's fields, checked once when it is made."""

import math
import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vlmcal.errors import SpecError, nearest


def field_types(kind: type[Any]) -> dict[str, Any]:
    """Declared type of every dataclass field of the class ``kind``, in order."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def describe_type(hint: Any) -> str:
    """A declared type in words.

    Example:
        >>> describe_type(float), describe_type(Literal["a", "b"]), describe_type(float | None)
        ('a number', 'one of "a", "b"', 'a number or null')
    """
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(f'"{option}"' for option in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe_type(option) for option in get_args(hint))
    if get_origin(hint) is tuple:
        return "a list of numbers"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    return "null" if hint is type(None) else words[hint]


def coerce(value: Any, hint: Any) -> Any:
    """``value`` as the declared type; whole numbers become floats, "inf" becomes infinity.

    Raises:
        TypeError: It is of another type.

    Example:
        >>> coerce(2, float), coerce("inf", float), coerce([1, 2], tuple[float, ...])
        (2.0, inf, (1.0, 2.0))
    """
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise TypeError
    if get_origin(hint) in (Union, types.UnionType):
        return _first_fitting(value, get_args(hint))
    if get_origin(hint) is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(coerce(item, get_args(hint)[0]) for item in value)
        raise TypeError
    if hint is float:
        return _number(value)
    if type(value) is hint or (hint is type(None) and value is None):
        return value
    raise TypeError


def check_fields(objective: Any, name: str, bounds: Mapping[str, tuple[float, float]]) -> None:
    """Bring every field to its declared type and hold it against its bounds.

    Raises:
        SpecError: A field has another type or lies outside its bounds; says which and what is valid.
    """
    for field, hint in field_types(type(objective)).items():
        value = getattr(objective, field)
        try:
            fitted = coerce(value, hint)
        except TypeError:
            raise SpecError(_type_message(name, field, value, hint)) from None
        low, high = bounds.get(field, (-math.inf, math.inf))
        if isinstance(fitted, (int, float)) and not low <= fitted <= high:
            raise SpecError(
                f'objective "{name}": {field} must lie between {low:g} and {high:g}, got {fitted:g}'
            )
        object.__setattr__(objective, field, fitted)


def _number(value: Any) -> float:
    if isinstance(value, str) and value in ("inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise TypeError
    return float(value)


def _first_fitting(value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        try:
            return coerce(value, option)
        except TypeError:
            continue
    raise TypeError


def _type_message(name: str, field: str, value: Any, hint: Any) -> str:
    message = f'objective "{name}": {field} must be {describe_type(hint)}, got {value!r}'
    if get_origin(hint) is Literal and isinstance(value, str):
        message += f"; {nearest(value, get_args(hint))}"
    return message
