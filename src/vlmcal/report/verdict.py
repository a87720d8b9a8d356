"""In plain words: is this model too sure of itself, by how much, and could that be chance?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vlmcal.report.formats import number, percent_range, plural
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.estimate import Estimate

Direction = Literal["over-confident", "under-confident", "neither"]
_Z = 1.959964


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


def calibration_verdict(
    confidence: FloatArray, correct: BoolArray, ece: Estimate | None = None
) -> Verdict:
    """Compare mean confidence with accuracy, and the ECE with that of a calibrated model.

    The gap mean(confidence - correct) counts when it exceeds 1.96 of its standard errors. The ECE counts
    when its interval excludes 0.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) whether the answer was right.
        ece: Measured ECE with interval and floor.

    Example:
        >>> verdict = calibration_verdict(np.full(1000, 0.9), np.arange(1000) < 700)
        >>> verdict.direction, round(verdict.gap, 3)
        ('over-confident', 0.2)
    """
    residual = confidence - correct
    gap = float(residual.mean())
    error = float(residual.std(ddof=1) / np.sqrt(residual.size)) if residual.size > 1 else np.inf
    direction: Direction = "neither"
    if abs(gap) > _Z * error:
        direction = "over-confident" if gap > 0 else "under-confident"
    known = ece is not None and ece.low is not None
    distinguishable = bool(ece is not None and (ece.low or 0.0) > 0) if known else None
    means = _means(float(confidence.mean()), float(correct.mean()))
    parts = (_headline(direction, gap, distinguishable, means), _chance(ece))
    return Verdict(direction, gap, distinguishable, tuple(part for part in parts if part))


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
    tail = f", which shows about {floor} by chance" if floor else ""
    return f"On {rows} it cannot be told from a calibrated model{tail}: {measured}."
