"""The errors a user can cause; the command line prints them in one block and exits with code 2."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

_ENDLESS = re.compile(r"\S{600,}")  # an unbroken word, longer than paths are


class VlmcalError(Exception):
    """Base of every error that the user's input, not a defect, explains.

    A word without end, such as a file given where a name was expected, is cut in what it says.

    Example:
        >>> len(str(VlmcalError(f'no column "{"x" * 100_000}"; valid: label'))) < 400
        True
    """

    exit_code = 2

    def __str__(self) -> str:
        return _ENDLESS.sub(_cut, super().__str__())


class SpecError(VlmcalError):
    """An experiment, a method name or a parameter is not valid."""


class DataError(VlmcalError):
    """Images, labels, predictions or files are not what was promised."""


class SplitError(DataError):
    """Data of one split was offered where it would leak into another."""


class BackboneError(VlmcalError):
    """A vision-language model cannot be loaded or lacks what a method needs."""


class MissingExtraError(VlmcalError, ModuleNotFoundError):
    """Something needs a package that comes with an extra of vlmcal and is not installed."""


class StoreError(VlmcalError):
    """Results cannot be written to or read from the store."""


class TrainingError(VlmcalError):
    """Training cannot go on (for example, the loss is not finite)."""


def require_none(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that say nothing about what was given.

    Args:
        what: What was given, such as "rows.csv is a file of predictions".
        options: What "--option is for" says, by the value that it has; None where it was not given.

    Raises:
        SpecError: One was given.

    Example:
        >>> require_none("rows.csv is a table", {"--set is for runs": "base"})
        Traceback (most recent call last):
        ...
        vlmcal.errors.SpecError: --set is for runs, and rows.csv is a table; leave it out
    """
    for told, value in options.items():
        if value is not None:
            raise SpecError(f"{told}, and {what}; leave it out")


def _cut(found: re.Match[str]) -> str:
    return f"{found[0][:200]}...{found[0][-20:]} ({len(found[0]):,} characters)"


def nearest(name: str, options: Iterable[str]) -> str:
    """A hint naming the valid option closest to ``name``, or the options if none is close.

    Example:
        >>> nearest("brierr", ["brier", "nll"])
        'did you mean "brier"?'
        >>> nearest("zzz", ["brier", "nll"])
        'valid: brier, nll'
        >>> nearest("root", ["image_root", "path"])
        'did you mean "image_root"?'
    """
    import difflib  # half of what importing this module would cost

    known = sorted(options)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not close:  # a word of a name that has several, as root of image_root
        close = [each for each in known if name and name in each.split("_")]
    if close:
        return f'did you mean "{close[0]}"?'
    shown = ", ".join(known[:40]) + (f", ... ({len(known)} in all)" if len(known) > 40 else "")
    return f"valid: {shown or 'none'}"


def require_known(
    name: object, known: Iterable[str], what: str, error: type[Exception] = SpecError
) -> None:
    """Refuse a name that there is not: ``what``, the name and the nearest one.

    Raises:
        SpecError: It is not among ``known``; or ``error`` instead.

    Example:
        >>> require_known("brierr", ["brier", "nll"], "no loss")
        Traceback (most recent call last):
        vlmcal.errors.SpecError: no loss "brierr"; did you mean "brier"?
    """
    valid = known if isinstance(known, Collection) else list(known)
    if name not in [*valid]:  # a list, for names that are none, such as []
        raise error(f'{what} "{name}"; {nearest(str(name), valid)}')


def few(names: Sequence[str], most: int) -> str:
    """The first of several names, for a sentence.

    Example:
        >>> few(["cat", "dog", "fox"], 2)
        'cat, dog, ...'
    """
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


@contextmanager
def located(where: object) -> Iterator[None]:
    """What is wrong with the data inside is said with ``where`` in front, once.

    Raises:
        DataError: Of the kind that was raised.

    Example:
        >>> with located("rows.csv"):
        ...     raise DataError("no rows")
        Traceback (most recent call last):
        vlmcal.errors.DataError: rows.csv: no rows
    """
    try:
        yield
    except DataError as error:
        text = str(error)
        raise type(error)(text if text.startswith(str(where)) else f"{where}: {text}") from error
