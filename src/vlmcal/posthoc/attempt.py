"""One try of a method on rows: what it gave, or why it gave nothing, and what it warned of."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from vlmcal.calibrators.base import CalibrationWarning
from vlmcal.conformal.base import ConformalWarning
from vlmcal.errors import DataError, SplitError
from vlmcal.types.predictions import Predictions

T = TypeVar("T")
Tested = TypeVar("Tested")


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """What came of :func:`attempt`.

    Attributes:
        result: What it gave; None where it gave nothing.
        seconds: How long it took.
        said: What it warned of, or why it gave nothing.
    """

    result: T | None
    seconds: float = 0.0
    said: tuple[str, ...] = ()

    @property
    def notes(self) -> str:
        """The same as one text."""
        return "; ".join(self.said)


def attempt(work: Callable[[], T], catch: type[DataError] | tuple[()] = ()) -> Attempt[T]:
    """Do some work on rows; its warnings become notes, each once.

    Args:
        work: Fits or applies something.
        catch: An error that says that the rows do not suit it. Rows that must not be used (SplitError) are
            never a reason to go on.

    Raises:
        SplitError: Raised by ``work``.
        DataError: Raised by ``work`` and not caught.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rows = Predictions(logits=[[1.0, 0.0, 0.0]], labels=[0], split="val")
        >>> attempt(lambda: Platt().fit(rows), DataError).notes[:34]
        'calibrator "platt": no fitting row'
    """
    with warnings.catch_warnings(record=True) as caught:
        for kind in (CalibrationWarning, ConformalWarning):
            warnings.simplefilter("always", kind)
        start = time.perf_counter()
        try:
            result = work()
        except SplitError:
            raise
        except catch as error:
            return Attempt(None, time.perf_counter() - start, (str(error),))
        seconds = time.perf_counter() - start
    return Attempt(result, seconds, tuple(dict.fromkeys(str(item.message) for item in caught)))


def fit_and_apply(
    fit: Callable[[], object],
    apply: Callable[[Tested], T],
    tests: Iterable[Tested],
    catch: type[DataError] | tuple[()] = (),
) -> Iterator[Attempt[T]]:
    """Fit once, and apply to each of several sets of rows; what cannot be fitted gives nothing on any.

    Args:
        fit: Fits on held-out rows.
        apply: What the fitted method makes of other rows.
        tests: These other rows.
        catch: As in :func:`attempt`.

    Raises:
        SplitError, DataError: As in :func:`attempt`.
    """
    fitted = attempt(lambda: (fit(),), catch)
    for rows in tests:
        if fitted.result is None:
            yield Attempt(None, fitted.seconds, fitted.said)
        else:
            made = attempt(lambda rows=rows: apply(rows), catch)  # type: ignore[misc]
            said = made.said if made.result is None else (*fitted.said, *made.said)
            yield Attempt(made.result, fitted.seconds + made.seconds, said)


def require_classes(rows: Predictions, what: str) -> None:
    """Refuse rows without some class for a method that learns something for each class.

    Args:
        rows: To be fitted on.
        what: The method, for the message.

    Raises:
        DataError: Names the absent classes and how to fit all the same.

    Example:
        >>> require_classes(Predictions(logits=[[1.0, 0.0]] * 2, labels=[0, 1]), "vector")
    """
    counts = np.bincount(rows.labels, minlength=rows.n_classes)
    absent = [
        name for name, count in zip(rows.class_names, counts.tolist(), strict=True) if not count
    ]
    if not absent:
        return
    shown = ", ".join(f'"{name}"' for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
    raise DataError(
        f'{len(absent)} of {rows.n_classes} classes have no row to fit on ({shown}), but "{what}" learns '
        "something for each class; add rows of them, or pass allow_absent=True (--allow-absent) to fit all "
        "the same"
    )
