"""In plain words: is this model too sure of itself, by how much, and could that be chance?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlmcal.metrics.kit.proportions import design_effect, effective_groups, survival
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

Direction = Literal["over-confident", "under-confident", "neither"]
_LEVEL = 0.05
# Below these, agreement within chance says nothing about the model.
FEW_ROWS = 30


@dataclass(frozen=True)
class Verdict:
    """What the numbers say about one set of rows.

    Attributes:
        direction: Sign of the mean gap where it is larger than chance, else "neither".
        gap: Mean confidence minus accuracy, a fraction.
        distinguishable: Whether these rows show more than chance, by mean gap or ECE; None without a test of
            the ECE.
        sentences: One or two sentences for readers; the first is the headline.
    """

    direction: Direction
    gap: float
    distinguishable: bool | None
    sentences: tuple[str, ...]


def calibration_verdict(rows: Confidences, ece: Estimate | None = None) -> Verdict:
    """Compare mean confidence with accuracy, and the ECE with that of a calibrated model.

    Two tests of "the model is calibrated" decide what is called chance: the mean gap mean(confidence -
    correct) against its standard error sqrt(sum c (1 - c)) / N (larger, with Student's t, where
    rows come in groups), and the ECE's own null test (``Estimate.p_value``). Where both are at hand each must
    reach 2.5 %, so that together they call a calibrated model miscalibrated in at most 5 %. An interval's end
    decides nothing.

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
    tested = ece is not None and (ece.p_value is not None or ece.low is not None)
    level = _LEVEL / 2 if tested else _LEVEL
    direction: Direction = "neither"
    if _gap_p_value(rows, gap) < level:
        direction = "over-confident" if gap > 0 else "under-confident"
    uneven = ece is not None and _rejected(ece, level)
    distinguishable = (uneven or direction != "neither") if tested else None
    means = _means(float(confidence.mean()), float(correct.mean()))
    headline = _headline(direction, gap, uneven, means)
    if len(rows) < FEW_ROWS and direction == "neither" and not uneven:
        headline = f"Too few rows to tell ({len(rows)}): {means}."
    parts = (headline, _chance(ece, uneven, direction))
    return Verdict(direction, gap, distinguishable, tuple(part for part in parts if part))


def _rejected(ece: Estimate, level: float) -> bool:
    """Whether the null test of the ECE rejects "calibrated".

    Evaluations that were saved without a p-value have an interval that begins above 0 only where the test
    rejected at 2.5 %.
    """
    if ece.p_value is None:
        return (ece.low or 0.0) > 0
    return ece.p_value < level


def _gap_p_value(rows: Confidences, gap: float) -> float:
    """Two-sided p-value of the mean gap of a calibrated model."""
    error = float(np.sqrt((rows.confidence * (1 - rows.confidence)).sum())) / len(rows)
    if rows.groups is None:
        return 2 * survival(abs(gap) / error) if error > 0 else float(gap == 0)
    error *= float(np.sqrt(design_effect(rows.confidence - rows.correct, rows.groups)))
    units = effective_groups(rows.groups, rows.confidence - rows.correct)
    if units == 1:
        return 1.0
    return 2 * survival(abs(gap) / error, units) if error > 0 else float(gap == 0)


def _means(confidence: float, accuracy: float) -> str:
    said, right = (number(v, percent=True, digits=1) for v in (confidence, accuracy))
    return f"it states {said} % on average and is right in {right} % of rows"


def _headline(direction: Direction, gap: float, uneven: bool, means: str) -> str:
    points = f"{number(abs(gap), percent=True, digits=1)} points"
    if direction != "neither":
        return f"The model is {direction} by {points} on average: {means}."
    if uneven:
        return (
            f"Mean confidence and accuracy agree ({means}), but not at every level of confidence: "
            "too high in some ranges, too low in others."
        )
    return f"Mean confidence and accuracy agree within chance: {means}."


def _chance(ece: Estimate | None, uneven: bool, direction: Direction) -> str:
    """What the ECE says; it never speaks against the headline."""
    if ece is None:
        return ""
    measured = f"ECE {percent_range(ece)}"
    rows = plural(ece.n, "row")
    if ece.p_value is None and ece.low is None:
        return f"{measured}, on {rows}."
    floor = "" if ece.floor is None else f"{number(ece.floor, percent=True, digits=1)} %"
    tail = f"; a calibrated model would show about {floor}" if floor else ""
    if uneven:
        return f"This is more than chance on {rows}: {measured}{tail}."
    if direction != "neither":
        return (
            f"The average difference is more than chance on {rows}; the ECE, which also counts the noise of "
            f"every bin, is not larger for it: {measured}{tail}."
        )
    tail = f" (about {floor} on average)" if floor else ""
    return f"On {rows} the ECE is within what a calibrated model shows by chance{tail}: {measured}."
