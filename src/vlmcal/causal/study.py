"""A whole study: propensities, their calibration, the estimates, and what speaks against them."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vlmcal.calibrators.base import Calibrator
from vlmcal.causal.diagnostics import Diagnostics, diagnose
from vlmcal.causal.effects import ESTIMATORS, Effect, effect
from vlmcal.causal.nuisance import CrossFitted, Maker, cross_fit, nested_scores
from vlmcal.causal.schemes import calibrate_scores, scheme_of
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray, IntArray, Numbers, as_array

FEW_EFFECTIVE = 50


@dataclass(frozen=True)
class Study:
    """Effects before and after the propensities were calibrated.

    Attributes:
        scores: (N,) propensities as they came.
        propensity: (N,) calibrated and clipped.
        fold: (N,) fold of every row.
        raw: Effects with the clipped scores.
        effects: Effects with the calibrated ones.
        raw_diagnostics: Of the clipped scores.
        diagnostics: Of the calibrated ones.
        notes: What to look at before an effect is believed.
        scheme: The splitting scheme.
    """

    scores: FloatArray
    propensity: FloatArray
    fold: IntArray
    raw: list[Effect]
    effects: list[Effect]
    raw_diagnostics: Diagnostics
    diagnostics: Diagnostics
    notes: list[str]
    scheme: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, without the rows."""
        sides = {"raw": (self.raw, self.raw_diagnostics)}
        sides["calibrated"] = (self.effects, self.diagnostics)
        return {
            side: {
                "effects": {e.estimator: asdict(e) for e in effects},
                "diagnostics": {
                    k: v.tolist() if isinstance(v, np.ndarray) else v
                    for k, v in asdict(found).items()
                },
            }
            for side, (effects, found) in sides.items()
        } | {"scheme": self.scheme, "notes": self.notes}


def study(
    treated: Numbers,
    y: Numbers,
    *,
    covariates: Numbers | None = None,
    scores: Numbers | None = None,
    fold: Numbers | None = None,
    learner: str | Maker = "logistic",
    outcome: str | Maker = "linear",
    method: str | Calibrator = "platt(smooth=false)",
    scheme: str = "other-folds",
    clip: float = 0.01,
    folds: int = 5,
    level: float = 0.95,
    seed: int = 0,
) -> Study:
    """Cross-fit, calibrate, estimate and check.

    Scheme and clip belong into the plan of a study: choosing them by the effect they give is a way to find
    any effect. Calibration repairs the level of propensities; no missing confounder and no wrong order.

    Args:
        treated: (N,) 0 or 1.
        y: (N,) outcome.
        covariates: (N, P); or None where ``scores`` are brought; then "aipw" and "plr_residual" are
            left out.
        scores: (N,) propensities of another program, out of fold, or None.
        fold: (N,) their folds, or None.
        learner: As :func:`~vlmcal.causal.nuisance.cross_fit`.
        outcome: Likewise.
        method: Calibrator, as :func:`~vlmcal.causal.schemes.calibrate_scores`.
        scheme: Likewise.
        clip: Likewise.
        folds: Number of folds.
        level: Of the intervals.
        seed: Of folds and learners.

    Raises:
        SpecError: Neither covariates nor scores, or as the functions it calls.
        DataError: As these.

    Example:
        >>> from vlmcal.causal.simulated import boosting_design
        >>> sample = boosting_design(400, seed=1)
        >>> out = study(sample.d, sample.y, covariates=sample.x)
        >>> [e.estimator for e in out.effects][:2], abs(out.effects[0].value - 1) < 0.3
        (['aipw', 'plr_residual'], True)
    """
    if covariates is None and scores is None:
        raise SpecError("a study needs covariates, or propensity scores of another program")
    scheme = scheme_of(scheme)
    if scheme == "nested" and (covariates is None or scores is not None):
        raise SpecError('scheme "nested" fits its own learner: give covariates and no scores')
    d = as_array(treated)
    brought = None if scores is None else as_array(scores).astype(np.float64)
    if covariates is None:
        assert brought is not None
        found = CrossFitted(_folds(fold, d, scheme), brought)
    else:
        found = cross_fit(
            covariates, d, y, learner=learner, outcome=outcome, fold=fold, folds=folds, seed=seed
        )
        if brought is not None:
            found = replace(found, scores=brought)
    nested = None
    if scheme == "nested":
        assert covariates is not None
        nested = nested_scores(covariates, d, found.fold, learner=learner, seed=seed)
    raw = calibrate_scores(found.scores, d, scheme="none", clip=clip)
    m = calibrate_scores(
        found.scores, d, found.fold, method=method, scheme=scheme, clip=clip, nested=nested
    )
    effects, calibrated_effects = (_effects(y, d, p, found, level) for p in (raw, m))
    before, after = (diagnose(p, d, covariates) for p in (raw, m))
    notes = _notes(after, clip, m)
    return Study(
        found.scores, m, found.fold, effects, calibrated_effects, before, after, notes, scheme
    )


def _folds(fold: Numbers | None, d: Any, scheme: str) -> IntArray:
    if fold is not None:
        return as_array(fold)
    if scheme in ("full-sample", "none"):
        return np.zeros(len(d), dtype=np.int64)
    raise DataError(
        f'scheme "{scheme}" needs the fold of each row beside its score; name its column, or use '
        'scheme "full-sample"'
    )


def _effects(y: Any, d: Any, m: FloatArray, found: CrossFitted, level: float) -> list[Effect]:
    more = {"g0": found.g0, "g1": found.g1, "mean": found.mean}
    names = [n for n in ESTIMATORS if found.g0 is not None or n not in ("aipw", "plr_residual")]
    return [effect(y, d, m, estimator=name, level=level, **more) for name in names]


def _notes(found: Diagnostics, clip: float, m: FloatArray) -> list[str]:
    notes = []
    if min(found.effective) < FEW_EFFECTIVE:
        notes.append(
            f"an arm has an effective size of {min(found.effective):.0f} rows: few rows carry the estimate"
        )
    share = float(((m <= clip) | (m >= 1 - clip)).mean())
    if share > 0.01:
        notes.append(f"{100 * share:.1f} % of the propensities stand at the clip of {clip:g}")
    if found.unbalanced and found.after is not None:
        notes.append(
            f"{found.unbalanced} of {len(found.after)} covariates differ by more than 0.1 standard "
            "deviations after weighting"
        )
    off = max(abs(w - 1) for w in found.mean_weight)
    if off > 0.1:
        notes.append(f"mean weights are off 1 by {off:.2f}: the level of the propensities is wrong")
    return notes
