"""What can be measured: Predictions, Confidences, PredictionSets, or plain arrays said to be one of them."""

from typing import Any, Literal, TypeAlias

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.types.arrays import Numbers, as_array
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions, from_probabilities

Scores = Literal["probs", "logits", "log_probs", "confidence", "sets"]
Measurable: TypeAlias = Predictions | Confidences | PredictionSets
SCORES: tuple[Scores, ...] = ("probs", "logits", "log_probs", "confidence", "sets")


def from_arrays(
    rows: Numbers,
    labels: Numbers,
    scores: Scores | None = None,
    *,
    groups: Any = None,
    alpha: float = 0.1,
) -> Measurable:
    """The project's type for plain arrays: lists, NumPy, pandas, or tensors on any device.

    Args:
        rows: (N, K) class scores or sets, or (N,) confidences. Columns of a data frame name the classes.
        labels: (N,) integers in 0 .. K - 1; correctness (N,) for confidences.
        scores: What ``rows`` holds: "probs", "logits", "log_probs" (N, K), "confidence" (N,), or "sets"
            (N, K) bool. Scores per class are never guessed; one number per row is a confidence.
        groups: (N,) patient, slide or image of each row, or None.
        alpha: Target miscoverage of sets.

    Raises:
        DataError: Shapes or values do not fit.
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
    if scores not in SCORES:
        raise SpecError(f'scores: unknown "{scores}"; {nearest(str(scores), SCORES)}')
    if scores == "confidence":
        return Confidences(confidence=rows, correct=labels, groups=groups)  # type: ignore[arg-type]
    if len(shape) != 2:
        raise DataError(f"{scores}: expected shape (N, K), got {shape}")
    names = tuple(map(str, getattr(rows, "columns", ())))
    rest: dict[str, Any] = {"labels": labels, "class_names": names, "groups": groups}
    if scores == "sets":
        return PredictionSets(sets=rows, alpha=alpha, **rest)  # type: ignore[arg-type]
    if scores == "probs":
        return from_probabilities(rows, **rest)
    return Predictions(logits=rows, kind=scores, **rest)  # type: ignore[arg-type]
