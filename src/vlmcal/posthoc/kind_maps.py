"""One map for each kind of question, drawn towards that of all kinds as far as its rows ask for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import expit, logit

from vlmcal.calibrators.base import Calibrator
from vlmcal.calibrators.losses import row_losses
from vlmcal.errors import DataError
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import standard_error
from vlmcal.types.folds import fold_index
from vlmcal.types.split import require_fittable

COMMON = float("inf")
# From one map for all kinds, the simplest, to a map of its own for each.
PULLS = (COMMON, 100.0, 25.0, 0.0)
_OPEN = 1e-9


@dataclass(frozen=True)
class KindMaps:
    r"""A calibrator for each kind, mixed with that of all kinds.

    :math:`\operatorname{logit} p = w_k \operatorname{logit} g_k(c) + (1 - w_k) \operatorname{logit} g(c)`,
    :math:`w_k = n_k / (n_k + m)`, with g fitted on all rows, g_k on the n_k rows of the kind, and the pull m:
    0 is a map for each kind, infinity one for all. A kind that was not fitted on, or whose rows cannot be
    fitted on alone, gets g.

    Attributes:
        common: Fitted on all rows.
        own: Fitted on the rows of each kind, by kind.
        counts: Rows of each kind.
        pull: m.
    """

    common: Calibrator
    own: Mapping[str, Calibrator]
    counts: Mapping[str, int]
    pull: float = COMMON

    @classmethod
    def fit(
        cls, calibrator: Calibrator, rows: Confidences, pull: float, *, identify: bool = True
    ) -> Self:
        """Fit on all rows and, where the pull is finite and there are kinds, on those of each.

        Args:
            calibrator: Not changed.
            rows: With verdicts.
            pull: m, at least 0.
            identify: As :meth:`~vlmcal.calibrators.base.Calibrator.fit`.

        Example:
            >>> from vlmcal.calibrators.platt import Platt
            >>> right = [1, 1, 1, 1, 1, 0, 0, 0, 0, 1]
            >>> rows = Confidences(confidence=[0.9] * 10, correct=right, kinds=["a"] * 6 + ["b"] * 4)
            >>> new = Confidences(confidence=[0.9, 0.9], correct=[1, 1], kinds=["a", "b"], ids=["x", "y"])
            >>> for pull in (COMMON, 5, 0):
            ...     KindMaps.fit(Platt(), rows, pull).transform(new).confidence.round(2).tolist()
            [0.59, 0.59]
            [0.7, 0.47]
            [0.77, 0.32]
        """
        common = calibrator.fresh().fit(rows, identify=identify)
        own: dict[str, Calibrator] = {}
        counts: dict[str, int] = {}
        if rows.kinds is not None and pull < COMMON:
            for kind, places in kind_places(rows).items():
                counts[kind] = places.size
                part = rows.subset(places)
                # Where all are right or all wrong there is no curve to fit.
                if part.correct.all() or not part.correct.any():
                    continue
                try:
                    own[kind] = calibrator.fresh().fit(part, identify=identify)
                except UnsuitedRowsError:
                    raise
                except DataError:
                    continue
        return cls(common, own, counts, pull)

    def transform(self, rows: Confidences) -> Confidences:
        """Calibrated rows.

        Raises:
            SplitError: Rows that were fitted on.
        """
        after = self.common.transform(rows)
        if rows.kinds is None or not self.own:
            return after
        confidence = after.confidence.copy()
        for kind, places in kind_places(rows).items():
            if kind in self.own:
                own = self.own[kind].transform(rows.subset(places)).confidence
                weight = self.counts[kind] / (self.counts[kind] + self.pull)
                confidence[places] = _mixed(own, confidence[places], weight)
        step = {"calibrator": self.common.name, "kinds": sorted(self.own), "pull": self.pull}
        steps = [*after.provenance.get("steps", []), step]
        return replace(
            after, confidence=confidence, provenance={**after.provenance, "steps": steps}
        )

    def with_pull(self, pull: float) -> "KindMaps":
        """The same maps mixed otherwise."""
        return replace(self, pull=pull, own={} if pull == COMMON else self.own)


def _mixed(own: FloatArray, common: FloatArray, weight: float) -> FloatArray:
    a, b = (logit(np.clip(p, _OPEN, 1 - _OPEN)) for p in (own, common))
    mixed: FloatArray = expit(weight * a + (1 - weight) * b)
    return own if weight == 1 else mixed


def kind_places(rows: Confidences) -> dict[str, IntArray]:
    """Places of the rows of each kind, by kind, in the order of their first row.

    Raises:
        DataError: The rows carry no kinds.
    """
    if rows.kinds is None:
        raise DataError("per kind: these rows carry no kinds")
    return {str(k): np.flatnonzero(rows.kinds == k) for k in dict.fromkeys(rows.kinds.tolist())}


@dataclass(frozen=True)
class KindChoice:
    """Out-of-fold rows under the pull that was chosen.

    Attributes:
        rows: Calibrated; no row's group was fitted on.
        common: The same under one map for all kinds.
        pull: Chosen.
        losses: Mean out-of-fold log-loss of every pull that was tried.
    """

    rows: Confidences
    common: Confidences
    pull: float
    losses: Mapping[float, float]

    def told(self) -> str:
        """What was chosen, in words; "" where there was no choice."""
        if len(self.losses) < 2:
            return ""
        if self.pull == COMMON:
            return (
                "one map for all kinds of question: maps per kind are not shown to be better (log-loss "
                f"{min(self.losses.values()):.3f} at best against {self.losses[COMMON]:.3f})"
            )
        drawn = "" if self.pull == 0 else f", drawn to the common one as by {self.pull:g} rows"
        return (
            f"a map for each kind of question{drawn} (log-loss {self.losses[self.pull]:.3f} against "
            f"{self.losses[COMMON]:.3f} with one map for all)"
        )


def cross_fit_kinds(
    calibrator: Calibrator,
    rows: Confidences,
    *,
    per_kind: bool | None = None,
    folds: int = 5,
    seed: int = 0,
) -> KindChoice:
    """Out-of-fold rows, with a map for each kind as far as cross-validation speaks for it.

    Of the pulls infinity (one map), 100, 25 and 0 (a map each) the largest is chosen whose out-of-fold
    log-loss is within one standard error of the smallest (of the paired difference, by groups): kinds are
    told apart only where the rows show that they differ.

    Args:
        calibrator: Not changed.
        rows: With verdicts, groups and, to be told apart, kinds.
        per_kind: None chooses; True is a map for each kind, False one for all.
        folds: Of the cross-fitting; folds keep groups together.
        seed: Of the folds.

    Raises:
        SplitError: The rows are test data.
        DataError: Fewer groups than folds, or ``per_kind`` without kinds.

    Example:
        >>> from vlmcal.calibrators.platt import Platt
        >>> rng = np.random.default_rng(0)
        >>> kinds = np.repeat(["open", "closed"], 300)
        >>> right = rng.random(600) < np.where(kinds == "open", 0.3, 0.9)
        >>> rows = Confidences(confidence=rng.uniform(0.8, 1, 600), correct=right, kinds=kinds)
        >>> cross_fit_kinds(Platt(), rows).pull < COMMON
        True
    """
    require_fittable(rows.split, f'cross-fitting of "{calibrator.name}"')
    if per_kind:
        _require_enough(rows, folds)
    pulls: tuple[float, ...] = (0.0,) if per_kind else (COMMON,)
    if per_kind is None and rows.kinds is not None and np.unique(rows.kinds).size > 1:
        pulls = PULLS
    index = fold_index(rows, folds=folds, seed=seed)
    found = {pull: rows.confidence.copy() for pull in {*pulls, COMMON}}
    provenance = rows.provenance
    for fold in range(folds):
        inside = np.flatnonzero(index == fold)
        held = rows.subset(inside)
        maps = KindMaps.fit(calibrator, rows.subset(index != fold), min(pulls))
        for pull in found:
            found[pull][inside] = maps.with_pull(pull).transform(held).confidence
    step = {
        "calibrator": calibrator.name,
        "scheme": "cross-fitted",
        "folds": folds,
        "groups": rows.groups is not None,
        "seed": seed,
        "fitted_on": {"split": rows.split, "n": len(rows)},
    }
    made = {pull: replace(rows, confidence=confidence) for pull, confidence in found.items()}
    losses = {pull: row_losses(made[pull], "nll") for pull in pulls}
    best = min(losses, key=lambda pull: float(losses[pull].mean()))
    chosen = next(pull for pull in pulls if _near(losses[pull], losses[best], rows))
    if len(pulls) > 1 or per_kind:
        step["pull"] = chosen
    steps = [*provenance.get("steps", []), step]
    after = replace(made[chosen], provenance={**provenance, "steps": steps})
    means = {pull: float(loss.mean()) for pull, loss in losses.items()}
    return KindChoice(after, made[COMMON], chosen, means)


def _require_enough(rows: Confidences, folds: int) -> None:
    for kind, places in kind_places(rows).items():
        groups = np.unique(rows.units[places]).size
        if groups < folds:
            raise DataError(
                f'kind "{kind}" of {places.size:,} rows: {folds} folds need at least {folds} groups, got '
                f"{groups}; use fewer folds, or one map for all kinds"
            )


def _near(losses: FloatArray, best: FloatArray, rows: Confidences) -> bool:
    """Whether the mean loss is within one standard error of the best; equal ones are."""
    if not np.isfinite(losses).all():
        return losses is best
    excess = losses - best
    return bool(excess.mean() <= standard_error(excess, rows.groups))
