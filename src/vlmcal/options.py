"""Options by name: one way to write, check and build anything that is registered.

A thing and its options are written ``"temperature"``, ``"temperature(loss=brier)"`` or
``{"name": "temperature", "loss": "brier"}``, in Python, YAML and on the command line alike. Types are those
that the dataclass or function declares; pydantic checks them, strictly.
"""

import difflib
import inspect
import json
import math
import re
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.io.json_text import parse_json
from vlmcal.option_text import Named as Named
from vlmcal.option_text import Typed as Typed
from vlmcal.option_text import names as names
from vlmcal.option_text import pairs as pairs
from vlmcal.option_text import read as read
from vlmcal.option_text import split as split

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NUMBER = re.compile(r"[-+]?(inf|\d+(\.\d*)?[eE][-+]?\d+)")
_WORDS = {"True": True, "False": False, "None": None}


class Source(Protocol[T_co]):
    """A registry, as far as building needs it."""

    @property
    def kind(self) -> str:
        """What an entry is, in the singular."""
        ...

    def get(self, name: str) -> Callable[..., T_co]:
        """The entry of that name."""
        ...


def build(
    registry: Source[T_co],
    spec: str | Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    *,
    where: str = "",
) -> T_co:
    """What ``spec`` names, made with its options.

    Args:
        registry: Where the name is looked up.
        spec: ``"name"``, ``"name(option=value, ...)"`` or ``{"name": ..., option: value}``.
        options: Further options, which win over those in ``spec``.
        where: Where it was written, for messages ("evaluate.calibrators").

    Raises:
        SpecError: No such name or option (with the nearest one), a value of the wrong type or out of
            bounds, or an option is missing.

    Example:
        >>> from vlmcal.calibrators.base import CALIBRATORS
        >>> build(CALIBRATORS, "histogram(bins=10)") == build(CALIBRATORS, {"name": "histogram", "bins": 10})
        True
    """
    named = read(spec, registry.kind, where)
    who = f'{where}: {registry.kind} "{named.name}"'.removeprefix(": ")
    try:
        entry = registry.get(named.name)
    except SpecError as error:
        raise SpecError(f"{where}: {error}".removeprefix(": ")) from error
    return call(entry, who, {**named.options, **(options or {})})


def call(entry: Callable[..., T], who: str, options: Mapping[str, Any], *positional: Any) -> T:
    """What ``entry`` makes of checked options.

    Args:
        entry: A dataclass or function.
        who: Whose options they are, for messages.
        options: By name.
        *positional: Arguments that come before them, taken as they are.

    Raises:
        SpecError: As :func:`check`, or an option is missing.
    """
    values = check(entry, options, who)
    try:
        inspect.signature(entry).bind(*positional, **values)
    except TypeError as error:
        raise SpecError(f"{who}: {error}") from error
    return entry(*positional, **values)


def parameters(entry: Callable[..., Any]) -> dict[str, Any]:
    """Declared type of every option of a dataclass or function, in order.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> parameters(Platt)["smooth"]
        <class 'bool'>
    """
    return dict(_parameters(entry))


def check(entry: Callable[..., Any], options: Mapping[str, Any], who: str) -> dict[str, Any]:
    """``options`` as the types that ``entry`` declares, and within their limits.

    Args:
        entry: The dataclass or function that takes them.
        options: By name.
        who: Whose options they are, for messages; with a point at its end ("train.") it is a prefix.

    Raises:
        SpecError: An unknown name (with the nearest one), another type, or out of bounds.

    Example:
        >>> from vlmcal.conformal.raps import RAPS
        >>> check(RAPS, {"penalty": 1, "k_reg": Typed("2")}, "raps")
        {'penalty': 1.0, 'k_reg': 2}
        >>> check(RAPS, {"penalty": "0.1"}, "raps")
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: raps: penalty must be a number, got '0.1'
    """
    known = _parameters(entry)
    values = {}
    for name, value in options.items():
        if name not in known:
            raise SpecError(
                f'{who.rstrip(".")} has no option "{name}"; {_nearest_option(name, known)}'
            )
        values[name] = fit(
            value, known[name], f"{who}{name}" if who[-1] == "." else f"{who}: {name}"
        )
    return values


def check_fields(made: Any, who: str) -> None:
    """Bring every field of a dataclass to its declared type; for ``__post_init__`` of a base class.

    Raises:
        SpecError: As :func:`check`.
    """
    given = {field.name: getattr(made, field.name) for field in fields(made) if field.init}
    for name, value in check(type(made), given, who).items():
        if value is not given[name]:
            object.__setattr__(made, name, value)


def fit(value: Any, hint: Any, what: str) -> Any:
    """``value`` as the declared type: whole numbers become floats, "1e-3" a number.

    Args:
        value: From Python, YAML or (as :class:`Typed`) the command line.
        hint: The declared type.
        what: What it is, for the message.

    Raises:
        SpecError: It is of another type, or out of the bounds that the type declares.

    Example:
        >>> fit(2, float, "x"), fit("1e-3", float, "x"), fit([1, 2], tuple[float, ...], "x")
        (2.0, 0.001, (1.0, 2.0))
    """
    from pydantic import ValidationError

    adapter = _adapter(hint)
    if adapter is None:
        return next(_readings(value)) if isinstance(value, Typed) else value
    reasons: list[str] = []
    for reading in _readings(value):
        try:
            fitted = adapter.validate_python(reading, strict=True)
        except ValidationError as error:
            reasons += [
                found["msg"]
                for found in error.errors()
                if re.search("than|multiple|finite", found["type"])
            ]
        else:
            return fitted
    shown = str(value) if isinstance(value, Typed) else value
    message = f"{what} must be {describe_type(hint)}, got {shown!r}"
    if reasons:
        message += f"; {reasons[0][0].lower()}{reasons[0][1:]}"
    choices = [word for word in _choices(hint) if isinstance(word, str)]
    if isinstance(value, str) and (close := difflib.get_close_matches(value, choices, n=1)):
        message += f'; did you mean "{close[0]}"?'
    raise SpecError(message)


