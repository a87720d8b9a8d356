"""Which way of asking to use: all of them, and their fusion, compared on the same questions."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import ndtri

from vlmcal.calibrators.base import CalibrationWarning, Calibrator
from vlmcal.calibrators.fusion import Fusion
from vlmcal.elicit.rows import ElicitorRows
from vlmcal.errors import DataError
from vlmcal.posthoc.kind_maps import cross_fit_kinds
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import standard_error


@dataclass(frozen=True)
class Candidate:
    """One way of asking, calibrated.

    Attributes:
        name: Label of the elicitor; "fusion on LABEL" is its answer with all signals.
        usable: Questions with an answer, a verdict and a confidence.
        accuracy: Share of these that was right.
        worth: Mean over all questions; see :func:`choose_elicitor`.
        behind: By how much the worth of the best is larger (0 for the best), with its standard error.
        error: That error.
    """

    name: str
    usable: int
    accuracy: float
    worth: float
    behind: float = 0.0
    error: float = 0.0


@dataclass(frozen=True)
class ElicitorChoice:
    """All candidates, the best first.

    Attributes:
        candidates: By falling worth.
        questions: Number of questions they are compared on.
        level: Of the statement that one is better.
    """

    candidates: tuple[Candidate, ...]
    questions: int
    level: float

    @property
    def equals(self) -> tuple[str, ...]:
        """The best and those that these questions do not tell from it."""
        best, *others = self.candidates
        # Each of the others may be the lucky one.
        z = float(ndtri(1 - (1 - self.level) / 2 / max(len(others), 1)))
        near = [c.name for c in others if not c.behind > z * c.error]
        return (best.name, *near)

    def sentences(self) -> list[str]:
        """Which to use, and why."""
        if len(self.candidates) < 2:
            return []
        best, second, *_ = self.candidates
        measure = (
            f"worth {100 * best.worth:.1f} points a question (right answers less the squared error of their "
            f"calibrated probability; {best.usable:,} of {self.questions:,} questions usable, "
            f"{100 * best.accuracy:.1f} % right)"
        )
        equals = self.equals
        if len(equals) == 1:
            half = float(ndtri((1 + self.level) / 2)) * second.error
            ends = f"{100 * (second.behind - half):.1f} to {100 * (second.behind + half):.1f}"
            return [
                f"Use “{best.name}”: {measure}. The next, “{second.name}”, is "
                f"{100 * second.behind:.1f} points behind ({ends})."
            ]
        plain = [name for name in equals if not name.startswith(_FUSION)] or list(equals)
        others = ", ".join(f"“{name}”" for name in equals if name != best.name)
        return [
            f"“{best.name}” comes out best, {measure}, but is not distinguishable from {others} on these "
            f"questions: use the one that is simplest and cheapest, such as “{plain[0]}”."
        ]


_FUSION = "fusion on "


def choose_elicitor(
    elicitors: Sequence[ElicitorRows],
    calibrator: Calibrator,
    *,
    folds: int = 5,
    level: float = 0.95,
    seed: int = 0,
) -> ElicitorChoice | None:
    r"""Compare every elicitor, calibrated by cross-fitting, and the fusion of all signals on its answers.

    Elicitors may answer differently, so not only the confidence counts. Worth of a question: with calibrated
    probability p and verdict y, :math:`y - (y - p)^2`, and 0 where there is nothing to rely on. It is twice
    the gain from relying on the answer whenever p is at least t, which gains y - t, for t uniform on
    [0, 1]: nobody's threshold is preferred. Differences are paired by question, their errors by image.

    Args:
        elicitors: Rows of each.
        calibrator: Makes the probabilities of every elicitor; not changed.
        folds: Of the cross-fitting.
        level: Of the statement that one is better, with Bonferroni's correction for several others.
        seed: Of the folds.

    Returns:
        None where no elicitor has enough rows.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> choose_elicitor([], Platt()) is None
        True
    """
    calibrated: dict[str, Confidences] = {}
    for each in elicitors:
        rows = each.parsed
        if rows is None:
            continue
        methods = {each.elicitor: calibrator}
        if "signals" in rows.extras and calibrator.name != Fusion.name:
            methods[_FUSION + each.elicitor] = Fusion()
        for name, method in methods.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CalibrationWarning)
                try:
                    calibrated[name] = cross_fit_kinds(method, rows, folds=folds, seed=seed).rows
                except DataError:
                    continue
    if not calibrated:
        return None
    return _ranked(calibrated, level)


def _ranked(calibrated: dict[str, Confidences], level: float) -> ElicitorChoice:
    group: dict[str, str] = {}
    for rows in calibrated.values():
        group |= dict(zip(rows.ids.tolist(), rows.units.tolist(), strict=True))
    ids = list(group)
    groups = np.array(list(group.values()))
    worth = {name: _worth(rows, ids) for name, rows in calibrated.items()}
    order = sorted(worth, key=lambda name: -float(worth[name].mean()))
    best = worth[order[0]]
    candidates = tuple(
        Candidate(
            name,
            len(calibrated[name]),
            float(calibrated[name].correct.mean()),
            float(worth[name].mean()),
            float((best - worth[name]).mean()),
            _error(best - worth[name], groups),
        )
        for name in order
    )
    return ElicitorChoice(candidates, len(ids), level)


def _worth(rows: Confidences, ids: list[str]) -> FloatArray:
    place = {name: i for i, name in enumerate(ids)}
    found = np.zeros(len(ids))
    right = rows.correct.astype(float)
    found[[place[name] for name in rows.ids.tolist()]] = right - (right - rows.confidence) ** 2
    return found


def _error(difference: FloatArray, groups: StrArray) -> float:
    return 0.0 if not difference.any() else min(standard_error(difference, groups), sqrt(2.0))
