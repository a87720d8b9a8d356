"""Which rows a calibrator of propensity scores is fitted on, and which it is applied to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, Calibrator
from vlmcal.calibrators.scalar import ScalarCalibrator
from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.options import build
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, Numbers, as_array
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences

Scheme = Literal["other-folds", "full-sample", "within-fold", "nested", "none"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
# As the source names its algorithms 1, 2, 3 and 5.
PAPER: Mapping[str, Scheme] = MappingProxyType(
    {
        "uncalibrated": "none",
        "nested-cross-fitting": "nested",
        "cross-fitted": "within-fold",
        "full-sample": "full-sample",
    }
)
# A calibrator on log-odds sees no score beyond these: a forest's 0 and 1 have infinite log-odds.
LIMIT = 1e-3


@dataclass(frozen=True)
class Nested:
    """Scores of learners that were fitted on one half of every training fold.

    Attributes:
        test: (N,) score of each row by the learner of its own fold.
        calibration: (folds, N) scores of the same learners; read where ``half`` is 2.
        half: (folds, N) 1 where the fold's learner was fitted, 2 where its calibrator is, 0 in the fold.
    """

    test: FloatArray
    calibration: FloatArray
    half: IntArray


def scheme_of(name: str) -> str:
    """A splitting scheme by its name here or in the source ("alg-2-nested-cross-fitting-calib").

    Raises:
        SpecError: An unknown scheme; or the source's single split, which scores rows by a learner that was
            fitted on them.

    Example:
        >>> scheme_of("cross-fitted"), scheme_of("alg-1-uncalibrated"), scheme_of("nested")
        ('within-fold', 'none', 'nested')
    """
    plain = re.sub(r"^alg(orithm)?-?\d-|-calib(ration)?$", "", name.strip().lower())
    if plain == "single-split":
        raise SpecError(
            f'scheme: "{name}" scores half of the rows by a learner that was fitted on them, so that the '
            "treatment leaks into the score; nested splits without that"
        )
    found = PAPER.get(plain, plain)
    if found not in SCHEMES:
        raise SpecError(
            f'scheme: no splitting scheme "{name}"; {nearest(plain, sorted({*SCHEMES, *PAPER}))}'
        )
    return found


def calibrate_scores(
    scores: Numbers,
    treated: Numbers,
    fold: Numbers | None = None,
    *,
    method: str | Calibrator = "platt(smooth=false)",
    scheme: str = "other-folds",
    clip: float = 0.01,
    nested: Nested | None = None,
) -> FloatArray:
    """Calibrated propensity scores (N,), limited to [clip, 1 - clip].

    ``other-folds`` fits the calibrator for fold k on the out-of-fold scores of the other folds, so that no
    row's own treatment enters its score; ``full-sample`` fits one on all rows and applies it to them
    (algorithm 5 of the source); ``within-fold`` fits and applies one inside every fold (algorithm 3): with
    isotonic regression both let the treatment leak into the score. ``nested`` fits learner and calibrator
    on two halves of the training folds (algorithm 2, halves shuffled and balanced). ``none`` only clips.

    Args:
        scores: (N,) out-of-fold propensity scores in [0, 1].
        treated: (N,) 0 or 1.
        fold: (N,) fold of each row, for "other-folds", "within-fold" and "nested".
        method: A calibrator for scalar confidences, by name or built. Those on log-odds see scores limited
            to [0.001, 0.999].
        scheme: See above; by the source's name, too (:func:`scheme_of`).
        clip: Limit of the result; weights are at most 1 / clip.
        nested: Scores for "nested", from :func:`~vlmcal.causal.nuisance.nested_scores`.

    Raises:
        SpecError: An unknown scheme or method, one that needs class scores, or a clip outside [0, 0.5).
        DataError: Shapes differ, scores outside [0, 1], one arm is empty, or folds are missing.

    Source: Rabenseifner, Klaassen, Kueck and Bach, "Calibration Strategies for Robust Causal Estimation",
    arXiv 2503.17290.

    Example:
        >>> s = np.array([0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8])
        >>> d = np.array([0, 0, 0, 1, 0, 1, 0, 1])
        >>> calibrate_scores(s, d, method="isotonic", scheme="full-sample").round(3).tolist()
        [0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5]
    """
    scheme = scheme_of(scheme)
    if not 0 <= clip < 0.5:
        raise SpecError(f"clip: expected a number in [0, 0.5), got {clip}")
    if scheme == "nested":
        if nested is None:
            raise SpecError('scheme "nested" needs the scores of nested_scores(...) as nested=')
        scores = nested.test
    rows = Confidences(confidence=scores, correct=treated)  # type: ignore[arg-type]
    if scheme == "none":
        return rows.confidence.clip(clip, 1 - clip)
    require_arms(rows.correct)
    calibrator = method if isinstance(method, Calibrator) else build(CALIBRATORS, method)
    if not calibrator.scalar:
        raise SpecError(
            f'method: "{calibrator.name}" needs class scores; propensities take a scalar calibrator '
            "(platt, beta, isotonic, venn_abers, spline, ...)"
        )
    if scheme == "full-sample":
        return _mapped(calibrator, rows, rows).clip(clip, 1 - clip)
    index = None if fold is None else as_array(fold)
    if index is None or index.shape != (len(rows),):
        raise DataError(f'scheme "{scheme}" needs the fold of each of the {len(rows)} rows')
    found = np.empty(len(rows))
    for k, number in enumerate(np.unique(index)):
        inside = index == number
        if scheme == "nested":
            assert nested is not None
            second = nested.half[k] == 2
            fitted = Confidences(
                confidence=nested.calibration[k][second], correct=rows.correct[second]
            )
        else:
            fitted = rows.subset(inside if scheme == "within-fold" else ~inside)
        if fitted.correct.all() or not fitted.correct.any():
            raise DataError(
                f"fold {number}: the rows to calibrate on are all of one arm; use fewer folds, or "
                'scheme="full-sample"'
            )
        found[inside] = _mapped(calibrator, fitted, rows.subset(inside))
    return found.clip(clip, 1 - clip)


def require_arms(treated: BoolArray) -> None:
    """Refuse a treatment that all rows or none have.

    Raises:
        DataError: One arm is empty.
    """
    if treated.all() or not treated.any():
        raise DataError(
            f"treated: all {len(treated)} rows are in one arm; a propensity needs treated and untreated rows"
        )


def _mapped(calibrator: Calibrator, fitted: Confidences, rows: Confidences) -> FloatArray:
    """Scores of ``rows`` by the calibrator's map from ``fitted``; the guards against overlap do not apply."""
    odds = not isinstance(calibrator, ScalarCalibrator) or calibrator.space == "log_odds"
    low, high = (LIMIT, 1 - LIMIT) if odds else (0.0, 1.0)

    def drawn(part: Confidences) -> Any:
        inside = part.confidence.clip(low, high)
        return as_binary(Confidences(confidence=inside, correct=part.correct, ids=part.ids))

    fresh = calibrator.fresh().fit(drawn(fitted), identify=False)
    return fresh.mapped(drawn(rows)).probabilities()[:, 1]