def axis_of(value: Any, hint: Any) -> list[Any]:
    """The values of an option that takes one and is given a list; empty where it takes the value as it is.

    Args:
        value: From Python, YAML or (as :class:`Typed`) the command line.
        hint: The declared type.

    Example:
        >>> axis_of([0, 1], float), axis_of(Typed("[0, 1]"), float), axis_of([0, 1], tuple[float, ...])
        ([0, 1], [0, 1], [])
    """
    given = next(_readings(value)) if isinstance(value, Typed) else value
    if not isinstance(given, list | tuple):
        return []
    try:
        fit(value, hint, "")
    except SpecError:
        return list(given)
    return []


def _nearest_option(name: str, known: Mapping[str, Any]) -> str:
    """The nearest name, or all with their types if none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    listed = "; ".join(f"{each}: {describe_type(hint)}" for each, hint in known.items())
    return f'did you mean "{close[0]}"?' if close else f"options: {listed or 'none'}"


def describe_type(hint: Any) -> str:
    """A declared type in words.

    Example:
        >>> describe_type(float), describe_type(Literal["a", "b"]), describe_type(float | None)
        ('a number', 'one of "a", "b"', 'a number or null')
    """
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return describe_type(inside[0])
    if origin is Literal:
        return "one of " * (len(inside) > 1) + ", ".join(json.dumps(option) for option in inside)
    if _holds_arrays(hint):
        return "an array or null" if type(None) in inside else "an array"
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe_type(option) for option in inside))
    kind = origin or hint
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    words |= {type(None): "null", Path: "a path", Any: "any value"}
    if kind in words:
        return words[kind]
    if kind is tuple and inside and ... not in inside and len(set(inside)) == 1:
        return f"a list of {len(inside)} {_plural(describe_type(inside[0]))}"
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, Collection):
        items = {describe_type(item) for item in inside if item is not ...}
        return f"a list of {_plural(items.pop())}" if len(items) == 1 else "a list"
    if kind is Callable or kind is getattr(Callable, "__origin__", None):
        return "a function"
    return str(getattr(kind, "__name__", kind))


def _plural(words: str) -> str:
    known = {"a number": "numbers", "a whole number": "whole numbers", "text": "texts"}
    return known.get(words, words)


@cache
def _parameters(entry: Callable[..., Any]) -> Mapping[str, Any]:
    if isinstance(entry, type) and is_dataclass(entry):
        hints = get_type_hints(entry, include_extras=True)
        return {field.name: hints[field.name] for field in fields(entry) if field.init}
    made_by = getattr(entry, "__init__") if isinstance(entry, type) else entry  # noqa: B009
    hints = get_type_hints(made_by, include_extras=True)
    taken = inspect.signature(entry).parameters.values()
    # A signature that a decorator made says more than the annotations of what it wraps.
    return {
        each.name: hints.get(each.name, Any if each.annotation is each.empty else each.annotation)
        for each in taken
        if each.kind not in (2, 4)
    }


@cache
def _adapter(hint: Any) -> "TypeAdapter[Any] | None":
    """None for arrays, of which pydantic knows nothing; the owner checks them.

    A number is finite, unless its type says otherwise: ``Field(allow_inf_nan=True)``.
    """
    from pydantic import ConfigDict, TypeAdapter

    if _holds_arrays(hint):
        return None
    config = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
    return TypeAdapter(hint, config=config)


def _holds_arrays(hint: Any) -> bool:
    inside = get_args(hint)
    if get_origin(hint) is Literal or get_origin(hint) is getattr(Callable, "__origin__", Callable):
        return False
    module = getattr(get_origin(hint) or hint, "__module__", "")
    return module.partition(".")[0] == "numpy" or any(map(_holds_arrays, inside))


def _readings(value: Any) -> Iterator[Any]:
    """All that a value may be read as, most literal first; a NaN is nothing."""
    if isinstance(value, Typed):
        try:
            yield from _readings(parse_json(value))
        except ValueError:
            if value in _WORDS:
                yield _WORDS[value]
        yield from _readings(str(value))
        yield from _readings(names(value))
        return
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and math.isnan(value):
        return
    yield value
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            yield float(value)
        yield Path(value)
    elif isinstance(value, Sequence | Mapping):
        yield from (
            _deep(value, each, numbers) for numbers in (False, True) for each in (tuple, list)
        )


def _deep(value: Any, kind: Callable[[Iterable[Any]], Any], numbers: bool) -> Any:
    """``value`` with every list of one kind and, if wanted, every text that is a number as one."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str):
        return float(value) if numbers and _NUMBER.fullmatch(value) else value
    if isinstance(value, Mapping):
        return {key: _deep(item, kind, numbers) for key, item in value.items()}
    if isinstance(value, Sequence):
        return kind(_deep(item, kind, numbers) for item in value)
    return value


def _choices(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    elif get_origin(hint) in (Union, types.UnionType, Annotated):
        for option in get_args(hint):
            yield from _choices(option)
