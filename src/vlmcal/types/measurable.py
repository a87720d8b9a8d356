"""What can be measured: Predictions, Confidences, PredictionSets, or plain arrays said to be one of them."""

from typing import Any, Literal, TypeAlias

import numpy as np

from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.types.arrays import IntArray, Numbers, as_array, is_missing, no_labels
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions, from_probabilities

Scores = Literal["probs", "logits", "log_probs", "confidence", "sets"]
Measurable: TypeAlias = Predictions | Confidences | PredictionSets
SCORES: tuple[Scores, ...] = ("probs", "logits", "log_probs", "confidence", "sets")


def from_arrays(
    rows: Numbers,
    labels: Any = None,
    scores: Scores | None = None,
    *,
    groups: Any = None,
    alpha: float = 0.1,
    class_names: tuple[str, ...] = (),
) -> Measurable:
    """The project's type for plain arrays: lists, NumPy, pandas, or tensors on any device.

    Args:
        rows: (N, K) class scores or sets, or (N,) confidences. Columns of a data frame name the classes.
        labels: (N,) integers in 0 .. K - 1 or names of classes (see :func:`class_codes`), or None where
            nobody knows them; correctness (N,) for confidences.
        scores: What ``rows`` holds: "probs", "logits", "log_probs" (N, K), "confidence" (N,), or "sets"
            (N, K) bool. Scores per class are never guessed; one number per row is a confidence.
        groups: (N,) patient, slide or image of each row, or None.
        alpha: Target miscoverage of sets.
        class_names: Names of the columns, where ``rows`` do not name them.

    Raises:
        DataError: Shapes or values do not fit, or the columns of a data frame are those of ``class_names`` in
            another order.
        SpecError: ``scores`` is unknown, or missing where there are several columns.

    Example:
        >>> from_arrays([[2.0, 0.0]], [0], "logits").top_label().confidence.round(3).tolist()
        [0.881]
        >>> type(from_arrays([0.9, 0.4], [1, 0])).__name__
        'Confidences'
    """
    shape = as_array(rows).shape
    if scores is None:
        if len(shape) != 1:
            raise SpecError(
                f"scores: say what the array of shape {shape} holds: "
                f"{', '.join(SCORES)}; it is never guessed"
            )
        scores = "confidence"
    require_known(scores, SCORES, "scores: unknown")
    if scores == "confidence":
        right = np.zeros(shape, dtype=np.bool_) if labels is None else _one_column(as_array(labels))
        return Confidences(confidence=rows, correct=right, groups=groups)  # type: ignore[arg-type]
    if len(shape) != 2:
        raise DataError(f"{scores}: expected shape (N, K), got {shape}")
    codes, names = class_codes(labels, _column_names(rows, class_names), *shape)
    rest: dict[str, Any] = {"labels": codes, "class_names": names, "groups": groups}
    if scores == "sets":
        return PredictionSets(sets=rows, alpha=alpha, **rest)  # type: ignore[arg-type]
    if scores == "probs":
        return from_probabilities(rows, **rest)
    return Predictions(logits=rows, kind=scores, **rest)  # type: ignore[arg-type]


def class_codes(
    labels: Any, names: tuple[str, ...], n: int, k: int
) -> tuple[IntArray, tuple[str, ...]]:
    """Labels of n rows as numbers of the k classes, and the names of these.

    Args:
        labels: (N,) or (N, 1): integers in 0 .. K - 1, or names; None where nobody knows them.
        names: Of the classes in order; empty where they are the sorted names among the labels.
        n: Number of rows.
        k: Number of classes.

    Raises:
        DataError: A label is missing or no class, or the names among the labels are not K.

    Example:
        >>> codes, names = class_codes(["dog", "cat", "dog"], (), 3, 2)
        >>> codes.tolist(), names
        ([1, 0, 1], ('cat', 'dog'))
    """
    if labels is None:
        return no_labels(n), names
    given = _one_column(as_array(labels))
    numeric = given.dtype.kind in "iufb"
    if numeric and np.array_equal(whole := _whole(given), given):
        return _numbered(whole, names), names
    cells = given.tolist()
    missing = [i for i, cell in enumerate(cells) if is_missing(cell)]
    if missing:
        raise DataError(
            f"labels: {len(missing)} of {len(cells)} are missing, first in row {missing[0]}; leave out "
            "these rows"
        )
    if numeric:
        return given, names
    words = list(map(str, cells))
    order = names or tuple(sorted(set(words)))
    unknown = sorted(set(words) - set(order))
    if unknown or len(order) != k:
        raise DataError(
            f"labels: {len(set(words))} different names for {k} columns"
            + (f"; {unknown[0]!r} is no column" if unknown else "")
            + ". Pass integers 0 to K - 1, or a data frame whose columns are named as the labels"
        )
    place = {name: i for i, name in enumerate(order)}
    return np.array([place[word] for word in words], dtype=np.int64), order


def _whole(numbers: Any) -> IntArray:
    with np.errstate(invalid="ignore"):
        whole: IntArray = numbers.astype(np.int64)
    return whole


def _numbered(labels: IntArray, names: tuple[str, ...]) -> IntArray:
    """Class numbers of integer labels: where the columns are called by integers, their names or positions.

    Raises:
        DataError: They may be both, which differ.
    """
    counted = names == tuple(map(str, range(len(names))))
    if counted or not labels.size or not all(name.lstrip("-").isdecimal() for name in names):
        return labels
    present = np.unique(labels)
    place = {name: i for i, name in enumerate(names)}
    by_name = [place.get(str(label), -1) for label in present.tolist()]
    positions = present[0] >= 0 and present[-1] < len(names)
    if -1 in by_name or (positions and by_name == present.tolist()):
        return labels
    if positions:
        at = next(label for label, i in zip(present, by_name, strict=True) if i != label)
        raise DataError(
            f'labels: class "{at}" is number {place[str(at)]}, and "{names[at]}" is number {at}: names '
            "or positions is not guessed; pass names as strings, or scores without names of their columns"
        )
    named: IntArray = np.asarray(by_name, dtype=np.int64)[np.searchsorted(present, labels)]
    return named


def _one_column(values: Any) -> Any:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _column_names(rows: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    """The class of each column: as a data frame names them, else as they are known."""
    arrow = type(rows).__module__.startswith("pyarrow")  # whose columns are the numbers
    columns = tuple(map(str, getattr(rows, "column_names" if arrow else "columns", ())))
    if not columns or columns == tuple(map(str, range(len(columns)))):
        return known
    if known and columns != known and set(columns) == set(known):
        raise DataError(
            f"the columns of the data frame, {', '.join(columns)}, are the classes {', '.join(known)} in "
            f"another order; put them into that order: frame[{list(known)}]"
        )
    return columns
