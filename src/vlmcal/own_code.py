"""Code of one's own by its place, ``package.module:Name``: imported only where that was allowed."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

from vlmcal.errors import SpecError

VARIABLE = "VLMCAL_ALLOW_CODE"

Fits = Callable[[object], bool]


def allow_code(allowed: bool = True) -> None:
    """Let experiment files, options and saved runs name code to import, here and in worker processes.

    Importing a module runs it, so a file from somebody else must not choose which. The same as
    ``vlmcal --allow-code`` and the variable ``VLMCAL_ALLOW_CODE=1``.

    Example:
        >>> allow_code()
        >>> code_is_allowed()
        True
        >>> allow_code(False)
    """
    if allowed:
        os.environ[VARIABLE] = "1"
    else:
        os.environ.pop(VARIABLE, None)


def code_is_allowed() -> bool:
    """Whether modules that a name gives may be imported."""
    return os.environ.get(VARIABLE, "").strip().lower() in {"1", "on", "yes", "true"}


def own(path: str, what: str, fits: Fits, expected: str) -> Any:
    """The object at ``package.module:Name``, if it is what is wanted; it is not called.

    A module that the program has imported itself is only looked into; any other (but those of vlmcal) is
    imported if :func:`allow_code` says so.

    Args:
        path: The name.
        what: What it is used as, for messages ("objective").
        fits: Whether an object is of the right kind.
        expected: The right kind in words ("a subclass of Objective").

    Raises:
        SpecError: It may not be imported, cannot be, or is something else.

    Example:
        >>> import os
        >>> own("os:system", "data set", returns("Dataset"), "a function that returns a Dataset")
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: "os:system" is not a data set; expected a function that returns a Dataset
    """
    name, _, attribute = path.partition(":")
    if not all(part.isidentifier() for part in [*name.split("."), attribute]):
        raise SpecError(
            f'{what} "{path}" cannot be imported; expected package.module:Name of an importable module'
        )
    module = sys.modules.get(name)
    ours = name.partition(".")[0] == __name__.partition(".")[0]
    if module is None and not ours and not code_is_allowed():
        raise SpecError(
            f'{what} "{path}" would import and run the module {name}; if it is your own, allow it with '
            f"vlmcal --allow-code ... or {VARIABLE}=1 (in Python: vlmcal.allow_code())"
        )
    try:
        entry = getattr(module or importlib.import_module(name), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SpecError(
            f'{what} "{path}" cannot be imported ({error}); expected '
            "package.module:Name of an importable module"
        ) from error
    if not fits(entry):
        article = "an" if what[0] in "aeiou" else "a"
        raise SpecError(f'"{path}" is not {article} {what}; expected {expected}')
    return entry


def subclass_of(kind: type) -> Fits:
    """Fits classes below ``kind``.

    Example:
        >>> subclass_of(int)(bool), subclass_of(int)(3)
        (True, False)
    """
    return lambda entry: isinstance(entry, type) and issubclass(entry, kind)


def takes(count: int) -> Fits:
    """Fits functions and callable objects with ``count`` arguments that must be given in order.

    Example:
        >>> takes(2)(lambda inside, labels: inside), takes(2)(print)
        (True, False)
    """

    def fits(entry: object) -> bool:
        try:
            given = inspect.signature(entry).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return count == sum(each.kind <= 1 and each.default is each.empty for each in given)

    return fits


def returns(kind: str) -> Fits:
    """Fits functions and classes whose declared return type is called ``kind``.

    Example:
        >>> def two() -> int: ...
        >>> returns("int")(two), returns("int")(print)
        (True, False)
    """

    def fits(entry: object) -> bool:
        try:
            declared = inspect.signature(entry).return_annotation  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        found = declared if isinstance(declared, str) else getattr(declared, "__name__", "")
        return found.strip("\"'").rpartition(".")[2] == kind

    return fits
