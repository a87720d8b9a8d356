"""What the log says about readers and model together: arms, overrides, automation bias."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmcal.metrics.clinical.paired import McNemar, mcnemar
from vlmcal.metrics.kit.bootstrap import bootstrap
from vlmcal.metrics.kit.proportions import clopper_pearson, infer_proportion
from vlmcal.review.standing import Reading
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import BoolArray, StrArray
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from vlmcal.review.database import Review

_RESAMPLES = 1000


@dataclass(frozen=True)
class ArmResult:
    """Decisions of one arm whose truth is known.

    Attributes:
        n: Decisions.
        accuracy: Share that is right.
        sensitivity: Share of the cases of each critical class that was named so.
        seconds: Median time to decide; None where none was recorded.
    """

    n: int
    accuracy: Estimate
    sensitivity: dict[str, Estimate] = field(default_factory=dict)
    seconds: Estimate | None = None


@dataclass(frozen=True)
class Measures:
    """What :func:`measure` found; shares with intervals and the number of rows behind each.

    Attributes:
        arms: By name.
        gain: Accuracy in "reader-first" minus accuracy in "blind", resampled by group; None where one of them
            is empty.
        before_after: First answers against decisions of the same readers on the same cases, "reader-first".
        across: Cases read in both arms by different readers, blind against reader-first.
        overrides: Share of decisions with the model in view that are not the model's.
        right_overrides: Share of the overrides with a known truth that are right.
        automation_bias: Among cases with a right first answer and a wrong model, the share whose decision is
            the model's.
        cannot_tell: Share of decisions that are "cannot tell".
        verified: Share of cases with a known truth, of all and of each stratum.
    """

    arms: dict[str, ArmResult]
    gain: Estimate | None
    before_after: McNemar | None
    across: McNemar | None
    overrides: Estimate | None
    right_overrides: Estimate | None
    automation_bias: Estimate | None
    cannot_tell: Estimate | None
    verified: dict[str, tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        plain = asdict(self)
        for name in ("before_after", "across"):
            found = getattr(self, name)
            plain[name] = None if found is None else found._asdict()
        plain["verified"] = {
            name: {"known": known, "cases": n} for name, (known, n) in self.verified.items()
        }
        return plain


def readings(review: "Review") -> list[Reading]:
    """Every decision in force, in the order in which they were made; adjudications are left out."""
    found = [row for each in review.standing.cases().values() for row in each.readings]
    return sorted(found, key=lambda reading: reading.final.seq)


def measure(review: "Review", *, level: float = 0.95, seed: int = 0) -> Measures:
    """Arms, overrides and automation bias of a review, as far as truths are known.

    Args:
        review: The review.
        level: Of the intervals.
        seed: Of the resampling.
    """
    rows = readings(review)
    known = [row for row in rows if row.truth is not None]
    by_arm = {
        arm: [row for row in known if row.arm == arm]
        for arm in ("blind", "reader-first", "assisted")
    }
    critical = review.policy.critical
    arms = {arm: _arm(own, critical, level, seed) for arm, own in by_arm.items() if own}
    blind, first = by_arm["blind"], by_arm["reader-first"]
    seen = [row for row in rows if row.shown and row.case.predicted is not None]
    overridden = [row for row in seen if row.override and row.truth is not None]
    at_risk = [row for row in first if row.answered_right and not row.model_right]
    return Measures(
        arms=arms,
        gain=_gain(blind, first, level, seed) if blind and first else None,
        before_after=_mcnemar(
            [(row.answered_right, row.right) for row in first if row.answer is not None]
        ),
        across=_mcnemar(_pairs(blind, first)),
        overrides=_share(seen, lambda row: row.override, level),
        right_overrides=_share(overridden, lambda row: row.right, level),
        automation_bias=_share(at_risk, lambda row: row.models, level),
        cannot_tell=_share(rows, lambda row: row.final.value is None, level),
        verified=_verified(review),
    )


def _share(
    rows: Sequence[Reading], holds: Callable[[Reading], bool], level: float
) -> Estimate | None:
    if not rows:
        return None
    groups = _groups(rows)
    hits = np.array([holds(row) for row in rows])
    if np.unique(groups).size == len(rows):
        return exact_share(hits, level)
    return infer_proportion(hits, level=level, groups=groups)


def exact_share(hits: BoolArray, level: float) -> Estimate:
    """The share of independent hits (N,), with the interval of Clopper and Pearson."""
    low, high = clopper_pearson(np.array(hits.sum()), np.array(hits.size), level)
    ends = float(low), float(high)
    return Estimate(float(hits.mean()), *ends, n=hits.size, method="clopper-pearson")


def _groups(rows: Iterable[Reading]) -> StrArray:
    return np.array([row.case.group for row in rows])


def _arm(rows: Sequence[Reading], critical: Sequence[str], level: float, seed: int) -> ArmResult:
    accuracy = _share(rows, lambda row: row.right, level)
    assert accuracy is not None
    sensitivity = {}
    for name in critical:
        ill = [row for row in rows if row.truth == name]
        found = _share(ill, lambda row: row.right, level)
        if found is not None:
            sensitivity[name] = found
    timed = [row for row in rows if row.seconds is not None]
    return ArmResult(len(rows), accuracy, sensitivity, _median(timed, level, seed))


def _median(rows: Sequence[Reading], level: float, seed: int) -> Estimate | None:
    if not rows:
        return None
    seconds = np.array([row.seconds for row in rows], dtype=np.float64)
    order = np.argsort(seconds)

    def middle(weights: Any) -> float:
        total = np.cumsum(weights[order])
        return float(seconds[order][np.searchsorted(total, total[-1] / 2)])

    drawn = _drawn(middle, rows, level, numpy_generator(seed, "review seconds"))
    return replace(drawn, value=float(np.median(seconds)))


def _gain(blind: Sequence[Reading], first: Sequence[Reading], level: float, seed: int) -> Estimate:
    """Difference of the accuracies, groups drawn together for both arms."""
    rows = [*blind, *first]
    right = np.array([row.right for row in rows], dtype=np.float64)
    shown = np.r_[np.zeros(len(blind), dtype=bool), np.ones(len(first), dtype=bool)]

    def difference(weights: Any) -> float:
        with np.errstate(invalid="ignore"):
            each = [float(weights[m] @ right[m] / weights[m].sum()) for m in (shown, ~shown)]
        gap = each[0] - each[1]
        return gap if np.isfinite(gap) else 0.0

    found = _drawn(difference, rows, level, numpy_generator(seed, "review arms"))
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))


def _drawn(
    statistic: Callable[[Any], float],
    rows: Sequence[Reading],
    level: float,
    generator: np.random.Generator,
) -> Estimate:
    """A statistic of weighted rows with its interval, from resamples of whole groups."""
    found = bootstrap(
        {"statistic": statistic},
        len(rows),
        groups=_groups(rows),
        resamples=_RESAMPLES if len(rows) <= 5000 else 200,
        generator=generator,
    )["statistic"]
    low, high = found.interval(level) or (None, None)
    return Estimate(found.value, low, high, n=len(rows), method=found.method)


def _pairs(blind: Sequence[Reading], first: Sequence[Reading]) -> list[tuple[bool, bool]]:
    """Right or wrong of the first blind and the first other reading of cases that have both."""
    unaided, other = ({row.case.id: row for row in reversed(rows)} for rows in (blind, first))
    return [(row.right, other[i].right) for i, row in unaided.items() if i in other]


def _mcnemar(pairs: Sequence[tuple[bool, bool]]) -> McNemar | None:
    if not pairs:
        return None
    table: BoolArray = np.array(pairs, dtype=np.bool_)
    return mcnemar(table[:, 0], table[:, 1])


def _verified(review: "Review") -> dict[str, tuple[int, int]]:
    """Cases with a known truth, and all cases, by stratum: outcomes rarely come for all alike."""
    standing, facts = review.standing.cases(), review.standing.facts
    looked = {name for name, each in standing.items() if each.outcome is not None}
    known = [k or name in looked for name, k in zip(facts.ids, facts.known.tolist(), strict=True)]
    kinds = Counter(zip(known, facts.deferred.tolist(), facts.site, facts.said, strict=True))
    counts: dict[str, list[int]] = {}
    for (is_known, deferred, site, said), n in kinds.items():
        strata = ["all cases", "deferred" if deferred else "not deferred"]
        strata += [f"site = {site}"] if site else []
        strata += [f"model says {said}"] if said else []
        for name in strata:
            count = counts.setdefault(name, [0, 0])
            count[0] += n * is_known
            count[1] += n
    first = ("all cases", "deferred", "not deferred")
    order = sorted(counts, key=lambda name: (first.index(name) if name in first else 3, name))
    return {name: (counts[name][0], counts[name][1]) for name in order}
