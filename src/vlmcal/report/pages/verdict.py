"""In plain words: is this model too sure of itself, by how much, and could that be chance?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlmcal.metrics.kit.proportions import design_effect
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

Direction = Literal["over-confident", "under-confident", "neither"]
_Z = 1.959964
# Below these, agreement within chance says nothing about the model.
FEW_ROWS = 30


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about one set of rows.

    Attributes:
        direction: Sign of the mean gap where it is larger than chance, else "neither".
        gap: Mean confidence minus accuracy, a fraction.
        distinguishable: Whether the ECE is larger than a calibrated model of this size would show;
            None when it has no interval.
        sentences: One or two sentences for readers; the first is the headline.
    """

    direction: Direction
    gap: float
    distinguishable: bool | None
    sentences: tuple[str, ...]


def calibration_verdict(rows: Confidences, ece: Estimate | None = None) -> Verdict:
    """Compare mean confidence with accuracy, and the ECE with that of a calibrated model.

    The gap mean(confidence - correct) counts when it exceeds 1.96 of the standard errors it would have
    for a calibrated model, sqrt(sum c (1 - c)) / N, larger where rows come in groups. The ECE counts when
    its interval excludes 0.

    Args:
        rows: Confidence and correctness of each row.
        ece: Measured ECE with interval and floor.

    Example:
        >>> rows = Confidences(confidence=np.full(1000, 0.9), correct=np.arange(1000) < 700)
        >>> verdict = calibration_verdict(rows)
        >>> verdict.direction, round(verdict.gap, 3)
        ('over-confident', 0.2)
    """
    confidence, correct = rows.confidence, rows.correct
    gap = float((confidence - correct).mean())
    direction: Direction = "neither"
    if abs(gap) > _Z * _null_error(rows):
        direction = "over-confident" if gap > 0 else "under-confident"
    known = ece is not None and ece.low is not None
    distinguishable = bool(ece is not None and (ece.low or 0.0) > 0) if known else None
    means = _means(float(confidence.mean()), float(correct.mean()))
    headline = _headline(direction, gap, distinguishable, means)
    if len(rows) < FEW_ROWS and direction == "neither":
        headline = f"Too few rows to tell ({len(rows)}): {means}."
    parts = (headline, _chance(ece))
    return Verdict(direction, gap, distinguishable, tuple(part for part in parts if part))


def _null_error(rows: Confidences) -> float:
    error = float(np.sqrt((rows.confidence * (1 - rows.confidence)).sum())) / len(rows)
    if rows.groups is None:
        return error
    return error * float(np.sqrt(design_effect(rows.confidence - rows.correct, rows.groups)))


def _means(confidence: float, accuracy: float) -> str:
    said, right = (number(v, percent=True, digits=1) for v in (confidence, accuracy))
    return f"it states {said} % on average and is right in {right} % of rows"


def _headline(direction: Direction, gap: float, distinguishable: bool | None, means: str) -> str:
    points = f"{number(abs(gap), percent=True, digits=1)} points"
    if direction != "neither":
        return f"The model is {direction} by {points} on average: {means}."
    if distinguishable:
        return (
            f"Mean confidence and accuracy agree ({means}), but not at every level of confidence: "
            "too high in some ranges, too low in others."
        )
    return f"Mean confidence and accuracy agree within chance: {means}."


def _chance(ece: Estimate | None) -> str:
    if ece is None:
        return ""
    measured = f"ECE {percent_range(ece)}"
    floor = "" if ece.floor is None else f"{number(ece.floor, percent=True, digits=1)} %"
    rows = plural(ece.n, "row")
    if ece.low is None:
        return f"{measured}, on {rows}."
    if ece.low > 0:
        tail = f"; a calibrated model would show about {floor}" if floor else ""
        return f"This is more than chance on {rows}: {measured}{tail}."
    tail = f" (about {floor} on average)" if floor else ""
    return f"On {rows} the ECE is within what a calibrated model shows by chance{tail}: {measured}."
