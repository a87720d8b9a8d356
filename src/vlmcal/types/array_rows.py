"""Plain arrays as rows to fit and to apply: what scikit-learn calls X and y."""

from typing import Any

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import IntArray, Numbers, as_array, no_labels
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Scores, from_arrays
from vlmcal.types.predictions import Predictions

_LOOKS_LIKE = 1e-3  # how near to 1 the rows of probabilities sum


def array_rows(
    values: Predictions | Confidences | Numbers,
    labels: Any = None,
    scores: Scores | None = None,
    *,
    groups: Any = None,
    class_names: tuple[str, ...] = (),
) -> Predictions | Confidences:
    """Rows of plain arrays (lists, NumPy, pandas, tensors of any type and device); rows stay as they are.

    Args:
        values: (N, K) class scores, (N,) confidences, or rows of this package.
        labels: (N,) integers in 0 .. K - 1, or names of the classes; correctness for confidences. None
            where nothing is measured or fitted.
        scores: "logits", "log_probs", "probs" or "confidence". None is "logits" for two dimensions and
            "confidence" for one; numbers that are probabilities must be called so.
        groups: (N,) patient, slide or image of each row, or None.
        class_names: Names of the columns; otherwise those of a data frame, or the sorted label names.

    Raises:
        SpecError: Rows of this package came with labels or ``scores``, or what the numbers are is unclear.
        DataError: Shapes, values or labels do not fit.

    Example:
        >>> rows = array_rows([[2.0, 0.0], [0.0, 1.0]], ["cat", "dog"])
        >>> rows.class_names, rows.labels.tolist()
        (('cat', 'dog'), [0, 1])
    """
    if isinstance(values, Predictions | Confidences):
        if labels is not None or scores is not None or groups is not None:
            raise SpecError(
                f"{type(values).__name__} carry their labels, groups and kind of scores; leave these out"
            )
        return values
    plain = as_array(values)
    if scores is None:
        scores = "confidence" if plain.ndim == 1 else "logits"
        if scores == "logits" and _looks_like_probabilities(plain):
            raise SpecError(
                "scores: these rows are in [0, 1] and sum to 1; say scores='probs' if they are "
                "probabilities, or scores='logits' if they are not"
            )
    if scores == "confidence":
        right = np.zeros(len(plain), dtype=np.bool_) if labels is None else as_array(labels)
        return Confidences(confidence=plain, correct=right, groups=groups)
    if plain.ndim != 2:
        raise DataError(f"{scores}: expected shape (N, K), got {plain.shape}")
    names = class_names or tuple(map(str, getattr(values, "columns", ())))
    known, names = _known_labels(labels, names, *plain.shape)
    rows = from_arrays(values, known, scores, groups=groups)
    if not isinstance(rows, Predictions):
        raise SpecError(f'scores: expected class scores or "confidence", got "{scores}"')
    if not names:
        return rows
    return Predictions(
        logits=rows.logits,
        labels=rows.labels,
        kind=rows.kind,
        class_names=names,
        groups=rows.groups,
        resolution=rows.resolution,
    )


def _looks_like_probabilities(values: Any) -> bool:
    if values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] < 2:
        return False
    inside = bool((values >= 0).all() and (values <= 1).all())
    return inside and bool(np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < _LOOKS_LIKE)


def _known_labels(
    labels: Any, names: tuple[str, ...], n: int, k: int
) -> tuple[IntArray, tuple[str, ...]]:
    if labels is None:
        return no_labels(n), names
    given = as_array(labels)
    if given.dtype.kind in "iufb":
        whole: IntArray = given.astype(np.int64)
        return (whole if np.array_equal(whole, given) else given), names
    words = given.astype(np.str_)
    order = names or tuple(np.unique(words).tolist())
    unknown = sorted(set(words.tolist()) - set(order))
    if unknown or len(order) != k:
        raise DataError(
            f"labels: {len(set(words.tolist()))} different names for {k} columns"
            + (f"; {unknown[0]!r} is no column" if unknown else "")
            + ". Pass integers 0 to K - 1, or a data frame whose columns are named as the labels"
        )
    place = {name: i for i, name in enumerate(order)}
    return np.array([place[word] for word in words.tolist()], dtype=np.int64), order
