"""From the cases whose outcome is known to all cases: weights by the inverse probability of being known."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vlmcal.metrics.kit.bootstrap import bootstrap
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate

_RESAMPLES = 500


class Weighted(NamedTuple):
    """What is estimated for all cases from those whose outcome is known.

    Attributes:
        cases: Which these numbers are about: all but those of unseen strata.
        accuracy: Of the model, with its interval and the number of known outcomes.
        gap: Mean confidence minus accuracy, with its interval.
        effective: Outcomes of a simple random sample that would say as much, (sum w)^2 / sum w^2.
        unseen: Strata without any outcome, with their cases: nothing is known of these.
    """

    cases: int
    accuracy: Estimate
    gap: Estimate
    effective: float
    unseen: tuple[tuple[str, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        plain = self._asdict()
        return plain | {"accuracy": vars(self.accuracy), "gap": vars(self.gap)}

    def sentences(self) -> list[str]:
        """In words."""
        right, gap = self.accuracy, self.gap
        of_right = of_gap = ""
        which = "the other" if self.unseen else "all"
        if right.low is not None and right.high is not None:
            of_right = f" ({100 * right.low:.1f} to {100 * right.high:.1f})"
        if gap.low is not None and gap.high is not None:
            of_gap = f" ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
        told = [
            f"weighted to {which} {self.cases:,} cases: right {100 * right.value:.1f} %{of_right}, "
            f"confidence minus right {100 * gap.value:+.1f} points{of_gap}; {right.n:,} outcomes that say as "
            f"much as {self.effective:,.0f} drawn at random"
        ]
        unseen = [
            f"no outcome of {name} ({n:,} cases): nothing is known of these"
            for name, n in self.unseen
        ]
        return unseen + told


def inverse_probabilities(
    known: BoolArray, strata: Sequence[str] | StrArray, stated: FloatArray | None = None
) -> FloatArray:
    r"""Weight of each case whose outcome is known, (N,): :math:`w_i = 1 / \pi_i`, and 0 for the others.

    :math:`\pi_i` is the stated probability with which the case was chosen to be looked into; without one the
    share of its stratum that is known, which is right where outcomes are a random part of each stratum.

    Args:
        known: (N,) whether the outcome is known.
        strata: (N,) name of each case's stratum.
        stated: (N,) probabilities in (0, 1], NaN where nobody said; or None.

    Source: Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe",
    JASA 1952; Begg and Greenes, "Assessment of diagnostic tests when disease verification is subject to
    selection bias", Biometrics 1983.

    Example:
        >>> known = np.array([True, True, True, False])
        >>> inverse_probabilities(known, ["a", "a", "b", "b"]).tolist()
        [1.0, 1.0, 2.0, 0.0]
        >>> inverse_probabilities(known, ["a", "a", "b", "b"], np.array([0.5, np.nan, np.nan, 0.1])).tolist()
        [2.0, 1.0, 2.0, 0.0]
    """
    _, index = np.unique(np.asarray(strata), return_inverse=True)
    share = np.bincount(index, known) / np.bincount(index)
    chance = share[index]
    if stated is not None:
        chance = np.where(np.isnan(stated), chance, stated)
    found: FloatArray = np.where(known, 1 / np.where(chance > 0, chance, 1.0), 0.0)
    return found


def weighted(
    rows: Confidences, weights: FloatArray, cases: int, *, level: float = 0.95, seed: int = 0
) -> Weighted:
    r"""Accuracy and calibration in the large for all cases, :math:`\sum w_i x_i / \sum w_i`.

    Args:
        rows: Cases whose outcome is known.
        weights: (N,) theirs, of :func:`inverse_probabilities`.
        cases: Of which these are some.
        level: Of the intervals, from resamples of whole groups; weights are taken as given.
        seed: Of the resampling.

    Example:
        >>> rows = Confidences(confidence=[0.9, 0.9, 0.6], correct=[True, True, False])
        >>> found = weighted(rows, np.array([1.0, 1.0, 2.0]), 4)
        >>> found.accuracy.value, round(found.gap.value, 3), round(found.effective, 2)
        (0.5, 0.25, 2.67)
    """

    def mean(values: FloatArray) -> Any:
        def of(drawn: FloatArray) -> float:
            total = float(drawn @ weights)
            return float((drawn * weights) @ values) / total if total else 0.0

        return of

    right = rows.correct.astype(np.float64)
    found = bootstrap(
        {"accuracy": mean(right), "gap": mean(rows.confidence - right)},
        len(rows),
        groups=rows.groups,
        resamples=_RESAMPLES,
        generator=numpy_generator(seed, "review weights"),
    )
    made = {}
    for name, each in found.items():
        low, high = each.interval(level) or (None, None)
        made[name] = Estimate(each.value, low, high, n=len(rows), method=each.method)
    effective = float(weights.sum() ** 2 / np.square(weights).sum())
    return Weighted(cases, made["accuracy"], made["gap"], effective)
