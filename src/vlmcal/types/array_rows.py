"""Plain arrays as rows to fit and to apply: what scikit-learn calls X and y."""

from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.types.arrays import Numbers, as_array
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Scores, from_arrays
from vlmcal.types.prediction_sets import PredictionSets
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
    rows = from_arrays(values, labels, scores, groups=groups, class_names=class_names)
    if isinstance(rows, PredictionSets):
        raise SpecError(f'scores: expected class scores or "confidence", got "{scores}"')
    return rows


def _looks_like_probabilities(values: Any) -> bool:
    if values.dtype.kind != "f" or values.ndim != 2 or values.shape[1] < 2:
        return False
    if not abs(values[0].sum(dtype=np.float64) - 1) < _LOOKS_LIKE:
        return False
    inside = bool((values >= 0).all() and (values <= 1).all())
    return inside and bool(np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < _LOOKS_LIKE)


def fitting_and_test(
    fitting: Predictions | Confidences | Numbers,
    test: Predictions | Confidences | Numbers | None,
    *,
    labels: Any = None,
    test_labels: Any = None,
    scores: Scores | None = None,
    groups: Any = None,
    test_groups: Any = None,
) -> tuple[Predictions | Confidences, Predictions | Confidences | None]:
    """Rows to fit on and rows to measure on, each as rows of this package or as plain arrays.

    Arguments as of :func:`array_rows`. What names the classes of the fitting rows names those of the test
    rows, too.

    Raises:
        SpecError: Arguments of plain arrays came without plain arrays, or plain fitting rows (or confidences
            to measure on) without labels.
        DataError: Shapes, values or labels do not fit.

    Example:
        >>> val, test = fitting_and_test([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]], labels=["cat", "dog"])
        >>> test.class_names, test.labelled
        (('cat', 'dog'), False)
    """
    plain = not isinstance(fitting, Predictions | Confidences)
    if plain and labels is None:
        raise SpecError("labels: plain scores need labels to fit on; pass labels=")
    first = array_rows(fitting, labels, scores if plain else None, groups=groups)
    if test is None:
        if test_labels is not None or test_groups is not None:
            raise SpecError("test_labels, test_groups: there are no test rows; leave these out")
        return first, None
    known = isinstance(test, Predictions | Confidences)
    if scores is not None and known and not plain:
        raise SpecError(
            "scores: Predictions and Confidences carry the kind of scores; leave it out"
        )
    names = first.class_names if isinstance(first, Predictions) else ()
    if plain and scores is None:
        scores = "logits" if names else "confidence"  # as the fitting rows were read
    kind = None if known else scores
    second = array_rows(test, test_labels, kind, groups=test_groups, class_names=names)
    if isinstance(second, Confidences) and not known and test_labels is None:
        raise SpecError("test_labels: say which of the test confidences belong to right answers")
    return first, second
